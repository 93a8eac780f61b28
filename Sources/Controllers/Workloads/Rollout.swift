// SPDX-License-Identifier: Apache-2.0

import KubeClient
package import KubeObjects
import Values

/// A Deployment and its ReplicaSets, told apart into the one of the present template and the others.
package struct Rollout {
    package static let revisionAnnotation = "deployment.kubernetes.io/revision"
    package static let historyAnnotation = "deployment.kubernetes.io/revision-history"
    package static let desiredAnnotation = "deployment.kubernetes.io/desired-replicas"
    package static let maxAnnotation = "deployment.kubernetes.io/max-replicas"
    /// Annotations of the Deployment that its ReplicaSets do not take over.
    package static let ownAnnotations: Set<String> = [
        "kubectl.kubernetes.io/last-applied-configuration", revisionAnnotation, historyAnnotation, desiredAnnotation,
        maxAnnotation, "deprecated.deployment.rollback.to",
    ]

    package var deployment: KubeObject
    package var new: KubeObject?
    package var old: [KubeObject]

    package init(deployment: KubeObject, sets: [KubeObject]) {
        self.deployment = deployment
        let sorted = sets.sorted(by: Self.isOlder)
        // The oldest of equals, so that every run picks the same one.
        new = sorted.first {
            PodTemplate.equalIgnoringHash($0["spec"]["template"], deployment["spec"]["template"])
        }
        let uid = new?.uid
        old = sorted.filter { $0.uid != uid }
    }

    package var all: [KubeObject] { old + (new.map { [$0] } ?? []) }
    package var rule: RollingUpdate { RollingUpdate(spec: deployment["spec"]) }
    package var totalReplicas: Int { all.reduce(0) { $0 + $1.specReplicas } }

    /// A ReplicaSet still carries another size of the Deployment than the present one.
    package var wasScaled: Bool {
        all.contains { set in
            guard set.specReplicas > 0, let desired = set.annotations[Self.desiredAnnotation].flatMap({ Int($0) })
            else { return false }
            return desired != deployment.specReplicas
        }
    }

    package mutating func replace(_ set: KubeObject) {
        if new?.uid == set.uid {
            new = set
        } else if let index = old.firstIndex(where: { $0.uid == set.uid }) {
            old[index] = set
        }
    }

    package static func isOlder(_ left: KubeObject, _ right: KubeObject) -> Bool {
        (left.creationTimestamp?.seconds ?? 0, left.name) < (right.creationTimestamp?.seconds ?? 0, right.name)
    }

    package static func revisionNumber(_ set: KubeObject) -> Int {
        set.annotations[revisionAnnotation].flatMap { Int($0) } ?? 0
    }

    package static func revision(_ set: KubeObject) -> RollingUpdate.Revision {
        RollingUpdate.Revision(
            name: set.name, created: set.creationTimestamp?.seconds ?? 0, replicas: set.specReplicas,
            available: set["status"]["availableReplicas"].int ?? 0,
            maxBeforeScale: set.annotations[maxAnnotation].flatMap { Int($0) })
    }

    package static func isSaturated(_ set: KubeObject, _ wanted: Int) -> Bool {
        set.specReplicas == wanted && set.annotations[desiredAnnotation].flatMap { Int($0) } == wanted
            && (set["status"]["availableReplicas"].int ?? 0) == wanted
    }

    package static func noteSize(on set: inout KubeObject, _ deployment: KubeObject, _ rule: RollingUpdate) {
        set.metadata["annotations"][desiredAnnotation] = JSON(String(deployment.specReplicas))
        set.metadata["annotations"][maxAnnotation] = JSON(String(rule.maxTotal))
    }
}

extension DeploymentController {
    /// Finds or makes the ReplicaSet of the present template, and writes down which revision it is.
    package func syncRevision(_ rollout: inout Rollout, creating: Bool) async throws {
        let next = (rollout.old.map(Rollout.revisionNumber).max() ?? 0) + 1
        if let existing = rollout.new {
            var set = existing
            annotate(&set, rollout.deployment, revision: next)
            if let seconds = rollout.deployment["spec"]["minReadySeconds"], seconds != set["spec"]["minReadySeconds"] {
                set["spec"]["minReadySeconds"] = seconds
            }
            if set != existing {
                set = try await context.caches.replicaSets.update(set)
                rollout.new = set
            }
            try await noteRevision(&rollout, Rollout.revisionNumber(set))
            if rollout.deployment.condition("Progressing") == nil,
                rollout.deployment["spec"]["progressDeadlineSeconds"].int.map({ $0 < Int(Int32.max) }) ?? false
            {
                rollout.deployment = try await write(
                    rollout.deployment,
                    Condition("Progressing", true, "FoundNewReplicaSet", "Found new replica set \"\(set.name)\""))
            }
        } else if creating {
            try await create(&rollout, revision: next)
        }
    }

