// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Nothing is made in a namespace that does not exist or is going away, and some namespaces never go away.
struct NamespaceLifecycle: AdmissionPlugin {
    let objects: AdmissionObjects

    private static let immortal: Set<String> = ["default", "kube-system", "kube-public"]
    private static let namespaces = StorageKey(.namespaces)

    func admit(_ review: inout AdmissionReview) async throws {
        if review.operation == .delete, review.type.storage == .namespaces, Self.immortal.contains(review.object.name) {
            throw review.forbidden("this namespace may not be deleted")
        }
        guard review.operation == .create, review.type.isNamespaced, let name = review.object.namespace else { return }
        guard let namespace = objects.object(Self.namespaces, nil, name) else {
            throw StatusError.notFound(.namespaces, name: name)
        }
        guard namespace.isBeingDeleted else { return }
        var refusal = review.forbidden(
            "unable to create new content in namespace \(name) because it is being terminated")
        refusal.details["causes"] = [
            [
                "reason": "NamespaceTerminating", "message": JSON("namespace \(name) is being terminated"),
                "field": "metadata.namespace",
            ]
        ]
        throw refusal
    }
}
