// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Values

/// The profiles of this machine: a folder each below the state root.
public struct ProfileStore: Sendable {
    public let machine: MachinePaths

    public init(_ machine: MachinePaths = MachinePaths()) { self.machine = machine }

    public func paths(_ name: ProfileName) -> ProfilePaths { machine.profile(name) }

    /// Names of all profiles with a description, sorted.
    public func names() -> [ProfileName] {
        let entries = (try? Files.list(machine.stateRoot)) ?? []
        return entries.compactMap { try? ProfileName($0.name) }.filter { exists($0) }.sorted()
    }

    /// The ranges of all profiles, whether they run or not, and of each whose they are.
    func occupied() -> [OccupiedRange] {
        names().compactMap { try? load($0) }.flatMap { profile in
            profile.plan.racks.map { OccupiedRange($0.subnet, "the cluster \"\(profile.name)\" has it") }
        }
    }

    public func exists(_ name: ProfileName) -> Bool { access(paths(name).description, F_OK) == 0 }

    /// - Throws: `LocalClusterError` that names the profiles there are when this is none of them, or when its
    ///   description cannot be read.
    public func load(_ name: ProfileName) throws(LocalClusterError) -> Profile {
        let path = paths(name).description
        guard let bytes = try? Files.read(path) else {
            let others = names()
            throw LocalClusterError(
                .guestNotFound,
                "Profile \"\(name)\" not found. "
                    + (others.isEmpty
                        ? "There are no profiles." : "There is: \(others.map(\.text).joined(separator: ", "))."),
                nextStep: "To create it: catbird start -p \(name). To see all: catbird profile list")
        }
        guard let json = try? JSON(parsing: bytes), let profile = Profile(json), profile.name == name
        else {
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
    ///
    /// - Throws: `LocalClusterError` when the file says something that cannot name a profile.
    public var activeProfile: ProfileName? {
        get throws(LocalClusterError) {
            let path = machine.activeProfile
            guard let bytes = try? Files.read(path) else { return nil }
            let words = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace)
            guard let name = words.first else { return nil }
            return try ProfileName(String(name), from: "in \(path); catbird profile NAME writes it anew")
        }
    }

    public func setActive(_ name: ProfileName?) throws {
        let path = machine.activeProfile
        guard let name else {
            unlink(path)
            return
        }
        try Files.makeDirectories(machine.stateRoot, mode: 0o755)
        try Files.replace(path, with: Array("\(name)\n".utf8), mode: 0o644)
    }

    /// Whether the profile's supervisor runs.
    public func isRunning(_ name: ProfileName) -> Bool {
        ProcessRecord.running(at: paths(name).pidFile("supervisor")) != nil
    }
}
