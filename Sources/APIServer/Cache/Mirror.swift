// SPDX-License-Identifier: Apache-2.0

import Coordination
import HTTPServing
import KubeClient
import KubeObjects
import Logging
import Storage
import Synchronization

/// All objects of the store in memory, kept up to date by watching it: lists and watches are answered from here.
///
/// Whatever has been acknowledged by the store can be waited for (`caughtUp`), so reads are as fresh as the store.
final class Mirror: Sendable {
    private struct State {
        var revision: Int64 = 0
        var caches: [String: ResourceCache] = [:]
        var keys: [String: StorageKey] = [:]
        var new = NewEvents()
        var subscriptions: [String: [Int: Subscription]] = [:]
        var nextSubscription = 0
        /// In the order of their deadlines, since all wait for the same time.
        var waiters: [Waiter] = []
        /// Somebody looks after the deadlines of the waiters.
        var isTiming = false
        /// The revision that the objects showed when they were read.
        var loadedAt: Int64 = 0
        /// The revision after which events are remembered: watches can begin there, also after a restart.
        var historyStart: Int64 = 0
        /// The revision up to which they are remembered so far.
        var historyEnd: Int64 = 0
        var feed: Task<Void, any Error>?
        /// Everything has been read, and changes come in.
        var isFollowing = false
    }

    private struct Waiter {
        let revision: Int64
        let deadline: ContinuousClock.Instant
        /// Told whether the revision came.
        let continuation: CheckedContinuation<Bool, Never>
    }

    /// Behind this the store's changes do not come any more; they take a millisecond otherwise.
    private static let patience = Duration.seconds(5)

    private let storage: any Backend
    private let logger: Logger
    private let state = Mutex(State())
    private let started = AsyncLock()
    let watchEvents = MetricFamily(
        .counter, "apiserver_watch_events_total", "Events that watchers were told of.",
        labels: ["group", "version", "kind"])

    init(storage: any Backend, logger: Logger) {
        self.storage = storage
        self.logger = logger
    }

    // MARK: Filling and following

    /// Fills the mirror and begins to follow the store; does nothing when that has been done.
    func start() async throws {
        if state.withLock({ $0.feed != nil }) { return }
        try await started.withLock {
            if state.withLock({ $0.feed != nil }) { return }
            let revision = try await load()
            let feed = Task { try await self.follow(after: revision) }
            state.withLock { $0.feed = feed }
        }
    }

    func stop() {
        let (feed, waiters, subscriptions) = state.withLock { state in
            state.isFollowing = false
            let result = (state.feed, state.waiters, state.subscriptions)
            state.waiters = []
            state.subscriptions = [:]
            return result
        }
        feed?.cancel()
        for waiter in waiters { waiter.continuation.resume(returning: false) }
        for subscription in subscriptions.values.flatMap(\.values) { subscription.finish() }
    }

    private func load() async throws -> Int64 {
        var loaded: [StoredObject] = []
        var start: String?
        var revision: Int64?
        repeat {
            let page = try await storage.range(prefix: StorageKey.root, from: start, limit: 2000, at: revision)
            revision = revision ?? page.revision
            for entry in page.keyValues {
                guard let object = makeObject(entry.key, entry.value, entry.modRevision) else { continue }
                try object.verify()
                loaded.append(object)
            }
            start = page.hasMore ? page.keyValues.last.map { $0.key + "\0" } : nil
        } while start != nil
        let at = revision ?? 0
        // What happened shortly before is still in the store: who watched a server that is gone goes on here.
        // The first revision is that of an empty store: no event leads to it.
        let oldest = min(at, max(1, await storage.compactedRevision, at - Int64(ResourceCache.historyLimit)))
        state.withLock { state in
            state.caches = [:]
            state.loadedAt = at
            state.historyStart = oldest
            state.historyEnd = oldest
            state.isFollowing = true
            for object in loaded {
                state.caches[object.resource.prefix, default: ResourceCache(start: oldest)].load(object)
            }
        }
        // Otherwise the mirror is up to date when the events until then have come.
        if oldest == at { advance(to: at) }
        return oldest
    }

