// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Values

/// Why a node does not take a pod.
package struct Rejection: Sendable, Equatable {
    /// As users of Kubernetes know the words; several when several resources are short.
    package var reasons: [String]
    /// Whether fewer pods on the node could change it.
    package var preemptionMayHelp: Bool

    package init(_ reasons: [String], preemptionMayHelp: Bool) {
        self.reasons = reasons
        self.preemptionMayHelp = preemptionMayHelp
    }

    package static func never(_ reason: String) -> Rejection { Rejection([reason], preemptionMayHelp: false) }
    package static func full(_ reason: String) -> Rejection { Rejection([reason], preemptionMayHelp: true) }
}

/// The nodes and what else a decision needs, at one moment.
package struct ClusterView: Sendable {
    package var nodes: [String: NodeInfo] = [:]
    package var namespaceLabels: [String: [String: String]] = [:]

    package func pods(_ body: (NodeInfo, PodInfo) -> Void) {
        for node in nodes.values { for pod in node.pods.values { body(node, pod) } }
    }
}

/// Which nodes can take a pod, and why the others cannot: pure.
package struct Filters: Sendable {
    package let pod: PodInfo
    package let view: ClusterView
    private let affinity: AffinityState
    private let spread: SpreadState

    package init(pod: PodInfo, view: ClusterView) {
        self.pod = pod
        self.view = view
        affinity = AffinityState(pod, view)
        spread = SpreadState(pod, view, pod.spread.filter(\.isHard))
    }

    /// Nil when the node can take the pod; otherwise what the first filter that refused said.
    package func reject(_ node: NodeInfo) -> Rejection? {
        if node.isUnschedulable, !pod.tolerates(Taint(Taint.unschedulable, effect: "NoSchedule")) {
            return .never("node(s) were unschedulable")
        }
        if node.taints.contains(where: { $0.effect != "PreferNoSchedule" && !pod.tolerates($0) }) {
            return .never("node(s) had untolerated taint(s)")
        }
        if !pod.affinity.allows(name: node.name, labels: node.labels) {
            return .never("node(s) didn't match Pod's node affinity/selector")
        }
        if !pod.hostPorts.isEmpty {
            let taken = node.pods.values.contains { other in
                other.hostPorts.contains { port in pod.hostPorts.contains { $0.conflicts(with: port) } }
            }
            if taken { return .full("node(s) didn't have free ports for the requested pod ports") }
        }
        return fit(node) ?? spread.reject(node) ?? affinity.reject(node)
    }

    private func fit(_ node: NodeInfo) -> Rejection? {
        var reasons: [String] = []
        var couldEverFit = true
        if Int64(node.pods.count) + 1 > node.allocatable["pods"] { reasons.append("Too many pods") }
        for (name, amount) in pod.requests.amounts.sorted(by: { $0.key < $1.key }) where amount > 0 {
            guard amount > node.allocatable[name] - node.requested[name] else { continue }
            reasons.append("Insufficient \(name)")
            if amount > node.allocatable[name] { couldEverFit = false }
        }
        return reasons.isEmpty ? nil : Rejection(reasons, preemptionMayHelp: couldEverFit)
    }
}

/// Required pod affinity and anti-affinity, counted once for all nodes.
private struct AffinityState: Sendable {
    private let pod: PodInfo
    /// For each required term, the values of its topology key where a matching pod runs.
    private var wanted: [Set<String>]
    /// For each term of anti-affinity, those where one runs.
    private var unwanted: [Set<String>]
    /// Key and value where a running pod does not want this one.
    private var refused: Set<[String]> = []
    private let isFirstOfItsKind: Bool

