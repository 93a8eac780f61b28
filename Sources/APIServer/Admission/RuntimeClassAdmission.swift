// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// What a pod's runtime class says of every pod of it: the overhead, and the nodes that can run it.
struct RuntimeClassAdmission: AdmissionPlugin {
    let objects: AdmissionObjects

    private static let classes = StorageKey(GroupVersionResource("node.k8s.io", "v1", "runtimeclasses"))

    func admit(_ review: inout AdmissionReview) async throws {
        guard review.creates(.pods) else { return }
        let spec = review.object["spec"]
        let overhead = PodResources.amounts(spec["overhead"])
        guard let name = spec["runtimeClassName"].string, !name.isEmpty else {
            if !overhead.isEmpty { throw Self.orphanedOverhead(review) }
            return
        }
        guard let runtime = objects.object(Self.classes, nil, name) else {
            throw review.forbidden("pod rejected: RuntimeClass \"\(name)\" not found")
        }
        let fixed = runtime["overhead"]["podFixed"]
        if let fixed, runtime["overhead"].object != nil {
            if !overhead.isEmpty, overhead != PodResources.amounts(fixed) {
                throw review.forbidden("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
            }
            review.object["spec"]["overhead"] = fixed
        } else if !overhead.isEmpty {
            throw Self.orphanedOverhead(review)
        }
        try Self.merge(runtime["scheduling"], &review)
    }

    private static func orphanedOverhead(_ review: AdmissionReview) -> StatusError {
        review.forbidden("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
    }

    private static func merge(_ scheduling: JSON?, _ review: inout AdmissionReview) throws(StatusError) {
        for (key, value) in scheduling["nodeSelector"].object ?? [:] {
            if let own = review.object["spec"]["nodeSelector"][key], own != value {
                throw review.forbidden(
                    "conflict: runtimeClass.scheduling.nodeSelector[\(key)] = \(value.string ?? ""); "
                        + "pod.spec.nodeSelector[\(key)] = \(own.string ?? "")")
            }
            review.object["spec"]["nodeSelector"][key] = value
        }
        var tolerations = review.object["spec"]["tolerations"].array ?? []
        let more = (scheduling["tolerations"].array ?? []).filter { !tolerations.contains($0) }
        guard !more.isEmpty else { return }
        tolerations += more
        review.object["spec"]["tolerations"] = .array(tolerations)
    }
}
