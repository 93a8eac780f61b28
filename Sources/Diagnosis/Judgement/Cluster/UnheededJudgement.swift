// SPDX-License-Identifier: Apache-2.0

import KubeObjects

/// Objects that are accepted and kept, and on which nobody acts, as a whole or in some of their fields: what
/// ``Unheeded`` knows.
enum UnheededJudgement {
    static func findings(_ cluster: ClusterSnapshot) -> [Finding] {
        // What Catbird does not act upon, another control plane may well.
        if cluster.isForeign { return [] }
        return ClusterSnapshot.kinds.flatMap { resource -> [Finding] in
            // Of an Ingress more is known than that nobody need act on it.
            guard resource != .ingresses, let type = ResourceRegistry.shared.resource(resource),
                Unheeded.concerns(type.groupVersionKind)
            else { return [] }
            return cluster[resource].filter { !$0.isBeingDeleted && $0.controller == nil }.flatMap { object in
                Unheeded.facts(object).map { finding($0, object, type.kind.lowercased()) }
            }
        }
    }

    private static func finding(_ fact: Unheeded.Fact, _ object: KubeObject, _ kind: String) -> Finding {
        let isWhole = fact.field.isEmpty
        return Finding(
            "NotActedUpon", object: "\(kind) \(object.key)",
            problem: isWhole ? "is kept and not acted upon" : "has \(fact.field), which is kept and not acted upon",
            cause: "in this version of Catbird \(fact.message)",
            nextStep: "kubectl \(isWhole ? "delete" : "edit") \(kind) \(object.name)\(object.inNamespace)")
    }
}
