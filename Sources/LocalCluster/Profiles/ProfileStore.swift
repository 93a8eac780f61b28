// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Values

/// The profiles of this machine: a folder each below the state root.
public struct ProfileStore: Sendable {
    public let stateRoot: String
    public let runRoot: String

    public init() {
        let paths = ProfilePaths(profile: "")
        stateRoot = paths.stateRoot
        runRoot = paths.runRoot
    }

    public func paths(_ name: String) -> ProfilePaths {
        ProfilePaths(profile: name, stateRoot: stateRoot, runRoot: runRoot)
    }

    /// Names of all profiles with a description, sorted.
    public func names() -> [String] {
        let entries = (try? Files.list(stateRoot)) ?? []
        return entries.map(\.name).filter { exists($0) }.sorted()
    }

    public func exists(_ name: String) -> Bool { access(paths(name).description, F_OK) == 0 }

    /// - Throws: `LocalClusterError` that names the profiles there are when this is none of them, or when its
    ///   description cannot be read.
    public func load(_ name: String) throws(LocalClusterError) -> Profile {
        let path = paths(name).description
        guard let bytes = try? Files.read(path) else {
            let others = names()
            throw LocalClusterError(
                .guestNotFound,
                "Profile \"\(name)\" not found. "
                    + (others.isEmpty ? "There are no profiles." : "There is: \(others.joined(separator: ", "))."),
                nextStep: "To create it: catbird start -p \(name). To see all: catbird profile list")
        }
        guard let json = try? JSON(parsing: bytes), let profile = Profile(json) else {
            throw LocalClusterError(
                .guestError, "The description of profile \"\(name)\" at \(path) cannot be read: it is damaged.",
                nextStep: "Remove the cluster and start it anew: catbird delete -p \(name)")
        }
        return profile
    }

    public func save(_ profile: Profile) throws {
        let paths = paths(profile.name)
        for folder in [paths.state, paths.pki, paths.logs] { try Files.makeDirectories(folder, mode: 0o700) }
        try Files.replace(paths.description, with: profile.json.serialized(indent: 2), mode: 0o600)
    }

    /// What `-p` says when it is not said.
    public var activeProfile: String? {
        guard let bytes = try? Files.read(paths("").activeProfile) else { return nil }
        let name = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace).first.map(String.init)
        return name
    }

    public func setActive(_ name: String?) throws {
        let path = paths("").activeProfile
        guard let name else {
            unlink(path)
            return
        }
        try Files.makeDirectories(stateRoot, mode: 0o755)
        try Files.replace(path, with: Array("\(name)\n".utf8), mode: 0o644)
    }

    /// Whether the profile's supervisor runs.
    public func isRunning(_ name: String) -> Bool {
        ProcessRecord.running(at: paths(name).pidFile("supervisor")) != nil
    }
}
