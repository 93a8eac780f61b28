// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

extension GroupVersionResource {
    static let priorityClasses = GroupVersionResource("scheduling.k8s.io", "v1", "priorityclasses")
}

/// Turns the priority class that a pod names into its priority.
struct PriorityAdmission: AdmissionPlugin {
    let mirror: Mirror

    func admit(_ review: inout AdmissionReview) async throws {
        guard review.operation == .create, review.type.storage == .pods, review.subresource.isEmpty else { return }
        let classes = StorageKey(.priorityClasses)
        let name = review.object["spec"]["priorityClassName"].string ?? ""
        var found: KubeObject?
        if name.isEmpty {
            found = mirror.list(classes).objects.map { $0.object() }.filter { $0["globalDefault"].bool ?? false }
                .max { ($0["value"].int ?? 0) < ($1["value"].int ?? 0) }
            if let found { review.object["spec"]["priorityClassName"] = JSON(found.name) }
        } else {
            found = mirror.object(classes, nil, name)?.object()
            guard found != nil else { throw review.forbidden("no PriorityClass with name \(name) was found") }
        }
        let priority = found?["value"].int ?? 0
        if let own = review.object["spec"]["priority"].int, own != priority {
            throw review.forbidden(
                "the integer value of priority (\(own)) must not be provided in pod spec; priority admission controller "
                    + "computed \(priority) from the given PriorityClass name")
        }
        review.object["spec"]["priority"] = JSON(priority)
        let policy = found?["preemptionPolicy"].string ?? "PreemptLowerPriority"
        if review.object["spec"]["preemptionPolicy"] == nil {
            review.object["spec"]["preemptionPolicy"] = JSON(policy)
        }
    }
}
