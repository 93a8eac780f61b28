// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

enum PodStrategy {
    static func prepareForCreate(_ pod: inout KubeObject) {
        pod["status"] = ["phase": "Pending", "qosClass": JSON(qualityOfService(pod))]
        if let gates = pod["spec"]["schedulingGates"].array, !gates.isEmpty {
            pod["status"]["conditions"] = .array([
                [
                    "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                    "lastTransitionTime": JSON(Timestamp.now.description),
                ]
            ])
        }
    }

    /// `Guaranteed` when every container's limits equal its requests, `BestEffort` when there are neither.
    static func qualityOfService(_ pod: KubeObject) -> String {
        let containers = (pod["spec"]["containers"].array ?? []) + (pod["spec"]["initContainers"].array ?? [])
        var isGuaranteed = true
        var hasAny = false
        for container in containers {
            for resource in ["cpu", "memory"] {
                let limit = quantity(container["resources"]["limits"][resource])
                let request = quantity(container["resources"]["requests"][resource])
                if limit != nil || request != nil { hasAny = true }
                if limit == nil || (request != nil && request != limit) { isGuaranteed = false }
            }
        }
        guard hasAny else { return "BestEffort" }
        return isGuaranteed ? "Guaranteed" : "Burstable"
    }

    private static func quantity(_ value: JSON?) -> Quantity? {
        let text = value.string ?? value.int.map(String.init) ?? value.double.map { "\($0)" }
        return text.flatMap { Quantity($0) }.flatMap { $0.isZero ? nil : $0 }
    }
}
