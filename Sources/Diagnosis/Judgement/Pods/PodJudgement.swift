// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Every pod that is not Ready, with the cause.
struct PodJudgement {
    let cluster: ClusterSnapshot
    let index: PodIndex
    private let nodes: [String: KubeObject]

    init(_ cluster: ClusterSnapshot, _ index: PodIndex) {
        self.cluster = cluster
        self.index = index
        nodes = Dictionary(cluster.nodes.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    func findings() -> [Finding] { index.pods.flatMap(findings) }

    func findings(_ pod: KubeObject) -> [Finding] {
        if pod.isBeingDeleted {
            let node = pod["spec"]["nodeName"].string ?? ""
            let isAway = cluster.stoppedNodes.contains(node) || nodes[node]?.isReady != true
            return DeletionJudgement.finding(pod, cluster, isNodeAway: isAway).map { [$0] } ?? []
        }
        switch pod["status"]["phase"].string ?? "" {
        case "Succeeded": return []
        case "Failed": return [failed(pod)]
        default: break
        }
        if pod.isReady { return restartsOften(pod) }
        guard let node = pod["spec"]["nodeName"].string, !node.isEmpty else {
            return [SchedulingJudgement(cluster, index).finding(pod)]
        }
        if let finding = nodeIsAway(pod, node) { return [finding] }
        let containers = ContainerJudgement(pod, cluster, index).findings()
        if !containers.isEmpty { return containers }
        if let finding = beforeContainers(pod) { return [finding] }
        if let finding = gate(pod) { return [finding] }
        return [starting(pod)]
    }

    // MARK: - Before and after the containers

    private func nodeIsAway(_ pod: KubeObject, _ name: String) -> Finding? {
        let problem = "is not Ready"
        guard let node = nodes[name] else {
            return Finding(
                "NodeGone", object: "pod \(pod.key)", problem: problem,
                cause: "its node \(name) is not registered any more",
                nextStep: cluster.profileNodes?.contains(name) == true
                    ? NodeJudgement.again(name, cluster.profile) : delete(pod))
        }
        if cluster.stoppedNodes.contains(name) {
            return Finding(
                "NodeStopped", object: "pod \(pod.key)", problem: problem, cause: "its node \(name) is stopped",
                nextStep: cluster.isForeign
                    ? "kubectl describe node \(name)"
                    : "catbird node start \(name)\(NodeJudgement.option(cluster.profile))")
        }
        guard !node.isReady, node.condition("Ready")["status"].string == "Unknown" else { return nil }
        return Finding(
            "NodeNotReady", object: "pod \(pod.key)", problem: problem,
            cause: "its node \(name) does not report: \(node.condition("Ready")["message"].string ?? "")",
            nextStep: "kubectl describe node \(name)")
    }

    private func beforeContainers(_ pod: KubeObject) -> Finding? {
        if let message = index.message(pod.uid, "FailedMount", "FailedAttachVolume"), !hasStarted(pod) {
            let missing = MissingObject(message, in: pod)
            return Finding(
                "FailedMount", object: "pod \(pod.key)", problem: "cannot mount its volumes", cause: message,
                nextStep: missing?.command ?? MissingObject.hostPath(message, pod, cluster.profile) ?? describe(pod))
        }
        guard pod["status"]["podIP"].string == nil, pod["spec"]["hostNetwork"].bool != true,
            let message = index.message(pod.uid, "FailedCreatePodSandBox")
        else { return nil }
        let isWithoutAgent = message.contains("agent is not running")
        return Finding(
            "NoAddress", object: "pod \(pod.key)", problem: "has no address", cause: message,
            nextStep: isWithoutAgent
                ? "kubectl get pods -n kube-system -l k8s-app=calico-node -o wide"
                : "catbird calicoctl get ippools -o wide; kubectl get nodes --show-labels")
    }

    private func hasStarted(_ pod: KubeObject) -> Bool {
        pod.containerStatuses.contains { $0["started"].bool == true || $0["lastState"]["terminated"] != nil }
    }

    private func gate(_ pod: KubeObject) -> Finding? {
        guard let ready = pod.condition("Ready"), ready["reason"].string == "ReadinessGatesNotReady" else { return nil }
        let gates = (pod["spec"]["readinessGates"].array ?? []).compactMap { $0["conditionType"].string }
        let open = gates.filter { pod.condition($0)["status"].string != "True" }
        let conditions: JSON = .array(open.map { ["type": JSON($0), "status": "True"] })
        let patch: JSON = ["status": ["conditions": conditions]]
        return Finding(
            "ReadinessGate", object: "pod \(pod.key)", problem: "is not Ready: a readiness gate is not open",
            cause: ready["message"].string ?? "nobody has set \(open.joined(separator: ", "))",
            nextStep:
                "kubectl patch pod \(pod.name)\(pod.inNamespace) --subresource=status -p \(patch.text().shellQuoted)"
        )
    }

    private func starting(_ pod: KubeObject) -> Finding {
        let waiting = pod.containerStatuses.compactMap { status in
            status["state"]["waiting"]["reason"].string.map { "\(status["name"].string ?? "") (\($0))" }
        }
        let since = pod.creationTimestamp.map { " for \(Int(max(0, cluster.now.seconds(since: $0)))) s" } ?? ""
        return Finding(
            "Starting", object: "pod \(pod.key)", problem: "is not Ready yet: it is starting\(since)",
            cause: waiting.isEmpty
                ? "its node has not reported its containers yet" : "waiting: \(waiting.joined(separator: ", "))",
            nextStep: "kubectl wait --for=condition=Ready pod/\(pod.name)\(pod.inNamespace) --timeout=60s")
    }

    private func failed(_ pod: KubeObject) -> Finding {
        let message = pod["status"]["message"].string
        let ended = pod.containerStatuses.compactMap { status -> String? in
            guard let code = status["state"]["terminated"]["exitCode"].int, code != 0 else { return nil }
            let reason = status["state"]["terminated"]["reason"].string ?? "Error"
            return "container \(status["name"].string ?? "") ended with \(code) (\(reason))"
        }
        let reason = pod["status"]["reason"].string
        var cause = ([reason, message].compactMap { $0 } + ended).joined(separator: "; ")
        let words = pod.containerStatuses.lazy.compactMap { status in
            cluster.lastWords[ContainerKey(pod.key, status["name"].string ?? "")]
        }.first
        if let words, !words.isEmpty { cause += "; its last lines: \(words)" }
        return Finding(
            reason == "Evicted" ? "Evicted" : "PodFailed", object: "pod \(pod.key)", problem: "has failed",
            cause: cause.isEmpty ? "its node does not say why" : cause,
            nextStep: reason == "Evicted" ? delete(pod) : "kubectl logs \(pod.name)\(pod.inNamespace) --all-containers")
    }

    /// Ready at this moment, but not for long: a container that ends again and again.
    private func restartsOften(_ pod: KubeObject) -> [Finding] {
        let isComponent = pod.namespace == "kube-system"
        return pod.containerStatuses.compactMap { status in
            let last = status["lastState"]["terminated"]
            guard let count = status["restartCount"].int, count >= (isComponent ? 1 : 3),
                let ended = last["finishedAt"].string.flatMap({ Timestamp($0) }),
                cluster.now.seconds(since: ended) < Self.recently, !endedWithNode(pod, ended)
            else { return nil }
            let name = status["name"].string ?? ""
            return Finding(
                "Restarts", object: "pod \(pod.key), container \(name)",
                problem: "has been started again \(count) time\(count == 1 ? "" : "s")",
                cause: ContainerJudgement.ending(last) + " at \(ended)",
                nextStep: "kubectl logs \(pod.name)\(pod.inNamespace) -c \(name) --previous")
        }
    }

    /// A restart longer ago than ten minutes is over.
    private static let recently = 600.0

    /// A node's stop ends its containers; that they did is found when it is started again.
    private func endedWithNode(_ pod: KubeObject, _ ended: Timestamp) -> Bool {
        guard let start = cluster.nodeStarts[pod["spec"]["nodeName"].string ?? ""] else { return false }
        return ended.seconds(since: start) < 10
    }

    private func describe(_ pod: KubeObject) -> String { "kubectl describe pod \(pod.name)\(pod.inNamespace)" }
    private func delete(_ pod: KubeObject) -> String { "kubectl delete pod \(pod.name)\(pod.inNamespace)" }
}

extension KubeObject {
    /// Statuses of a pod's containers, those of its init containers first.
    var containerStatuses: [JSON] {
        (self["status"]["initContainerStatuses"].array ?? []) + (self["status"]["containerStatuses"].array ?? [])
    }
}
