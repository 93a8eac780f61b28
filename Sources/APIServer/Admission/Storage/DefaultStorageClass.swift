// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// A claim that names no class gets the default one.
struct DefaultStorageClass: AdmissionPlugin {
    let objects: AdmissionObjects

    static let classes = StorageKey(GroupVersionResource("storage.k8s.io", "v1", "storageclasses"))

    func admit(_ review: inout AdmissionReview) async throws {
        guard review.creates(.persistentVolumeClaims), review.object["spec"]["storageClassName"].string == nil,
            review.object.annotations["volume.beta.kubernetes.io/storage-class"] == nil
        else { return }
        let markers = [
            "storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class",
        ]
        if let name = objects.newest(Self.classes, markedBy: markers) {
            review.object["spec"]["storageClassName"] = JSON(name)
        }
    }
}

extension AdmissionObjects {
    /// The name of the newest object that an annotation makes the default; of two made in one second, the first by name.
    func newest(_ resource: StorageKey, markedBy annotations: [String]) -> String? {
        let marked = list(resource).filter { object in
            let own = object.annotations
            return annotations.contains { own[$0] == "true" }
        }
        func age(_ object: KubeObject) -> Timestamp { object.creationTimestamp ?? Timestamp(seconds: 0) }
        return marked.min { (age($1), $0.name) < (age($0), $1.name) }?.name
    }
}
