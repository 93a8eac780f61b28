// SPDX-License-Identifier: Apache-2.0

import Coordination
import KubeObjects
import Storage
import Values

/// Reads and writes the objects of a resource: what all verbs that write have in common.
extension APIServer {
    /// How often a change that lost a race is tried again before the client is told.
    static let attempts = 16

    /// What a change comes to.
    enum Change: Sendable {
        /// `charge` is what quotas were charged for it.
        case write(KubeObject, charge: QuotaCharge? = nil)
        /// Nothing differs: the revision stays.
        case keep
        case delete(KubeObject)
    }

    struct Written: Sendable {
        var stored: StoredObject
        /// The object is gone from the store; `stored` is its last state.
        var wasDeleted = false
    }

    func storageKey(_ type: ResourceType) -> StorageKey { StorageKey(type.storage) }

    /// The type as which the objects of a type are stored.
    func storageType(_ type: ResourceType) -> ResourceType {
        type.storageType(registry)
    }

    /// The object as it is now; 404 when there is none.
    func current(_ context: RequestContext) throws(StatusError) -> StoredObject {
        guard let object = mirror.object(storageKey(context.type), context.namespace, context.name) else {
            throw .notFound(context.resource, name: context.name)
        }
        return object
    }

    /// Writes a new object. `object` is in the version of `type`; the result is in the stored one.
    func insert(
        _ object: KubeObject, _ type: ResourceType, dryRun: Bool
    ) async throws -> StoredObject {
        let key = storageKey(type)
        let path = key.key(type.isNamespaced ? object.namespace : nil, object.name)
        let bytes = StoredObject.encode(storageType(type).converted(object))
        if dryRun {
            if mirror.object(key, type.isNamespaced ? object.namespace : nil, object.name) != nil {
                throw StatusError.alreadyExists(type.resource, name: object.name)
            }
            return StoredObject(key: path, resource: key, revision: mirror.revision, value: bytes)
        }
        let result = try await metrics.stored("create", key) { try await storage.put(path, bytes, expecting: 0) }
        switch result {
        case .committed(let revision):
            return StoredObject(key: path, resource: key, revision: revision, value: bytes)
        case .conflict: throw StatusError.alreadyExists(type.resource, name: object.name)
        }
    }

    /// Reads, changes and writes an object, again and again until no other write comes between. `change` is given the
    /// object in the version of `type`.
    func modify(
        _ type: ResourceType, _ namespace: String?, _ name: String, dryRun: Bool,
        _ change: (KubeObject) async throws -> Change
    ) async throws -> Written {
        let key = storageKey(type)
        let path = key.key(namespace, name)
        guard var current = mirror.object(key, namespace, name) else {
            throw StatusError.notFound(type.resource, name: name)
        }
        for _ in 0..<Self.attempts {
            let change = try await change(VersionConversion.object(current, as: type))
            let conflicting: KeyValue?
            switch change {
            case .keep: return Written(stored: current)
            case .write(let object, let charge):
                let bytes = StoredObject.encode(storageType(type).converted(object))
                if bytes == current.value {
                    await admission.quotas.giveBack(charge)
                    return Written(stored: current)
                }
                if dryRun {
                    return Written(
                        stored: StoredObject(key: path, resource: key, revision: current.revision, value: bytes))
                }
                let expected = current.revision
                let result = try await admission.quotas.settling(charge, holds: \.isCommitted) {
                    try await metrics.stored("update", key) {
                        try await storage.put(path, bytes, expecting: expected)
                    }
                }
                switch result {
                case .committed(let revision):
                    await releaseAddresses(addresses(current, without: object, type), of: object, type)
                    return Written(stored: StoredObject(key: path, resource: key, revision: revision, value: bytes))
                case .conflict(let other): conflicting = other
                }
            case .delete(let last):
                let bytes = StoredObject.encode(storageType(type).converted(last))
                if dryRun {
                    return Written(
                        stored: StoredObject(key: path, resource: key, revision: current.revision, value: bytes),
                        wasDeleted: true)
                }
                let revision = current.revision
                let result = try await metrics.stored("delete", key) {
                    try await storage.delete(path, expecting: revision)
                }
                switch result {
                case .deleted(let revision, _):
                    await releaseAddresses(addresses(current, without: nil, type), of: last, type)
                    return Written(
                        stored: StoredObject(key: path, resource: key, revision: revision, value: bytes),
                        wasDeleted: true)
                case .conflict(let other): conflicting = other
                case .notFound: conflicting = nil
                }
            }
            guard let conflicting else { throw StatusError.notFound(type.resource, name: name) }
            current = StoredObject(
                key: path, resource: key, revision: conflicting.modRevision, value: conflicting.value)
        }
        throw StatusError.conflict(
            type.resource, name: name, "it is being changed by others all the time; please try again")
    }

    /// The addresses that a Service had and `next` does not have; none for other kinds.
    private func addresses(_ current: StoredObject, without next: KubeObject?, _ type: ResourceType) -> [String] {
        guard type.storage == .services else { return [] }
        let kept = next.map { ServiceClaims.addresses(of: $0) } ?? []
        return ServiceClaims.addresses(of: current.object()).filter { !kept.contains($0) }
    }

    /// Runs a write of a kind whose objects are checked against each other alone.
    func exclusively<Value: Sendable>(
        _ type: ResourceType, creating: Bool = false, _ body: () async throws -> Value
    ) async throws -> Value {
        // A block's network never changes: only new ones are checked, and updates, one for each address, need not wait.
        guard let lock = writeLocks[storageKey(type).prefix], creating || type.storage != .ipamBlocks else {
            return try await body()
        }
        return try await lock.withLock {
            try await mirror.caughtUp()
            return try await body()
        }
    }
}

extension PutResult {
    fileprivate var isCommitted: Bool { if case .committed = self { true } else { false } }
}
