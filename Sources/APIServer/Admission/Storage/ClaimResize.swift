// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// A claim can grow once it is bound, if its class allows that.
struct ClaimResize: AdmissionPlugin {
    let objects: AdmissionObjects

    func validate(_ review: inout AdmissionReview) async throws {
        guard review.operation == .update, review.subresource.isEmpty, let old = review.old,
            review.type.storage == .persistentVolumeClaims
        else { return }
        func size(_ claim: KubeObject) -> Quantity {
            PodResources.quantity(claim["spec"]["resources"]["requests"]["storage"]) ?? .zero
        }
        guard size(review.object) > size(old) else { return }
        guard old["status"]["phase"].string == "Bound" else {
            throw review.forbidden("Only bound persistent volume claims can be expanded")
        }
        guard allowsExpansion(review.object), allowsExpansion(old) else {
            throw review.forbidden(
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
                    + "support resize")
        }
    }

    private func allowsExpansion(_ claim: KubeObject) -> Bool {
        let beta = claim.annotations["volume.beta.kubernetes.io/storage-class"]
        guard let name = beta ?? claim["spec"]["storageClassName"].string, !name.isEmpty else { return false }
        return objects.object(DefaultStorageClass.classes, nil, name)?["allowVolumeExpansion"].bool ?? false
    }
}
