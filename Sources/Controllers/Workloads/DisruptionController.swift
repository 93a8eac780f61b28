// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

/// Counts the pods of disruption budgets, so that the API server knows which evictions to refuse.
struct DisruptionController: Controller {
    let context: ControllerContext
    private let queue = WorkQueue<ObjectKey>("disruption")

    /// How long an eviction may take until its pod counts as healthy again.
    private static let evictionSeconds = 120.0

    init(_ context: ControllerContext) { self.context = context }

    func register() {
        let queue = queue
        let budgets = context.caches.podDisruptionBudgets
        budgets.onChange { queue.add($0.object.key) }
        context.caches.pods.onChange { change in
            for budget in budgets.inNamespace(change.object.namespace) {
                guard let selector = budget.labelSelector else { continue }
                if [change.old, change.new].contains(where: { $0.map { selector.matches($0.labels) } ?? false }) {
                    queue.add(budget.key)
                }
            }
        }
        let caches = context.caches
        for cache in [caches.deployments, caches.replicaSets, caches.replicationControllers] {
            cache.onChange { change in
                guard change.old?["spec"]["replicas"] != change.new?["spec"]["replicas"] else { return }
                queue.add(budgets.inNamespace(change.object.namespace).map(\.key))
            }
        }
    }

    func run() async { await queue.run(workers: 2) { key in try await reconcile(key) } }

    private func reconcile(_ key: ObjectKey) async throws {
        let budgets = context.caches.podDisruptionBudgets
        guard let budget = budgets[key] else { return }
        let pods = context.caches.pods.inNamespace(key.namespace).filter {
            budget.labelSelector?.matches($0.labels) ?? false
        }
        let now = Timestamp.now
        let disrupted = evictions(of: budget, among: pods, now: now)
        let healthy = pods.filter { $0.isPodReady && !$0.isBeingDeleted && disrupted[$0.name] == nil }.count
        var object = budget
        var condition: Condition
        do {
            let scale = DisruptionCount.needsScale(budget["spec"]) ? try await scale(of: pods) : 0
            let count = DisruptionCount(spec: budget["spec"], pods: pods.count, scale: scale, healthy: healthy)
            object["status"]["expectedPods"] = JSON(count.expected)
            object["status"]["desiredHealthy"] = JSON(count.desired)
            object["status"]["currentHealthy"] = JSON(count.healthy)
            object["status"]["disruptionsAllowed"] = JSON(count.allowed)
            condition =
                count.allowed > 0
                ? Condition("DisruptionAllowed", true, "SufficientPods", "")
                : Condition("DisruptionAllowed", false, "InsufficientPods", "")
        } catch let error as Uncounted {
            // Nothing may go of what cannot be counted.
            object["status"]["disruptionsAllowed"] = 0
            condition = Condition("DisruptionAllowed", false, "SyncFailed", error.message)
        }
        object["status"]["observedGeneration"] = JSON(budget.generation)
        object["status"]["disruptedPods"] = disrupted.isEmpty ? nil : .object(disrupted)
        object["status"]["conditions"].setCondition(condition, now: now, hasMessage: true)
        guard object["status"] != budget["status"] else { return }
        do {
            try await budgets.update(object, subresource: "status")
        } catch let error as APIError where error.isNotFound {
            // Deleted meanwhile.
        }
    }

    /// The pods that are about to go because the API server let them: they count no more, but not for ever.
    private func evictions(of budget: KubeObject, among pods: [KubeObject], now: Timestamp) -> JSONObject {
        let present = Set(pods.filter { !$0.isBeingDeleted }.map(\.name))
        var result = JSONObject()
        for (name, moment) in budget["status"]["disruptedPods"].object ?? [:] where present.contains(name) {
            guard let since = moment.string.flatMap({ Timestamp($0) }) else { continue }
            let left = Self.evictionSeconds - now.seconds(since: since)
            guard left > 0 else { continue }
            result[name] = moment
            // No event tells that an eviction came to nothing.
            queue.addAfter(budget.key, .seconds(left))
        }
        return result
    }

    private struct Uncounted: Error {
        let message: String
    }

    /// How many pods the controllers of these pods want, each once. A ReplicaSet's number is its Deployment's.
    private func scale(of pods: [KubeObject]) async throws -> Int {
        var total = 0
        var counted: Set<String> = []
        for pod in pods {
            guard var owner = pod.controller else { continue }
            if owner.kind == "ReplicaSet",
                let above = context.caches.replicaSets[ObjectKey(pod.namespace, owner.name)]?.controller
            {
                owner = above
            }
            guard counted.insert(owner.uid).inserted else { continue }
            let kind = GroupVersionKind(apiVersion: owner.apiVersion, kind: owner.kind)
            guard let type = ResourceRegistry.shared.resource(forKind: kind),
                let replicas = try await context.client.get(type.resource, owner.name, in: pod.namespace)[
                    "spec"][
                        "replicas"
                    ].int
            else {
                throw Uncounted(
                    message:
                        "\(owner.kind).\(owner.apiVersion) \(owner.name), which controls pod \(pod.name), has no scale")
            }
            total += replicas
        }
        return total
    }
}
