// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Where the stored bytes of an object do for a version that is served, and where they have to be taken apart.
enum VersionConversion {
    private static let converted: Set<GroupVersionResource> = [
        GroupVersionResource("events.k8s.io", "v1", "events"),
        GroupVersionResource("autoscaling", "v1", "horizontalpodautoscalers"),
        GroupVersionResource("projectcalico.org", "v3", "blockaffinities"),
    ]

    /// Calico's two groups differ in names only, but for one kind; so do versions of Kubernetes' own kinds, but for two.
    /// Custom resources are read through their schema where that may have changed since they were stored.
    static func isNeeded(_ type: ResourceType, at revision: Int64) -> Bool {
        if let custom = type.custom { return custom.mustReread(revision) }
        return converted.contains(type.resource)
    }

    /// The object in a version.
    static func object(_ stored: StoredObject, as type: ResourceType) -> KubeObject {
        object(stored.object(), at: stored.revision, as: type)
    }

    /// The same of an object that has been read already, as it was stored at a revision.
    static func object(_ tree: KubeObject, at revision: Int64, as type: ResourceType) -> KubeObject {
        let object = type.converted(tree)
        guard let custom = type.custom, custom.mustReread(revision) else { return object }
        return custom.reread(object)
    }

    /// Whether the fields that objects are selected by are those of the stored version.
    static func selectsStored(_ type: ResourceType) -> Bool {
        type.custom == nil && !converted.contains(type.resource)
    }
}
