// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Deployments, ReplicaSets and DaemonSets below what they should be, with the reason: what refuses their pods, or
/// what their pods themselves suffer from.
struct WorkloadJudgement {
    let cluster: ClusterSnapshot
    let index: PodIndex
    /// What is wrong with each pod, by its key.
    let pods: [ObjectKey: Finding]
    private let replicaSets: [String: [KubeObject]]

    /// `podFindings`: those of ``PodJudgement``, whose objects begin with `pod NAMESPACE/NAME`.
    init(_ cluster: ClusterSnapshot, _ index: PodIndex, pods: [ObjectKey: Finding]) {
        self.cluster = cluster
        self.index = index
        self.pods = pods
        replicaSets = Dictionary(grouping: cluster[.replicaSets].filter { $0.controller != nil }) {
            $0.controller?.uid ?? ""
        }
    }

    func findings() -> [Finding] {
        cluster[.deployments].compactMap(deployment)
            + cluster[.replicaSets].filter { $0.controller == nil }.compactMap(replicaSet)
            + cluster[.daemonSets].compactMap(daemonSet)
    }

    // MARK: - Kinds

    private func deployment(_ object: KubeObject) -> Finding? {
        let sets = replicaSets[object.uid] ?? []
        let wanted = object["spec"]["replicas"].int ?? 1
        let available = object["status"]["availableReplicas"].int ?? 0
        let own = sets.flatMap { index.owned(by: $0.uid) }
        if object["spec"]["paused"].bool == true, object["status"]["updatedReplicas"].int ?? 0 < wanted {
            return Finding(
                "Paused", object: "deployment \(object.key)", problem: "is paused and its change is not rolled out",
                cause: "\(object["status"]["updatedReplicas"].int ?? 0) of \(wanted) replicas are of the new template",
                nextStep: "kubectl rollout resume deployment/\(object.name)\(object.inNamespace)")
        }
        let conditions = [object] + sets
        let refused = conditions.lazy.compactMap { self.refusal($0) }.first
        let stuck = object.condition("Progressing")
        let isStuck = stuck["status"].string == "False" && stuck["reason"].string == "ProgressDeadlineExceeded"
        guard available < wanted || isStuck || (refused != nil && own.count < wanted) else { return nil }
        return below(
            object, "deployment", wanted: wanted, available: available, pods: own, refusal: refused,
            otherwise: isStuck ? stuck["message"].string : nil)
    }

    private func replicaSet(_ object: KubeObject) -> Finding? {
        let wanted = object["spec"]["replicas"].int ?? 1
        let available = object["status"]["availableReplicas"].int ?? 0
        guard available < wanted else { return nil }
        return below(
            object, "replicaset", wanted: wanted, available: available, pods: index.owned(by: object.uid),
            refusal: refusal(object), otherwise: nil)
    }

    private func daemonSet(_ object: KubeObject) -> Finding? {
        let wanted = object["status"]["desiredNumberScheduled"].int ?? 0
        let available = object["status"]["numberAvailable"].int ?? 0
        if wanted == 0, !cluster.nodes.isEmpty, object["status"]["observedGeneration"].int ?? 0 >= object.generation {
            let selector = object["spec"]["template"]["spec"]["nodeSelector"].object?.strings ?? [:]
            guard let (key, value) = selector.min(by: { $0.key < $1.key }), let node = cluster.nodes.first else {
                return nil
            }
            return Finding(
                "NoNodeSelected", object: "daemonset \(object.key)", problem: "runs on no node",
                cause: "its nodeSelector asks for \(key)=\(value), which no node has",
                nextStep: "kubectl label node \(node.name) \(key)=\(value)")
        }
        guard available < wanted else { return nil }
        return below(
            object, "daemonset", wanted: wanted, available: available, pods: index.owned(by: object.uid),
            refusal: index.message(object.uid, "FailedCreate"), otherwise: nil)
    }

    // MARK: - Reasons

    private func refusal(_ object: KubeObject) -> String? {
        guard let condition = object.condition("ReplicaFailure"), condition["status"].string == "True" else {
            return nil
        }
        return condition["message"].string
    }

    private func below(
        _ object: KubeObject, _ kind: String, wanted: Int, available: Int, pods own: [KubeObject], refusal: String?,
        otherwise: String?
    ) -> Finding {
        let name = "\(kind) \(object.key)"
        let problem = "has \(available) of \(wanted) replicas"
        if let refusal, own.count < wanted {
            let cause = Self.withoutName(refusal)
            let (reason, next) = cure(refusal, object, kind)
            return Finding(reason, object: name, problem: problem, cause: cause, nextStep: next)
        }
        let sick = own.filter { !$0.isReady && !$0.isBeingDeleted }
        if let pod = sick.first(where: { pods[$0.key] != nil }), let finding = pods[pod.key] {
            return Finding(
                "BelowReplicas", object: name, problem: problem,
                cause: "\(sick.count) of its pods \(sick.count == 1 ? "is" : "are") not Ready; \(finding.object) "
                    + "\(finding.problem): \(finding.cause)", nextStep: finding.nextStep)
        }
        let isObserved = object["status"]["observedGeneration"].int ?? 0 >= object.generation
        return Finding(
            "BelowReplicas", object: name, problem: problem,
            cause: otherwise
                ?? (isObserved
                    ? "\(own.count) of its pods are there, and not yet long enough"
                    : "the controllers have not looked at it yet"),
            nextStep: kind == "replicaset"
                ? "kubectl describe replicaset \(object.name)\(object.inNamespace)"
                : "kubectl rollout status \(kind)/\(object.name)\(object.inNamespace) --timeout=60s")
    }

    /// The name of a pod that was refused is another each time and means nothing.
    static func withoutName(_ message: String) -> String {
        var text = message[...]
        for begin in ["(combined from similar events): ", "Error creating: "] where text.hasPrefix(begin) {
            text = text.dropFirst(begin.count)
        }
        guard text.hasPrefix("pods \""), let end = text.firstRange(of: "\" is forbidden: ") else { return String(text) }
        return "a new pod is forbidden: \(text[end.upperBound...])"
    }

    private func cure(_ message: String, _ object: KubeObject, _ kind: String) -> (reason: String, nextStep: String) {
        let space = object.inNamespace
        if message.contains("exceeded quota: ") {
            let name = message.firstRange(of: "exceeded quota: ").map { found in
                message[found.upperBound...].prefix { $0 != "," && $0 != " " }
            }
            return ("QuotaExceeded", "kubectl describe quota \(name ?? "")\(space)")
        }
        if message.contains("failed quota: ") {
            return (
                "QuotaExceeded", "kubectl set resources \(kind) \(object.name)\(space) --requests=cpu=100m,memory=64Mi"
            )
        }
        if let account = message.quoted(after: "serviceaccount ") {
            return ("MissingServiceAccount", "kubectl create serviceaccount \(account)\(space)")
        }
        if message.contains("violates PodSecurity") {
            return (
                "PodSecurity",
                "kubectl label namespace \(object.namespace ?? "default") "
                    + "pod-security.kubernetes.io/enforce=privileged --overwrite"
            )
        }
        if message.contains("being terminated") {
            return ("NamespaceStays", "kubectl get namespace \(object.namespace ?? "default") -o yaml")
        }
        return ("PodsRefused", "kubectl describe \(kind) \(object.name)\(space)")
    }
}
