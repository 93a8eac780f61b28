// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Which of the nodes that can take a pod is the best: pure. Every opinion is brought to 0...100 before it is weighed.
package struct Scores: Sendable {
    package let pod: PodInfo
    package let view: ClusterView

    /// The best of `candidates`. Equal scores go to the node with fewer pods, then by name, so that the same
    /// question always has the same answer.
    package func best(_ candidates: [NodeInfo]) -> NodeInfo? {
        guard candidates.count > 1 else { return candidates.first }
        var totals = [Double](repeating: 0, count: candidates.count)
        func weigh(_ weight: Double, _ scores: [Double]) {
            for (index, score) in scores.enumerated() { totals[index] += weight * score }
        }
        weigh(1, candidates.map(leastAllocated))
        weigh(1, candidates.map(balanced))
        let affinity = candidates.map { Double(pod.affinity.preference(name: $0.name, labels: $0.labels)) }
        weigh(2, Self.normalized(affinity))
        let bad = candidates.map { node in
            Double(node.taints.filter { $0.effect == "PreferNoSchedule" && !pod.tolerates($0) }.count)
        }
        weigh(3, Self.reversed(bad))
        weigh(2, spread(candidates))
        if !pod.preferredAffinity.isEmpty { weigh(2, company(candidates)) }
        let order = candidates.indices.min { left, right in
            if totals[left] != totals[right] { return totals[left] > totals[right] }
            let (first, second) = (candidates[left], candidates[right])
            return (first.pods.count, first.name) < (second.pods.count, second.name)
        }
        return order.map { candidates[$0] }
    }

    private func fractions(_ node: NodeInfo) -> [Double] {
        ["cpu", "memory"].compactMap { name in
            let capacity = node.allocatable[name]
            guard capacity > 0 else { return nil }
            return min(1, Double(node.weighed[name] + pod.weighed[name]) / Double(capacity))
        }
    }

    private func leastAllocated(_ node: NodeInfo) -> Double {
        let fractions = fractions(node)
        if fractions.isEmpty { return 0 }
        return fractions.reduce(0) { $0 + (1 - $1) * 100 } / Double(fractions.count)
    }

    private func balanced(_ node: NodeInfo) -> Double {
        let fractions = fractions(node)
        guard fractions.count == 2 else { return 100 }
        return (1 - abs(fractions[0] - fractions[1]) / 2) * 100
    }

    /// Fewer pods like this one in the same topology are better. Without constraints of its own a pod keeps apart
    /// from those of the same controller, by host and by zone.
    private func spread(_ candidates: [NodeInfo]) -> [Double] {
        var raw = [Double](repeating: 0, count: candidates.count)
        let soft = pod.spread.filter { !$0.isHard }
        if !soft.isEmpty {
            let state = SpreadState(pod, view, soft)
            for (index, constraint) in soft.enumerated() {
                add(&raw, candidates, key: constraint.topologyKey, maxSkew: constraint.maxSkew, state.counts[index])
            }
        } else if pod.spread.isEmpty, let owner = pod.owner {
            for (key, maxSkew) in [("kubernetes.io/hostname", 3), ("topology.kubernetes.io/zone", 5)] {
                var counts: [String: Int] = [:]
                for node in view.nodes.values {
                    guard let value = node.labels[key] else { continue }
                    counts[value, default: 0] += node.owned[owner] ?? 0
                }
                add(&raw, candidates, key: key, maxSkew: maxSkew, counts)
            }
        } else {
            return raw
        }
        guard let most = raw.max(), let least = raw.min() else { return raw }
        return raw.map { most == 0 ? 100 : 100 * (most + least - $0) / most }
    }

    private func add(
        _ raw: inout [Double], _ candidates: [NodeInfo], key: String, maxSkew: Int, _ counts: [String: Int]
    ) {
        // More domains make each one weigh more, much as a logarithm does.
        let domains = counts.count
        let weight = Double(domains + 2).squareRoot()
        for (index, node) in candidates.enumerated() {
            let count = node.labels[key].map { counts[$0] ?? 0 } ?? (counts.values.max() ?? 0)
            raw[index] += Double(count) * weight + Double(maxSkew - 1)
        }
    }

    /// Preferred pod affinity and anti-affinity.
    private func company(_ candidates: [NodeInfo]) -> [Double] {
        var sums: [[String]: Double] = [:]
        view.pods { node, other in
            for (weight, term) in pod.preferredAffinity where term.matches(other, view.namespaceLabels) {
                guard let value = node.labels[term.topologyKey] else { continue }
                sums[[term.topologyKey, value], default: 0] += Double(weight)
            }
        }
        let keys = Set(pod.preferredAffinity.map(\.term.topologyKey))
        return Self.normalized(
            candidates.map { node in
                keys.reduce(0) { sum, key in sum + (node.labels[key].flatMap { sums[[key, $0]] } ?? 0) }
            })
    }

    private static func normalized(_ raw: [Double]) -> [Double] {
        guard let most = raw.max(), let least = raw.min(), most > least || most > 0 else { return raw.map { _ in 0 } }
        let floor = min(0, least)
        return raw.map { 100 * ($0 - floor) / max(most - floor, 1) }
    }

    private static func reversed(_ raw: [Double]) -> [Double] {
        guard let most = raw.max(), most > 0 else { return raw.map { _ in 100 } }
        return raw.map { 100 - 100 * $0 / most }
    }
}
