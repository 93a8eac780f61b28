// SPDX-License-Identifier: Apache-2.0

package import KubeObjects
package import NetworkModel
package import Values

/// One term of pod affinity or anti-affinity.
package struct PodAffinityTerm: Sendable {
    package var selector: LabelSelector
    package var topologyKey: String
    package var namespaces: Set<String>
    package var namespaceSelector: LabelSelector?

    package init(_ json: JSON?, namespace: String, labels: [String: String]) {
        var selector = (try? LabelSelector(object: json["labelSelector"])) ?? .nothing
        for key in (json["matchLabelKeys"].array ?? []).compactMap(\.string) {
            if let value = labels[key] { selector.requirements.append(LabelSelector.Requirement(key, .isIn, [value])) }
        }
        for key in (json["mismatchLabelKeys"].array ?? []).compactMap(\.string) {
            if let value = labels[key] { selector.requirements.append(LabelSelector.Requirement(key, .notIn, [value])) }
        }
        self.selector = selector
        topologyKey = json["topologyKey"].string ?? ""
        namespaces = Set((json["namespaces"].array ?? []).compactMap(\.string))
        namespaceSelector = json["namespaceSelector"].flatMap { try? LabelSelector(object: $0) }
        if namespaces.isEmpty, namespaceSelector == nil { namespaces = [namespace] }
    }

    package func matches(_ pod: PodInfo, _ namespaceLabels: [String: [String: String]]) -> Bool {
        guard selector.matches(pod.labels) else { return false }
        if namespaces.contains(pod.namespace) { return true }
        return namespaceSelector?.matches(namespaceLabels[pod.namespace] ?? [:]) ?? false
    }
}

/// One entry of `topologySpreadConstraints`.
package struct SpreadConstraint: Sendable {
    package var topologyKey: String
    package var maxSkew: Int
    package var minDomains: Int
    package var isHard: Bool
    package var selector: LabelSelector
    package var honoursTaints: Bool
    package var ignoresAffinity: Bool

    package init(_ json: JSON, labels: [String: String]) {
        topologyKey = json["topologyKey"].string ?? ""
        maxSkew = max(1, json["maxSkew"].int ?? 1)
        minDomains = max(1, json["minDomains"].int ?? 1)
        isHard = json["whenUnsatisfiable"].string ?? "DoNotSchedule" == "DoNotSchedule"
        var selector = (try? LabelSelector(object: json["labelSelector"])) ?? .nothing
        for key in (json["matchLabelKeys"].array ?? []).compactMap(\.string) {
            if let value = labels[key] { selector.requirements.append(LabelSelector.Requirement(key, .isIn, [value])) }
        }
        self.selector = selector
        honoursTaints = json["nodeTaintsPolicy"].string == "Honor"
        ignoresAffinity = json["nodeAffinityPolicy"].string == "Ignore"
    }
}

/// A pod as the scheduler sees it: read once, asked many times.
package struct PodInfo: Sendable {
    package let pod: KubeObject
    package let uid: String
    package let namespace: String
    package let labels: [String: String]
    package let priority: Int
    package let requests: Resources
    package let weighed: Resources
    package let hostPorts: [AskedHostPort]
    package let tolerations: [Toleration]
    package let affinity: NodeAffinity
    package let requiredAffinity: [PodAffinityTerm]
    package let requiredAntiAffinity: [PodAffinityTerm]
    package let preferredAffinity: [(weight: Int, term: PodAffinityTerm)]
    package let spread: [SpreadConstraint]
    package let owner: String?
    /// It is being deleted: what spreads pods does not count it any more.
    package let isLeaving: Bool

    package init(_ pod: KubeObject) {
        self.pod = pod
        uid = pod.uid
        let namespace = pod.namespace ?? ""
        let labels = pod.labels
        self.namespace = namespace
        self.labels = labels
        let spec = pod["spec"]
        priority = spec["priority"].int ?? 0
        requests = Resources.requested(by: spec)
        weighed = Resources.weighed(by: spec, requested: requests)
        tolerations = pod.tolerations
        affinity = NodeAffinity(spec)
        hostPorts = AskedHostPort.asked(by: spec)
        let required = "requiredDuringSchedulingIgnoredDuringExecution"
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution"
        func terms(_ kind: String) -> [PodAffinityTerm] {
            (spec["affinity"][kind][required].array ?? []).map {
                PodAffinityTerm($0, namespace: namespace, labels: labels)
            }
        }
        func wishes(_ kind: String, _ sign: Int) -> [(weight: Int, term: PodAffinityTerm)] {
            (spec["affinity"][kind][preferred].array ?? []).map {
                (
                    sign * ($0["weight"].int ?? 0),
                    PodAffinityTerm($0["podAffinityTerm"], namespace: namespace, labels: labels)
                )
            }
        }
        requiredAffinity = terms("podAffinity")
        requiredAntiAffinity = terms("podAntiAffinity")
        preferredAffinity = wishes("podAffinity", 1) + wishes("podAntiAffinity", -1)
        spread = (spec["topologySpreadConstraints"].array ?? []).map { SpreadConstraint($0, labels: labels) }
        owner = pod.controller?.uid
        isLeaving = pod.isBeingDeleted
    }

    package func tolerates(_ taint: Taint) -> Bool { tolerations.tolerate(taint) }
}

/// A node with the pods that are on it or on their way to it.
package struct NodeInfo: Sendable {
    package var name: String
    package var labels: [String: String]
    package var taints: [Taint]
    package var isUnschedulable: Bool
    package var allocatable: Resources
    package private(set) var pods: [String: PodInfo] = [:]
    package private(set) var requested = Resources()
    package private(set) var weighed = Resources()
    /// How many pods each controller has here that stay.
    package private(set) var owned: [String: Int] = [:]
    /// The pods that keep others away, by uid: few, where all would have to be asked else.
    package private(set) var exclusive: [String: PodInfo] = [:]

    package init(_ node: KubeObject) {
        name = node.name
        labels = node.labels
        taints = node.taints
        isUnschedulable = node["spec"]["unschedulable"].bool ?? false
        allocatable = Resources(node["status"]["allocatable"])
    }

    /// The node itself changed, its pods did not.
    package mutating func update(_ node: KubeObject) {
        let fresh = NodeInfo(node)
        (labels, taints, isUnschedulable, allocatable) =
            (fresh.labels, fresh.taints, fresh.isUnschedulable, fresh.allocatable)
    }

    package func schedulesLike(_ other: NodeInfo) -> Bool {
        labels == other.labels && taints == other.taints && isUnschedulable == other.isUnschedulable
            && allocatable == other.allocatable
    }

    package mutating func add(_ pod: PodInfo) {
        if let old = pods[pod.uid] { remove(old.uid) }
        pods[pod.uid] = pod
        requested.add(pod.requests)
        weighed.add(pod.weighed)
        if let owner = pod.owner, !pod.isLeaving { owned[owner, default: 0] += 1 }
        if !pod.requiredAntiAffinity.isEmpty { exclusive[pod.uid] = pod }
    }

    package mutating func remove(_ uid: String) {
        guard let pod = pods.removeValue(forKey: uid) else { return }
        requested.subtract(pod.requests)
        weighed.subtract(pod.weighed)
        exclusive[uid] = nil
        if let owner = pod.owner, !pod.isLeaving, let count = owned[owner] {
            owned[owner] = count > 1 ? count - 1 : nil
        }
    }
}