    init(_ pod: PodInfo, _ view: ClusterView) {
        self.pod = pod
        var wanted = [Set<String>](repeating: [], count: pod.requiredAffinity.count)
        var unwanted = [Set<String>](repeating: [], count: pod.requiredAntiAffinity.count)
        var refused: Set<[String]> = []
        let refuse = { (node: NodeInfo, other: PodInfo) in
            for term in other.requiredAntiAffinity {
                if let value = node.labels[term.topologyKey], term.matches(pod, view.namespaceLabels) {
                    refused.insert([term.topologyKey, value])
                }
            }
        }
        for node in view.nodes.values { for other in node.exclusive.values { refuse(node, other) } }
        // Only a pod that wants or shuns company has to know all others.
        let isSociable = !pod.requiredAffinity.isEmpty || !pod.requiredAntiAffinity.isEmpty
        if isSociable {
            view.pods { node, other in
                if !pod.requiredAffinity.isEmpty,
                    pod.requiredAffinity.allSatisfy({ $0.matches(other, view.namespaceLabels) })
                {
                    for (index, term) in pod.requiredAffinity.enumerated() {
                        if let value = node.labels[term.topologyKey] { wanted[index].insert(value) }
                    }
                }
                for (index, term) in pod.requiredAntiAffinity.enumerated() {
                    if let value = node.labels[term.topologyKey], term.matches(other, view.namespaceLabels) {
                        unwanted[index].insert(value)
                    }
                }
            }
        }
        self.wanted = wanted
        self.unwanted = unwanted
        self.refused = refused
        // The first of a group that wants to be together has nobody to join.
        isFirstOfItsKind =
            wanted.allSatisfy(\.isEmpty)
            && pod.requiredAffinity.allSatisfy { $0.matches(pod, view.namespaceLabels) }
    }

    func reject(_ node: NodeInfo) -> Rejection? {
        for (index, term) in pod.requiredAffinity.enumerated() {
            guard let value = node.labels[term.topologyKey] else {
                return .never("node(s) didn't match pod affinity rules")
            }
            if !wanted[index].contains(value), !isFirstOfItsKind {
                return .never("node(s) didn't match pod affinity rules")
            }
        }
        for (index, term) in pod.requiredAntiAffinity.enumerated() {
            if let value = node.labels[term.topologyKey], unwanted[index].contains(value) {
                return .full("node(s) didn't match pod anti-affinity rules")
            }
        }
        if refused.contains(where: { node.labels[$0[0]] == $0[1] }) {
            return .full("node(s) didn't satisfy existing pods anti-affinity rules")
        }
        return nil
    }
}

/// Counts of matching pods by topology, for constraints of one kind.
package struct SpreadState: Sendable {
    private let pod: PodInfo
    package let constraints: [SpreadConstraint]
    /// For each constraint: pods by value of its topology key, over the nodes that count.
    package private(set) var counts: [[String: Int]]

    package init(_ pod: PodInfo, _ view: ClusterView, _ constraints: [SpreadConstraint]) {
        self.pod = pod
        self.constraints = constraints
        counts = constraints.map { constraint in
            var count: [String: Int] = [:]
            for node in view.nodes.values {
                guard let value = node.labels[constraint.topologyKey] else { continue }
                if !constraint.ignoresAffinity, !pod.affinity.allows(name: node.name, labels: node.labels) { continue }
                if constraint.honoursTaints,
                    node.taints.contains(where: { $0.effect != "PreferNoSchedule" && !pod.tolerates($0) })
                {
                    continue
                }
                let here = node.pods.values.reduce(0) { sum, other in
                    let counts =
                        other.namespace == pod.namespace && !other.isLeaving
                        && constraint.selector.matches(other.labels)
                    return counts ? sum + 1 : sum
                }
                count[value, default: 0] += here
            }
            return count
        }
    }

    package func reject(_ node: NodeInfo) -> Rejection? {
        for (index, constraint) in constraints.enumerated() {
            guard let value = node.labels[constraint.topologyKey] else {
                return .never("node(s) didn't match pod topology spread constraints (missing required label)")
            }
            let domains = counts[index]
            let least = domains.count < constraint.minDomains ? 0 : domains.values.min() ?? 0
            let own = constraint.selector.matches(pod.labels) ? 1 : 0
            if (domains[value] ?? 0) + own - least > constraint.maxSkew {
                return .full("node(s) didn't match pod topology spread constraints")
            }
        }
        return nil
    }
}
