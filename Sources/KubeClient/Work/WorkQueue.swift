// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Keys waiting to be worked on, each at most once, never two workers at one key.
///
/// A key added while it is worked on is worked on once more afterwards. A body that throws has its key queued again
/// after a delay that doubles from failure to failure; what the body itself wrote does not cut that delay short (see
/// ``WorkOrigin``).
public final class WorkQueue<Key: Hashable & Sendable>: Sendable {
    private let state: Mutex<WorkQueueState<Key>>
    private let clock: any Clock<Duration>
    /// Wakes the run; nil while there is none.
    private let waker = Mutex<AsyncStream<Void>.Continuation?>(nil)
    private let metrics: WorkQueueMetrics?

    /// - Parameter name: under which the queue's figures are shown; nil shows none.
    public init(
        _ name: String? = nil, leastDelay: Duration = .milliseconds(5), mostDelay: Duration = .seconds(30),
        clock: any Clock<Duration> = ContinuousClock()
    ) {
        state = Mutex(WorkQueueState(leastDelay: leastDelay, mostDelay: mostDelay))
        self.clock = clock
        metrics = name.map { WorkQueueMetrics(name: $0) }
    }

    /// Keys waiting or being worked on now; those that wait for their delay do not count.
    public var count: Int { state.withLock { $0.count } }

    public func add(_ key: Key) {
        let echoed = WorkOrigin.echoed
        state.withLock { $0.add(key, echoOf: echoed) }
        metrics?.added()
        wake()
    }

    public func add(_ keys: some Sequence<Key>) {
        let echoed = WorkOrigin.echoed
        state.withLock { state in
            for key in keys {
                state.add(key, echoOf: echoed)
                metrics?.added()
            }
        }
        wake()
    }

    /// Adds the key once `delay` has passed; of several delays of a key the one that ends first counts.
    public func addAfter(_ key: Key, _ delay: Duration) {
        guard delay > .zero else { return add(key) }
        state.withLock { $0.addLater(key, delay, now: .now) }
        wake()
    }

    /// Adds the key after a delay that doubles with each call since the last ``forget(_:)``.
    public func addRateLimited(_ key: Key) {
        let delay = state.withLock { $0.nextDelay(of: key) }
        metrics?.retried()
        addAfter(key, delay * Double.random(in: 0.8...1))
    }

    /// The key is in order: its next failure counts as the first.
    public func forget(_ key: Key) { state.withLock { $0.forget(key) } }

    /// Works on keys until cancelled, with at most `workers` at a time. One call at a time.
    public func run(workers: Int, _ body: @escaping @Sendable (Key) async throws -> Void) async {
        // One element is enough: it says "look", and looking takes everything. A stream whose reader was cancelled is
        // over for good, so each run has its own.
        let (wakes, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        waker.withLock { $0 = continuation }
        defer { waker.withLock { $0 = nil } }
        await withDiscardingTaskGroup { group in
            state.withLock { $0.restart() }
            var signals = wakes.makeAsyncIterator()
            repeat {
                let (keys, timers, left) = state.withLock {
                    ($0.take(workers: workers), $0.takeTimers(), $0.queued)
                }
                metrics?.isDeep(left)
                for timer in timers {
                    group.addTask {
                        guard (try? await self.clock.sleep(for: timer.delay)) != nil else { return }
                        self.state.withLock { $0.fire(timer) }
                        self.wake()
                    }
                }
                for (key, addedAt) in keys {
                    metrics?.taken(addedAt: addedAt)
                    group.addTask { await self.work(on: key, body) }
                }
            } while await signals.next() != nil && !Task.isCancelled
            group.cancelAll()
        }
    }

    private func wake() { _ = waker.withLock { $0?.yield() } }

    private func work(on key: Key, _ body: @Sendable (Key) async throws -> Void) async {
        let start = ContinuousClock.now
        let (failures, origin) = state.withLock { ($0.failures[key] ?? 0, $0.origin(of: key)) }
        do {
            try await WorkOrigin.$current.withValue(origin) { try await body(key) }
            // A body that asked for a rate-limited repeat keeps its count.
            state.withLock { if $0.failures[key] ?? 0 == failures { $0.forget(key) } }
        } catch {
            if !Task.isCancelled { addRateLimited(key) }
        }
        metrics?.done(since: start)
        state.withLock { $0.done(key) }
        wake()
    }
}

/// The bookkeeping of a work queue.
struct WorkQueueState<Key: Hashable & Sendable> {
    struct Timer: Sendable {
        let key: Key
        let id: Int
        let delay: Duration
    }

