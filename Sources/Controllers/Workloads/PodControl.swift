// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

/// Creates, deletes and claims pods on behalf of a controller, and says so in events of its owner.
struct PodControl: Sendable {
    let pods: ResourceCache
    let events: EventRecorder

    func create(_ pod: KubeObject, for owner: KubeObject) async throws {
        do {
            let created = try await pods.create(pod)
            events.record(owner, type: .normal, reason: "SuccessfulCreate", message: "Created pod: \(created.name)")
        } catch let error as APIError {
            let error = error.withoutDrawnName(of: pod)
            if !error.isNamespaceTerminating {
                events.record(
                    owner, type: .warning, reason: "FailedCreate", message: "Error creating: \(error.message)")
            }
            throw error
        }
    }

    func delete(_ pod: KubeObject, for owner: KubeObject) async throws {
        do {
            try await pods.delete(pod)
            events.record(owner, type: .normal, reason: "SuccessfulDelete", message: "Deleted pod: \(pod.name)")
        } catch let error as APIError {
            events.record(owner, type: .warning, reason: "FailedDelete", message: "Error deleting: \(error.message)")
            throw error
        }
    }

    /// Creates `count` pods, one first, then two, four and so on: a quota or a bad template then costs one refused
    /// request, not hundreds.
    func create(_ count: Int, for owner: KubeObject, _ pod: @Sendable @escaping (Int) -> KubeObject) async throws {
        var made = 0
        var batch = 1
        while made < count {
            let first = made
            let size = min(batch, count - made)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in first..<first + size {
                    group.addTask { try await create(pod(index), for: owner) }
                }
                try await group.waitForAll()
            }
            made += size
            batch *= 2
        }
    }

    func delete(_ doomed: [KubeObject], for owner: KubeObject) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for pod in doomed { group.addTask { try await delete(pod, for: owner) } }
            try await group.waitForAll()
        }
    }
}

extension APIError {
    /// The same of the name that every pod of the owner begins with: the one that the server drew belongs to nothing,
    /// and would make each attempt's refusal another one.
    fileprivate func withoutDrawnName(of pod: KubeObject) -> APIError {
        guard pod.name.isEmpty, let base = pod.metadata["generateName"].string, !base.isEmpty,
            let drawn = details["name"].string, drawn.hasPrefix(base)
        else { return self }
        var error = self
        error.message = message.replacing("\"\(drawn)\"", with: "\"\(base)\"")
        return error
    }
}

/// Takes what matches a selector and has no controller, gives up what does not match any more.
struct Claim: Sendable {
    let cache: ResourceCache
    let owner: KubeObject
    let selector: LabelSelector
    /// Asks the server whether the owner still is who we think it is: adopting for a ghost would orphan at once.
    let freshOwner: @Sendable () async throws -> KubeObject

    /// Those of the namespace that belong to the owner, after adopting and releasing.
    func claim() async throws -> [KubeObject] {
        var mine: [KubeObject] = []
        for object in cache.inNamespace(owner.namespace) {
            if let controller = object.controller {
                guard controller.uid == owner.uid else { continue }
                if selector.matches(object.labels) {
                    mine.append(object)
                } else if !owner.isBeingDeleted {
                    try await release(object)
                }
            } else if selector.matches(object.labels), !owner.isBeingDeleted, !object.isBeingDeleted {
                if object.kind == "Pod", object.isPodFinished { continue }
                let current = try await freshOwner()
                guard current.uid == owner.uid, !current.isBeingDeleted else { continue }
                if let adopted = try await adopt(object) { mine.append(adopted) }
            }
        }
        return mine
    }

    private func adopt(_ object: KubeObject) async throws -> KubeObject? {
        var references = object.metadata["ownerReferences"].array ?? []
        references.append(OwnerReference(controller: owner).json)
        return try await write(object, references)
    }

    private func release(_ object: KubeObject) async throws {
        let references = (object.metadata["ownerReferences"].array ?? []).filter { $0["uid"].string != owner.uid }
        _ = try await write(object, references)
    }

    /// Nil when the object changed or went meanwhile: the next event decides anew.
    private func write(_ object: KubeObject, _ references: [JSON]) async throws -> KubeObject? {
        do {
            return try await cache.patch(
                object,
                [
                    "metadata": [
                        "uid": JSON(object.uid), "resourceVersion": JSON(object.resourceVersion),
                        "ownerReferences": references.isEmpty ? .null : .array(references),
                    ]
                ])
        } catch let error as APIError where error.isStale || error.code == 422 {
            return nil
        }
    }
}
