// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux

/// The supervisor's own supervisor: a process that does nothing but wait for it to end, and start it again.
public enum SupervisorGuard {
    /// Runs until the profile is stopped. The supervisor in turn starts the guard again when that one dies.
    public static func run(profile: ProfileName, executable: String) async throws {
        let paths = ProfileStore().paths(profile)
        let supervisor = supervisorProcess(paths: paths, executable: executable)
        // A guard that was started while its profile was being removed has nothing to guard.
        while !Task.isCancelled, ProfileStore().exists(profile) {
            let started = ContinuousClock.now
            let (child, _) = try supervisor.adoptOrStart()
            _ = await child.wait()
            // A supervisor that cannot start at all must not be started in a busy loop.
            if ContinuousClock.now - started < .seconds(1) { try await Task.sleep(for: .milliseconds(500)) }
        }
    }

    /// How a supervisor is started: by `catbird start`, and by the guard.
    static func supervisorProcess(paths: ProfilePaths, executable: String) -> SupervisedProcess {
        SupervisedProcess(
            name: "supervisor", executable: executable, arguments: ["supervise", "-p", paths.profile.text], paths: paths
        )
    }
}
