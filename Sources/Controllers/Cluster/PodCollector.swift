// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

/// Removes pods that nobody will look after any more: those of nodes that are gone, those being deleted without ever
/// having had a node, and finished ones beyond a limit.
struct PodCollector: Controller {
    enum Work: Sendable, Hashable {
        case pod(ObjectKey)
        case finished
    }

    let context: ControllerContext
    private let queue = WorkQueue<Work>("podgc")

    init(_ context: ControllerContext) { self.context = context }

    func register() {
        let queue = queue
        let caches = context.caches
        caches.nodes.onChange { change in
            guard
                change.new == nil || change.old == nil || change.old?["spec"]["taints"] != change.new?["spec"]["taints"]
            else { return }
            for pod in caches.pods.objects(by: "node", change.object.name) { queue.add(.pod(pod.key)) }
        }
        caches.pods.onChange { change in
            guard let pod = change.new else { return }
            if change.old?.nodeName != pod.nodeName || change.old?.isBeingDeleted != pod.isBeingDeleted {
                queue.add(.pod(pod.key))
            }
            if pod.isPodFinished, change.old?.isPodFinished != true { queue.add(.finished) }
        }
    }

    func run() async { await queue.run(workers: 2) { work in try await reconcile(work) } }

    private func reconcile(_ work: Work) async throws {
        switch work {
        case .pod(let key): try await look(at: key)
        case .finished:
            let finished = context.caches.pods.all.filter { $0.isPodFinished && !$0.isBeingDeleted }
            let excess = finished.count - context.configuration.finishedPodLimit
            guard excess > 0 else { return }
            let oldest = finished.sorted { ($0.creationTimestamp?.seconds ?? 0) < ($1.creationTimestamp?.seconds ?? 0) }
            for pod in oldest.prefix(excess) { try await remove(pod) }
        }
    }

    private func look(at key: ObjectKey) async throws {
        let caches = context.caches
        guard let pod = caches.pods[key] else { return }
        guard let name = pod.nodeName else {
            if pod.isBeingDeleted { try await remove(pod) }
            return
        }
        if let node = caches.nodes[ObjectKey(nil, name)] {
            // Its machine is known to be down: nobody will answer for the pod.
            let outOfService = node.taints.contains { $0.key == "node.kubernetes.io/out-of-service" }
            if outOfService, pod.isBeingDeleted { try await remove(pod) }
            return
        }
        // The cache may lag behind: only the server's word counts.
        do {
            _ = try await caches.nodes.fresh(ObjectKey(nil, name))
        } catch let error as APIError where error.isNotFound {
            if !pod.isPodFinished {
                var updated = pod
                var conditions = updated["status"]["conditions"]
                conditions.setCondition(
                    Condition("DisruptionTarget", true, "DeletionByPodGC", "PodGC: node no longer exists"), now: .now)
                updated["status"]["conditions"] = conditions
                updated["status"]["phase"] = "Failed"
                do {
                    try await caches.pods.update(updated, subresource: "status")
                } catch let error as APIError where error.isNotFound {
                    return
                }
            }
            try await remove(pod)
        }
    }

    private func remove(_ pod: KubeObject) async throws {
        try await context.caches.pods.delete(pod, gracePeriodSeconds: 0)
    }
}
