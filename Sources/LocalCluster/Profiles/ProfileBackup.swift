// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Storage
public import Values

/// A copy of what makes a cluster itself, its objects and its authority's keys, as it was when it was last known to be
/// whole: taken at each stop, and now and then while it runs. Nodes' disks are no part of it.
public struct ProfileBackup: Sendable {
    /// What is known of a copy.
    public struct Summary: Sendable, Hashable, CustomStringConvertible {
        public let takenAt: Timestamp
        /// The newest write in it.
        public let revision: Int64

        public var description: String { "of \(takenAt), up to revision \(revision)" }
    }

    static let keys = ["ca.crt", "ca.key", "sa.key"]
    private let paths: ProfilePaths

    public init(paths: ProfilePaths) { self.paths = paths }

    public var folder: String { "\(paths.state)/backup" }
    private var older: String { "\(folder).old" }

    /// Nil when there is none. Between the two renames of ``take(_:)`` it is the older one.
    private var present: String? { [folder, older].first { Files.exists("\($0)/backup.json") } }

    public var summary: Summary? {
        guard let present, let json = try? JSON(parsing: Files.read("\(present)/backup.json")),
            let takenAt = json["takenAt"].string.flatMap({ Timestamp($0) }), let revision = json["revision"].int
        else { return nil }
        return Summary(takenAt: takenAt, revision: Int64(revision))
    }

    /// Puts a new copy in the place of the old one, which stays until the new one is whole.
    ///
    /// - Parameter copy: copies the store to a path, looks at the copy, and returns the newest revision in it.
    func take(_ copy: (_ path: String) async throws -> Int64) async throws {
        let new = "\(folder).new"
        try Files.removeTree(new)
        try Files.makeDirectories("\(new)/pki", mode: 0o700)
        let revision = try await copy("\(new)/state.db")
        for name in Self.keys {
            try Files.replace("\(new)/pki/\(name)", with: Files.read("\(paths.pki)/\(name)"), mode: 0o600)
        }
        let description: JSON = ["takenAt": JSON(Timestamp.now.description), "revision": JSON(Int(revision))]
        try Files.replace("\(new)/backup.json", with: description.serialized(), mode: 0o600)
        try Files.removeTree(older)
        if Files.exists(folder) { try move(folder, to: older) }
        try move(new, to: folder)
        try Files.removeTree(older)
    }

    /// Puts the copy in the place of what is there, which is kept beside it.
    ///
    /// - Returns: which copy it was, and where the files are now that it replaced.
    public func restore() throws -> (backup: Summary, replaced: String) {
        guard let present, let summary else {
            throw LocalClusterError(
                .guestNotFound, "There is no backup of \"\(paths.profile)\" in \(folder).",
                nextStep: "Without one the cluster can only be made anew: catbird delete -p \(paths.profile)")
        }
        var replaced = "\(paths.state)/replaced"
        var number = 1
        while Files.exists(replaced) {
            number += 1
            replaced = "\(paths.state)/replaced-\(number)"
        }
        try Files.makeDirectories("\(replaced)/pki", mode: 0o700)
        // The log first: it belongs to the database that is there, and would damage another.
        for suffix in ["-wal", "-shm", ""] where Files.exists(paths.database + suffix) {
            try move(paths.database + suffix, to: "\(replaced)/state.db\(suffix)")
        }
        // All that the authority has signed is made anew.
        for entry in (try? Files.list(paths.pki)) ?? [] {
            try move("\(paths.pki)/\(entry.name)", to: "\(replaced)/pki/\(entry.name)")
        }
        try Files.makeDirectories(paths.pki, mode: 0o700)
        for name in Self.keys {
            try Files.replace("\(paths.pki)/\(name)", with: Files.read("\(present)/pki/\(name)"), mode: 0o600)
        }
        try StoreFile(path: "\(present)/state.db").copy(to: paths.database)
        return (summary, replaced)
    }

    private func move(_ source: String, to target: String) throws {
        guard rename(source, target) == 0 else { throw Errno("rename", "\(source) to \(target)") }
    }
}
