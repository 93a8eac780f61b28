// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

/// Keeps as many pods of each ReplicaSet, or of each ReplicationController, as its spec asks for.
struct ReplicaController: Controller {
    /// The two differ in nothing but how their selectors are written.
    enum Kind: String {
        case replicaSet = "ReplicaSet"
        case replicationController = "ReplicationController"
    }

    let context: ControllerContext
    private let kind: Kind
    private let sets: ResourceCache
    private let queue: WorkQueue<ObjectKey>
    private let control: PodControl

    /// More at a time would only crowd out the other sets.
    static let burst = 500

    init(_ context: ControllerContext, _ kind: Kind) {
        self.context = context
        self.kind = kind
        let component: String
        switch kind {
        case .replicaSet:
            (sets, component) = (context.caches.replicaSets, "replicaset-controller")
            queue = WorkQueue("replicaset")
        case .replicationController:
            (sets, component) = (context.caches.replicationControllers, "replication-controller")
            queue = WorkQueue("replicationmanager")
        }
        control = PodControl(pods: context.caches.pods, events: context.events(from: component))
    }

    func register() {
        let (queue, sets, kind) = (queue, sets, kind)
        sets.onChange { queue.add($0.object.key) }
        context.caches.pods.onChange { change in
            for pod in [change.old, change.new].compactMap({ $0 }) {
                if let owner = pod.controller {
                    if owner.kind == kind.rawValue { queue.add(ObjectKey(pod.namespace, owner.name)) }
                } else {
                    for candidate in sets.inNamespace(pod.namespace)
                    where candidate.labelSelector?.matches(pod.labels) ?? false { queue.add(candidate.key) }
                }
            }
        }
    }

    func run() async { await queue.run(workers: 5) { key in try await reconcile(key) } }

    private func reconcile(_ key: ObjectKey) async throws {
        guard let set = sets[key], let selector = set.labelSelector else { return }
        let sets = sets
        let claim = Claim(cache: context.caches.pods, owner: set, selector: selector) { try await sets.fresh(key) }
        let pods = try await claim.claim().filter(\.isPodActive)
        var failure: (reason: String, error: any Error)?
        var counted = pods
        if !set.isBeingDeleted {
            do {
                counted = try await manage(set, pods)
            } catch {
                let wanted = set["spec"]["replicas"].int ?? 1
                failure = (pods.count < wanted ? "FailedCreate" : "FailedDelete", error)
            }
        }
        try await writeStatus(set, counted, failure: failure)
        if let error = failure?.error {
            if (error as? APIError)?.isNamespaceTerminating ?? false { return }
            throw error
        }
    }

    /// Creates or deletes pods; returns those that then count.
    private func manage(_ set: KubeObject, _ pods: [KubeObject]) async throws -> [KubeObject] {
        let wanted = max(0, set["spec"]["replicas"].int ?? 1)
        if pods.count < wanted {
            let pod = PodTemplate.pod(from: set["spec"]["template"], owner: set)
            try await control.create(min(wanted - pods.count, Self.burst), for: set) { _ in pod }
            return pods
        }
        guard pods.count > wanted else { return pods }
        let doomed = Self.toDelete(pods, count: min(pods.count - wanted, Self.burst))
        try await control.delete(doomed, for: set)
        let uids = Set(doomed.map(\.uid))
        return pods.filter { !uids.contains($0.uid) }
    }

    /// The pods that are missed least.
    static func toDelete(_ pods: [KubeObject], count: Int) -> [KubeObject] {
        if count >= pods.count { return pods }
        var crowds: [String: Int] = [:]
        for pod in pods { if let node = pod.nodeName { crowds[node, default: 0] += 1 } }
        let ordered = pods.sorted { left, right in
            DeletionOrder.isBefore(left, right) { pod in pod.nodeName.flatMap { crowds[$0] } ?? 0 }
        }
        return Array(ordered.prefix(count))
    }

    private func writeStatus(_ set: KubeObject, _ pods: [KubeObject], failure: (reason: String, error: any Error)?)
        async throws
    {
        let now = Timestamp.now
        let minReady = set["spec"]["minReadySeconds"].int ?? 0
        let templateLabels = set["spec"]["template"]["metadata"]["labels"].object?.strings ?? [:]
        var fullyLabeled = 0
        var ready = 0
        var available = 0
        for pod in pods {
            let labels = pod.labels
            if templateLabels.allSatisfy({ labels[$0.key] == $0.value }) { fullyLabeled += 1 }
            if pod.isPodReady { ready += 1 }
            if pod.isPodAvailable(minReadySeconds: minReady, now: now) { available += 1 }
        }
        var status: JSON = ["replicas": JSON(pods.count)]
        let optional = [
            ("fullyLabeledReplicas", fullyLabeled), ("readyReplicas", ready), ("availableReplicas", available),
        ]
        for (member, count) in optional where count > 0 { status[member] = JSON(count) }
        status["observedGeneration"] = JSON(set.generation)
        var conditions = set["status"]["conditions"]
        if let failure {
            let message = (failure.error as? APIError)?.message ?? String(describing: failure.error)
            conditions.setCondition(Condition("ReplicaFailure", true, failure.reason, message), now: now)
        } else {
            conditions.removeCondition("ReplicaFailure")
        }
        if let conditions, conditions.array?.isEmpty == false { status["conditions"] = conditions }
        if available < ready {
            queue.addAfter(set.key, .seconds(minReady))
        }
        guard status != set["status"] ?? .object([:]) else { return }
        var updated = set
        updated["status"] = status
        do {
            try await sets.update(updated, subresource: "status")
        } catch let error as APIError where error.isStale {
            queue.addRateLimited(set.key)
        }
    }
}
