// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Why a pod has no node: the scheduler's reasons, and what of them the nodes and the pod show.
struct SchedulingJudgement {
    private let cluster: ClusterSnapshot
    private let index: PodIndex

    init(_ cluster: ClusterSnapshot, _ index: PodIndex) {
        self.cluster = cluster
        self.index = index
    }

    func finding(_ pod: KubeObject) -> Finding {
        let object = "pod \(pod.key)"
        let problem = "is not scheduled"
        let gates = (pod["spec"]["schedulingGates"].array ?? []).compactMap { $0["name"].string }
        guard gates.isEmpty else {
            return Finding(
                "SchedulingGated", object: object, problem: problem,
                cause: "its scheduling gates wait to be removed: \(gates.joined(separator: ", "))",
                nextStep: "kubectl patch pod \(pod.name)\(pod.inNamespace) -p "
                    + "'{\"spec\":{\"schedulingGates\":null}}' --type=merge")
        }
        if let scheduler = pod["spec"]["schedulerName"].string, scheduler != "default-scheduler",
            pod.condition("PodScheduled") == nil
        {
            return Finding(
                "UnknownScheduler", object: object, problem: problem,
                cause: "it waits for the scheduler \(scheduler); default-scheduler leaves it alone",
                nextStep: rebuild(pod, "without schedulerName, or start the scheduler \(scheduler)"))
        }
        guard let message = pod.condition("PodScheduled")["message"].string else {
            return Finding(
                "NotScheduled", object: object, problem: problem, cause: "the scheduler has not looked at it yet",
                nextStep: "kubectl get events\(pod.inNamespace) --field-selector involvedObject.name=\(pod.name)")
        }
        let detail = detail(pod, message)
        return Finding(
            "Unschedulable", object: object, problem: problem,
            cause: detail.map { "\(message) \($0.fact)" } ?? message,
            nextStep: detail?.nextStep ?? "kubectl describe pod \(pod.name)\(pod.inNamespace)")
    }

    private func detail(_ pod: KubeObject, _ message: String) -> (fact: String, nextStep: String)? {
        if message.contains("no nodes available") {
            return (
                "The cluster has no node.",
                cluster.isForeign
                    ? "kubectl get nodes" : "catbird node add\(NodeJudgement.option(cluster.profile))"
            )
        }
        if message.contains("node affinity/selector") { return missingLabel(pod) }
        if message.contains("untolerated taint") || message.contains("unschedulable") { return taint(pod) }
        if message.contains("Insufficient") { return insufficient(pod, message) }
        return nil
    }

    private func missingLabel(_ pod: KubeObject) -> (fact: String, nextStep: String)? {
        guard let selector = pod["spec"]["nodeSelector"].object?.strings, !selector.isEmpty else { return nil }
        let missing = selector.sorted { $0.key < $1.key }.filter { key, value in
            !cluster.nodes.contains { $0.labels[key] == value }
        }
        guard let (key, value) = missing.first, let node = cluster.nodes.first else { return nil }
        let seen = cluster.nodes.prefix(4).map { "\($0.name) has \($0.labels[key] ?? "no such label")" }
        let more = cluster.nodes.count > 4 ? ", …" : ""
        let overwrite = node.labels[key] == nil ? "" : " --overwrite"
        return (
            "Its nodeSelector asks for \(key)=\(value): \(seen.joined(separator: ", "))\(more).",
            "kubectl label node \(node.name) \(key)=\(value)\(overwrite)"
        )
    }

    private func taint(_ pod: KubeObject) -> (fact: String, nextStep: String)? {
        if let node = cluster.nodes.first(where: { $0["spec"]["unschedulable"].bool == true }) {
            return ("Node \(node.name) is cordoned.", "kubectl uncordon \(node.name)")
        }
        for node in cluster.nodes where node.isReady {
            for taint in node["spec"]["taints"].array ?? [] {
                guard let key = taint["key"].string, let effect = taint["effect"].string, effect != "PreferNoSchedule",
                    !key.hasPrefix("node.kubernetes.io/")
                else { continue }
                let value = taint["value"].string.map { "=\($0)" } ?? ""
                return (
                    "Node \(node.name) has the taint \(key)\(value):\(effect).",
                    "kubectl taint node \(node.name) \(key):\(effect)-"
                )
            }
        }
        return nil
    }

    /// What it asks for, and what nodes have in all.
    private func insufficient(_ pod: KubeObject, _ message: String) -> (fact: String, nextStep: String)? {
        guard
            let resource = ["cpu", "memory", "ephemeral-storage"].first(where: {
                message.contains("Insufficient \($0)")
            })
        else { return nil }
        let asked = (pod["spec"]["containers"].array ?? []).compactMap { container in
            container["resources"]["requests"][resource].text.map { "\(container["name"].string ?? "") \($0)" }
        }
        let most = cluster.nodes.compactMap { node in
            node["status"]["allocatable"][resource].text.map { "\(node.name) \($0)" }
        }
        return (
            "Its containers request \(resource): \(asked.joined(separator: ", ")); nodes have in all: "
                + "\(most.prefix(4).joined(separator: ", ")).",
            index.template(of: pod).map {
                "kubectl set resources \($0.kind) \($0.name)\(pod.inNamespace) --requests=\(resource)=LESS"
            } ?? "kubectl describe nodes"
        )
    }

    private func rebuild(_ pod: KubeObject, _ how: String) -> String {
        guard let template = index.template(of: pod) else {
            return "kubectl delete pod \(pod.name)\(pod.inNamespace), and create it \(how)"
        }
        return "kubectl edit \(template.kind) \(template.name)\(pod.inNamespace): \(how)"
    }
}

extension Optional<JSON> {
    /// A quantity as it was written, be it a text or a number.
    fileprivate var text: String? { string ?? int.map { "\($0)" } ?? double.map { "\($0)" } }
}
