// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Storage
import Values

/// Stops a profile, or removes all traces of it, whether its processes still run or not.
///
/// What cannot be done is no reason to leave the rest: the first obstacle is thrown when all else is gone.
public struct ClusterRemoval: Sendable {
    private let paths: ProfilePaths
    private let store: ProfileStore
    private let report: @Sendable (String) -> Void

    /// - Parameter report: told what is waited for, when that takes longer than it should.
    public init(
        profile: ProfileName, store: ProfileStore = ProfileStore(),
        report: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.store = store
        self.report = report
        paths = store.paths(profile)
    }

    /// Whether anything of a profile is on the machine although it has no description.
    public static func hasLeftovers(_ name: ProfileName) -> Bool {
        let paths = ProfileStore().paths(name)
        return Files.exists(paths.state) || Files.exists(paths.run)
    }

    /// How long another catbird may be at work on the profile before it is ended.
    static let patience: Duration = .seconds(10)
    /// How long a supervisor may take to say that it is there, and to end all nodes.
    static let answerLimit: Duration = .seconds(3)
    static let stopLimit: Duration = .seconds(60)

    /// Keeps every other start, stop and delete of the profile away, as long as it is held.
    public func lock() async throws -> FolderLock {
        try await FolderLock.acquire(paths.state, endingHolderAfter: Self.patience) { holder in
            report(
                "Another catbird is at work on \"\(paths.profile)\": \(holder.map { "\($0)" } ?? "no process that is seen here")."
                    + " It is waited for, and ended after \(Self.patience.components.seconds) s.")
        }
    }

    /// Ends the profile's processes and takes its network down; its objects and disks stay.
    public func stop() async throws {
        var obstacle: (any Error)?
        func attempt(_ body: () async throws -> Void) async {
            do { try await body() } catch { if obstacle == nil { obstacle = error } }
        }
        await stopBySupervisor()
        // What is left when the supervisor was not there to do it, or could not.
        for name in ["guard", "supervisor", "controlplane"] {
            await attempt { try await SupervisedProcess.end(name, paths: paths, grace: .milliseconds(500)) }
        }
        let names = ((try? Files.list("\(paths.run)/pids")) ?? []).map(\.name)
        // Twice: a supervisor and its guard that are killed at the same moment may have started each other once more.
        for name in names + ["supervisor", "guard"] {
            await attempt { try await SupervisedProcess.end(name, paths: paths, grace: .milliseconds(500)) }
        }
        await attempt { try await endStrays() }
        await attempt { try await ClusterFabric.destroy(paths: paths) }
        await attempt {
            try Files.removeTree(paths.run)
            rmdir(paths.runRoot)
        }
        if let obstacle { throw explained(obstacle) }
    }

    private func explained(_ obstacle: any Error) -> any Error {
        guard obstacle is ProcessWillNotEnd || (obstacle as? Errno)?.code == ETIMEDOUT else { return obstacle }
        return LocalClusterError(
            .resourceInUse, "Everything else of \"\(paths.profile)\" is ended, but \(obstacle).",
            nextStep:
                "It goes when what it waits for comes back, or with the machine's next boot; then repeat the command.")
    }

    /// The supervisor knows best how to stop: nodes first, and the API last. One that does not answer, because it
    /// stands still or hangs, is no reason to wait.
    private func stopBySupervisor() async {
        guard store.isRunning(paths.profile) else { return }
        let client = SupervisorClient(paths: paths)
        guard (try? await client.send("GET", "/status", limit: Self.answerLimit)) != nil else {
            let process = ProcessRecord.running(at: paths.pidFile("supervisor")).flatMap { ProcessSummary(pid: $0.pid) }
            report(
                "The cluster's supervisor does not answer within \(Self.answerLimit.components.seconds) s "
                    + "(\(process.map { "\($0)" } ?? "it has just ended")): its processes are ended without it.")
            return
        }
        guard (try? await client.send("POST", "/stop", limit: Self.stopLimit)) != nil else { return }
        try? await SupervisedProcess.end("supervisor", paths: paths, grace: .seconds(2))
    }

    /// Ends what a dying supervisor or guard started without writing down its number: its output goes to the profile's
    /// logs. Again, as long as one of them had time to start another.
    private func endStrays() async throws {
        let logs = paths.logs + "/"
        for _ in 0..<10 {
            let pids = ((try? Files.list("/proc")) ?? []).compactMap { pid_t($0.name) }
            let strays = pids.filter { pid in
                pid != getpid() && (try? Files.target(ofLink: "/proc/\(pid)/fd/1"))?.hasPrefix(logs) ?? false
            }
            if strays.isEmpty { return }
            if let stuck = await ChildProcess.endAll(strays.compactMap { try? ChildProcess.adopt($0) }).first {
                throw stuck
            }
        }
    }

    /// Checkpoints the store of a cluster that is stopped, looks at all of it, and takes a backup when it is whole.
    public func settle() async {
        let store = StoreFile(path: paths.database)
        guard store.exists else { return }
        let backup = ProfileBackup(paths: paths)
        do {
            let health = try store.examine()
            if let remark = health.remark { report("\(remark)") }
            if backup.summary?.revision == health.revision { return }
            try await backup.take { try store.copy(to: $0) }
        } catch {
            let kept = backup.summary.map { "the one \($0) is kept" } ?? "there is none"
            report("No backup was taken (\(kept)): \(error)")
        }
    }

    /// Stops it and removes its files, its kubeconfig entries and its place as the active profile.
    public func run() async throws {
        var obstacle: (any Error)?
        do { try await stop() } catch { obstacle = error }
        do {
            try await ClusterFabric.destroy(paths: paths, removingDisks: true)
        } catch { obstacle = obstacle ?? explained(error) }
        do { try Kubeconfig().remove(profile: paths.profile.text) } catch {
            report("The kubeconfig still has \"\(paths.profile)\": \(error)")
        }
        if (try? store.activeProfile) == paths.profile { try store.setActive(nil) }
        // As long as the folder is there, `delete` finds it and can be repeated.
        if let obstacle { throw obstacle }
        try Files.removeTree(paths.state)
    }
}
