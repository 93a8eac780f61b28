// SPDX-License-Identifier: Apache-2.0

import GRDB
import Glibc
public import Logging
import Synchronization

/// A store in a SQLite file.
///
/// The file holds a log: one row a write, the value in it. The present is also kept in memory, so that reads of it never
/// touch the file. Writes queue up, and whatever waits is committed in one transaction and one `fsync`; only then are
/// their writers answered and the watchers told. A store that is killed at any instant opens with every acknowledged
/// write, and with each unacknowledged one either whole or not at all.
public final class SQLiteBackend: Backend {
    private struct Pending: Sendable {
        let operation: WriteOperation
        let done: CheckedContinuation<Result<WriteOutcome, StorageError>, Never>
    }

    private struct State {
        var pending: [Pending] = []
        var isDraining = false
        var isCompacting = false
        var isClosed = false
    }

    private let core: StoreCore
    private let log: SQLiteLog
    private let lock: FileLock
    private let state = Mutex(State())
    private let retainedRevisions: Int64?
    private let path: String
    private let logger: Logger

    /// Opens or creates the file, readable by its owner only. Throws when another process has it open, when it is not
    /// such a store, and when its log is damaged, so that acknowledged writes would be missing. `retainedRevisions`: history beyond so many revisions is given up now and then; nil keeps it
    /// until ``compact(to:)``.
    public init(
        path: String, retainedRevisions: Int? = 10_000, watcherLimit: Int = 8192,
        logger: Logger = Logger(label: "storage")
    ) throws(StorageError) {
        lock = try FileLock(path: path + ".lock")
        do {
            // Before SQLite opens it, which passes over what it cannot read.
            if let remark = try StoreFile(path: path).examineLog() { logger.warning("\(remark)") }
        } catch { throw .unavailable("\(error)") }
        log = try SQLiteLog(path: path)
        let loaded = try log.load()
        core = StoreCore(
            index: loaded.index, revision: loaded.revision, compacted: loaded.compacted, watcherLimit: watcherLimit)
        self.path = path
        self.retainedRevisions = retainedRevisions.map { Int64(max(1, $0)) }
        self.logger = logger
    }

    /// Ends the watches, commits what was asked for, and closes the file.
    public func close() async {
        let mustWait = state.withLock { state in
            defer { state.isClosed = true }
            return !state.isClosed
        }
        guard mustWait else { return }
        core.close()
        // Behind everything that is queued for the writer.
        await log.close()
        lock.release()
    }

    /// Copies the store into a file of its own, while it goes on, and looks at every page of the copy.
    ///
    /// - Returns: the newest revision in the copy.
    public func backup(to path: String) async throws(StorageError) -> Int64 { try await log.backup(to: path) }

    public var currentRevision: Int64 { core.revision }
    public var compactedRevision: Int64 { core.compacted }

    /// Of the file, and of its log of what is not in it yet.
    public var storedBytes: Int? {
        [path, path + "-wal"].reduce(into: 0) { sum, path in
            var status = stat()
            if stat(path, &status) == 0 { sum += Int(status.st_size) }
        }
    }

    // MARK: - Reading

    public func get(_ key: String, at revision: Int64?) async throws(StorageError) -> KeyValue? {
        guard case .history = try core.get(key, at: revision), let revision else {
            guard case .now(let value) = try core.get(key, at: nil) else { return nil }
            return value
        }
        let value = try await log.get(key, at: revision)
        // A compaction may have taken the rows meanwhile.
        try core.check(revision)
        return value
    }

    public func range(
        prefix: String, from startKey: String?, limit: Int?, at revision: Int64?
    ) async throws(StorageError) -> RangeResult {
        switch try core.range(prefix: prefix, from: startKey, limit: limit, at: revision) {
        case .now(let result): return result
        case .history:
            let revision = revision ?? 0
            let result = try await log.range(prefix: prefix, from: startKey, limit: limit, at: revision)
            try core.check(revision)
            return result
        }
    }

