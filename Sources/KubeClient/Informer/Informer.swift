// SPDX-License-Identifier: Apache-2.0

import Coordination
public import KubeObjects
public import Logging
import Synchronization
import Values

/// Keeps a copy of a collection up to date by list and watch, and tells its readers what changes.
///
/// After a failure the watch goes on from the last resource version seen; when the server no longer has it (410), the
/// collection is listed again and the difference reported. No change is reported twice.
///
/// Objects are kept without `metadata.managedFields`, which can be the larger half of them. A server takes an update
/// without it as one that leaves it as it is. A reader of few fields has the rest taken away too (`trimming`); what is
/// trimmed must not be written back as a whole.
public final class Informer: Sendable {
    private struct State {
        var cache = InformerCache()
        var subscribers: [WeakSubscriber] = []
    }

    private struct WeakSubscriber {
        weak var subscriber: InformerSubscriber?
    }

    public let resource: GroupVersionResource
    private let client: KubeClient
    private let namespace: String?
    private let labelSelector: String?
    private let fieldSelector: String?
    private let trimming: (@Sendable (inout KubeObject) -> Void)?
    private let clock: any Clock<Duration>
    private let logger: Logger
    private let state = Mutex(State())
    /// Opens when the collection has been listed.
    private let synced = Gate()

    public init(
        _ client: KubeClient, _ resource: GroupVersionResource, namespace: String? = nil,
        labelSelector: String? = nil, fieldSelector: String? = nil,
        trimming: (@Sendable (inout KubeObject) -> Void)? = nil, clock: any Clock<Duration> = ContinuousClock(),
        logger: Logger = Logger(label: "informer")
    ) {
        self.client = client
        self.resource = resource
        self.namespace = namespace
        self.labelSelector = labelSelector
        self.fieldSelector = fieldSelector
        self.trimming = trimming
        self.clock = clock
        self.logger = logger
    }

    deinit {
        state.withLock { state in for entry in state.subscribers { entry.subscriber?.finish() } }
    }

    // MARK: - Reading

    /// Whether the collection has been listed once.
    public var hasSynced: Bool { synced.isOpen }

    /// The resource version that the cache has reached.
    public var resourceVersion: String { state.withLock { $0.cache.resourceVersion } }

    public subscript(_ key: ObjectKey) -> KubeObject? { state.withLock { $0.cache.objects[key] } }

    public subscript(_ namespace: String?, _ name: String) -> KubeObject? { self[ObjectKey(namespace, name)] }

    /// All objects, in no particular order.
    public func all() -> [KubeObject] { state.withLock { Array($0.cache.objects.values) } }

    public var isEmpty: Bool { state.withLock { $0.cache.objects.isEmpty } }

    /// All objects by their keys.
    public func snapshot() -> [ObjectKey: KubeObject] { state.withLock { $0.cache.objects } }

    /// Returns when the collection has been listed once, or when the caller is cancelled.
    public func waitUntilSynced() async { await synced.wait() }

    /// The changes from now on, after a first batch that adds what is cached already. A reader that is slow gets
    /// what it missed as one batch with one event an object, from what it knew to what is true. The stream ends with
    /// the informer, or with its reader's cancellation; each call makes a stream of its own, for one reader.
    public func events() -> AsyncStream<[InformerEvent]> {
        let subscriber = subscribe()
        return AsyncStream { await subscriber.next() }
    }

    /// The same for a reader that does not wait.
    public func reader() -> InformerReader { InformerReader(self, subscribe()) }

    func take(for subscriber: InformerSubscriber) -> (events: [InformerEvent], resourceVersion: String) {
        state.withLock { (subscriber.take(), $0.cache.resourceVersion) }
    }

    private func subscribe() -> InformerSubscriber {
        let subscriber = InformerSubscriber()
        state.withLock { state in
            let cached = state.cache.objects.values.sorted { $0.key < $1.key }
            if !cached.isEmpty { subscriber.note(cached.map { (nil, $0) }) }
            state.subscribers.removeAll { $0.subscriber == nil }
            state.subscribers.append(WeakSubscriber(subscriber: subscriber))
        }
        return subscriber
    }

    // MARK: - Running

    /// Lists and watches until cancelled.
    public func run() async {
        var backoff = Backoff()
        var mustList = true
        while !Task.isCancelled {
            do {
                if mustList {
                    let list = try await client.list(
                        resource, in: namespace, labelSelector: labelSelector, fieldSelector: fieldSelector)
                    take { $0.replace(with: trimmed(list)) }
                    mustList = false
                }
                try await watch { backoff.reset() }
                // The server ended the watch in good order: go on at once, unless it does so all the time.
                guard !Task.isCancelled else { return }
                try? await clock.sleep(for: backoff.next())
            } catch let error as APIError where error.isGone {
                logger.debug("\(resource): listing again: \(error.message)")
                mustList = true
                try? await clock.sleep(for: backoff.next())
            } catch {
                guard !Task.isCancelled else { return }
                let delay = backoff.next()
                logger.debug("\(resource): trying again in \(delay): \(error)")
                try? await clock.sleep(for: delay)
            }
        }
    }

    private func watch(onEvents: () -> Void) async throws {
        let version = resourceVersion
        let stream = try await client.watch(
            resource, in: namespace, labelSelector: labelSelector, fieldSelector: fieldSelector,
            resourceVersion: version, timeoutSeconds: Int.random(in: 300...600))
        for try await events in stream {
            onEvents()
            take { $0.apply(events.map(trimmed)) }
        }
    }

    private func trimmed(_ list: ObjectList) -> ObjectList {
        var list = list
        for index in list.items.indices { trim(&list.items[index]) }
        return list
    }

    private func trimmed(_ event: WatchEvent) -> WatchEvent {
        var event = event
        trim(&event.object)
        return event
    }

    private func trim(_ object: inout KubeObject) {
        object.dropManagedFields()
        trimming?(&object)
    }

    /// Changes the cache and hands the changes to every reader, in one step: a reader that joins meanwhile gets them
    /// either with what is cached or as a change, never both.
    private func take(_ body: (inout InformerCache) -> [InformerCache.Change]) {
        state.withLock { state in
            let changes = body(&state.cache)
            if !changes.isEmpty {
                state.subscribers.removeAll { $0.subscriber == nil }
                for entry in state.subscribers { entry.subscriber?.note(changes) }
            }
        }
        synced.open()
    }
}

extension KubeObject {
    /// What informers do not keep. An object without it stays shared as it is.
    package mutating func dropManagedFields() {
        if metadata["managedFields"] != nil { metadata["managedFields"] = nil }
    }
}
