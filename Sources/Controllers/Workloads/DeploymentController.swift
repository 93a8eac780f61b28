// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

/// Rolls the pods of a Deployment from one ReplicaSet to the next.
struct DeploymentController: Controller {
    let context: ControllerContext
    let queue = WorkQueue<ObjectKey>("deployment")
    let events: EventRecorder

    init(_ context: ControllerContext) {
        self.context = context
        events = context.events(from: "deployment-controller")
    }

    func register() {
        let queue = queue
        let caches = context.caches
        caches.deployments.onChange { queue.add($0.object.key) }
        caches.replicaSets.onChange { change in
            for set in [change.old, change.new].compactMap({ $0 }) {
                if let owner = set.controller {
                    if owner.kind == "Deployment" { queue.add(ObjectKey(set.namespace, owner.name)) }
                } else {
                    for candidate in caches.deployments.inNamespace(set.namespace)
                    where candidate.labelSelector?.matches(set.labels) ?? false { queue.add(candidate.key) }
                }
            }
        }
        // A Recreate rollout waits for the last old pod to go.
        caches.pods.onChange { change in
            guard change.new == nil || change.object.isPodFinished, let owner = change.object.controller,
                owner.kind == "ReplicaSet",
                let deployment = caches.replicaSets[ObjectKey(change.object.namespace, owner.name)]?.controller,
                deployment.kind == "Deployment",
                let parent = caches.deployments[ObjectKey(change.object.namespace, deployment.name)],
                parent["spec"]["strategy"]["type"].string == "Recreate"
            else { return }
            queue.add(parent.key)
        }
    }

    func run() async {
        await queue.run(workers: 5) { key in
            do {
                try await reconcile(key)
            } catch let error as APIError where error.isNamespaceTerminating {
                // Its deletion is on the way.
            }
        }
    }

    private func reconcile(_ key: ObjectKey) async throws {
        guard var deployment = context.caches.deployments[key] else { return }
        guard let selector = deployment.labelSelector, !selector.isEmpty else {
            events.record(
                deployment, type: .warning, reason: "SelectingAll",
                message: "This deployment is selecting all pods. A non-empty selector is required.")
            return
        }
        let deployments = context.caches.deployments
        let claim = Claim(cache: context.caches.replicaSets, owner: deployment, selector: selector) {
            try await deployments.fresh(key)
        }
        var rollout = Rollout(deployment: deployment, sets: try await claim.claim())
        if deployment.isBeingDeleted {
            return try await writeStatus(rollout, DeploymentStatus.counted)
        }
        deployment = try await notePause(deployment)
        rollout.deployment = deployment
        if deployment["spec"]["paused"].bool ?? false || rollout.wasScaled {
            try await syncRevision(&rollout, creating: false)
            try await scale(&rollout)
            if deployment["spec"]["paused"].bool ?? false { try await cleanUp(rollout) }
            return try await writeStatus(rollout, DeploymentStatus.counted)
        }
        if deployment["spec"]["strategy"]["type"].string == "Recreate" {
            try await recreate(&rollout)
        } else {
            try await roll(&rollout)
        }
        if DeploymentStatus.isComplete(rollout.deployment, rollout.deployment["status"]) { try await cleanUp(rollout) }
        try await writeStatus(rollout, DeploymentStatus.rollout)
    }

    // MARK: - Strategies

    private func roll(_ rollout: inout Rollout) async throws {
        try await syncRevision(&rollout, creating: true)
        guard let new = rollout.new else { return }
        let rule = rollout.rule
        let size = rule.newRevisionReplicas(new.specReplicas, total: rollout.totalReplicas)
        if try await resize(&rollout, new, to: size) { return }
        let sizes = rule.oldRevisionReplicas(rollout.old.map(Rollout.revision), new: Rollout.revision(new))
        for set in rollout.old.sorted(by: Rollout.isOlder) {
            if let size = sizes[set.name] { try await resize(&rollout, set, to: size) }
        }
    }

    private func recreate(_ rollout: inout Rollout) async throws {
        try await syncRevision(&rollout, creating: false)
        var scaledDown = false
        for set in rollout.old where set.specReplicas > 0 {
            if try await resize(&rollout, set, to: 0) { scaledDown = true }
        }
        if scaledDown || oldPodsRemain(rollout) { return }
        try await syncRevision(&rollout, creating: true)
        if let new = rollout.new { try await resize(&rollout, new, to: rollout.deployment.specReplicas) }
    }

    private func oldPodsRemain(_ rollout: Rollout) -> Bool {
        rollout.old.contains { set in
            (set["status"]["replicas"].int ?? 0) > 0
                || context.caches.pods.owned(by: set.uid).contains { !$0.isPodFinished }
        }
    }

