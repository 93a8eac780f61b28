// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

extension GroupVersionResource {
    static let priorityClasses = GroupVersionResource("scheduling.k8s.io", "v1", "priorityclasses")
}

/// Turns the priority class that a pod names into its priority.
struct PriorityAdmission: AdmissionPlugin {
    let objects: AdmissionObjects

    private static let classes = StorageKey(.priorityClasses)

    func admit(_ review: inout AdmissionReview) async throws {
        guard review.operation == .create, review.type.storage == .pods, review.subresource.isEmpty else { return }
        let name = review.object["spec"]["priorityClassName"].string ?? ""
        var found: KubeObject?
        if name.isEmpty {
            found = objects.list(Self.classes).filter { $0["globalDefault"].bool ?? false }
                .max { ($0["value"].int ?? 0) < ($1["value"].int ?? 0) }
            if let found { review.object["spec"]["priorityClassName"] = JSON(found.name) }
        } else {
            found = objects.object(Self.classes, nil, name)
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
