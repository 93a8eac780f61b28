// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import GRDB
import Glibc
import Values

/// Why a store's file is not to be opened as it is.
public struct StoreDamage: Error, Sendable, Hashable, CustomStringConvertible {
    /// The file that is damaged.
    public let path: String
    public let reason: String
    /// Whether what is left makes a store: writes are lost, but those that are there are whole.
    public let isUsable: Bool

    public var description: String { "\(path) \(reason)" }
}

/// The file of a store that no process has open: whether it is whole, and copies of it.
public struct StoreFile: Sendable {
    public let path: String
    public var log: String { path + "-wal" }

    public init(path: String) { self.path = path }

    /// What an examination found to be good.
    public struct Health: Sendable, Hashable {
        /// The newest write.
        public let revision: Int64
        /// What is to be told although the store opens.
        public let remark: String?
    }

    /// Nil when there is no such file, or nothing in it.
    private var size: Int? {
        var info = stat()
        return stat(path, &info) == 0 && info.st_size > 0 ? Int(info.st_size) : nil
    }

    public var exists: Bool { size != nil }

    /// Looks at the log alone: quick, and before SQLite opens it and passes over what it cannot read.
    ///
    /// - Returns: a remark on a last transaction that was not written whole.
    /// - Throws: ``StoreDamage`` when acknowledged writes would be lost.
    @discardableResult
    public func examineLog() throws(StoreDamage) -> String? {
        let bytes = Self.read(log)
        guard !bytes.isEmpty else { return nil }
        let found = WriteAheadLog(bytes, pageSize: pageSize)
        let place = "at byte \(found.damageOffset ?? 0)"
        if found.losesAcknowledged {
            throw StoreDamage(
                path: log,
                reason: "is damaged \(place): \(found.commits) transactions in it are readable, and "
                    + "\(found.commitsBehindDamage) behind the damage are lost",
                isUsable: exists)
        }
        guard found.isTorn else { return nil }
        return
            "the last transaction in \(log) was not written whole (\(place)), as after a loss of power; it is left out"
    }

    /// From the database's header: two bytes, of which 1 means 65536.
    private var pageSize: Int {
        let header = Self.read(path, upTo: 18)
        guard header.count == 18 else { return 4096 }
        let size = Int(header[16]) << 8 | Int(header[17])
        return size == 1 ? 65536 : size
    }

    /// Looks at all of it: the log, every page of the database, and whose it is. The log's transactions are in the
    /// database afterwards, and the log is gone.
    ///
    /// - Parameter acceptingLoss: goes on with what is readable of a damaged log.
    /// - Throws: ``StoreDamage``; `StorageError` when it cannot be looked at, because a process has it open for one.
    public func examine(acceptingLoss: Bool = false) throws -> Health {
        let lock = try FileLock(path: path + ".lock")
        defer { lock.release() }
        var remark: String?
        do { remark = try examineLog() } catch {
            guard acceptingLoss else { throw error }
            remark = "\(error)"
        }
        do {
            let queue = try DatabaseQueue(path: path)
            let revision = try Self.check(queue, path)
            try queue.writeWithoutTransaction { _ = try $0.checkpoint(.truncate) }
            try queue.close()
            return Health(revision: revision, remark: remark)
        } catch let error as DatabaseError {
            let reason = error.message ?? "SQLite error \(error.extendedResultCode.rawValue)"
            guard [.SQLITE_CORRUPT, .SQLITE_NOTADB].contains(error.resultCode) else {
                throw StorageError.unavailable("\(path): \(reason)")
            }
            throw StoreDamage(path: path, reason: "is damaged (\(reason))", isUsable: false)
        }
    }

    /// Writes a copy, and looks at all of it.
    ///
    /// - Returns: the newest revision in it.
    @discardableResult
    public func copy(to target: String) throws -> Int64 {
        let lock = try FileLock(path: path + ".lock")
        defer { lock.release() }
        let queue = try DatabaseQueue(path: path)
        let revision = try queue.read { try Self.copy($0, to: target) }
        try queue.close()
        return revision
    }

    /// Every page, and the newest revision.
    private static func check(_ queue: DatabaseQueue, _ path: String) throws -> Int64 {
        try queue.read { database in
            let answer = try String.fetchOne(database, sql: "PRAGMA quick_check(1)") ?? ""
            guard answer == "ok" else {
                throw StoreDamage(
                    path: path, reason: "is damaged (\(answer.replacing("\n", with: " ")))", isUsable: false)
            }
            guard try database.tableExists("log") else { return 0 }
            try checkObjects(database, path)
            return try Int64.fetchOne(database, sql: "SELECT MAX(revision) FROM log") ?? 0
        }
    }

    /// SQLite has no sums over its pages: a value that was damaged on the disk is found by reading it. Those of the API
    /// are JSON.
    private static func checkObjects(_ database: Database, _ path: String) throws {
        let rows = try Row.fetchCursor(
            database,
            sql: """
                SELECT key, value, revision FROM log
                WHERE revision IN (SELECT MAX(revision) FROM log GROUP BY key) AND value IS NOT NULL
                    AND substr(key, 1, 10) = CAST('/registry/' AS BLOB)
                """)
        while let row = try rows.next() {
            let value = try row.withUnsafeData(atIndex: 1) { data in data.map { Array($0) } ?? [] }
            do {
                _ = try JSON(parsing: value)
            } catch {
                let key = try row.withUnsafeData(atIndex: 0) { String(decoding: $0 ?? Data(), as: UTF8.self) }
                let revision: Int64 = row[2]
                throw StoreDamage(
                    path: path,
                    reason: "is damaged: what is stored under \(key) at revision \(revision) is no JSON (\(error))",
                    isUsable: false)
            }
        }
    }

    /// Writes a copy of a store that may be open and be written to meanwhile, and looks at all of the copy.
    ///
    /// - Returns: the newest revision in it.
    static func copy(_ source: Database, to target: String) throws -> Int64 {
        for suffix in ["", "-wal", "-shm"] { unlink(target + suffix) }
        // SQLite makes its files with the mode that this one has.
        let file = open(target, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw StorageError.unavailable("\(target): \(String(cString: strerror(errno)))") }
        defer { Glibc.close(file) }
        let queue = try DatabaseQueue(path: target)
        try queue.writeWithoutTransaction { target in
            try source.backup(to: target)
            _ = try target.checkpoint(.truncate)
        }
        let revision = try check(queue, target)
        try queue.close()
        fsync(file)
        return revision
    }

    private static func read(_ path: String, upTo limit: Int = .max) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return [] }
        defer { Glibc.close(file) }
        var info = stat()
        guard fstat(file, &info) == 0 else { return [] }
        return [UInt8](unsafeUninitializedCapacity: min(limit, Int(info.st_size))) { space, filled in
            while filled < space.count {
                let count = Glibc.read(file, space.baseAddress?.advanced(by: filled), space.count - filled)
                if count == 0 || (count < 0 && errno != EINTR) { return }
                filled += max(0, count)
            }
        }
    }
}