    /// After a change of `spec.replicas`, or while paused: sizes follow, revisions stay.
    private func scale(_ rollout: inout Rollout) async throws {
        let wanted = rollout.deployment.specReplicas
        let active = rollout.all.filter { $0.specReplicas > 0 }
        if active.count <= 1 {
            let only = active.first ?? rollout.new ?? rollout.old.max(by: Rollout.isOlder)
            if let only { try await resize(&rollout, only, to: wanted) }
            return
        }
        if let new = rollout.new, Rollout.isSaturated(new, wanted) {
            for set in rollout.old where set.specReplicas > 0 { try await resize(&rollout, set, to: 0) }
            return
        }
        guard rollout.deployment["spec"]["strategy"]["type"].string != "Recreate" else { return }
        let sizes = rollout.rule.proportional(
            active.map(Rollout.revision), statusReplicas: rollout.deployment["status"]["replicas"].int ?? 0)
        for set in active { try await resize(&rollout, set, to: sizes[set.name] ?? set.specReplicas) }
    }

    /// Sets size and the annotations that remember it. True when the size changed.
    @discardableResult
    private func resize(_ rollout: inout Rollout, _ set: KubeObject, to size: Int) async throws -> Bool {
        let before = set.specReplicas
        var updated = set
        updated["spec"]["replicas"] = JSON(size)
        Rollout.noteSize(on: &updated, rollout.deployment, rollout.rule)
        guard updated != set else { return false }
        updated = try await context.caches.replicaSets.update(updated)
        rollout.replace(updated)
        guard size != before else { return false }
        events.record(
            rollout.deployment, type: .normal, reason: "ScalingReplicaSet",
            message: "Scaled \(size > before ? "up" : "down") replica set \(set.name) from \(before) to \(size)")
        return true
    }

    /// Old ReplicaSets beyond `revisionHistoryLimit` that hold no pod.
    private func cleanUp(_ rollout: Rollout) async throws {
        guard let limit = rollout.deployment["spec"]["revisionHistoryLimit"].int else { return }
        let idle = rollout.old.filter { !$0.isBeingDeleted }
        guard idle.count > limit else { return }
        for set in idle.sorted(by: { Rollout.revisionNumber($0) < Rollout.revisionNumber($1) }).prefix(
            idle.count - limit)
        where set.specReplicas == 0 && (set["status"]["replicas"].int ?? 0) == 0
            && set.observedGeneration >= set.generation
        {
            try await context.caches.replicaSets.delete(set)
        }
    }

    // MARK: - Status

    func writeStatus(_ rollout: Rollout, _ compute: (DeploymentStatus) -> (Int?) -> JSON) async throws {
        let deployment = rollout.deployment
        let view = DeploymentStatus(deployment: deployment, new: rollout.new, old: rollout.old, now: .now)
        let status = compute(view)(deployment["status"]["collisionCount"].int)
        if let seconds = view.secondsToDeadline(status) {
            queue.addAfter(deployment.key, .milliseconds(Int(seconds * 1000)))
        }
        guard status != deployment["status"] ?? .object([:]) else { return }
        var updated = deployment
        updated["status"] = status
        do {
            try await context.caches.deployments.update(updated, subresource: "status")
        } catch let error as APIError where error.isStale {
            queue.addRateLimited(deployment.key)
        }
    }

    /// Paused time is not counted against the deadline: the condition says when it began and ended.
    private func notePause(_ deployment: KubeObject) async throws -> KubeObject {
        guard deployment["spec"]["progressDeadlineSeconds"].int.map({ $0 < Int(Int32.max) }) ?? false else {
            return deployment
        }
        let condition = deployment.condition("Progressing")
        if condition["reason"].string == "ProgressDeadlineExceeded" { return deployment }
        let isPaused = deployment["spec"]["paused"].bool ?? false
        let saysPaused = condition["reason"].string == "DeploymentPaused"
        guard isPaused != saysPaused else { return deployment }
        return try await write(
            deployment,
            isPaused
                ? Condition("Progressing", nil, "DeploymentPaused", "Deployment is paused")
                : Condition("Progressing", nil, "DeploymentResumed", "Deployment is resumed"))
    }

    func write(_ deployment: KubeObject, _ condition: Condition, collisions: Int? = nil) async throws -> KubeObject {
        var updated = deployment
        var conditions = updated["status"]["conditions"]
        conditions.setCondition(condition, now: .now, times: ["lastUpdateTime"])
        updated["status"]["conditions"] = conditions
        if let collisions { updated["status"]["collisionCount"] = JSON(collisions) }
        return try await context.caches.deployments.update(updated, subresource: "status")
    }
}
