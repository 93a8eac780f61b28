// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Claims and volumes do not go while they are in use: controllers take these finalizers away when nobody does.
struct StorageProtection: AdmissionPlugin {
    private static let volumes = GroupVersionResource("", "v1", "persistentvolumes")
    private static let finalizers: [GroupVersionResource: String] = [
        .persistentVolumeClaims: "kubernetes.io/pvc-protection", volumes: "kubernetes.io/pv-protection",
    ]

    func admit(_ review: inout AdmissionReview) async throws {
        guard review.operation == .create, review.subresource.isEmpty,
            let finalizer = Self.finalizers[review.type.storage]
        else { return }
        let present = review.object.finalizers
        if !present.contains(finalizer) { review.object.metadata["finalizers"] = JSON(present + [finalizer]) }
    }
}
