// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Values

/// Pools that no node matches, and nodes that no pool matches.
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
            if !pool.isDisabled, !cluster.nodes.contains(where: { pool.nodeSelector.matches($0.labels) }) {
                result.append(withoutNode(pool, cluster.nodes))
            }
        }
        return result + cluster.nodes.compactMap { withoutPool($0, usable) }
    }

    private static func withoutNode(_ pool: IPPool, _ nodes: [KubeObject]) -> Finding {
        let labels = Set(pool.nodeSelector.labels).sorted()
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
    static func withoutPool(_ node: KubeObject, _ usable: [IPPool]) -> Finding? {
        guard !usable.contains(where: { !$0.isDisabled && $0.isAutomatic && $0.nodeSelector.matches(node.labels) })
        else { return nil }
        let why =
            usable.isEmpty
            ? "there is no IP pool"
            : usable.map { pool in
                pool.isDisabled
                    ? "\(pool.name) is disabled"
                    : "\(pool.name) wants \(pool.nodeSelector), and \(pool.nodeSelector.facts(about: node.labels))"
            }.joined(separator: "; ")
        let disabled = usable.first { $0.isDisabled && $0.isAutomatic && $0.nodeSelector.matches(node.labels) }
        return Finding(
            "NodeWithoutPool", object: "node \(node.name)",
            problem: "is matched by no IP pool: new pods on it get no address", cause: why,
            nextStep: usable.isEmpty
                ? "calicoctl create -f POOL.yaml"
                : disabled.map {
                    "calicoctl patch ippool \($0.name) -p '{\"spec\":{\"disabled\":false}}'"
                } ?? "kubectl label nodes \(node.name) KEY=VALUE, as a pool's nodeSelector wants it")
    }
}
