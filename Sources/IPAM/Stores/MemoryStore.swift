// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
import Synchronization
import Values

/// IPAM objects in memory, with the versions and preconditions of the API: for tests, simulations and plans.
public final class MemoryStore: IPAMStore {
    private struct Key: Hashable {
        let resource: GroupVersionResource
        let name: String
    }

    private struct State {
        var version = 100
        var writes = 0
        var objects: [Key: KubeObject] = [:]
        var readers: [Reader] = []

        /// Readers that nobody has any more hear nothing.
        mutating func tell(_ change: IPAMNews.Change) {
            readers.removeAll { $0.feed == nil }
            for reader in readers { reader.feed?.note(change) }
        }
    }

    private struct Reader {
        weak var feed: Feed?
    }

    private final class Feed: IPAMFeed {
        private let pending = Mutex<[IPAMNews.Change]>([])
        private let store: MemoryStore

        init(_ store: MemoryStore) { self.store = store }

        func note(_ change: IPAMNews.Change) { pending.withLock { $0.append(change) } }

        func news() -> IPAMNews {
            store.state.withLock { state in
                IPAMNews(
                    changes: pending.withLock { pending in
                        defer { pending = [] }
                        return pending
                    }, blocksReached: Int64(state.version), claimsReached: Int64(state.version))
            }
        }

        func shows(_ resource: GroupVersionResource, _ name: String) -> Bool { store[resource, name] != nil }
    }

    private let state = Mutex(State())

    public init() {}

    /// How many changes have been made.
    public var writes: Int { state.withLock { $0.writes } }
    public var revision: String? { state.withLock { "\($0.version)" } }

    public var objects: IPAMObjects {
        state.withLock { state in
            var result = IPAMObjects()
            for (key, object) in state.objects { result.add(key.resource, object) }
            return result
        }
    }

    public func feed() -> (any IPAMFeed)? {
        let feed = Feed(self)
        state.withLock { state in
            for (key, object) in state.objects { feed.note(IPAMNews.Change(key.resource, object)) }
            state.readers.append(Reader(feed: feed))
        }
        return feed
    }

    /// All objects of a resource, by name.
    public func all(_ resource: GroupVersionResource) -> [KubeObject] {
        state.withLock { state in
            state.objects.filter { $0.key.resource == resource }.map(\.value).sorted { $0.name < $1.name }
        }
    }

    public func get(_ resource: GroupVersionResource, _ name: String) async throws -> KubeObject? {
        self[resource, name]
    }

    public subscript(_ resource: GroupVersionResource, _ name: String) -> KubeObject? {
        state.withLock { $0.objects[Key(resource: resource, name: name)] }
    }

    public func apply(_ changes: [IPAMChange]) async throws -> [IPAMOutcome] { changes.map { make($0) } }

    /// Makes one change at once.
    @discardableResult
    public func make(_ change: IPAMChange) -> IPAMOutcome {
        state.withLock { state in
            let key = Key(resource: change.resource, name: change.object.name)
            var object = change.object
            let old = state.objects[key]
            func isStale(_ field: KeyPath<KubeObject, String>) -> Bool {
                guard let old, !object[keyPath: field].isEmpty else { return false }
                return old[keyPath: field] != object[keyPath: field]
            }
            switch change.verb {
            case .create:
                guard old == nil else { return .exists }
                state.version += 1
                object["metadata"]["uid"] = JSON("uid-\(state.version)")
            case .update:
                guard let old else { return .notFound }
                if isStale(\.resourceVersion) { return .conflict }
                state.version += 1
                object["metadata"]["uid"] = JSON(old.uid)
            case .delete:
                guard old != nil else { return .notFound }
                if isStale(\.uid) || isStale(\.resourceVersion) { return .conflict }
                state.version += 1
                state.writes += 1
                if let old = state.objects.removeValue(forKey: key) {
                    state.tell(IPAMNews.Change(change.resource, old, isDeletion: true))
                }
                return .deleted
            }
            state.writes += 1
            object["metadata"]["resourceVersion"] = JSON("\(state.version)")
            state.objects[key] = object
            state.tell(IPAMNews.Change(change.resource, object))
            return .written(object)
        }
    }
}
