// SPDX-License-Identifier: Apache-2.0

/// Where the files of a profile lie.
///
/// `CATBIRD_STATE_DIR` and `CATBIRD_RUN_DIR` move the two roots: tests use that to stay apart from a user's clusters.
public struct ProfilePaths: Sendable, Hashable {
    public let profile: String
    /// `/var/lib/catbird`
    public let stateRoot: String
    /// `/run/catbird`
    public let runRoot: String

    public init(profile: String, stateRoot: String, runRoot: String) {
        self.profile = profile
        self.stateRoot = stateRoot
        self.runRoot = runRoot
    }

    public init(profile: String) {
        let environment = HostEnvironment.current
        self.init(
            profile: profile, stateRoot: environment["CATBIRD_STATE_DIR"] ?? "/var/lib/catbird",
            runRoot: environment["CATBIRD_RUN_DIR"] ?? "/run/catbird")
    }

    /// Outlives a stop; `delete` removes it.
    public var state: String { "\(stateRoot)/\(profile)" }
    public var description: String { "\(state)/profile.json" }
    public var database: String { "\(state)/state.db" }
    public var pki: String { "\(state)/pki" }
    public var logs: String { "\(state)/logs" }
    public func node(_ name: String) -> String { "\(state)/nodes/\(name)" }
    public func nodeRoot(_ name: String) -> String { "\(node(name))/root" }
    public func log(_ process: String) -> String { "\(logs)/\(process).log" }

    /// Gone when the cluster stops.
    public var run: String { "\(runRoot)/\(profile)" }
    public var supervisorSocket: String { "\(run)/supervisor.sock" }
    /// Made when the API server answers.
    public var apiReadyFile: String { "\(run)/api-ready" }
    public func pidFile(_ process: String) -> String { "\(run)/pids/\(process)" }

    /// Shared by all profiles.
    public var images: String { "\(stateRoot)/images" }
    public var activeProfile: String { "\(stateRoot)/active-profile" }
}
