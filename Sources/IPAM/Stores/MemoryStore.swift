// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
import Synchronization
import Values

/// IPAM objects in memory, with the versions and preconditions of the API: for tests, simulations and plans.
public final class MemoryStore: IPAMStore {
    private struct Key: Hashable {
        let resource: String
        let name: String
    }

    private struct State {
        var version = 100
        var writes = 0
        var objects: [Key: KubeObject] = [:]
    }

    private let state = Mutex(State())

    public init() {}

    /// How many changes have been made.
    public var writes: Int { state.withLock { $0.writes } }
    public var revision: String? { state.withLock { "\($0.version)" } }

    public var objects: IPAMObjects {
        state.withLock { state in
            var result = IPAMObjects()
            for (key, object) in state.objects {
                switch key.resource {
                case GroupVersionResource.ipPools.resource: result.pools.append(object)
                case GroupVersionResource.ipamBlocks.resource: result.blocks.append(object)
                case GroupVersionResource.blockAffinities.resource: result.affinities.append(object)
                case GroupVersionResource.nodes.resource: result.nodes.append(object)
                case GroupVersionResource.ipReservations.resource: result.reservations.append(object)
                case GroupVersionResource.ipamConfigs.resource: result.config = object
                default: break
                }
            }
            return result
        }
    }

    /// All objects of a resource, by name.
    public func all(_ resource: GroupVersionResource) -> [KubeObject] {
        state.withLock { state in
            state.objects.filter { $0.key.resource == resource.resource }.map(\.value).sorted { $0.name < $1.name }
        }
    }

    public func get(_ resource: GroupVersionResource, _ name: String) async throws -> KubeObject? {
        self[resource, name]
    }

    public subscript(_ resource: GroupVersionResource, _ name: String) -> KubeObject? {
        state.withLock { $0.objects[Key(resource: resource.resource, name: name)] }
    }

    public func apply(_ changes: [IPAMChange]) async throws -> [IPAMOutcome] { changes.map { make($0) } }

    /// Makes one change at once.
    @discardableResult
    public func make(_ change: IPAMChange) -> IPAMOutcome {
        state.withLock { state in
            let key = Key(resource: change.resource.resource, name: change.object.name)
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
                state.objects[key] = nil
                return .deleted
            }
            state.writes += 1
            object["metadata"]["resourceVersion"] = JSON("\(state.version)")
            state.objects[key] = object
            return .written(object)
        }
    }
}
