// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux

/// The supervisor's own supervisor: a process that does nothing but wait for it to end, and start it again.
public enum SupervisorGuard {
    /// Runs until the profile is stopped. The supervisor in turn starts the guard again when that one dies.
    public static func run(profile: ProfileName, executable: String) async throws {
        try await watch(profile: profile, executable: executable, leavingTime: .zero)
    }

    /// The same from a process that has other work: should supervisor and guard have been killed together, it brings
    /// them back. It leaves the guard some time to do that, which is its task alone.
    ///
    /// - Parameter network: the machine's network, where a supervisor works.
    static func stepIn(profile: ProfileName, executable: String, network: NamespaceRef) async throws {
        try await watch(profile: profile, executable: executable, leavingTime: .seconds(3), network: network)
    }

    private static func watch(
        profile: ProfileName, executable: String, leavingTime: Duration, network: NamespaceRef? = nil
    ) async throws {
        let store = ProfileStore()
        let paths = store.paths(profile)
        var supervisor = supervisorProcess(paths: paths, executable: executable)
        supervisor.namespaces = Namespaces.Target(net: network)
        // A guard that was started while its profile was being removed has nothing to guard.
        while !Task.isCancelled, store.exists(profile) {
            let started = ContinuousClock.now
            let (child, _) = try supervisor.adoptOrStart()
            _ = await child.wait()
            try await Task.sleep(for: leavingTime)
            // A supervisor that cannot start at all must not be started in a busy loop.
            if ContinuousClock.now - started < .seconds(1) { try await Task.sleep(for: .milliseconds(500)) }
        }
    }

    /// How a supervisor is started: by `catbird start`, by the guard, and by the control plane when both are gone.
    static func supervisorProcess(paths: ProfilePaths, executable: String) -> SupervisedProcess {
        SupervisedProcess(
            name: "supervisor", executable: executable, arguments: ["supervise", "-p", paths.profile.text],
            paths: paths, recordsItself: true)
    }
}
