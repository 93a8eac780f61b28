// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import GRDB
import Glibc

/// The log in its file: every statement that Catbird's store runs.
///
/// `log`: one row a revision; `value` is null for a deletion, `created` the revision that created the key, `previous`
/// the key's revision before, 0 for none. Keys are blobs, so that SQLite compares their bytes.
struct SQLiteLog: Sendable {
    private let pool: DatabasePool

    /// "CBRD": told apart from other people's databases.
    private static let applicationID = 0x4342_5244

    init(path: String) throws(StorageError) {
        // SQLite makes its companions (-wal, -shm) with the mode of the file itself.
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw .unavailable("\(path): \(String(cString: strerror(errno)))") }
        fchmod(file, 0o600)
        _ = Glibc.close(file)
        var configuration = Configuration()
        configuration.label = "catbird.storage"
        configuration.maximumReaderCount = 2
        pool = try Self.checked("\(path) cannot be opened") {
            let pool = try DatabasePool(path: path, configuration: configuration)
            // An acknowledged write survives the loss of power, not only of the process. GRDB chooses NORMAL as it
            // opens, so this comes after, on the one connection that writes.
            let mode = try pool.writeWithoutTransaction { database in
                try database.execute(sql: "PRAGMA synchronous = FULL")
                return try Int.fetchOne(database, sql: "PRAGMA synchronous")
            }
            guard mode == 2 else { throw StorageError.unavailable("\(path): SQLite refuses to write durably") }
            return pool
        }
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1: log") { database in
            try database.execute(
                sql: """
                    PRAGMA application_id = \(Self.applicationID);
                    CREATE TABLE log (
                        revision INTEGER PRIMARY KEY, key BLOB NOT NULL, value BLOB,
                        created INTEGER NOT NULL, previous INTEGER NOT NULL) STRICT;
                    CREATE INDEX log_key ON log (key, revision);
                    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
                    INSERT INTO meta VALUES ('compacted', 0);
                    """)
        }
        let pool = pool
        // The migrator's own table is made first: a first start that was killed may have left it alone.
        let (id, isEmpty) = try Self.checked("\(path) is no database") {
            try pool.read { database in
                (
                    try Int.fetchOne(database, sql: "PRAGMA application_id") ?? 0,
                    try Int.fetchOne(
                        database, sql: "SELECT COUNT(*) FROM sqlite_schema WHERE tbl_name <> 'grdb_migrations'") == 0
                )
            }
        }
        guard isEmpty || id == Self.applicationID else {
            throw .unavailable("\(path) is a SQLite database of another program; choose another path")
        }
        try Self.checked("\(path) cannot be brought up to date") { try migrator.migrate(pool) }
    }

    /// What the store was when it was left.
    func load() throws(StorageError) -> (index: KeyIndex, revision: Int64, compacted: Int64) {
        let pool = pool
        return try Self.checked("the store cannot be read") {
            try pool.read { database in
                let compacted =
                    try Int64.fetchOne(database, sql: "SELECT value FROM meta WHERE name = 'compacted'") ?? 0
                let last = try Int64.fetchOne(database, sql: "SELECT MAX(revision) FROM log") ?? 0
                var index = KeyIndex()
                let rows = try Row.fetchCursor(
                    database,
                    sql: """
                        SELECT key, value, created, revision FROM log
                        WHERE revision IN (SELECT MAX(revision) FROM log GROUP BY key) AND value IS NOT NULL
                        ORDER BY key
                        """)
                while let row = try rows.next() { index.set(try Self.keyValue(row)) }
                // The last row may have been a deletion that compaction took.
                return (index, max(1, last, compacted), compacted)
            }
        }
    }

    // MARK: - Writing

    /// Runs the closure on the one writer, after what was asked for before.
    func onWriter(_ body: @escaping @Sendable (Database) -> Void) {
        pool.asyncWriteWithoutTransaction { database in body(database) }
    }

    /// Commits the events in one transaction; returns when they are on the disk.
    static func append(_ events: [StoreEvent], to database: Database) throws(StorageError) {
        guard !events.isEmpty else { return }
        try checked("the write failed") {
            try database.inTransaction(.immediate) {
                let insert = try database.cachedStatement(
                    sql: """
                        INSERT INTO log (revision, key, value, created, previous) VALUES
                        (?1, ?2, ?3, ?4, COALESCE((SELECT MAX(revision) FROM log WHERE key = ?2), 0))
                        """)
                for event in events {
                    let value: Data? = event.kind == .delete ? nil : Data(event.value)
                    try insert.execute(
                        arguments: [event.revision, Data(event.key.utf8), value, event.createRevision])
                }
                return .commit
            }
        }
    }

    func setCompacted(_ revision: Int64) async throws(StorageError) {
        _ = try await writing { database in
            try database.execute(
                sql: "UPDATE meta SET value = MAX(value, ?) WHERE name = 'compacted'", arguments: [revision])
        }
    }

    /// Looks at so many rows from `from` on and removes those that no revision from `revision` on needs. The oldest go
    /// first: a deletion goes after what it deleted, which would be there again otherwise.
    ///
    /// - Returns: where to go on; nil when all have been looked at.
    func removeSuperseded(from: Int64, upTo revision: Int64, limit: Int) async throws(StorageError) -> Int64? {
        try await writing { database in
            let last = try Int64.fetchOne(
                database,
                sql: """
                    SELECT MAX(revision) FROM (
                        SELECT revision FROM log WHERE revision >= ?1 AND revision <= ?2 ORDER BY revision LIMIT ?3)
                    """, arguments: [from, revision, limit])
            guard let last else { return nil }
            try database.execute(
                sql: """
                    DELETE FROM log WHERE revision IN (
                        SELECT revision FROM log AS old
                        WHERE revision >= ?1 AND revision <= ?2 AND (value IS NULL OR EXISTS (
                            SELECT 1 FROM log AS newer
                            WHERE newer.key = old.key AND newer.revision > old.revision AND newer.revision <= ?3)))
                    """, arguments: [from, last, revision])
            return last + 1
        }
    }

    private func writing<Value: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws(StorageError) -> Value {
        do {
            return try await pool.write { try body($0) }
        } catch {
            throw Self.failure("the write failed", error)
        }
    }

    func backup(to path: String) async throws(StorageError) -> Int64 {
        // A reader sees the store as it was when it began: writes go on meanwhile.
        do { return try await pool.read { try StoreFile.copy($0, to: path) } } catch {
            throw Self.failure("the copy to \(path) failed", error)
        }
    }

    func close() async {
        // The barrier waits for every write that was asked for before.
        try? await pool.barrierWriteWithoutTransaction { _ in }
        try? pool.close()
    }

    // MARK: - Reading history

    func get(_ key: String, at revision: Int64) async throws(StorageError) -> KeyValue? {
        try await reading { database in
            try Row.fetchOne(
                database,
                sql: """
                    SELECT key, value, created, revision FROM log
                    WHERE key = ? AND revision <= ? ORDER BY revision DESC LIMIT 1
                    """, arguments: [Data(key.utf8), revision]
            ).flatMap { row in row.hasNull(atIndex: 1) ? nil : try Self.keyValue(row) }
        }
    }

    func range(
        prefix: String, from startKey: String?, limit: Int?, at revision: Int64
    ) async throws(StorageError) -> RangeResult {
        let first = startKey.map { Keys.precedes(prefix, $0) ? $0 : prefix } ?? prefix
        let bounds = Self.bounds(prefix)
        let present = """
            FROM log WHERE revision IN (
                SELECT MAX(revision) FROM log WHERE key >= ?1 AND (?2 IS NULL OR key < ?2) AND revision <= ?3
                GROUP BY key) AND value IS NOT NULL
            """
        return try await reading { database in
            let arguments: StatementArguments = [Data(first.utf8), bounds, revision]
            var page: [KeyValue] = []
            let rows = try Row.fetchCursor(
                database, sql: "SELECT key, value, created, revision \(present) ORDER BY key LIMIT ?4",
                arguments: arguments + [limit.map { max(0, $0) } ?? -1])
            while let row = try rows.next() { page.append(try Self.keyValue(row)) }
            let count =
                limit == nil
                ? page.count : try Int.fetchOne(database, sql: "SELECT COUNT(*) \(present)", arguments: arguments) ?? 0
            return RangeResult(keyValues: page, revision: revision, remainingCount: max(0, count - page.count))
        }
    }

    func events(prefix: String, after: Int64, upTo: Int64) async throws(StorageError) -> [StoreEvent] {
        let end = Self.bounds(prefix)
        return try await reading { database in
            var events: [StoreEvent] = []
            let rows = try Row.fetchCursor(
                database,
                sql: """
                    SELECT log.key, log.value, log.created, log.revision, before.value
                    FROM log LEFT JOIN log AS before ON before.revision = log.previous
                    WHERE log.revision > ?1 AND log.revision <= ?2 AND log.key >= ?3 AND (?4 IS NULL OR log.key < ?4)
                    ORDER BY log.revision
                    """, arguments: [after, upTo, Data(prefix.utf8), end])
            while let row = try rows.next() {
                let value = try Self.bytes(row, 1)
                let before = try Self.bytes(row, 4)
                events.append(
                    StoreEvent(
                        kind: value == nil ? .delete : .put, key: try Self.key(row), value: value ?? before ?? [],
                        previousValue: before, revision: row[3], createRevision: row[2]))
            }
            return events
        }
    }

    private func reading<Value: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws(StorageError) -> Value {
        do {
            return try await pool.read { try body($0) }
        } catch {
            throw Self.failure("the read failed", error)
        }
    }

    /// The first key after all that begin with the prefix; nil when there is none.
    private static func bounds(_ prefix: String) -> Data? {
        var bytes = Array(prefix.utf8)
        while let last = bytes.popLast() {
            guard last < 0xFF else { continue }
            return Data(bytes + [last + 1])
        }
        return nil
    }

    private static func key(_ row: Row) throws -> String {
        guard let bytes = try bytes(row, 0), let key = String(validating: bytes, as: UTF8.self) else {
            throw StorageError.unavailable("a key in the database is not text: the file is damaged")
        }
        return key
    }

    private static func keyValue(_ row: Row) throws -> KeyValue {
        KeyValue(key: try key(row), value: try bytes(row, 1) ?? [], createRevision: row[2], modRevision: row[3])
    }

    private static func bytes(_ row: Row, _ index: Int) throws -> [UInt8]? {
        try row.withUnsafeData(atIndex: index) { data in data.map { Array($0) } }
    }

    // MARK: - Failures

    private static func checked<Value>(_ what: String, _ body: () throws -> Value) throws(StorageError) -> Value {
        do {
            return try body()
        } catch {
            throw failure(what, error)
        }
    }

    private static func failure(_ what: String, _ error: any Error) -> StorageError {
        if let error = error as? StorageError { return error }
        guard let error = error as? DatabaseError else { return .unavailable("\(what): \(error)") }
        let reason = error.message ?? "SQLite error \(error.extendedResultCode.rawValue)"
        switch error.resultCode {
        case .SQLITE_FULL: return .unavailable("\(what): the disk is full; make room and try again")
        case .SQLITE_CORRUPT, .SQLITE_NOTADB:
            return .unavailable(
                "\(what): the file is damaged or no SQLite database (\(reason)); restore it or remove it")
        default: return .unavailable("\(what): \(reason)")
        }
    }
}
