// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// An Ingress that names no class gets the default one.
struct DefaultIngressClass: AdmissionPlugin {
    let objects: AdmissionObjects

    private static let ingresses = GroupVersionResource("networking.k8s.io", "v1", "ingresses")
    private static let classes = StorageKey(GroupVersionResource("networking.k8s.io", "v1", "ingressclasses"))

    func admit(_ review: inout AdmissionReview) async throws {
        guard review.creates(Self.ingresses), review.object["spec"]["ingressClassName"].string == nil,
            review.object.annotations["kubernetes.io/ingress.class"] == nil
        else { return }
        if let name = objects.newest(Self.classes, markedBy: ["ingressclass.kubernetes.io/is-default-class"]) {
            review.object["spec"]["ingressClassName"] = JSON(name)
        }
    }
}
