// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Which pods of lower priority would have to go, and from which node, for a pod to fit: pure.
package struct Preemption: Sendable {
    package let node: String
    package let victims: [PodInfo]

    /// The choice that hurts least: the least important victims, then the fewest. Nil when no node could be freed.
    static func find(for pod: PodInfo, in view: ClusterView, nodes: [String]) -> Preemption? {
        let choices = nodes.sorted().compactMap { choice(for: pod, in: view, node: $0) }
        return choices.min { left, right in
            let (first, second) = (left.harm, right.harm)
            return (first.highest, first.sum, first.count) < (second.highest, second.sum, second.count)
        }
    }

    private var harm: (highest: Int, sum: Int, count: Int) {
        (victims.map(\.priority).max() ?? .min, victims.reduce(0) { $0 &+ $1.priority }, victims.count)
    }

    /// Takes away all who may be taken away, then lets return whoever can stay, the most important first.
    private static func choice(for pod: PodInfo, in view: ClusterView, node name: String) -> Preemption? {
        guard var node = view.nodes[name] else { return nil }
        let candidates = node.pods.values.filter { $0.priority < pod.priority }
        if candidates.isEmpty { return nil }
        for candidate in candidates { node.remove(candidate.uid) }
        func fits(_ node: NodeInfo) -> Bool {
            var changed = view
            changed.nodes[name] = node
            return Filters(pod: pod, view: changed).reject(node) == nil
        }
        guard fits(node) else { return nil }
        var victims: [PodInfo] = []
        let byImportance = candidates.sorted { left, right in
            if left.priority != right.priority { return left.priority > right.priority }
            return (left.started, left.uid) < (right.started, right.uid)
        }
        for candidate in byImportance {
            var fuller = node
            fuller.add(candidate)
            if fits(fuller) { node = fuller } else { victims.append(candidate) }
        }
        return victims.isEmpty ? nil : Preemption(node: name, victims: victims)
    }
}

extension PodInfo {
    /// Seconds since 1970.
    fileprivate var started: Int64 { pod.creationTimestamp?.seconds ?? 0 }
}
