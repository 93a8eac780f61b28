// SPDX-License-Identifier: Apache-2.0

package import KubeObjects
package import Values

/// What a DaemonSet has to do with the pods it has: pure.
package struct DaemonSetPlan: Sendable {
    /// Nodes that get a pod.
    package var create: [String] = []
    package var delete: [KubeObject] = []
    /// Pods that ended although they should run for ever: deleted, and said so.
    package var failed: [KubeObject] = []
    package var finished: [KubeObject] = []
    package var status = Status()

    package struct Status: Sendable, Equatable {
        package var current = 0
        package var misscheduled = 0
        package var desired = 0
        package var ready = 0
        package var updated = 0
        package var available = 0
    }

    /// Taints that every pod of a DaemonSet bears: it belongs to the node for better or worse.
    package static let tolerations: [JSON] = {
        let noExecute = [Taint.notReady, Taint.unreachable].map { (key: $0, effect: "NoExecute") }
        let noSchedule = [
            Taint.diskPressure, Taint.memoryPressure, Taint.pidPressure, Taint.unschedulable,
        ].map { (key: $0, effect: "NoSchedule") }
        return (noExecute + noSchedule).map {
            ["key": JSON($0.key), "operator": "Exists", "effect": JSON($0.effect)]
        }
    }()

    /// The pod of that node.
    package static func pod(of set: KubeObject, node: String, hash: String) -> KubeObject {
        var pod = PodTemplate.pod(from: set["spec"]["template"], owner: set)
        pod.metadata["labels"]["controller-revision-hash"] = JSON(hash)
        if let generation = set.annotations["deprecated.daemonset.template.generation"] {
            pod.metadata["labels"]["pod-template-generation"] = JSON(generation)
        }
        let term: JSON = ["matchFields": [["key": "metadata.name", "operator": "In", "values": [JSON(node)]]]]
        let required = "requiredDuringSchedulingIgnoredDuringExecution"
        var spec = pod["spec"]
        // The template's own terms have been weighed when the node was chosen: the name says it all.
        spec["affinity"]["nodeAffinity"][required] = ["nodeSelectorTerms": [term]]
        var tolerations = spec["tolerations"].array ?? []
        var added = Self.tolerations
        if spec["hostNetwork"].bool ?? false {
            added.append(["key": JSON(Taint.networkUnavailable), "operator": "Exists", "effect": "NoSchedule"])
        }
        for toleration in added where !tolerations.contains(toleration) { tolerations.append(toleration) }
        spec["tolerations"] = .array(tolerations)
        pod["spec"] = spec
        return pod
    }

    /// Whether a node gets a pod, and whether one that is there may stay.
    package static func eligibility(of node: KubeObject, for pod: KubeObject) -> (shouldRun: Bool, mayStay: Bool) {
        if let name = pod.nodeName, name != node.name { return (false, false) }
        guard NodeAffinity(pod["spec"]).allows(name: node.name, labels: node.labels) else { return (false, false) }
        let tolerations = pod.tolerations
        var taints = node.taints.filter { $0.effect != "PreferNoSchedule" && !tolerations.tolerate($0) }
        if node["spec"]["unschedulable"].bool ?? false {
            let taint = Taint(Taint.unschedulable, effect: "NoSchedule")
            if !tolerations.tolerate(taint) { taints.append(taint) }
        }
        if taints.contains(where: { $0.effect == "NoExecute" }) { return (false, false) }
        return (taints.isEmpty, true)
    }

    package init(set: KubeObject, nodes: [KubeObject], pods: [KubeObject], hash: String, now: Timestamp) {
        let minReady = set["spec"]["minReadySeconds"].int ?? 0
        var byNode: [String: [KubeObject]] = [:]
        for pod in pods { if let node = Self.target(of: pod) { byNode[node, default: []].append(pod) } }
        var serving: [(node: String, old: [KubeObject], isAvailable: Bool, isUpdated: Bool)] = []

        for node in nodes.sorted(by: { $0.name < $1.name }) {
            let mine = byNode.removeValue(forKey: node.name) ?? []
            let (shouldRun, mayStay) = Self.eligibility(of: node, for: Self.template(set, node: node.name, hash: hash))
            if shouldRun { status.desired += 1 }
            if mine.isEmpty {
                if shouldRun { create.append(node.name) }
                continue
            }
            if shouldRun { status.current += 1 } else { status.misscheduled += 1 }
            if !shouldRun, !mayStay {
                delete += mine.filter { !$0.isBeingDeleted }
                continue
            }
            let alive = mine.filter { !$0.isPodFinished }
            for pod in mine where pod.isPodFinished && !pod.isBeingDeleted {
                if pod.podPhase == "Failed" { failed.append(pod) } else { finished.append(pod) }
            }
            // One pod a node: the oldest that serves stays.
            let ordered = alive.filter { !$0.isBeingDeleted }.sorted {
                if $0.isPodReady != $1.isPodReady { return $0.isPodReady }
                return ($0.creationTimestamp?.seconds ?? 0, $0.name) < ($1.creationTimestamp?.seconds ?? 0, $1.name)
            }
            delete += ordered.dropFirst()
            guard let pod = ordered.first else {
                serving.append((node.name, [], false, true))
                continue
            }
            guard shouldRun else { continue }
            let isUpdated = pod.labels["controller-revision-hash"] == hash
            let isAvailable = pod.isPodAvailable(minReadySeconds: minReady, now: now)
            if pod.isPodReady { status.ready += 1 }
            if isAvailable { status.available += 1 }
            if isUpdated { status.updated += 1 }
            serving.append((node.name, isUpdated ? [] : [pod], isAvailable, isUpdated))
        }
        // Pods of nodes that are gone are left to the collector of pods.

        guard !set.isBeingDeleted else {
            (create, delete, failed, finished) = ([], [], [], [])
            return
        }
        guard set["spec"]["updateStrategy"]["type"].string ?? "RollingUpdate" == "RollingUpdate" else { return }
        let limit = set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] ?? 1
        let allowed = max(1, IntOrPercent(limit).scaled(to: status.desired, roundingUp: true))
        // Old pods that serve nobody may go at once; serving ones as far as the limit allows.
        var unavailable = create.count + serving.count { !$0.isAvailable }
        for entry in serving where !entry.isUpdated && !entry.isAvailable { delete += entry.old }
        for entry in serving where !entry.isUpdated && entry.isAvailable && unavailable < allowed {
            delete += entry.old
            unavailable += 1
        }
    }

    private static func template(_ set: KubeObject, node: String, hash: String) -> KubeObject {
        var pod = Self.pod(of: set, node: node, hash: hash)
        // Judged by the terms of the template, not by the name alone.
        pod["spec"]["affinity"] = set["spec"]["template"]["spec"]["affinity"]
        return pod
    }

    /// The node a pod runs on, or was made for.
    package static func target(of pod: KubeObject) -> String? {
        if let node = pod.nodeName { return node }
        let terms = NodeAffinity(pod["spec"]).required ?? []
        return terms.flatMap(\.fields).first { $0.key == "metadata.name" && $0.values.count == 1 }?.values.first
    }
}
