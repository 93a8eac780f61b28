// SPDX-License-Identifier: Apache-2.0

import Coordination
import KubeClient
import KubeObjects
import Synchronization
import Values

/// All objects of one resource as the controllers know them, with indexes, and with what they wrote themselves.
///
/// An informer is always a little behind. A controller that counted only what the informer shows would create a pod
/// twice: once, and again before the first one comes back by watch. So every write made through the cache is laid over
/// the informer's state at once: created and updated objects are seen as the server returned them, deleted ones as
/// being deleted. A layer goes when the watch has caught up with it, or, should the watch have missed it, after
/// `trust` seconds. Handlers run after the cache knows the change; they must only enqueue. Of what a worker wrote they
/// are told as its echo, so that it does not wake the worker out of its delay.
final class ResourceCache: Sendable {
    struct Change: Sendable {
        let old: KubeObject?
        let new: KubeObject?
        /// The newer one, or the one that went.
        let object: KubeObject
    }

    typealias Index = @Sendable (KubeObject) -> [String]

    let resource: GroupVersionResource
    private let client: KubeClient
    private let informer: Informer
    private let indexes: [String: Index]
    private let state: Mutex<State>
    private let synced = Gate()

    /// How long a write is believed without the watch confirming it. Watches catch up within milliseconds; only an
    /// object that came and went while the watch was broken is never confirmed.
    private static let trust = Duration.seconds(60)

    private struct Unconfirmed {
        var since: ContinuousClock.Instant
        /// What the handlers saw last.
        var seen: KubeObject?
        /// For whom it was written; nil also when somebody else wrote in between.
        var origin: WorkOrigin?
        /// The versions that were written here.
        var versions: Set<String> = []
    }

    private struct State {
        var objects: [ObjectKey: KubeObject] = [:]
        var index: [String: [String: Set<ObjectKey>]] = [:]
        /// Written by us and not yet seen by watch.
        var unconfirmed: [ObjectKey: Unconfirmed] = [:]
        /// Writes that are on their way.
        var flights = WriteFlights()
        /// Uids deleted lately: a late answer to a write must not bring them back.
        var gone = RecentSet(capacity: 512)
        var handlers: [@Sendable (Change) -> Void] = []
    }

    init(
        _ client: KubeClient, _ resource: GroupVersionResource, namespace: String? = nil, fieldSelector: String? = nil,
        indexes: [String: Index] = [:]
    ) {
        self.client = client
        self.resource = resource
        informer = Informer(client, resource, namespace: namespace, fieldSelector: fieldSelector)
        var all: [String: Index] = [
            "owner": { object in object.controller.map { [$0.uid] } ?? [] },
            "namespace": { [$0.namespace ?? ""] },
        ]
        for (name, index) in indexes { all[name] = index }
        self.indexes = all
        state = Mutex(State())
    }

    /// Calls `handler` for every change from now on. To be registered before `run`.
    func onChange(_ handler: @escaping @Sendable (Change) -> Void) {
        state.withLock { $0.handlers.append(handler) }
    }

    func run() async {
        await withTaskGroup(of: Void.self) { group in
            let events = informer.events()
            group.addTask { await self.informer.run() }
            // A timer, because what is waited for is that nothing comes: see `trust`.
            group.addTask {
                while (try? await Task.sleep(for: Self.trust / 2)) != nil { self.dropUnconfirmed() }
            }
            group.addTask {
                await self.informer.waitUntilSynced()
                for object in self.informer.all() { self.arrived(object) }
                self.synced.open()
                for await batch in events {
                    for event in batch {
                        switch event {
                        case .added(let object): self.arrived(object)
                        case .updated(_, let object): self.arrived(object)
                        case .deleted(let object): self.left(object)
                        }
                    }
                }
            }
        }
    }

    func waitUntilSynced() async { await synced.wait() }

    // MARK: - Reading

    subscript(key: ObjectKey) -> KubeObject? { state.withLock { $0.objects[key] } }

    var all: [KubeObject] { state.withLock { Array($0.objects.values) } }

    func objects(by index: String, _ value: String) -> [KubeObject] {
        state.withLock { state in (state.index[index]?[value] ?? []).compactMap { state.objects[$0] } }
    }

