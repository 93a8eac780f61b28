// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Synchronization

/// Objects that admission looks at again and again: parsed once for each version of them, not once for each pod.
final class AdmissionObjects: Sendable {
    let mirror: Mirror
    private let parsed = Mutex<[String: (revision: Int64, object: KubeObject)]>([:])
    private static let capacity = 1024

    init(mirror: Mirror) { self.mirror = mirror }

    func object(_ resource: StorageKey, _ namespace: String?, _ name: String) -> KubeObject? {
        mirror.object(resource, namespace, name).map(object)
    }

    /// All objects of a resource, in the order of their names.
    func list(_ resource: StorageKey, namespace: String? = nil) -> [KubeObject] {
        mirror.list(resource, namespace: namespace).objects.map(object)
    }

    /// The labels of a namespace, without parsing it.
    func labels(ofNamespace name: String) -> [String: String] {
        mirror.object(Self.namespaces, nil, name)?.attributes.labels ?? [:]
    }

    private static let namespaces = StorageKey(.namespaces)

    private func object(_ stored: StoredObject) -> KubeObject {
        if let known = parsed.withLock({ $0[stored.key] }), known.revision == stored.revision { return known.object }
        let object = stored.object()
        parsed.withLock { parsed in
            if parsed.count >= Self.capacity { parsed.removeAll() }
            parsed[stored.key] = (stored.revision, object)
        }
        return object
    }
}
