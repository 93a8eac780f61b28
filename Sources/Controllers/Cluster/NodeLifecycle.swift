// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Synchronization
import Values

/// Notices nodes that fell silent, and keeps the taints of every node in step with its conditions.
///
/// Silence is measured by this process's clock from the last change of the node's Lease or of its heartbeats that
/// was seen, so that clocks need not agree. After a start every node gets the whole grace period, and so it does after
/// the machine slept or this process was stopped: who was not listening has not heard a silence.
struct NodeLifecycle: Controller {
    let context: ControllerContext
    private let queue = WorkQueue<String>("node_lifecycle_controller")
    private let events: EventRecorder
    private let seen: SeenNodes

    /// When something was last heard from each node.
    final class SeenNodes: Sendable {
        private let times = Mutex<[String: (mark: JSON, at: ContinuousClock.Instant)]>([:])
        private let awake: AwakeTime

        init(_ awake: AwakeTime) { self.awake = awake }

        /// How long ago the mark of the node was seen to change, or somebody began to look.
        func silence(of name: String, mark: JSON, now: AwakeTime.Moment = .now) -> Duration {
            let awakeSince = awake.since(now: now).instant
            return times.withLock { times in
                if let entry = times[name], entry.mark == mark { return now.instant - max(entry.at, awakeSince) }
                times[name] = (mark, now.instant)
                return .zero
            }
        }

        func forget(_ name: String) { times.withLock { $0[name] = nil } }
    }

    init(_ context: ControllerContext) {
        self.context = context
        seen = SeenNodes(context.awake)
        events = context.events(from: "node-controller")
    }

    func register() {
        let queue = queue
        let seen = seen
        let events = events
        context.caches.nodes.onChange { change in
            if change.new == nil {
                seen.forget(change.object.name)
                events.record(
                    change.object, type: .normal, reason: "RemovingNode",
                    message: "Node \(change.object.name) event: Removing Node \(change.object.name) from Controller")
            } else if change.old == nil {
                events.record(
                    change.object, type: .normal, reason: "RegisteredNode",
                    message: "Node \(change.object.name) event: Registered Node \(change.object.name) in Controller")
            }
            queue.add(change.object.name)
        }
        context.caches.leases.onChange { queue.add($0.object.name) }
        context.caches.pods.onChange { change in
            // A pod bound to a node that is silent already.
            guard let pod = change.new, let node = pod.nodeName, change.old?.nodeName != node else { return }
            queue.add(node)
        }
    }

    func run() async { await queue.run(workers: 2) { name in try await reconcile(name) } }

    private func reconcile(_ name: String) async throws {
        let caches = context.caches
        guard var node = caches.nodes[ObjectKey(nil, name)] else { return }
        let lease = caches.leases[ObjectKey("kube-node-lease", name)]
        let mark: JSON = [
            "lease": lease?["spec"]["renewTime"] ?? .null,
            "heartbeat": node.condition("Ready")["lastHeartbeatTime"] ?? .null,
        ]
        // What we wrote ourselves is no sign of life.
        let saysUnknown = node.condition("Ready")["reason"].string == "NodeStatusUnknown"
        let silence = seen.silence(of: name, mark: saysUnknown ? ["lease": mark["lease"] ?? .null] : mark)
        let grace = context.configuration.nodeGracePeriod
        if silence < grace {
            queue.addAfter(name, grace - silence)
        } else if !saysUnknown {
            node = try await markUnknown(node)
        }
        try await syncTaints(node)
        // A kubelet that still speaks knows its pods better.
        if node.condition("Ready")["status"].string == "Unknown" { try await markPodsNotReady(of: name) }
    }

