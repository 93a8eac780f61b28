// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Values

/// Pools that no node matches, and nodes that no pool serves, by the allocator's own judgement.
enum PoolJudgement {
    static func findings(_ cluster: ClusterSnapshot) -> [Finding] {
        // A cluster whose network is not Calico's gets its addresses elsewhere.
        guard cluster.unseen[.ipPools] == nil else { return [] }
        var result: [Finding] = []
        var usable: [IPPool] = []
        for object in cluster[.ipPools] {
            guard let pool = try? IPPool(object) else {
                result.append(
                    Finding(
                        "PoolUnreadable", object: "ippool \(object.name)", problem: "cannot be read",
                        cause: "its cidr or a selector is invalid",
                        nextStep: "calicoctl get ippool \(object.name) -o yaml"))
                continue
            }
            usable.append(pool)
            if pool.outOfUse == nil, !cluster.nodes.contains(where: { pool.selects($0.labels) }) {
                result.append(withoutNode(pool, cluster.nodes))
            }
        }
        return result + cluster.nodes.compactMap { withoutPool($0, usable) }
    }

    private static func withoutNode(_ pool: IPPool, _ nodes: [KubeObject]) -> Finding {
        let labels = pool.selectedLabels
        let seen = nodes.map { node in
            let values = labels.map { "\($0)=\(node.labels[$0] ?? "(absent)")" }
            return "\(node.name) has \(values.joined(separator: ", "))"
        }
        return Finding(
            "PoolWithoutNode", object: "ippool \(pool.name)", problem: "matches no node",
            cause: "its nodeSelector is \(pool.nodeSelector); \(seen.joined(separator: "; "))",
            nextStep: "kubectl label nodes NODE \(labels.first ?? "KEY")=VALUE")
    }

    /// Why no new pod on the node gets an address; nil when one does.
    static func withoutPool(_ node: KubeObject, _ readable: [IPPool]) -> Finding? {
        let judged = NodePools(node: node.name, labels: node.labels, readable)
        guard judged.serving.isEmpty else { return nil }
        let why = judged.rejected.map { "\($0.pool.name): \($0.reason)" }.joined(separator: "; ")
        // Enabling a pool helps only where nothing else speaks against it.
        let disabled = readable.first { pool in
            guard pool.isDisabled else { return false }
            var enabled = pool
            enabled.isDisabled = false
            // Its status says so for as long as it is disabled.
            enabled.notAllocatable = nil
            return !NodePools(node: node.name, labels: node.labels, [enabled]).serving.isEmpty
        }
        return Finding(
            "NodeWithoutPool", object: "node \(node.name)",
            problem: "is served by no IP pool: new pods on it get no address",
            cause: readable.isEmpty ? "there is no IP pool" : why,
            nextStep: readable.isEmpty
                ? "calicoctl create -f POOL.yaml"
                : disabled.map {
                    "calicoctl patch ippool \($0.name) -p '{\"spec\":{\"disabled\":false}}'"
                } ?? judged.nextStep)
    }
}
