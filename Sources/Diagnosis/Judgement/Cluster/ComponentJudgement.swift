// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Manifests
public import Values

/// The cluster's own components: the agents, and the names.
struct ComponentJudgement {
    let cluster: ClusterSnapshot
    let index: PodIndex

    func findings() -> [Finding] { cluster.profileNodes == nil ? [] : agents() + names() }

    private func agents() -> [Finding] {
        let restart =
            "catbird stop\(NodeJudgement.option(cluster.profile)) && catbird start"
            + NodeJudgement.option(cluster.profile)
        guard let set = object(.daemonSets, "calico-node") else {
            return [
                Finding(
                    "AgentDeleted", object: "daemonset kube-system/calico-node",
                    problem: "is not there: new pods get no address, and Services do not follow their pods",
                    cause: "it was deleted; a start makes it again", nextStep: restart)
            ]
        }
        let pods = index.selected(by: ["k8s-app": "calico-node"], in: "kube-system").filter { !$0.isBeingDeleted }
        return notTakenOver(set) + uncovered(set, pods)
    }

    /// Another manifest was applied over the agent's, Calico's own for example, and the agent put back with what of it
    /// could be taken over.
    private func notTakenOver(_ set: KubeObject) -> [Finding] {
        guard let rest = set.annotations[AgentKeeper.annotation], !rest.isEmpty else { return [] }
        return [
            Finding(
                "SettingsNotTakenOver", object: "daemonset kube-system/calico-node",
                problem: "was replaced by another manifest, of which not everything is taken over",
                cause: rest,
                nextStep: "once you need none of it: kubectl annotate daemonset calico-node -n kube-system "
                    + "\(AgentKeeper.annotation)-")
        ]
    }

    private func uncovered(_ set: KubeObject, _ pods: [KubeObject]) -> [Finding] {
        let covered = Set(pods.compactMap { $0["spec"]["nodeName"].string })
        let selector = set["spec"]["template"]["spec"]["nodeSelector"].object?.strings ?? [:]
        return cluster.nodes.compactMap { node in
            guard !covered.contains(node.name), !cluster.stoppedNodes.contains(node.name) else { return nil }
            let lacking = selector.sorted { $0.key < $1.key }.first { node.labels[$0.key] != $0.value }
            return Finding(
                "AgentMissing", object: "node \(node.name)",
                problem: "has no calico-node: new pods on it get no address, and Services do not follow their pods",
                cause: lacking.map { "the DaemonSet's nodeSelector asks for \($0.key)=\($0.value), which it has not" }
                    ?? index.message(set.uid, "FailedCreate", "FailedDaemonPod") ?? "no pod of the DaemonSet is on it",
                nextStep: lacking.map { "kubectl label node \(node.name) \($0.key)=\($0.value) --overwrite" }
                    ?? "kubectl rollout restart daemonset/calico-node -n kube-system")
        }
    }

    /// What the objects say of the names; whether they are answered is another question, see ``DNSJudgement``.
    private func names() -> [Finding] {
        let restart =
            "catbird stop\(NodeJudgement.option(cluster.profile)) && catbird start"
            + NodeJudgement.option(cluster.profile)
        if object(.services, "kube-dns") == nil {
            return [
                Finding(
                    "DNSServiceDeleted", object: "service kube-system/kube-dns",
                    problem: "is not there: no pod resolves names", cause: "it was deleted; a start makes it again",
                    nextStep: restart)
            ]
        }
        guard let deployment = object(.deployments, "coredns") else {
            return [
                Finding(
                    "DNSDeleted", object: "deployment kube-system/coredns",
                    problem: "is not there: no pod resolves names", cause: "it was deleted; a start makes it again",
                    nextStep: restart)
            ]
        }
        guard deployment["spec"]["replicas"].int == 0 else { return [] }
        return [
            Finding(
                "DNSScaledToZero", object: "deployment kube-system/coredns",
                problem: "has no replicas: no pod resolves names", cause: "it is scaled to 0",
                nextStep: "kubectl scale deployment coredns -n kube-system --replicas=1")
        ]
    }

    private func object(_ resource: GroupVersionResource, _ name: String) -> KubeObject? {
        cluster[resource].first { $0.name == name && $0.namespace == "kube-system" && !$0.isBeingDeleted }
    }
}

/// What asking the name server from nodes has shown.
public struct DNSObservation: Sendable, Hashable {
    public let server: IPAddress
    /// Whether the Service's address answered, by node.
    public var answers: [String: Bool]
    /// Whether a server's own address answered, by node; nothing where there was none to ask.
    public var directAnswers: [String: Bool]

    public init(server: IPAddress, answers: [String: Bool], directAnswers: [String: Bool] = [:]) {
        self.server = server
        self.answers = answers
        self.directAnswers = directAnswers
    }
}

package enum DNSJudgement {
    /// `others`: what is known of the name server's objects and pods; then silence needs no finding of its own.
    package static func findings(_ observation: DNSObservation, others: [Finding], profile: String) -> [Finding] {
        let silent = observation.answers.filter { !$0.value }.keys.sorted()
        guard !silent.isEmpty else { return [] }
        let isExplained = others.contains { finding in
            finding.reason.hasPrefix("DNS") || finding.object.hasPrefix("deployment kube-system/coredns")
                || finding.object.hasPrefix("pod kube-system/coredns")
        }
        if isExplained { return [] }
        let behind = silent.filter { observation.directAnswers[$0] == true }
        if let first = behind.first {
            return [
                Finding(
                    "DNSUnreachable", object: "dns \(observation.server)",
                    problem: "does not answer on \(behind.joined(separator: ", ")): pods there resolve no names",
                    cause:
                        "the server answers at its own address, so the Service's rules on the node do not lead to it",
                    nextStep: "kubectl delete pod -n kube-system -l k8s-app=calico-node --field-selector "
                        + "spec.nodeName=\(first)")
            ]
        }
        let isEverywhere = silent.count == observation.answers.count
        return [
            Finding(
                "DNSSilent", object: "dns \(observation.server)",
                problem: "does not answer on \(silent.joined(separator: ", ")): pods there resolve no names",
                cause: "no answer to kubernetes.default.svc.cluster.local within a second, though a server is Ready"
                    + (isEverywhere ? "" : " and answers other nodes"),
                nextStep: isEverywhere
                    ? "kubectl rollout restart deployment/coredns -n kube-system"
                    : "catbird ssh\(NodeJudgement.option(profile)) -n \(silent[0]) -- nft list ruleset")
        ]
    }
}
