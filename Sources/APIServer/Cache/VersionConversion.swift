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
    static func isNeeded(_ type: ResourceType) -> Bool { converted.contains(type.resource) }
}