    private func create(_ rollout: inout Rollout, revision: Int) async throws {
        let deployment = rollout.deployment
        var template = deployment["spec"]["template"] ?? .object([:])
        let collisions = deployment["status"]["collisionCount"].int ?? 0
        let hash = TemplateHash.name(of: template, collisions: collisions)
        template["metadata"]["labels"][PodTemplate.hashLabel] = JSON(hash)
        var selector = deployment["spec"]["selector"] ?? .object([:])
        selector["matchLabels"][PodTemplate.hashLabel] = JSON(hash)
        var set = KubeObject(
            .replicaSets, kind: "ReplicaSet", name: "\(deployment.name)-\(hash)", namespace: deployment.namespace)
        set.metadata["labels"] = template["metadata"]["labels"]
        set.metadata["ownerReferences"] = [OwnerReference(controller: deployment).json]
        let rule = rollout.rule
        let isRolling = deployment["spec"]["strategy"]["type"].string != "Recreate"
        let size = isRolling ? rule.newRevisionReplicas(0, total: rollout.totalReplicas) : rule.replicas
        set["spec"] = ["replicas": JSON(size), "selector": selector, "template": template]
        if let seconds = deployment["spec"]["minReadySeconds"] { set["spec"]["minReadySeconds"] = seconds }
        annotate(&set, deployment, revision: revision)
        Rollout.noteSize(on: &set, deployment, rule)
        let created: KubeObject
        do {
            created = try await context.caches.replicaSets.create(set)
        } catch let error as APIError where error.isAlreadyExists {
            let existing = try await context.caches.replicaSets.fresh(set.key)
            if existing.controller?.uid == deployment.uid,
                PodTemplate.equalIgnoringHash(existing["spec"]["template"], deployment["spec"]["template"])
            {
                // Ours, from before a restart or not yet seen.
                context.caches.replicaSets.wrote(existing)
                rollout.new = existing
                try await noteRevision(&rollout, revision)
                return
            }
            // Two templates, one name: count up, so that the next attempt hashes to another.
            rollout.deployment["status"]["collisionCount"] = JSON(collisions + 1)
            try await context.caches.deployments.update(rollout.deployment, subresource: "status")
            throw error
        } catch let error as APIError {
            if !error.isNamespaceTerminating {
                _ = try? await write(
                    deployment,
                    Condition(
                        "Progressing", false, "ReplicaSetCreateError",
                        "Failed to create new replica set \"\(set.name)\": \(error.message)"))
            }
            throw error
        }
        rollout.new = created
        if size > 0 {
            events.record(
                deployment, type: .normal, reason: "ScalingReplicaSet",
                message: "Scaled up replica set \(created.name) from 0 to \(size)")
        }
        try await noteRevision(&rollout, revision)
        if deployment["spec"]["progressDeadlineSeconds"].int.map({ $0 < Int(Int32.max) }) ?? false {
            rollout.deployment = try await write(
                rollout.deployment,
                Condition("Progressing", true, "NewReplicaSetCreated", "Created new replica set \"\(created.name)\""))
        }
    }

    /// The annotations of the Deployment, and the number of the revision with those it had before.
    private func annotate(_ set: inout KubeObject, _ deployment: KubeObject, revision: Int) {
        for (key, value) in deployment.annotations where !Rollout.ownAnnotations.contains(key) {
            set.metadata["annotations"][key] = JSON(value)
        }
        let before = Rollout.revisionNumber(set)
        guard before < revision else { return }
        if before > 0 {
            let history = set.annotations[Rollout.historyAnnotation].map { "\($0),\(before)" } ?? String(before)
            set.metadata["annotations"][Rollout.historyAnnotation] = JSON(history)
        }
        set.metadata["annotations"][Rollout.revisionAnnotation] = JSON(String(revision))
    }

    private func noteRevision(_ rollout: inout Rollout, _ revision: Int) async throws {
        guard rollout.deployment.annotations[Rollout.revisionAnnotation] != String(revision) else { return }
        let status = rollout.deployment["status"]
        // Through the status: there an annotation is no change of what is wanted, and counts no generation.
        var updated = try await context.caches.deployments.patch(
            rollout.deployment,
            ["metadata": ["annotations": [Rollout.revisionAnnotation: JSON(String(revision))]]], subresource: "status")
        if updated["status"] == nil { updated["status"] = status }
        rollout.deployment = updated
    }
}
