// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// A store that lives as long as the process: for tests.
public final class MemoryBackend: Backend {
    private struct History {
        /// Every event since the last compaction, by revision.
        var events: [StoreEvent] = []
        /// What each key was at the last compaction.
        var base = KeyIndex()
    }

    private let core: StoreCore
    private let history = Mutex(History())

    /// `watcherLimit` bounds the events that may wait for one watcher.
    public convenience init(watcherLimit: Int = 8192) {
        self.init(index: KeyIndex(), revision: 1, compacted: 0, watcherLimit: watcherLimit)
    }

    /// A store that begins with what another one holds now, at its revision and without its history.
    public convenience init(copying other: MemoryBackend) {
        let (index, revision) = other.core.present
        self.init(index: index, revision: revision, compacted: revision, watcherLimit: 8192)
    }

    private init(index: KeyIndex, revision: Int64, compacted: Int64, watcherLimit: Int) {
        core = StoreCore(
            index: index, revision: revision, compacted: compacted, recentLimit: 64, watcherLimit: watcherLimit)
        history.withLock { $0.base = index }
    }

    public var currentRevision: Int64 { core.revision }
    public var compactedRevision: Int64 { core.compacted }

    public func get(_ key: String, at revision: Int64?) async throws(StorageError) -> KeyValue? {
        switch try core.get(key, at: revision) {
        case .now(let value): return value
        case .history: return index(at: revision ?? 0)[key]
        }
    }

    public func range(
        prefix: String, from startKey: String?, limit: Int?, at revision: Int64?
    ) async throws(StorageError) -> RangeResult {
        switch try core.range(prefix: prefix, from: startKey, limit: limit, at: revision) {
        case .now(let result): return result
        case .history:
            let (page, remaining) = index(at: revision ?? 0).range(prefix: prefix, from: startKey, limit: limit)
            return RangeResult(keyValues: page, revision: revision ?? 0, remainingCount: remaining)
        }
    }

    private func index(at revision: Int64) -> KeyIndex {
        history.withLock { Self.index(at: revision, $0) }
    }

    private static func index(at revision: Int64, _ history: History) -> KeyIndex {
        var index = history.base
        for event in history.events.prefix(while: { $0.revision <= revision }) {
            if let entry = event.result { index.set(entry) } else { index.remove(event.key) }
        }
        return index
    }

    public func put(
        _ key: String, _ value: [UInt8], expecting modRevision: Int64?
    ) async throws(StorageError) -> PutResult {
        guard case .put(let result) = write(.put(key: key, value: value, expecting: modRevision)) else {
            throw .unavailable("a put was answered as a deletion")
        }
        return result
    }

    public func delete(_ key: String, expecting modRevision: Int64?) async throws(StorageError) -> DeleteResult {
        guard case .delete(let result) = write(.delete(key: key, expecting: modRevision)) else {
            throw .unavailable("a deletion was answered as a put")
        }
        return result
    }

    private func write(_ operation: WriteOperation) -> WriteOutcome? {
        history.withLock { history in
            let (outcomes, events) = core.evaluate([operation])
            history.events += events
            core.apply(events)
            return outcomes.first
        }
    }

    public func watch(prefix: String, after revision: Int64) async throws(StorageError) -> StoreWatch {
        let (subscription, missed, upTo) = try core.subscribe(prefix: prefix, after: revision)
        let events =
            missed
            ?? history.withLock { history in
                history.events.filter {
                    $0.revision > revision && $0.revision <= upTo && Keys.has($0.key, prefix: prefix)
                }
            }
        return StoreWatch(subscription, history: events, core: core)
    }

    public func compact(to revision: Int64) async throws(StorageError) {
        try core.check(revision)
        history.withLock { history in
            history.base = Self.index(at: revision, history)
            history.events.removeAll { $0.revision <= revision }
            core.setCompacted(revision)
        }
    }
}