    private let leastDelay: Duration
    private let mostDelay: Duration
    private var queue: [(key: Key, addedAt: ContinuousClock.Instant)] = []
    private var head = 0
    /// Waiting, or to be worked on again when the present work on it is done.
    private var dirty: Set<Key> = []
    private var working: Set<Key> = []
    private var timers: [Key: (id: Int, deadline: ContinuousClock.Instant)] = [:]
    private var newTimers: [Timer] = []
    private var lastTimer = 0
    private(set) var failures: [Key: Int] = [:]
    /// Of the keys that are worked on or have failed.
    private var origins: [Key: WorkOrigin] = [:]
    /// Keys to which their own writes came back while they were worked on.
    private var echoed: Set<Key> = []

    init(leastDelay: Duration, mostDelay: Duration) {
        self.leastDelay = leastDelay
        self.mostDelay = mostDelay
    }

    var count: Int { dirty.union(working).count }

    mutating func add(_ key: Key, echoOf echoed: Set<WorkOrigin>) {
        guard !echoed.isEmpty, let origin = origins[key], echoed.contains(origin) else { return add(key) }
        // Whether the attempt fails is not known yet: only then is there a delay to be kept.
        if working.contains(key) { self.echoed.insert(key) } else if failures[key] == nil { add(key) }
    }

    mutating func origin(of key: Key) -> WorkOrigin {
        if let known = origins[key] { return known }
        let origin = WorkOrigin()
        origins[key] = origin
        return origin
    }

    private mutating func add(_ key: Key) {
        guard dirty.insert(key).inserted, !working.contains(key) else { return }
        queue.append((key, .now))
    }

    mutating func addLater(_ key: Key, _ delay: Duration, now: ContinuousClock.Instant) {
        let deadline = now + delay
        if let timer = timers[key], timer.deadline <= deadline { return }
        lastTimer += 1
        timers[key] = (lastTimer, deadline)
        newTimers.append(Timer(key: key, id: lastTimer, delay: delay))
    }

    /// Timers that nobody sleeps for yet.
    mutating func takeTimers() -> [Timer] {
        defer { newTimers = [] }
        return newTimers
    }

    /// After a run was cancelled, so were its timers: what they were for is due now.
    mutating func restart() {
        let fresh = Set(newTimers.map(\.id))
        for (key, timer) in timers where !fresh.contains(timer.id) {
            timers[key] = nil
            add(key)
        }
    }

    mutating func fire(_ timer: Timer) {
        guard timers[timer.key]?.id == timer.id else { return }
        timers[timer.key] = nil
        add(timer.key)
    }

    /// How many wait to be taken.
    var queued: Int { queue.count - head }

    mutating func take(workers: Int) -> [(key: Key, addedAt: ContinuousClock.Instant)] {
        var keys: [(key: Key, addedAt: ContinuousClock.Instant)] = []
        while head < queue.count, working.count < workers {
            let next = queue[head]
            head += 1
            dirty.remove(next.key)
            working.insert(next.key)
            keys.append(next)
        }
        if head > 64, head * 2 > queue.count {
            queue.removeFirst(head)
            head = 0
        }
        return keys
    }

    mutating func done(_ key: Key) {
        working.remove(key)
        let hasEcho = echoed.remove(key) != nil
        if failures[key] == nil {
            origins[key] = nil
            if hasEcho { dirty.insert(key) }
        }
        if dirty.contains(key) { queue.append((key, .now)) }
    }

    mutating func nextDelay(of key: Key) -> Duration {
        let count = failures[key] ?? 0
        failures[key] = count + 1
        return min(mostDelay, leastDelay * (1 << min(count, 30)))
    }

    mutating func forget(_ key: Key) { failures[key] = nil }
}