    public func watch(prefix: String, after revision: Int64) async throws(StorageError) -> StoreWatch {
        let (subscription, missed, upTo) = try core.subscribe(prefix: prefix, after: revision)
        if let missed { return StoreWatch(subscription, history: missed, core: core) }
        let events = try await log.events(prefix: prefix, after: revision, upTo: upTo)
        try core.check(revision)
        return StoreWatch(subscription, history: events, core: core)
    }

    // MARK: - Writing

    public func put(
        _ key: String, _ value: [UInt8], expecting modRevision: Int64?
    ) async throws(StorageError) -> PutResult {
        guard case .put(let result) = try await write(.put(key: key, value: value, expecting: modRevision)) else {
            throw .unavailable("a put was answered as a deletion")
        }
        return result
    }

    public func delete(_ key: String, expecting modRevision: Int64?) async throws(StorageError) -> DeleteResult {
        guard case .delete(let result) = try await write(.delete(key: key, expecting: modRevision)) else {
            throw .unavailable("a deletion was answered as a put")
        }
        return result
    }

    private func write(_ operation: WriteOperation) async throws(StorageError) -> WriteOutcome {
        let result = await withCheckedContinuation { done in
            enqueue(Pending(operation: operation, done: done))
        }
        return try result.get()
    }

    private func enqueue(_ pending: Pending) {
        let (isClosed, mustStart) = state.withLock { state in
            guard !state.isClosed else { return (true, false) }
            state.pending.append(pending)
            defer { state.isDraining = true }
            return (false, !state.isDraining)
        }
        if isClosed { return pending.done.resume(returning: .failure(.closed)) }
        if mustStart { log.onWriter { database in self.drain(database) } }
    }

    /// Runs on the writer's queue: commits what waits. While one group is on its way to the disk, the next one gathers;
    /// it queues behind whatever else wants the writer, so that compaction gets its turn also under writes without end.
    private func drain(_ database: Database) {
        let group = state.withLock { state in
            defer { state.pending = [] }
            return state.pending
        }
        commit(group, database)
        let hasMore = state.withLock { state in
            state.isDraining = !state.pending.isEmpty
            return state.isDraining
        }
        if hasMore { log.onWriter { database in self.drain(database) } }
    }

    private func commit(_ group: [Pending], _ database: Database) {
        let (outcomes, events) = core.evaluate(group.map(\.operation))
        do {
            try SQLiteLog.append(events, to: database)
        } catch {
            logger.error("a group of \(events.count) writes failed: \(error)")
            for pending in group { pending.done.resume(returning: .failure(error)) }
            return
        }
        core.apply(events)
        for (pending, outcome) in zip(group, outcomes) { pending.done.resume(returning: .success(outcome)) }
        compactIfDue()
    }

    // MARK: - Compaction

    public func compact(to revision: Int64) async throws(StorageError) {
        try core.check(revision)
        // From here on nobody reads older revisions; the rows go afterwards, a little at a time between writes.
        try await log.setCompacted(revision)
        core.setCompacted(revision)
        var next: Int64? = 0
        while let from = next { next = try await log.removeSuperseded(from: from, upTo: revision, limit: 500) }
    }

    private func compactIfDue() {
        guard let retainedRevisions else { return }
        let revision = core.revision - retainedRevisions
        let isDue = state.withLock { state in
            guard !state.isCompacting, !state.isClosed, revision - core.compacted > retainedRevisions else {
                return false
            }
            state.isCompacting = true
            return true
        }
        guard isDue else { return }
        // Not structured: it is the store's own housekeeping, which ends by itself and fails with the store.
        Task {
            do {
                try await compact(to: revision)
            } catch {
                logger.warning("giving up history before revision \(revision) failed: \(error)")
            }
            state.withLock { $0.isCompacting = false }
        }
    }
}
