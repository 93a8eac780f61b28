// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Logging
import Synchronization
import Values

/// Deletes what its owners left behind, in the background, in the foreground, or not at all, as they were deleted.
///
/// Resources that other controllers cache anyway are read from there. Every other one gets a watch that keeps nothing
/// of an object but its place in the graph.
final class GarbageCollector: Controller {
    private let context: ControllerContext
    private let queue = WorkQueue<String>("garbage_collector_attempt_to_delete")
    private let events: EventRecorder
    private let graph = Mutex(OwnerGraph())
    private let kinds: CustomKinds
    /// The resources of users that are followed now.
    private let following = Mutex<Set<GroupVersionResource>>([])

    /// Kinds that neither own nor are owned in practice: watching them would only cost memory.
    private static let unwatched: Set<String> = [
        "events", "events.events.k8s.io", "componentstatuses", "leases.coordination.k8s.io",
        "flowschemas.flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
        "certificatesigningrequests.certificates.k8s.io", "csinodes.storage.k8s.io", "csidrivers.storage.k8s.io",
        "csistoragecapacities.storage.k8s.io", "volumeattachments.storage.k8s.io", "priorityclasses.scheduling.k8s.io",
        "runtimeclasses.node.k8s.io", "ipaddresses.networking.k8s.io", "servicecidrs.networking.k8s.io",
    ]

    init(_ context: ControllerContext, _ kinds: CustomKinds) {
        self.context = context
        self.kinds = kinds
        events = context.events(from: "garbage-collector-controller")
    }

    private var shared: [ResourceCache] {
        let caches = context.caches
        return [
            caches.pods, caches.nodes, caches.namespaces, caches.services, caches.endpoints, caches.endpointSlices,
            caches.deployments, caches.replicaSets, caches.daemonSets, caches.controllerRevisions,
            caches.serviceAccounts, caches.leases, caches.persistentVolumeClaims, caches.persistentVolumes,
            caches.resourceQuotas, caches.jobs, caches.clusterRoles,
        ]
    }

    func register() {
        for cache in shared {
            let resource = cache.resource
            cache.onChange { [self] change in
                if let object = change.new {
                    take(OwnerGraph.Item(resource, object))
                } else {
                    drop(change.object.uid)
                }
            }
        }
    }

    func run() async {
        await withTaskGroup(of: Void.self) { group in
            let taken = Set(shared.map(\.resource))
            let others = CollectedResources.builtIn().map(\.resource).filter {
                !taken.contains($0) && !Self.unwatched.contains($0.groupResource)
            }
            for resource in others { group.addTask { await self.follow(resource) } }
            group.addTask { await self.followCustomKinds() }
            group.addTask { await self.queue.run(workers: 4) { uid in try await self.process(uid) } }
        }
    }

    private func take(_ item: OwnerGraph.Item) { queue.add(graph.withLock { $0.changed(item) }) }
    private func drop(_ uid: String, seen: Bool = true) { queue.add(graph.withLock { $0.left(uid, seen: seen) }) }

    /// Follows one resource for the graph alone; returns when it is not served any more.
    private func follow(_ resource: GroupVersionResource) async {
        await ResourceFollower(client: context.client, log: context.log).run(resource) { event in
            switch event {
            case .listed(let objects):
                for object in objects { take(OwnerGraph.Item(resource, object)) }
                let present = Set(objects.map(\.uid))
                for uid in graph.withLock({ $0.missing(resource, among: present) }) { drop(uid, seen: false) }
                kinds.objectLeft(resource)
            case .changed(let object): take(OwnerGraph.Item(resource, object))
            case .left(let object):
                drop(object.uid)
                kinds.objectLeft(resource)
            }
        }
    }

    /// Follows what users define, as it comes.
    private func followCustomKinds() async {
        await withDiscardingTaskGroup { group in
            for await resource in kinds.arrivals {
                guard following.withLock({ $0.insert(resource).inserted }) else { continue }
                group.addTask {
                    repeat { await self.follow(resource) } while !Task.isCancelled && self.kinds.serves(resource)
                    self.following.withLock { _ = $0.remove(resource) }
                    for uid in self.graph.withLock({ $0.missing(resource, among: []) }) { self.drop(uid, seen: false) }
                    // Defined again just now, when nobody followed.
                    if self.kinds.serves(resource) { self.kinds.announce(resource) }
                }
            }
        }
    }

    // MARK: - Work