    private func follow(after start: Int64) async throws {
        var revision = start
        while !Task.isCancelled {
            do {
                for try await batch in try await storage.watch(prefix: "/", after: revision) {
                    apply(batch)
                    revision = batch.last?.revision ?? revision
                }
            } catch {
                logger.warning(
                    "the watch of the store ended; reading everything again", metadata: ["error": "\(error)"])
            }
            guard !Task.isCancelled else { return }
            // Watchers may have missed something: they are sent away and list again.
            let subscriptions = state.withLock { state in
                state.isFollowing = false
                defer { state.subscriptions = [:] }
                return state.subscriptions.values.flatMap(\.values)
            }
            for subscription in subscriptions { subscription.finish() }
            do {
                revision = try await load()
            } catch {
                logger.error("the store cannot be read; trying again", metadata: ["error": "\(error)"])
                // The store gives no sign when it can be read again.
                try await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    private func apply(_ batch: [StoreEvent]) {
        guard let last = batch.last else { return }
        let told = state.withLock { state in
            var events: [String: [CacheEvent]] = [:]
            for change in batch where change.revision > state.historyEnd {
                guard let object = makeObject(change.key, change.value, change.revision, &state.keys) else { continue }
                let kind: CacheEvent.Kind = change.kind == .put ? .put : .delete
                let prefix = object.resource.prefix
                if change.revision <= state.loadedAt {
                    // These come from the disk as well. They were replaced since, so that only watchers would see them.
                    do { try object.verify() } catch {
                        logger.error("a change is left out of the history", metadata: ["error": "\(error)"])
                        continue
                    }
                    let previous = change.isCreate ? nil : change.previousValue.map { object.with($0) }
                    state.caches[prefix, default: ResourceCache(start: state.historyStart)]
                        .remember(CacheEvent(kind: kind, object: object, previous: previous))
                    continue
                }
                let event = state.caches[prefix, default: ResourceCache(start: state.historyStart)].apply(kind, object)
                events[prefix, default: []].append(event)
                state.new.append(event)
            }
            state.historyEnd = max(state.historyEnd, last.revision)
            return events.compactMap { prefix, events in
                state.subscriptions[prefix].map { (prefix: prefix, events: events, subscriptions: $0) }
            }
        }
        // Outside the lock: a thousand watchers take a while. Only one batch is told of at a time, and who subscribed
        // meanwhile has seen these events in what it was given.
        for (prefix, events, subscriptions) in told {
            var batch = HTTPOutlet.Batch()
            let gone = subscriptions.values.filter { !$0.tell(events, &batch) }
            batch.send()
            if let resource = events.first?.object.resource.resource {
                watchEvents.add(
                    Double(events.count * subscriptions.count), [resource.group, resource.version, resource.resource])
            }
            guard !gone.isEmpty else { continue }
            state.withLock { state in
                for subscription in gone { state.subscriptions[prefix]?[subscription.id] = nil }
            }
        }
        advance(to: last.revision)
    }

    private func advance(to revision: Int64) {
        let ready = state.withLock { state in
            state.revision = max(state.revision, revision)
            let reached = state.revision
            let ready = state.waiters.filter { $0.revision <= reached }
            state.waiters.removeAll { $0.revision <= reached }
            return ready
        }
        for waiter in ready { waiter.continuation.resume(returning: true) }
    }

    private func makeObject(_ key: String, _ value: [UInt8], _ revision: Int64) -> StoredObject? {
        state.withLock { makeObject(key, value, revision, &$0.keys) }
    }

    private func makeObject(
        _ key: String, _ value: [UInt8], _ revision: Int64, _ keys: inout [String: StorageKey]
    ) -> StoredObject? {
        guard let resource = StorageKey(ofKey: key, known: &keys) else { return nil }
        return StoredObject(key: key, resource: resource, revision: revision, value: value)
    }

    // MARK: Reading

    /// Whether the store has been read, at least once.
    var isLoaded: Bool { state.withLock { $0.feed != nil } }

    /// Whether what is here follows the store.
    var isFollowing: Bool { state.withLock { $0.isFollowing } }

    var revision: Int64 { state.withLock { $0.revision } }

    /// Returns when everything the store has acknowledged so far can be seen here.
    ///
    /// - Throws: 503 with the time after which to try again, when it cannot be seen within five seconds.
    func caughtUp() async throws(StatusError) {
        let target = await storage.currentRevision
        try await reached(target)
    }

    /// Returns when the mirror shows the store at `revision` or later.
    ///
    /// - Throws: 503 with the time after which to try again, when it does not within five seconds.
    func reached(_ revision: Int64) async throws(StatusError) {
        let hasCome = await withCheckedContinuation { continuation in
            let (isReady, mustTime) = state.withLock { state in
                if state.revision >= revision { return (true, false) }
                state.waiters.append(
                    Waiter(revision: revision, deadline: .now + Self.patience, continuation: continuation))
                defer { state.isTiming = true }
                return (false, !state.isTiming)
            }
            if isReady { continuation.resume(returning: true) }
            // Not structured: it serves all who wait, and ends by itself when nobody does.
            if mustTime { Task { await endLateWaits() } }
        }
        guard hasCome else {
            throw .serviceUnavailable(
                "the server does not follow its store: revision \(revision) has not come, \(self.revision) is the newest",
                retryAfterSeconds: 1)
        }
    }

    /// Ends the waits whose deadlines pass, for as long as there are any.
    private func endLateWaits() async {
        while true {
            let next = state.withLock { state in
                state.isTiming = !state.waiters.isEmpty
                return state.waiters.first?.deadline
            }
            guard let next else { return }
            // A deadline is a time. The task is nobody's, and never cancelled.
            try? await Task.sleep(until: next, clock: .continuous)
            let late = state.withLock { state in
                let late = state.waiters.filter { $0.deadline <= next }
                state.waiters.removeAll { $0.deadline <= next }
                return late
            }
            for waiter in late { waiter.continuation.resume(returning: false) }
        }
    }

    func object(_ resource: StorageKey, _ namespace: String?, _ name: String) -> StoredObject? {
        state.withLock { $0.caches[resource.prefix]?[resource.key(namespace, name)] }
    }

    /// The object that stands now where another one stood.
    func object(_ earlier: StoredObject) -> StoredObject? {
        state.withLock { $0.caches[earlier.resource.prefix]?[earlier.key] }
    }

    /// The objects of a resource from the key `start` on, at most `limit`; how many more there are; and the revision of
    /// the store that they show.
    func list(
        _ resource: StorageKey, namespace: String? = nil, from start: String? = nil, limit: Int? = nil
    ) -> (objects: [StoredObject], remaining: Int, revision: Int64) {
        // The copy is taken under the lock and read outside of it: other requests do not wait for long lists.
        let (cache, revision) = state.withLock { ($0.caches[resource.prefix], $0.revision) }
        let found = cache?.objects(prefix: resource.prefix(namespace: namespace), from: start, limit: limit)
        return (found?.entries ?? [], found?.remaining ?? 0, revision)
    }

    /// The cluster-wide objects of a resource whose names begin so.
    func list(_ resource: StorageKey, beginning names: String) -> [StoredObject] {
        let cache = state.withLock { $0.caches[resource.prefix] }
        return cache?.objects(prefix: resource.prefix + names).entries ?? []
    }

    /// The revision of the last change to a resource.
    func lastChange(_ resource: StorageKey) -> Int64 {
        state.withLock { $0.caches[resource.prefix]?.lastChange ?? $0.historyStart }
    }

    /// The objects of each resource, and its watchers.
    func counts() -> [(resource: StorageKey, count: Int, watchers: Int)] {
        state.withLock { state in
            state.keys.values.map {
                ($0, state.caches[$0.prefix]?.count ?? 0, state.subscriptions[$0.prefix]?.count ?? 0)
            }
        }
    }

    // MARK: Watching

    enum WatchStart: Sendable {
        /// What there is, then what happens.
        case snapshot
        case after(Int64)
    }

    struct Watch: Sendable {
        let subscription: Subscription
        /// What there was, when that was asked for.
        let initial: [StoredObject]
        /// What happened between the start asked for and now.
        let missed: [CacheEvent]
        let revision: Int64
    }

    /// Nil when events after the start have been forgotten; `oldest` says what is left.
    func watch(_ resource: StorageKey, namespace: String?, from start: WatchStart) -> (watch: Watch?, oldest: Int64) {
        state.withLock { state in
            let cache = state.caches[resource.prefix] ?? ResourceCache(start: state.historyStart)
            var initial: [StoredObject] = []
            var missed: [CacheEvent] = []
            switch start {
            case .snapshot:
                initial = cache.objects(prefix: resource.prefix(namespace: namespace)).entries
            case .after(let revision):
                guard let events = cache.events(after: revision) else { return (nil, cache.historyStart) }
                missed = events
            }
            state.nextSubscription += 1
            let subscription = Subscription(id: state.nextSubscription)
            state.subscriptions[resource.prefix, default: [:]][subscription.id] = subscription
            return (
                Watch(subscription: subscription, initial: initial, missed: missed, revision: state.revision),
                cache.historyStart
            )
        }
    }

    /// Sends the watchers of a resource away: it is not served any more.
    func endWatches(_ resource: StorageKey) {
        let ended = state.withLock { $0.subscriptions.removeValue(forKey: resource.prefix) }
        for subscription in (ended ?? [:]).values { subscription.finish() }
    }

    func unsubscribe(_ resource: StorageKey, _ subscription: Subscription) {
        subscription.finish()
        state.withLock { $0.subscriptions[resource.prefix]?[subscription.id] = nil }
    }
}

extension StorageKey {
    /// The folder of a key, from a table of those seen so far.
    init?(ofKey key: String, known: inout [String: StorageKey]) {
        guard key.hasPrefix(Self.root) else { return nil }
        let rest = key.utf8.dropFirst(Self.root.utf8.count)
        guard let first = rest.firstIndex(of: UInt8(ascii: "/")),
            let second = rest[rest.index(after: first)...].firstIndex(of: UInt8(ascii: "/"))
        else { return nil }
        let prefix = String(key[...second])
        if let found = known[prefix] {
            self = found
            return
        }
        let group = String(key[rest.startIndex..<first])
        self.init(
            GroupVersionResource(group == "core" ? "" : group, "", String(key[key.utf8.index(after: first)..<second])))
        known[prefix] = self
    }
}
