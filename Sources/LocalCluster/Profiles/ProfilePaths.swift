// SPDX-License-Identifier: Apache-2.0

/// Where the files lie that all profiles share.
///
/// `CATBIRD_STATE_DIR` and `CATBIRD_RUN_DIR` move the two roots: tests use that to stay apart from a user's clusters.
public struct MachinePaths: Sendable, Hashable {
    /// `/var/lib/catbird`
    public let stateRoot: String
    /// `/run/catbird`
    public let runRoot: String

    public init(stateRoot: String, runRoot: String) {
        self.stateRoot = stateRoot
        self.runRoot = runRoot
    }

    /// As the environment has it; a variable that is empty counts as one that is not set.
    public init() {
        func root(_ variable: String, _ usual: String) -> String {
            HostEnvironment.value(variable) ?? usual
        }
        self.init(
            stateRoot: root(Self.stateVariable, "/var/lib/catbird"), runRoot: root(Self.runVariable, "/run/catbird"))
    }

    private static let stateVariable = "CATBIRD_STATE_DIR"
    private static let runVariable = "CATBIRD_RUN_DIR"

    /// - Throws: `LocalClusterError` when the environment moves a root to where it would not be found again: processes
    ///   of a cluster have working directories of their own.
    public static func checkEnvironment() throws(LocalClusterError) {
        // A socket's address has room for 107 bytes, and a profile's name for 40.
        let room = 107 - "/supervisor.sock".utf8.count - 41
        if let path = HostEnvironment.value(runVariable), path.utf8.count > room {
            throw LocalClusterError(
                .usage,
                "\(runVariable) is \(path.utf8.count) bytes long: sockets lie in it, whose paths have no room for more "
                    + "than \(room).", nextStep: "Set it to a shorter path, or unset it.")
        }
        for variable in [stateVariable, runVariable] {
            guard let path = HostEnvironment.value(variable), !path.hasPrefix("/") || path == "/" else { continue }
            throw LocalClusterError(
                .usage, "\(variable) is \"\(path)\", which is no absolute path of a folder of its own.",
                nextStep: "Set it to one, for example /srv/catbird, or unset it.")
        }
    }

    public func profile(_ name: ProfileName) -> ProfilePaths { ProfilePaths(profile: name, machine: self) }

    public var images: String { "\(stateRoot)/images" }
    public var activeProfile: String { "\(stateRoot)/active-profile" }
}

/// Where the files of a profile lie.
public struct ProfilePaths: Sendable, Hashable {
    public let profile: ProfileName
    public let machine: MachinePaths

    public init(profile: ProfileName, machine: MachinePaths = MachinePaths()) {
        self.profile = profile
        self.machine = machine
    }

    public var stateRoot: String { machine.stateRoot }
    public var runRoot: String { machine.runRoot }

    /// Outlives a stop; `delete` removes it.
    public var state: String { "\(stateRoot)/\(profile)" }
    public var description: String { "\(state)/profile.json" }
    public var database: String { "\(state)/state.db" }
    public var pki: String { "\(state)/pki" }
    public var logs: String { "\(state)/logs" }
    public func log(_ process: String) -> String { "\(logs)/\(process).log" }

    /// Gone when the cluster stops.
    public var run: String { "\(runRoot)/\(profile)" }
    public var supervisorSocket: String { "\(run)/supervisor.sock" }
    /// Made when the API server answers.
    public var apiReadyFile: String { "\(run)/api-ready" }
    public func pidFile(_ process: String) -> String { "\(run)/pids/\(process)" }
}
