// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Synchronization

/// Objects that admission looks at again and again: parsed once for each version of them, not once for each pod.
final class AdmissionObjects: Sendable {
    let mirror: Mirror
    private let known = Mutex<[String: (revision: Int64, object: KubeObject)]>([:])
    private static let capacity = 1024

    init(mirror: Mirror) { self.mirror = mirror }

    func object(_ resource: StorageKey, _ namespace: String?, _ name: String) -> KubeObject? {
        mirror.object(resource, namespace, name).map(parsed)
    }

    /// All objects of a resource, in the order of their names.
    func list(_ resource: StorageKey, namespace: String? = nil) -> [KubeObject] {
        mirror.list(resource, namespace: namespace).objects.map(parsed)
    }

    /// The labels of a namespace, without parsing it.
    func labels(ofNamespace name: String) -> [String: String] {
        mirror.object(Self.namespaces, nil, name)?.attributes.labels ?? [:]
    }

    private static let namespaces = StorageKey(.namespaces)

    /// The object of a stored version.
    func parsed(_ stored: StoredObject) -> KubeObject {
        if let kept = known.withLock({ $0[stored.key] }), kept.revision == stored.revision { return kept.object }
        let object = stored.object()
        known.withLock { known in
            if known.count >= Self.capacity { known.removeAll() }
            known[stored.key] = (stored.revision, object)
        }
        return object
    }
}
