// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import Synchronization

/// What a watcher is told.
enum WatchSignal: Sendable {
    case events([CacheEvent])
    /// All events up to the revision have been told: time for a bookmark.
    case progress(Int64)
    /// The watcher asked for no more than this long.
    case timeUp
}

/// A watcher's place in line. It ends when the watcher falls too far behind; clients then begin again.
///
/// A watcher whose task has nothing left to write can be told without waking it: its bytes go straight to its
/// connection, together with those of all others (``DirectWatch``). Signals wait here while it is busy.
final class Subscription: Sendable {
    private struct State {
        var waiting: [WatchSignal] = []
        /// The watcher's task, which has seen all that came.
        var waiter: CheckedContinuation<WatchSignal?, Never>?
        var direct: DirectWatch?
        var hasEnded = false
    }

    let id: Int
    private let state = Mutex(State())

    /// So many batches may wait for a slow watcher.
    static let capacity = 1024
    /// A watcher whose connection holds so much is behind: its task waits for the client.
    static let directBacklog = 128 << 10

    init(id: Int) { self.id = id }

    // MARK: - The mirror's side

    /// False when nobody listens any more, or too slowly.
    @discardableResult
    func send(_ signal: WatchSignal) -> Bool {
        let (waiter, isOpen) = state.withLock { state in
            guard !state.hasEnded, state.waiting.count < Self.capacity else {
                state.hasEnded = true
                return (nil as CheckedContinuation<WatchSignal?, Never>?, false)
            }
            if let waiter = state.waiter.take() { return (waiter, true) }
            state.waiting.append(signal)
            return (nil, true)
        }
        waiter?.resume(returning: signal)
        return isOpen
    }

    /// Tells of events: what can go straight to the connection is added to `batch`, which the caller sends before it
    /// tells of anything later. False when nobody listens any more, or too slowly.
    func tell(_ events: [CacheEvent], _ batch: inout HTTPOutlet.Batch) -> Bool {
        let direct = state.withLock { $0.waiter == nil ? nil : $0.direct }
        guard let direct, direct.outlet.backlog < Self.directBacklog else { return send(.events(events)) }
        batch.add(direct.lines(events), to: direct.outlet)
        return true
    }

    /// Nothing more comes; what waits can still be read.
    func finish() {
        state.withLock { state in
            state.hasEnded = true
            return state.waiter.take()
        }?.resume(returning: nil)
    }

    // MARK: - The watcher's side

    /// From now on the watcher may be told past its task.
    func allow(_ direct: DirectWatch) { state.withLock { $0.direct = direct } }

    /// The next signal; nil at the end, or when the task is cancelled. For one reader.
    func next() async -> WatchSignal? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<WatchSignal?, Never>) in
                let signal: WatchSignal?? = state.withLock { state in
                    if !state.waiting.isEmpty { return .some(state.waiting.removeFirst()) }
                    // Cancelled before the waiter was there to be resumed.
                    if state.hasEnded || Task.isCancelled { return .some(nil) }
                    state.waiter = continuation
                    return nil
                }
                if let signal { continuation.resume(returning: signal) }
            }
        } onCancel: {
            finish()
        }
    }
}

extension Subscription {
    /// Bookmarks come about once a minute.
    private static let bookmarkInterval = Duration.seconds(60)

    /// Signals progress now and then, and the end after `seconds`, until cancelled. `revision` is how far the
    /// subscription has been told of events when it is asked.
    func timers(seconds: Int, _ revision: @escaping @Sendable () -> Int64) -> Task<Void, any Error> {
        Task {
            var left = Duration.seconds(seconds)
            while left > .zero {
                let step = min(left, Self.bookmarkInterval)
                // That nothing happens is no event: time is what is waited for.
                try await Task.sleep(for: step)
                left -= step
                send(.progress(revision()))
            }
            send(.timeUp)
        }
    }
}

/// What a watcher is sent of events, and the connection on which it is sent.
struct DirectWatch: Sendable {
    let outlet: HTTPOutlet
    let lines: @Sendable ([CacheEvent]) -> [UInt8]
}
