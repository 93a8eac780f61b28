// SPDX-License-Identifier: Apache-2.0

import Glibc
import KubeClient
import KubeObjects
import Linux
import PKI
import Values

/// Brings a profile up and reports each step.
public struct ClusterStart: Sendable {
    private let options: StartOptions
    private let executable: String
    private let report: @Sendable (StartStep) -> Void
    private let began = ContinuousClock.now
    private let store = ProfileStore()

    public init(_ options: StartOptions, executable: String, report: @escaping @Sendable (StartStep) -> Void) {
        self.options = options
        self.executable = executable
        self.report = report
    }

    private func step(_ name: String, _ mark: StartStep.Mark, _ message: String) {
        let elapsed = ContinuousClock.now - began
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
        report(StartStep(name: name, mark: mark, message: message, elapsed: seconds))
    }

    /// Returns when all nodes are Ready and the cluster's DNS answers. What a failed first start has made is removed.
    ///
    /// - Returns: false when the profile was running already, and nothing was done.
    @discardableResult
    public func run() async throws -> Bool {
        try Requirements.check()
        let isNew = !store.exists(options.profile)
        let paths = store.paths(options.profile)
        if store.isRunning(options.profile) {
            step("done", .done, "Profile \"\(options.profile)\" is running already: nothing was done.")
            try writeKubeconfig(store.load(options.profile), ProfilePKI(paths: paths))
            return false
        }
        do {
            let profile = try prepare(isNew: isNew)
            try await bringUp(profile, paths)
            return true
        } catch {
            // Asked before what was made is removed: that makes room.
            let full = DiskRoom.full(paths)
            if isNew { try? await ClusterRemoval(profile: options.profile).run() } else { try? await stopLeftovers() }
            throw full?.error(after: error) ?? error
        }
    }

    private func stopLeftovers() async throws {
        try await ClusterRemoval(profile: options.profile).stop()
    }

    /// The description of the cluster: the one of the earlier start, or a new one.
    private func prepare(isNew: Bool) throws -> Profile {
        guard isNew else {
            let profile = try store.load(options.profile)
            if let nodes = options.nodes, nodes != profile.nodes.count {
                step(
                    "profile", .warning,
                    "The profile has \(profile.nodes.count) node(s); --nodes \(nodes) is ignored. "
                        + "To change it: catbird node add, catbird node delete")
            }
            step(
                "profile", .begin, "Starting \"\(profile.name)\" again: \(profile.nodes.count) node(s), same addresses")
            return profile
        }
        let racks = options.racks ?? 1
        let nodes = options.nodes ?? 1
        guard (1...16).contains(racks) else {
            throw LocalClusterError(.usage, "--racks \(racks) is out of range: 1 to 16.")
        }
        guard nodes >= racks, nodes <= 190 * racks else {
            throw LocalClusterError(
                .usage, "--nodes \(nodes) is out of range: with \(racks) rack(s) it is \(racks) to \(190 * racks).")
        }
        let plan = try FabricPlan.choose(racks: racks, occupied: HostNetwork.occupied(by: NetlinkSocket()))
        for note in plan.notes { step("addresses", .warning, note) }
        var profile = Profile(name: options.profile, plan: plan, builtinImages: options.builtinImages)
        for _ in 0..<nodes { try profile.addNode() }
        try store.save(profile)
        if (try? store.activeProfile) == nil { try store.setActive(profile.name) }
        step(
            "profile", .begin,
            "Creating \"\(profile.name)\": \(nodes) node(s) in \(racks) rack(s), "
                + plan.racks.map { "\($0.subnet)" }.joined(separator: ", "))
        return profile
    }

    private func bringUp(_ profile: Profile, _ paths: ProfilePaths) async throws {
        let pki = try ProfilePKI(paths: paths)
        try Files.makeDirectories("\(paths.run)/pids", mode: 0o700)
        unlink(paths.apiReadyFile)
        let ready = try FileAppearance(paths.apiReadyFile)
        let child = try SupervisorGuard.supervisorProcess(paths: paths, executable: executable).adoptOrStart().process
        try await withThrowingTaskGroup(of: Void.self) { group in
            let ends = ending(of: child)
            group.addTask {
                for await status in ends {
                    throw LocalClusterError(
                        .guestError,
                        "The cluster's supervisor ended (\(status)). Its last words: \(lastLine(paths.log("supervisor")))",
                        nextStep: "See catbird logs -p \(profile.name)")
                }
            }
            group.addTask {
                try await ready.wait()
                step("control-plane", .begin, "The API server answers at \(server(profile))")
            }
            group.addTask { try await failures(paths) }
            try await group.next()
            try writeKubeconfig(profile, pki)
            group.addTask {
                try await ClusterReadiness(profile: profile, pki: pki).wait { name, mark, message in
                    step(name, mark, message)
                }
            }
            try await group.next()
            group.cancelAll()
        }
        step(
            "done", .done,
            "Done! kubectl is now configured to use \"\(profile.name)\" cluster and \"default\" namespace by default")
    }

    /// Ends, with an error, only when the supervisor tells of one.
    private func failures(_ paths: ProfilePaths) async throws {
        let socket = try FileAppearance(paths.supervisorSocket)
        try await socket.wait()
        for try await event in try await SupervisorClient(paths: paths).events() where event["failed"].bool == true {
            throw LocalClusterError(.guestError, event["message"].string ?? "the cluster did not come up")
        }
        // The stream ended with the supervisor, whose end is watched: only cancellation ends the wait now.
        let (silence, end) = AsyncStream.makeStream(of: Void.self)
        defer { end.finish() }
        for await _ in silence {}
        try Task.checkCancellation()
    }

    private func server(_ profile: Profile) -> String {
        "https://\(profile.controlPlaneNode?.address.description ?? "localhost"):\(Profile.apiPort)"
    }

    private func writeKubeconfig(_ profile: Profile, _ pki: ProfilePKI) throws {
        try Kubeconfig().add(
            profile: profile.name.text, server: server(profile), certificateAuthorityPEM: pki.authority.certificatePEM,
            credentials: pki.administrator())
    }
}

/// The end of a process as a stream: unlike waiting for it, reading a stream can be cancelled.
private func ending(of process: ChildProcess) -> AsyncStream<ExitStatus> {
    let (stream, continuation) = AsyncStream.makeStream(of: ExitStatus.self)
    Task {
        continuation.yield(await process.wait())
        continuation.finish()
    }
    return stream
}

/// The last line of a log, for a message.
func lastLine(_ path: String) -> String {
    ((try? Files.text(path)) ?? "").split(separator: "\n").last.map(String.init) ?? "(none)"
}
