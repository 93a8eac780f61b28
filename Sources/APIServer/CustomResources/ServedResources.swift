// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Synchronization
import Values

/// What the server serves at the moment: its own resources, and those that users have defined.
///
/// Worked out anew when a definition has changed, and only that one is read again.
final class ServedResources: Sendable {
    struct State: Sendable {
        var registry: ResourceRegistry
        var documents: DiscoveryDocuments
        /// The revision of the last change of a definition that is taken in here.
        fileprivate var revision: Int64
        fileprivate var definitions: [String: Definition]
    }

    fileprivate struct Definition: Sendable {
        var uid: String
        var revision: Int64
        /// Tells whether it asks for something else than before.
        var specHash: String
        /// The revision at which the definition last changed what it asks for.
        var definedAt: Int64
        var types: [ResourceType]
    }

    private let mirror: Mirror
    private let serverAddress: String
    private let state: Mutex<State>
    private static let key = StorageKey(.customResourceDefinitions)

    init(mirror: Mirror, serverAddress: String) {
        self.mirror = mirror
        self.serverAddress = serverAddress
        state = Mutex(
            State(
                registry: .shared,
                documents: DiscoveryDocuments(
                    discovery: Discovery(.shared), openAPI: .shared, serverAddress: serverAddress),
                revision: -1, definitions: [:]))
    }

    var current: State {
        let revision = mirror.lastChange(Self.key)
        let known = state.withLock { $0 }
        guard known.revision != revision else { return known }
        let fresh = refreshed(known, revision)
        return state.withLock { state in
            // Two requests may have come here together: the later state of the store stays.
            if state.revision < fresh.revision { state = fresh }
            return state
        }
    }

    private func refreshed(_ known: State, _ revision: Int64) -> State {
        var definitions: [String: Definition] = [:]
        for stored in mirror.list(Self.key).objects {
            if let old = known.definitions[stored.key], old.revision == stored.revision {
                definitions[stored.key] = old
            } else {
                definitions[stored.key] = Self.definition(stored, known.definitions[stored.key])
            }
        }
        var fresh = known
        fresh.revision = revision
        fresh.definitions = definitions
        guard definitions.mapValues(\.revision) != known.definitions.mapValues(\.revision) else { return fresh }
        let types = definitions.sorted { $0.key < $1.key }.flatMap(\.value.types)
        fresh.registry = ResourceRegistry(extending: .shared, with: types)
        fresh.documents = DiscoveryDocuments(
            discovery: Discovery(fresh.registry), openAPI: OpenAPI(fresh.registry), serverAddress: serverAddress)
        return fresh
    }

    private static func definition(_ stored: StoredObject, _ old: Definition?) -> Definition? {
        // What the program serves by itself needs no definition, and is not served by one.
        guard !own.contains(stored.name) else { return nil }
        let object = stored.object()
        let specHash = Hashing.text((object["spec"] ?? .null).serialized())
        let isSame = old.map { $0.uid == object.uid && $0.specHash == specHash } ?? false
        let definedAt = isSame ? old?.definedAt ?? stored.revision : stored.revision
        return Definition(
            uid: object.uid, revision: stored.revision, specHash: specHash, definedAt: definedAt,
            types: ResourceType.defined(by: object, definedAt: definedAt))
    }

    /// The names of the definitions of what the program serves by itself.
    static let own = Set(ResourceRegistry.shared.resources.map { "\($0.resource.resource).\($0.group)" })
}
