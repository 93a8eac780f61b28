// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Events waiting for one watcher, up to a bound.
final class WatchSubscription: Sendable {
    private struct State {
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
    var isEmpty: Bool { state.withLock { $0.events.isEmpty && $0.failure == nil } }

    /// False when the watcher has fallen behind and is ended.
    func append(_ events: ArraySlice<StoreEvent>) -> Bool {
        let fits = state.withLock { state in
            guard events.count <= limit - state.events.count else {
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

    func fail(_ error: StorageError) {
        state.withLock { if $0.failure == nil { $0.failure = error } }
        continuation.yield()
    }

    /// The next batch; nil when the reader is cancelled.
    func next() async throws(StorageError) -> [StoreEvent]? {
        while true {
            let (events, failure) = state.withLock { state in
                defer { state.events = [] }
                return (state.events, state.events.isEmpty ? state.failure : nil)
            }
            if !events.isEmpty { return events }
            if let failure { throw failure }
            var iterator = wake.makeAsyncIterator()
            if await iterator.next() == nil { return nil }
        }
    }
}
