// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

/// Deletes pods whose node has a NoExecute taint that they do not bear, or do not bear any longer.
///
/// What a pod bears for a time is counted while this process could hear of the taint's end: see ``AwakeTime``.
struct TaintEviction: Controller {
    let context: ControllerContext
    private let queue = WorkQueue<ObjectKey>("noexec_taint_pod")
    private let events: EventRecorder

    init(_ context: ControllerContext) {
        self.context = context
        events = context.events(from: "taint-eviction-controller")
    }

    func register() {
        let queue = queue
        let caches = context.caches
        caches.nodes.onChange { change in
            guard change.old?["spec"]["taints"] != change.new?["spec"]["taints"] else { return }
            for pod in caches.pods.objects(by: "node", change.object.name) { queue.add(pod.key) }
        }
        caches.pods.onChange { change in
            guard let pod = change.new, pod.nodeName != nil,
                change.old?.nodeName != pod.nodeName
                    || change.old?["spec"]["tolerations"] != pod["spec"]["tolerations"]
            else { return }
            queue.add(pod.key)
        }
    }

    func run() async { await queue.run(workers: 4) { key in try await reconcile(key) } }

    /// Seconds from now until the pod has to go; nil: never.
    static func delay(
        of pod: KubeObject, on node: KubeObject, now: Timestamp, awakeSince: Timestamp
    ) -> Double? {
        let taints = node["spec"]["taints"].array ?? []
        var least: Double?
        let tolerations = pod.tolerations
        for json in taints where json["effect"].string == "NoExecute" {
            switch Eviction.of(tolerations, under: [Taint(json)]) {
            case .never: continue
            case .now: return 0
            case .after(let seconds):
                let added = (json["timeAdded"].string).flatMap { Timestamp($0) } ?? now
                let since = max(added, awakeSince)
                // The time a taint was added has whole seconds; a negative age is a clock that differs.
                let age = max(0, now.seconds(since: since))
                least = min(least ?? .infinity, max(0, Double(seconds) - age))
            }
        }
        return least
    }

    private func reconcile(_ key: ObjectKey) async throws {
        let caches = context.caches
        guard let pod = caches.pods[key], !pod.isBeingDeleted, let name = pod.nodeName,
            let node = caches.nodes[ObjectKey(nil, name)],
            let delay = Self.delay(of: pod, on: node, now: .now, awakeSince: context.awake.since().time)
        else { return }
        guard delay <= 0 else {
            queue.addAfter(key, .milliseconds(Int(delay * 1000) + 1))
            return
        }
        events.record(
            pod, type: .normal, reason: "TaintManagerEviction", message: "Marking for deletion Pod \(key)")
        var updated = pod
        var conditions = updated["status"]["conditions"]
        conditions.setCondition(
            Condition(
                "DisruptionTarget", true, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"),
            now: .now)
        updated["status"]["conditions"] = conditions
        do {
            if updated != pod { updated = try await caches.pods.update(updated, subresource: "status") }
            try await caches.pods.delete(updated)
        } catch let error as APIError where error.isNotFound {
            // Gone already.
        }
    }
}
