// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The present of a store and its watchers, in memory: what every backend has in common.
///
/// Whoever commits calls ``apply(_:)`` with events in the order of their revisions; nobody else changes anything.
final class StoreCore: Sendable {
    private struct State {
        var index = KeyIndex()
        var revision: Int64
        var compacted: Int64
        /// The latest events, without a gap: from `recentStart`, exclusive, to `revision`.
        var recent: [StoreEvent] = []
        var recentBytes = 0
        var recentStart: Int64
        var watchers: [String: [WeakSubscription]] = [:]
        var isClosed = false
    }

    private struct WeakSubscription {
        weak var subscription: WatchSubscription?
    }

    private let state: Mutex<State>
    /// Events kept for watchers that come a little late.
    private let recentLimit: Int
    /// Bytes of their values: large objects that change often must not fill the memory.
    private let recentBytesLimit: Int
    /// Events that may wait for one watcher.
    private let watcherLimit: Int

    init(
        index: KeyIndex, revision: Int64, compacted: Int64, recentLimit: Int = 4096, recentBytesLimit: Int = 4 << 20,
        watcherLimit: Int = 8192
    ) {
        state = Mutex(State(index: index, revision: revision, compacted: compacted, recentStart: revision))
        self.recentLimit = recentLimit
        self.recentBytesLimit = recentBytesLimit
        self.watcherLimit = watcherLimit
    }

    var revision: Int64 { state.withLock { $0.revision } }
    var present: (index: KeyIndex, revision: Int64) { state.withLock { ($0.index, $0.revision) } }
    /// The bytes of the events that are remembered.
    var heldBytes: Int { state.withLock { $0.recentBytes } }
    var compacted: Int64 { state.withLock { $0.compacted } }

    // MARK: - Reading

    /// The key now, when `revision` is nil or the present; `.history` when it has to be looked up.
    func get(_ key: String, at revision: Int64?) throws(StorageError) -> Present<KeyValue?> {
        try state.withLock { state throws(StorageError) in
            guard try Self.isPresent(revision, state) else { return .history }
            return .now(state.index[key])
        }
    }

    func range(
        prefix: String, from startKey: String?, limit: Int?, at revision: Int64?
    ) throws(StorageError) -> Present<RangeResult> {
        try state.withLock { state throws(StorageError) in
            guard try Self.isPresent(revision, state) else { return .history }
            let (page, remaining) = state.index.range(prefix: prefix, from: startKey, limit: limit)
            return .now(RangeResult(keyValues: page, revision: state.revision, remainingCount: remaining))
        }
    }

    enum Present<Value> {
        case now(Value)
        case history
    }

    private static func isPresent(_ revision: Int64?, _ state: State) throws(StorageError) -> Bool {
        guard let revision else { return true }
        try check(revision, state)
        return revision == state.revision
    }

    private static func check(_ revision: Int64, _ state: State) throws(StorageError) {
        guard revision <= state.revision else {
            throw .futureRevision(requested: revision, current: state.revision)
        }
        guard revision >= state.compacted else {
            throw .compacted(requested: revision, compacted: state.compacted)
        }
    }

    /// Throws unless the revision can be read.
    func check(_ revision: Int64) throws(StorageError) {
        try state.withLock { state throws(StorageError) in try Self.check(revision, state) }
    }

    // MARK: - Writing

    /// Evaluates the writes one after the other on the present, without changing it.
    func evaluate(_ operations: [WriteOperation]) -> (outcomes: [WriteOutcome], events: [StoreEvent]) {
        state.withLock { state in
            var pending: [[UInt8]: KeyValue?] = [:]
            var events: [StoreEvent] = []
            var outcomes: [WriteOutcome] = []
            outcomes.reserveCapacity(operations.count)
            let isSingle = operations.count == 1
            for operation in operations {
                let bytes = isSingle ? [] : Array(operation.key.utf8)
                let current = pending[bytes] ?? state.index[operation.key]
                let (outcome, event) = operation.evaluate(
                    current: current, revision: state.revision + Int64(events.count) + 1)
                outcomes.append(outcome)
                guard let event else { continue }
                events.append(event)
                if !isSingle { pending[bytes] = .some(event.result) }
            }
            return (outcomes, events)
        }
    }

    /// Takes over committed events and hands them to the watchers.
    func apply(_ events: [StoreEvent]) {
        guard let last = events.last else { return }
        state.withLock { state in
            for event in events {
                if let entry = event.result { state.index.set(entry) } else { state.index.remove(event.key) }
            }
            state.revision = last.revision
            state.recent += events
            state.recentBytes += events.reduce(0) { $0 + $1.heldBytes }
            if state.recent.count > 2 * recentLimit || state.recentBytes > 2 * recentBytesLimit { forget(&state) }
            notify(events, &state)
        }
    }

    /// Drops the oldest of the recent events, down to the limits.
    private func forget(_ state: inout State) {
        var surplus = 0
        while surplus < state.recent.count,
            state.recent.count - surplus > recentLimit || state.recentBytes > recentBytesLimit
        {
            state.recentBytes -= state.recent[surplus].heldBytes
            surplus += 1
        }
        guard surplus > 0 else { return }
        state.recentStart = state.recent[surplus - 1].revision
        state.recent.removeFirst(surplus)
    }

    private func notify(_ events: [StoreEvent], _ state: inout State) {
        for prefix in state.watchers.keys {
            let matching = events.filter { Keys.has($0.key, prefix: prefix) }
            guard !matching.isEmpty else { continue }
            state.watchers[prefix]?.removeAll { entry in
                guard let subscription = entry.subscription else { return true }
                return !subscription.append(matching[...])
            }
            if state.watchers[prefix]?.isEmpty == true { state.watchers[prefix] = nil }
        }
    }

    func setCompacted(_ revision: Int64) {
        state.withLock { $0.compacted = max($0.compacted, revision) }
    }

    // MARK: - Watching

    /// Registers a watcher from now on. `missed` holds the events between `revision` and now, or nil when they are not
    /// in memory any more and have to be read up to `upTo`.
    func subscribe(
        prefix: String, after revision: Int64
    ) throws(StorageError) -> (subscription: WatchSubscription, missed: [StoreEvent]?, upTo: Int64) {
        let subscription = WatchSubscription(prefix: prefix, limit: watcherLimit)
        return try state.withLock { state throws(StorageError) in
            guard !state.isClosed else { throw .closed }
            try Self.check(revision, state)
            state.watchers[prefix, default: []].removeAll { $0.subscription == nil }
            state.watchers[prefix, default: []].append(WeakSubscription(subscription: subscription))
            guard revision >= state.recentStart else { return (subscription, nil, state.revision) }
            let missed = state.recent.suffix(Int(clamping: state.revision - revision)).filter {
                $0.revision > revision && Keys.has($0.key, prefix: prefix)
            }
            return (subscription, missed, state.revision)
        }
    }

    func revisionIfCaughtUp(_ subscription: WatchSubscription) -> Int64? {
        state.withLock { subscription.isEmpty ? $0.revision : nil }
    }

    /// Ends every watch.
    func close() {
        state.withLock { state in
            state.isClosed = true
            for entry in state.watchers.values.joined() { entry.subscription?.fail(.closed) }
            state.watchers = [:]
        }
    }
}

extension StoreEvent {
    /// What the event keeps in memory.
    fileprivate var heldBytes: Int { key.utf8.count + value.count + (previousValue?.count ?? 0) }
}
