// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Nodes that are away, not Ready, under pressure, cordoned, or without an agent.
package enum NodeJudgement {
    static func findings(_ cluster: ClusterSnapshot) -> [Finding] {
        let registered = Set(cluster.nodes.map(\.name))
        let unknown = (cluster.profileNodes ?? []).filter {
            !registered.contains($0) && !cluster.stoppedNodes.contains($0)
        }
        return unknown.map { name in
            Finding(
                "NodeNotRegistered", object: "node \(name)", problem: "is not in the cluster",
                cause:
                    "the profile has it and the API does not: its Node object was deleted, or its kubelet has not "
                    + "made it",
                nextStep: again(name, cluster.profile, isFirst: cluster.profileNodes?.first == name))
        } + cluster.nodes.flatMap { findings($0, cluster) }
    }

    private static func findings(_ node: KubeObject, _ cluster: ClusterSnapshot) -> [Finding] {
        if let finding = notReady(node, cluster) { return [finding] }
        var result: [Finding] = []
        for condition in node["status"]["conditions"].array ?? [] {
            guard condition["status"].string == "True", let type = condition["type"].string, type != "Ready" else {
                continue
            }
            result.append(
                Finding(
                    type.hasSuffix("Pressure") ? "NodePressure" : "NodeCondition", object: "node \(node.name)",
                    problem: type.hasSuffix("Pressure")
                        ? "is under pressure (\(type)): pods are evicted and none are taken" : "reports \(type)",
                    cause: condition["message"].string ?? condition["reason"].string ?? type,
                    nextStep: type == "DiskPressure" && !cluster.isForeign
                        ? "df -h /var/lib/catbird" : "kubectl describe node \(node.name)"))
        }
        if node["spec"]["unschedulable"].bool == true {
            result.append(
                Finding(
                    "NodeCordoned", object: "node \(node.name)", problem: "takes no new pods",
                    cause: "it is cordoned (spec.unschedulable)", nextStep: "kubectl uncordon \(node.name)"))
        }
        return result
    }

    private static func notReady(_ node: KubeObject, _ cluster: ClusterSnapshot) -> Finding? {
        let option = option(cluster.profile)
        if cluster.stoppedNodes.contains(node.name) {
            return Finding(
                "NodeStopped", object: "node \(node.name)", problem: "is stopped",
                cause: "catbird node stop has stopped it", nextStep: "catbird node start \(node.name)\(option)")
        }
        guard !node.isReady else { return nil }
        let ready = node.condition("Ready")
        return Finding(
            "NodeNotReady", object: "node \(node.name)", problem: "is not Ready",
            cause: ready["message"].string ?? "the node has never reported",
            nextStep: ready["status"].string == "Unknown" && !cluster.isForeign
                ? "catbird node start \(node.name)\(option)" : "kubectl describe node \(node.name)")
    }

    /// ` -p NAME`
    package static func option(_ profile: String) -> String { profile.isEmpty ? "" : " -p \(profile)" }

    /// The commands that make a node register anew.
    static func again(_ name: String, _ profile: String, isFirst: Bool = false) -> String {
        let option = option(profile)
        // The first node carries the control plane, which comes back with the whole cluster.
        return isFirst
            ? "catbird stop\(option) && catbird start\(option)"
            : "catbird node stop \(name)\(option) && catbird node start \(name)\(option)"
    }
}