    private func markUnknown(_ node: KubeObject) async throws -> KubeObject {
        let now = Timestamp.now
        var updated = node
        var conditions = updated["status"]["conditions"]
        for type in ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"] {
            let known = conditions.condition(type) != nil
            conditions.setCondition(
                Condition(
                    type, nil, known ? "NodeStatusUnknown" : "NodeStatusNeverUpdated",
                    known ? "Kubelet stopped posting node status." : "Kubelet never posted node status."), now: now)
        }
        guard conditions != updated["status"]["conditions"] else { return node }
        updated["status"]["conditions"] = conditions
        let written = try await context.caches.nodes.update(updated, subresource: "status")
        events.record(
            node, type: .normal, reason: "NodeNotReady", message: "Node \(node.name) status is now: NodeNotReady")
        return written
    }

    // MARK: - Taints

    private static let owned: Set<String> = [
        Taint.notReady, Taint.unreachable, Taint.unschedulable, Taint.memoryPressure, Taint.diskPressure,
        Taint.pidPressure, Taint.networkUnavailable,
    ]

    /// The taints that the conditions of a node call for.
    static func taints(for node: KubeObject) -> [Taint] {
        var taints: [Taint] = []
        switch node.condition("Ready")["status"].string {
        case "True": break
        case "Unknown":
            taints.append(Taint(Taint.unreachable, effect: "NoSchedule"))
            taints.append(Taint(Taint.unreachable, effect: "NoExecute"))
        default:
            // Also without any status yet: the node has just registered.
            taints.append(Taint(Taint.notReady, effect: "NoSchedule"))
            if node.condition("Ready") != nil { taints.append(Taint(Taint.notReady, effect: "NoExecute")) }
        }
        let pressures = [
            ("MemoryPressure", Taint.memoryPressure), ("DiskPressure", Taint.diskPressure),
            ("PIDPressure", Taint.pidPressure), ("NetworkUnavailable", Taint.networkUnavailable),
        ]
        for (condition, taint) in pressures where node.condition(condition)["status"].string == "True" {
            taints.append(Taint(taint, effect: "NoSchedule"))
        }
        if node["spec"]["unschedulable"].bool ?? false {
            taints.append(Taint(Taint.unschedulable, effect: "NoSchedule"))
        }
        return taints
    }

    private func syncTaints(_ node: KubeObject) async throws {
        let wanted = Self.taints(for: node)
        let present = node["spec"]["taints"].array ?? []
        let kept = present.filter { json in
            let taint = Taint(json)
            return !Self.owned.contains(taint.key)
                || wanted.contains { $0.key == taint.key && $0.effect == taint.effect }
        }
        let now = Timestamp.now.description
        let missing = wanted.filter { taint in
            !present.contains { $0["key"].string == taint.key && $0["effect"].string == taint.effect }
        }
        let taints =
            kept
            + missing.map { taint -> JSON in
                var json: JSON = ["key": JSON(taint.key), "effect": JSON(taint.effect)]
                if taint.effect == "NoExecute" { json["timeAdded"] = JSON(now) }
                return json
            }
        guard taints != present else { return }
        let wasReady = !present.contains { $0["key"].string == Taint.notReady || $0["key"].string == Taint.unreachable }
        var updated = node
        updated["spec"]["taints"] = taints.isEmpty ? nil : .array(taints)
        do {
            try await context.caches.nodes.update(updated)
        } catch let error as APIError where error.isStale {
            queue.addRateLimited(node.name)
            return
        }
        let isNotReady = missing.contains { $0.key == Taint.notReady && $0.effect == "NoExecute" }
        if wasReady, isNotReady {
            events.record(
                node, type: .normal, reason: "NodeNotReady", message: "Node \(node.name) status is now: NodeNotReady")
        }
    }

    /// Services must not send anyone to a node that is silent.
    private func markPodsNotReady(of name: String) async throws {
        let now = Timestamp.now
        for pod in context.caches.pods.objects(by: "node", name)
        where pod.isPodReady && !pod.isPodFinished && !Self.isMirror(pod) {
            var updated = pod
            var conditions = updated["status"]["conditions"]
            conditions.setCondition(Condition("Ready", false, "", ""), now: now)
            updated["status"]["conditions"] = conditions
            do {
                try await context.caches.pods.update(updated, subresource: "status")
                events.record(pod, type: .warning, reason: "NodeNotReady", message: "Node is not ready")
            } catch let error as APIError where error.isStale {
                queue.addRateLimited(name)
            }
        }
    }

    /// Static pods are the kubelet's own.
    private static func isMirror(_ pod: KubeObject) -> Bool {
        pod.annotations["kubernetes.io/config.mirror"] != nil
    }
}
