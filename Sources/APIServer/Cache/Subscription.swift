// SPDX-License-Identifier: Apache-2.0

/// What a watcher is told.
enum WatchSignal: Sendable {
    case events([CacheEvent])
    /// All events up to the revision have been told: time for a bookmark.
    case progress(Int64)
    /// The watcher asked for no more than this long.
    case timeUp
}

/// A watcher's place in line. It ends when the watcher falls too far behind; clients then begin again.
struct Subscription: Sendable {
    let id: Int
    let signals: AsyncStream<WatchSignal>
    let continuation: AsyncStream<WatchSignal>.Continuation

    /// So many batches may wait for a slow watcher.
    static let capacity = 1024

    init(id: Int) {
        self.id = id
        (signals, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(Self.capacity))
    }

    /// False when nobody listens any more, or too slowly.
    @discardableResult
    func send(_ signal: WatchSignal) -> Bool {
        if case .enqueued = continuation.yield(signal) { return true }
        continuation.finish()
        return false
    }
}