    /// Those whose controller has that uid.
    func owned(by uid: String) -> [KubeObject] { objects(by: "owner", uid) }
    func inNamespace(_ namespace: String?) -> [KubeObject] { objects(by: "namespace", namespace ?? "") }

    // MARK: - Writing

    @discardableResult
    func create(_ object: KubeObject) async throws -> KubeObject {
        let created = try await client.create(resource, object)
        wrote(created)
        return created
    }

    @discardableResult
    func update(_ object: KubeObject, subresource: String? = nil) async throws -> KubeObject {
        try await writing(object.key) { try await client.update(resource, object, subresource: subresource) }
    }

    @discardableResult
    func patch(_ object: KubeObject, _ body: JSON, type: PatchType = .merge, subresource: String? = nil) async throws
        -> KubeObject
    {
        try await writing(object.key) {
            try await client.patch(
                resource, object.name, in: object.namespace, type: type, body, subresource: subresource)
        }
    }

    /// A write whose echo may come back by watch before the answer does.
    private func writing(_ key: ObjectKey, _ write: () async throws -> KubeObject) async throws -> KubeObject {
        guard let origin = WorkOrigin.current else {
            let written = try await write()
            wrote(written)
            return written
        }
        let flight = state.withLock { $0.flights.begin(key, origin) }
        var version: String?
        defer {
            // What came meanwhile and was somebody else's has been told as an echo, and is told again as it is by now.
            let (others, handlers) = state.withLock { state in
                let told = state.flights.end(key, flight, wrote: version)
                let current = state.objects[key]
                let others = told.compactMap { change in
                    current.flatMap { $0.uid == change.object.uid ? Change(old: change.old, new: $0, object: $0) : nil }
                }
                return (others, state.handlers)
            }
            for change in others { for handler in handlers { handler(change) } }
        }
        let written = try await write()
        version = written.resourceVersion
        wrote(written)
        return written
    }

    /// Deletes exactly this object: one of the same name made since is left alone. Already gone is well done.
    func delete(_ object: KubeObject, gracePeriodSeconds: Int? = nil, propagationPolicy: String? = nil) async throws {
        do {
            try await client.delete(
                resource, object.name, in: object.namespace, uid: object.uid, gracePeriodSeconds: gracePeriodSeconds,
                propagationPolicy: propagationPolicy)
        } catch let error as APIError where error.isNotFound || error.isConflict {
            // Gone, or replaced by another of the same name: either way this one is no more.
        }
        deleted(object)
    }

    /// The object as it is now on the server.
    func fresh(_ key: ObjectKey) async throws -> KubeObject {
        try await client.get(resource, key.name, in: key.namespace)
    }

    // MARK: - The layer of our own writes

    func wrote(_ object: KubeObject) {
        var object = object
        // As the informer keeps it.
        object.dropManagedFields()
        state.withLock { state in
            guard !state.gone.contains(object.uid), isNewer(object, than: state.objects[object.key]) else { return }
            layer(object, &state)
        }
    }

    private func deleted(_ object: KubeObject) {
        state.withLock { state in
            guard var current = state.objects[object.key], current.uid == object.uid, !current.isBeingDeleted else {
                return
            }
            current.metadata["deletionTimestamp"] = JSON(Timestamp.now.description)
            layer(current, &state)
        }
    }

    private func layer(_ object: KubeObject, _ state: inout State) {
        let before = state.unconfirmed[object.key]
        let seen = before.map(\.seen) ?? state.objects[object.key]
        let versions = (before?.versions ?? []).union([object.resourceVersion])
        state.unconfirmed[object.key] = Unconfirmed(
            since: .now, seen: seen, origin: WorkOrigin.current, versions: versions)
        put(object, &state)
    }

    /// What the watch never confirmed goes back to what the informer shows.
    private func dropUnconfirmed() {
        let (changes, handlers): ([Change], [@Sendable (Change) -> Void]) = state.withLock { state in
            let limit = ContinuousClock.Instant.now - Self.trust
            var changes: [Change] = []
            for (key, entry) in state.unconfirmed where entry.since < limit {
                state.unconfirmed[key] = nil
                let current = informer[key]
                if let current { put(current, &state) } else { remove(key, &state) }
                if let object = current ?? entry.seen {
                    changes.append(Change(old: entry.seen, new: current, object: object))
                }
            }
            return (changes, state.handlers)
        }
        for change in changes { for handler in handlers { handler(change) } }
    }

