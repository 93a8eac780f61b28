// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Events waiting for one watcher, up to a bound.
final class WatchSubscription: Sendable {
    private struct State {
        /// What happened before the subscription began: the watcher asked for it, so it does not count as lag.
        var history: [StoreEvent] = []
        var events: [StoreEvent] = []
        var failure: StorageError?
    }

    let prefix: String
    private let limit: Int
    private let state = Mutex(State())
    private let wake: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init(prefix: String, limit: Int) {
        self.prefix = prefix
        self.limit = limit
        // One element is enough: it says "look", and looking takes everything.
        (wake, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Whether every event was taken.
    var isEmpty: Bool { state.withLock { $0.history.isEmpty && $0.events.isEmpty && $0.failure == nil } }

    /// False when the watcher has fallen behind and is ended.
    func append(_ events: ArraySlice<StoreEvent>) -> Bool {
        let fits = state.withLock { state in
            guard state.failure == nil else { return false }
            guard state.events.isEmpty || events.count <= limit - state.events.count else {
                state.events = []
                state.failure = .lagged
                return false
            }
            state.events += events
            return true
        }
        continuation.yield()
        return fits
    }

    /// Before the watcher reads: what happened before the subscription began.
    func setHistory(_ history: [StoreEvent]) {
        state.withLock { $0.history = history }
        continuation.yield()
    }

    func fail(_ error: StorageError) {
        state.withLock { if $0.failure == nil { $0.failure = error } }
        continuation.yield()
    }

    /// The next batch; nil when the reader is cancelled.
    func next() async throws(StorageError) -> [StoreEvent]? {
        while true {
            let (events, failure) = state.withLock { state in
                defer {
                    state.history = []
                    state.events = []
                }
                let events = state.history.isEmpty ? state.events : state.history + state.events
                return (events, events.isEmpty ? state.failure : nil)
            }
            if !events.isEmpty { return events }
            if let failure { throw failure }
            var iterator = wake.makeAsyncIterator()
            if await iterator.next() == nil { return nil }
        }
    }
}
