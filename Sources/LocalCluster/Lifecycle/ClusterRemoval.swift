// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux

/// Stops a profile, or removes all traces of it, whether its processes still run or not.
public struct ClusterRemoval: Sendable {
    private let paths: ProfilePaths
    private let store = ProfileStore()

    public init(profile: ProfileName) { paths = store.paths(profile) }

    /// Whether anything of a profile is on the machine although it has no description.
    public static func hasLeftovers(_ name: ProfileName) -> Bool {
        let paths = ProfileStore().paths(name)
        return Files.exists(paths.state) || Files.exists(paths.run)
    }

    /// Ends the profile's processes and takes its network down; its objects and disks stay.
    public func stop() async throws {
        if store.isRunning(paths.profile),
            (try? await SupervisorClient(paths: paths).send("POST", "/stop")) != nil
        {
            await SupervisedProcess.end("supervisor", paths: paths, grace: .seconds(2))
        }
        // What is left when the supervisor was not there to do it, or could not.
        for name in ["guard", "supervisor", "controlplane"] {
            await SupervisedProcess.end(name, paths: paths, grace: .milliseconds(500))
        }
        let names = ((try? Files.list("\(paths.run)/pids")) ?? []).map(\.name)
        // Twice: a supervisor and its guard that are killed at the same moment may have started each other once more.
        for name in names + ["supervisor", "guard"] {
            await SupervisedProcess.end(name, paths: paths, grace: .milliseconds(500))
        }
        await endStrays()
        try await ClusterFabric.destroy(paths: paths)
        try Files.removeTree(paths.run)
        rmdir(paths.runRoot)
    }

    /// Ends what a dying supervisor or guard started without writing down its number: its output goes to the profile's
    /// logs. Again, as long as one of them had time to start another.
    private func endStrays() async {
        let logs = paths.logs + "/"
        for _ in 0..<10 {
            let pids = ((try? Files.list("/proc")) ?? []).compactMap { pid_t($0.name) }
            let strays = pids.filter { pid in
                pid != getpid() && (try? Files.target(ofLink: "/proc/\(pid)/fd/1"))?.hasPrefix(logs) ?? false
            }
            if strays.isEmpty { return }
            for pid in strays {
                guard let stray = try? ChildProcess.adopt(pid) else { continue }
                try? stray.signal(SIGKILL)
                _ = await stray.wait()
            }
        }
    }

    /// Stops it and removes its files, its kubeconfig entries and its place as the active profile.
    public func run() async throws {
        try await stop()
        try await ClusterFabric.destroy(paths: paths, removingDisks: true)
        try Kubeconfig().remove(profile: paths.profile.text)
        if (try? store.activeProfile) == paths.profile { try store.setActive(nil) }
        // Last: as long as the folder is there, `delete` finds it and can be repeated.
        try Files.removeTree(paths.state)
    }
}