    private func process(_ uid: String) async throws {
        guard let item = graph.withLock({ $0[uid] }) else { return }
        for owner in graph.withLock({ $0.ownersElsewhere(of: item) }) { report(owner, item) }
        switch graph.withLock({ $0.verdict(on: uid) }) {
        case .keep: return
        case .lookUp(let owners):
            var learned = false
            for owner in owners { if try await lookUp(owner, for: item) { learned = true } }
            // Of an owner of unknown kind nothing can be said: its dependent stays.
            if learned { queue.add(uid) }
        case .dropReferences(let gone): try await removeReferences(of: item, to: gone)
        case .delete(let policy): try await delete(item, policy)
        // Each is judged by all its owners: one that has another owner loses only the reference to this one.
        case .wait(let doomed): for dependent in doomed { queue.add(dependent.uid) }
        case .release(let finalizer): try await release(item, finalizer)
        case .orphan(let dependents):
            for dependent in dependents { try await removeReferences(of: dependent, to: [uid]) }
            try await release(item, OwnerGraph.orphan)
        }
    }

    /// Asks the server for the owner, and writes down what it said. False when the owner's kind is unknown.
    private func lookUp(_ owner: OwnerReference, for item: OwnerGraph.Item) async throws -> Bool {
        let kind = GroupVersionKind(apiVersion: owner.apiVersion, kind: owner.kind)
        let resource: GroupVersionResource
        let isNamespaced: Bool
        if let type = ResourceRegistry.shared.resource(forKind: kind) {
            (resource, isNamespaced) = (type.storage, type.isNamespaced)
        } else if let custom = kinds.kind(kind) {
            (resource, isNamespaced) = (custom.resource, custom.isNamespaced)
        } else {
            return false
        }
        if isNamespaced, item.key.namespace == nil {
            report(owner, item)
            graph.withLock { $0.noteAbsent(owner.uid) }
            return true
        }
        do {
            let object = try await context.client.get(
                resource, owner.name, in: isNamespaced ? item.key.namespace : nil)
            if object.uid == owner.uid {
                take(OwnerGraph.Item(resource, object))
                return true
            }
        } catch let error as APIError where error.isNotFound {
            // Absent: below.
        }
        graph.withLock { $0.noteAbsent(owner.uid) }
        return true
    }

    private func report(_ owner: OwnerReference, _ item: OwnerGraph.Item) {
        let kind = ResourceRegistry.shared.resource(item.resource)?.kind
        let custom = kinds.all.first { $0.resource == item.resource }?.kind
        var reference: JSON = [
            "apiVersion": JSON(item.resource.apiVersion), "kind": JSON(kind ?? custom ?? ""),
            "name": JSON(item.key.name),
            "uid": JSON(item.uid),
        ]
        if let namespace = item.key.namespace { reference["namespace"] = JSON(namespace) }
        events.record(
            reference: reference, type: .warning, reason: "OwnerRefInvalidNamespace",
            message:
                "ownerRef [\(owner.apiVersion)/\(owner.kind), name: \(owner.name), uid: \(owner.uid)] does not exist in namespace \"\(item.key.namespace ?? "")\""
        )
    }

    private func delete(_ item: OwnerGraph.Item, _ policy: String) async throws {
        do {
            try await context.client.delete(
                item.resource, item.key.name, in: item.key.namespace, uid: item.uid, propagationPolicy: policy)
        } catch let error as APIError where error.isNotFound || error.isConflict {
            // Gone, or another object by now: if it is this one after all, its next event brings it back here.
            if error.isNotFound { drop(item.uid) }
        }
    }

    private func release(_ item: OwnerGraph.Item, _ finalizer: String) async throws {
        try await change(item) { object in
            let kept = object.finalizers.filter { $0 != finalizer }
            guard kept != object.finalizers else { return nil }
            return ["finalizers": kept.isEmpty ? .null : JSON(kept)]
        }
    }

    private func removeReferences(of item: OwnerGraph.Item, to gone: Set<String>) async throws {
        try await change(item) { object in
            let all = object.metadata["ownerReferences"].array ?? []
            let kept = all.filter { !gone.contains($0["uid"].string ?? "") }
            guard kept.count != all.count else { return nil }
            return ["ownerReferences": kept.isEmpty ? .null : .array(kept)]
        }
    }

    /// Merges what `metadata` says into the object's metadata, if it still is that one.
    private func change(_ item: OwnerGraph.Item, _ metadata: (KubeObject) -> JSON?) async throws {
        do {
            let object = try await context.client.get(item.resource, item.key.name, in: item.key.namespace)
            guard object.uid == item.uid, var patch = metadata(object) else { return }
            patch["uid"] = JSON(object.uid)
            patch["resourceVersion"] = JSON(object.resourceVersion)
            let changed = try await context.client.patch(
                item.resource, item.key.name, in: item.key.namespace, type: .merge, ["metadata": patch])
            take(OwnerGraph.Item(item.resource, changed))
        } catch let error as APIError where error.isNotFound {
            drop(item.uid)
        }
    }
}
