// SPDX-License-Identifier: Apache-2.0

import ContainerRuntime
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
    private let since = Timestamp.now.micro
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
        let paths = store.paths(options.profile)
        // Whoever starts, stops or deletes the same profile comes after us, or we after them.
        let lock = try await FolderLock.acquire(paths.state) { holder in
            step(
                "profile", .note,
                "Another catbird is at work on \"\(options.profile)\" and is waited for: "
                    + "\(holder.map { "\($0)" } ?? "a process that is not seen here")")
        }
        defer { lock.release() }
        if store.isRunning(options.profile) {
            guard !options.restoresBackup else {
                throw LocalClusterError(
                    .resourceInUse, "\"\(options.profile)\" is running: a backup is restored while it is stopped.",
                    nextStep: "catbird stop -p \(options.profile), then start it with --restore-backup")
            }
            try await joinRunning(paths)
            return false
        }
        let isNew = !store.exists(options.profile)
        do {
            let profile = try await prepare(isNew: isNew)
            try await bringUp(profile, paths)
            return true
        } catch let error as LocalClusterError where error.code == .guestTimeout {
            // What is there is left for its user to look at.
            throw error
        } catch {
            // Asked before what was made is removed: that makes room.
            let full = DiskRoom.full(paths)
            let removal = ClusterRemoval(profile: options.profile)
            if isNew { try? await removal.run() } else { try? await removal.stop() }
            throw full?.error(after: error) ?? error
        }
    }

    /// Says what would be started, and changes nothing.
    public func rehearse() async throws {
        try Requirements.check()
        guard !store.exists(options.profile) else {
            let profile = try store.load(options.profile)
            let would = store.isRunning(profile.name) ? "runs already" : "would be started again"
            return step(
                "done", .done, "\"\(profile.name)\" with \(profile.nodes.count) node(s) \(would): nothing was done.")
        }
        let (plan, nodes) = try plan()
        step(
            "done", .done,
            "\"\(options.profile)\" would be created: \(nodes) node(s) in \(plan.racks.count) rack(s), "
                + plan.racks.map { "\($0.subnet)" }.joined(separator: ", ") + ". Nothing was done.")
    }

    private func bringUpState(_ supervisor: SupervisorClient) async throws -> JSON? {
        try await supervisor.send("GET", "/status", limit: ClusterRemoval.answerLimit)["bringUp"]
    }

    /// A cluster that is said to run is looked at: its supervisor may not have been able to bring it up.
    private func joinRunning(_ paths: ProfilePaths) async throws {
        let profile = try store.load(options.profile)
        let pki = try ProfilePKI(paths: paths)
        let supervisor = SupervisorClient(paths: paths)
        var state = try await bringUpState(supervisor)
        if state["state"].string == "working" {
            // A supervisor that has just come back is at it: whether it comes through, only the end of that tells.
            for try await event in try await supervisor.events()
            where event["done"].bool == true || event["failed"].bool == true { break }
            state = try await bringUpState(supervisor)
        }
        if state["state"].string == "failed" {
            step(
                "supervisor", .warning,
                "\"\(profile.name)\" could not be brought up in \(state["attempts"].int ?? 0) attempt(s) and is tried "
                    + "again now: \(state["reason"].string ?? "")")
            try await supervisor.send("POST", "/retry")
        }
        try await follow(profile, paths, pki, ending: nil, ready: FileAppearance(paths.apiReadyFile))
        step("done", .done, "Profile \"\(profile.name)\" is running already: nothing was done.")
        if pulls(profile.pulls) != profile.pulls {
            step(
                "pulls", .warning,
                "Other registries or proxies than those it was started with take effect at its next start: "
                    + "catbird stop -p \(profile.name), then this command again")
        }
    }

    /// The description of the cluster: the one of the earlier start, or a new one.
    private func prepare(isNew: Bool) async throws -> Profile {
        guard isNew else {
            var profile = try store.load(options.profile)
            let pulls = pulls(profile.pulls)
            if pulls != profile.pulls {
                profile.pulls = pulls
                try store.save(profile)
            }
            tellOfProxies(pulls)
            if let nodes = options.nodes, nodes != profile.nodes.count {
                step(
                    "profile", .warning,
                    "The profile has \(profile.nodes.count) node(s); --nodes \(nodes) is ignored. "
                        + "To change it: catbird node add, catbird node delete")
            }
            try checkRanges(of: profile)
            try verify(profile)
            step(
                "profile", .begin, "Starting \"\(profile.name)\" again: \(profile.nodes.count) node(s), same addresses")
            return profile
        }
        // Until the description is there, nobody else chooses.
        let machine = try await FolderLock.acquire(store.machine.stateRoot, mode: 0o755) { _ in }
        defer { machine.release() }
        let (plan, nodes) = try plan()
        for note in plan.notes { step("addresses", .warning, note) }
        var profile = Profile(
            name: options.profile, plan: plan, builtinImages: options.builtinImages, pulls: pulls(PullSettings()))
        tellOfProxies(profile.pulls)
        for _ in 0..<nodes { try profile.addNode() }
        try store.save(profile)
        if (try? store.activeProfile) == nil { try store.setActive(profile.name) }
        step(
            "profile", .begin,
            "Creating \"\(profile.name)\": \(nodes) node(s) in \(plan.racks.count) rack(s), "
                + plan.racks.map { "\($0.subnet)" }.joined(separator: ", "))
        return profile
    }

    /// Where a new cluster would be, and with how many nodes.
    private func plan() throws -> (FabricPlan, nodes: Int) {
        let racks = options.racks ?? 1
        let nodes = options.nodes ?? 1
        guard (1...16).contains(racks) else {
            throw LocalClusterError(.usage, "--racks \(racks) is out of range: 1 to 16.")
        }
        guard nodes >= racks, nodes <= 190 * racks else {
            throw LocalClusterError(
                .usage, "--nodes \(nodes) is out of range: with \(racks) rack(s) it is \(racks) to \(190 * racks).")
        }
        let occupied = try HostNetwork.occupied(by: NetlinkSocket()) + store.occupied()
        return (try FabricPlan.choose(racks: racks, occupied: occupied), nodes)
    }

    /// What is damaged is named before anything is started.
    private func verify(_ profile: Profile) throws {
        let paths = store.paths(profile.name)
        if options.restoresBackup {
            guard ProcessRecord.running(at: paths.pidFile("controlplane")) == nil else {
                throw LocalClusterError(
                    .resourceInUse, "The control plane of \"\(profile.name)\" still runs.",
                    nextStep: "catbird stop -p \(profile.name), then start it with --restore-backup")
            }
            let (backup, replaced) = try ProfileBackup(paths: paths).restore()
            step(
                "backup", .warning,
                "The objects and keys of \"\(profile.name)\" are those of the backup \(backup). "
                    + "What was there is in \(replaced)")
        }
        let verification = ProfileVerification(paths: paths, acceptsLoss: options.acceptsLoss)
        for remark in try verification.run() + verification.keys(of: profile).remarks {
            step("verification", .warning, remark)
        }
    }

    /// Ranges that were free when the cluster was made may have been taken while it was stopped.
    private func checkRanges(of profile: Profile) throws {
        let names = FabricNames(profile: profile.name, runDirectory: store.machine.runRoot)
        let occupied = try HostNetwork.occupied(by: NetlinkSocket(), except: names)
        for rack in profile.plan.racks {
            guard let other = occupied.first(where: { $0.range.overlaps(rack.subnet) }) else { continue }
            // What is wider than the rack goes on without it; what is as narrow would be cut off.
            guard other.range.prefixLength >= rack.subnet.prefixLength else {
                step(
                    "addresses", .warning,
                    "\(rack.subnet) of \(rack.name) is also in use on this machine: \(other.use). What is there "
                        + "cannot be reached while the cluster runs.")
                continue
            }
            throw LocalClusterError(
                .resourceInUse,
                "\(rack.subnet) of \(rack.name) of \"\(profile.name)\" is now in use on this machine: \(other.use).",
                nextStep: "Stop what uses it and start again; or make the cluster anew, with other ranges: "
                    + "catbird delete -p \(profile.name) && catbird start -p \(profile.name)")
        }
    }

    /// How nodes are to reach registries from now on.
    private func pulls(_ known: PullSettings) -> PullSettings {
        PullSettings(
            environment: options.dockerEnvironment ?? known.environment, surroundings: options.surroundings,
            insecureRegistries: options.insecureRegistries ?? known.insecureRegistries)
    }

    private func tellOfProxies(_ pulls: PullSettings) {
        let proxies = pulls.registries.proxies
        for proxy in [proxies.https, proxies.http].compactMap(\.self) {
            step("pulls", .note, "Images are pulled through the proxy \(proxy)")
        }
        for name in pulls.environment.keys.sorted() where !ProxySettings.variables.contains(name) {
            step("pulls", .note, "--docker-env \(name): kept, but only proxies mean anything to Catbird's pulls")
        }
    }

    private func bringUp(_ profile: Profile, _ paths: ProfilePaths) async throws {
        let pki = try ProfilePKI(paths: paths)
        try Files.makeDirectories("\(paths.run)/pids", mode: 0o700)
        // A control plane whose supervisor and guard were killed goes on: it has said that it is ready, and says it once.
        if ProcessRecord.running(at: paths.pidFile("controlplane")) == nil { unlink(paths.apiReadyFile) }
        let ready = try FileAppearance(paths.apiReadyFile)
        let child = try SupervisorGuard.supervisorProcess(paths: paths, executable: executable).adoptOrStart().process
        try await follow(profile, paths, pki, ending: child, ready: ready)
        step(
            "done", .done,
            options.keepsContext
                ? "Done! To use \"\(profile.name)\": kubectl --context=\(profile.name)"
                : "Done! kubectl is now configured to use \"\(profile.name)\" cluster and \"\(options.namespace)\" "
                    + "namespace by default")
    }

    /// Waits for the API, writes the kubeconfig, and waits for nodes and names.
    private func follow(
        _ profile: Profile, _ paths: ProfilePaths, _ pki: ProfilePKI, ending child: ChildProcess?, ready: FileAppearance
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            if let child {
                let ends = ending(of: child)
                group.addTask {
                    for await status in ends {
                        throw LocalClusterError(
                            .guestError,
                            "The cluster's supervisor ended (\(status)). Its last words: "
                                + LastWords.of(paths.log("supervisor")),
                            nextStep: "See catbird logs -p \(profile.name)")
                    }
                }
            }
            group.addTask {
                try await ready.wait()
                step("control-plane", .begin, "The API server answers at \(server(profile))")
            }
            group.addTask { try await failures(paths) }
            try await group.next()
            try writeKubeconfig(profile, pki)
            guard options.waits else { return group.cancelAll() }
            group.addTask {
                try await ClusterReadiness(profile: profile, pki: pki, limit: options.limit).wait {
                    name, mark, message in
                    step(name, mark, message)
                }
            }
            try await group.next()
            group.cancelAll()
        }
    }

    /// Ends, with an error, only when the supervisor tells of one: that it cannot bring the cluster up, or that the
    /// control plane does not stay.
    private func failures(_ paths: ProfilePaths) async throws {
        let socket = try FileAppearance(paths.supervisorSocket)
        try await socket.wait()
        var ends = 0
        // Of what a supervisor tells that runs already, the past is not ours.
        var seen = since
        for try await event in SupervisorClient(paths: paths).eventsAsLongAsItRuns() {
            guard let time = event["time"].string, time > seen else { continue }
            seen = time
            if event["failed"].bool == true {
                throw LocalClusterError(.guestError, event["message"].string ?? "the cluster did not come up")
            }
            guard event["step"].string == "restart", event["process"].string == "controlplane" else { continue }
            ends += 1
            if ends == 3 {
                throw LocalClusterError(
                    .guestError, "The control plane does not stay. Its last words: \(event["lastWords"].string ?? "")",
                    nextStep: "See catbird logs -p \(paths.profile)")
            }
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
        let kubeconfig = Kubeconfig()
        do {
            try kubeconfig.add(profile, pki: pki, namespace: options.namespace, keepingContext: options.keepsContext)
        } catch let error as Errno {
            // A home that cannot be written to is no reason to have no cluster.
            step(
                "kubeconfig", .warning,
                "kubectl does not know the cluster: \(kubeconfig.path) cannot be written (\(error)). Next: "
                    + "export KUBECONFIG=FILE; catbird update-context -p \(profile.name)")
            return
        }
        guard HostEnvironment.value("HOME") == nil, HostEnvironment.value("KUBECONFIG") == nil else { return }
        step(
            "kubeconfig", .warning,
            "HOME is not set: kubectl finds the cluster with export KUBECONFIG=\(kubeconfig.path)")
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