    // MARK: - What the watch brings

    private func arrived(_ object: KubeObject) {
        // Deleted and made again between two looks of the informer: two events, as the watch had them.
        if let old = self[object.key], old.uid != object.uid, isNewer(object, than: old) { left(old) }
        let (arrival, handlers) = state.withLock { (accept(object, &$0), $0.handlers) }
        guard let arrival else { return }
        WorkOrigin.echoing(arrival.echoes) { for handler in handlers { handler(arrival.change) } }
    }

    private func accept(_ object: KubeObject, _ state: inout State) -> (change: Change, echoes: Set<WorkOrigin>)? {
        let key = object.key
        guard let current = state.objects[key] else {
            put(object, &state)
            return (Change(old: nil, new: object, object: object), [])
        }
        let isSame = current.resourceVersion == object.resourceVersion && current.uid == object.uid
        let entry = state.unconfirmed[key]
        guard isSame || isNewer(object, than: current) else {
            // Older than our own write: the newer state is on its way, and tells of this one too.
            if entry?.versions.contains(object.resourceVersion) == false { state.unconfirmed[key]?.origin = nil }
            return nil
        }
        if isSame, entry == nil { return nil }
        // Our own deletion is laid over the state before it, which carries the same version.
        if isSame, current.isBeingDeleted, !object.isBeingDeleted { return nil }
        state.unconfirmed[key] = nil
        put(object, &state)
        let change = Change(old: entry.map(\.seen) ?? current, new: object, object: object)
        if isSame { return (change, entry?.origin.map { [$0] } ?? []) }
        return (change, state.flights.told(change))
    }

    private func left(_ object: KubeObject) {
        let (change, handlers): (Change?, [@Sendable (Change) -> Void]) = state.withLock { state in
            state.gone.insert(object.uid)
            var old = object
            if let current = state.objects[object.key], current.uid == object.uid {
                old = state.unconfirmed[object.key]?.seen ?? current
                remove(object.key, &state)
                state.unconfirmed[object.key] = nil
            }
            return (Change(old: old, new: nil, object: object), state.handlers)
        }
        if let change { for handler in handlers { handler(change) } }
    }

    private func put(_ object: KubeObject, _ state: inout State) {
        let key = object.key
        let old = state.objects.updateValue(object, forKey: key)
        for (name, values) in indexes {
            let after = values(object)
            let before = old.map(values) ?? []
            if before == after { continue }
            for value in before where !after.contains(value) { unindex(name, value, key, &state) }
            for value in after { state.index[name, default: [:]][value, default: []].insert(key) }
        }
    }

    private func remove(_ key: ObjectKey, _ state: inout State) {
        guard let old = state.objects.removeValue(forKey: key) else { return }
        for (name, values) in indexes { for value in values(old) { unindex(name, value, key, &state) } }
    }

    private func unindex(_ name: String, _ value: String, _ key: ObjectKey, _ state: inout State) {
        state.index[name]?[value]?.remove(key)
        if state.index[name]?[value]?.isEmpty ?? false { state.index[name]?[value] = nil }
    }

    private func isNewer(_ object: KubeObject, than old: KubeObject?) -> Bool {
        guard let old else { return true }
        guard let new = UInt64(object.resourceVersion), let old = UInt64(old.resourceVersion) else { return true }
        return new > old
    }
}

/// The last so many strings, forgetting the oldest.
struct RecentSet: Sendable {
    private var members: Set<String> = []
    private var order: [String] = []
    private var next = 0
    private let capacity: Int

    init(capacity: Int) { self.capacity = capacity }

    func contains(_ member: String) -> Bool { members.contains(member) }

    mutating func insert(_ member: String) {
        guard members.insert(member).inserted else { return }
        if order.count < capacity {
            order.append(member)
        } else {
            members.remove(order[next])
            order[next] = member
            next = (next + 1) % capacity
        }
    }
}
