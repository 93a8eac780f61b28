// SPDX-License-Identifier: Apache-2.0

import KubeObjects

/// Objects that are accepted and kept, and on which nobody acts.
enum UnheededJudgement {
    /// Kinds without a controller, and what that means.
    private static let kinds: [(resource: GroupVersionResource, kind: String, consequence: String)] = [
        (.statefulSets, "statefulset", "its pods are not made"), (.jobs, "job", "its pods are not made"),
        (.cronJobs, "cronjob", "its Jobs are not made"),
        (.persistentVolumeClaims, "persistentvolumeclaim", "it gets no volume"),
        (.networkPolicies, "networkpolicy", "it filters nothing"),
        (.horizontalPodAutoscalers, "horizontalpodautoscaler", "nothing is scaled"),
    ]

    static func findings(_ cluster: ClusterSnapshot) -> [Finding] {
        kinds.flatMap { kind in
            cluster[kind.resource].filter { !$0.isBeingDeleted }.map { object in
                Finding(
                    "NotActedUpon", object: "\(kind.kind) \(object.key)", problem: "is kept and not acted upon",
                    cause: "this version of Catbird has no controller for it: \(kind.consequence)",
                    nextStep: "kubectl delete \(kind.kind) \(object.name)\(object.inNamespace)")
            }
        }
    }
}
