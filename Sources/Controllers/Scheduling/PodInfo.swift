// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// A port of the node that a pod takes.
struct HostPort: Sendable, Hashable {
    var ip: String
    var port: Int
    var `protocol`: String

    func conflicts(with other: HostPort) -> Bool {
        guard port == other.port, `protocol` == other.protocol else { return false }
        return ip == other.ip || ip == "0.0.0.0" || other.ip == "0.0.0.0"
    }
}

/// One term of pod affinity or anti-affinity.
struct PodAffinityTerm: Sendable {
    var selector: LabelSelector
    var topologyKey: String
    var namespaces: Set<String>
    var namespaceSelector: LabelSelector?

    init(_ json: JSON?, namespace: String, labels: [String: String]) {
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

    func matches(_ pod: PodInfo, _ namespaceLabels: [String: [String: String]]) -> Bool {
        guard selector.matches(pod.labels) else { return false }
        if namespaces.contains(pod.namespace) { return true }
        return namespaceSelector?.matches(namespaceLabels[pod.namespace] ?? [:]) ?? false
    }
}

/// One entry of `topologySpreadConstraints`.
struct SpreadConstraint: Sendable {
    var topologyKey: String
    var maxSkew: Int
    var minDomains: Int
    var isHard: Bool
    var selector: LabelSelector
    var honoursTaints: Bool
    var ignoresAffinity: Bool

    init(_ json: JSON, labels: [String: String]) {
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
struct PodInfo: Sendable {
    let pod: KubeObject
    let uid: String
    let namespace: String
    let labels: [String: String]
    let priority: Int
    let requests: Resources
    let weighed: Resources
    let hostPorts: [HostPort]
    let tolerations: [Toleration]
    let affinity: NodeAffinity
    let requiredAffinity: [PodAffinityTerm]
    let requiredAntiAffinity: [PodAffinityTerm]
    let preferredAffinity: [(weight: Int, term: PodAffinityTerm)]
    let spread: [SpreadConstraint]
    let owner: String?

    init(_ pod: KubeObject) {
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
        var ports: [HostPort] = []
        for container in (spec["containers"].array ?? []) + (spec["initContainers"].array ?? []) {
            for port in container["ports"].array ?? [] {
                guard let number = port["hostPort"].int, number > 0 else { continue }
                let ip = port["hostIP"].string ?? ""
                ports.append(
                    HostPort(
                        ip: ip.isEmpty ? "0.0.0.0" : ip, port: number, protocol: port["protocol"].string ?? "TCP"))
            }
        }
        hostPorts = ports
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
    }

    func tolerates(_ taint: Taint) -> Bool { tolerations.tolerate(taint) }
}

/// A node with the pods that are on it or on their way to it.
struct NodeInfo: Sendable {
    var name: String
    var labels: [String: String]
    var taints: [Taint]
    var isUnschedulable: Bool
    var allocatable: Resources
    private(set) var pods: [String: PodInfo] = [:]
    private(set) var requested = Resources()
    private(set) var weighed = Resources()

    init(_ node: KubeObject) {
        name = node.name
        labels = node.labels
        taints = node.taints
        isUnschedulable = node["spec"]["unschedulable"].bool ?? false
        allocatable = Resources(node["status"]["allocatable"])
    }

    /// The node itself changed, its pods did not.
    mutating func update(_ node: KubeObject) {
        let fresh = NodeInfo(node)
        (labels, taints, isUnschedulable, allocatable) =
            (fresh.labels, fresh.taints, fresh.isUnschedulable, fresh.allocatable)
    }

    func schedulesLike(_ other: NodeInfo) -> Bool {
        labels == other.labels && taints == other.taints && isUnschedulable == other.isUnschedulable
            && allocatable == other.allocatable
    }

    mutating func add(_ pod: PodInfo) {
        if let old = pods[pod.uid] { remove(old.uid) }
        pods[pod.uid] = pod
        requested.add(pod.requests)
        weighed.add(pod.weighed)
    }

    mutating func remove(_ uid: String) {
        guard let pod = pods.removeValue(forKey: uid) else { return }
        requested.subtract(pod.requests)
        weighed.subtract(pod.weighed)
    }
}
