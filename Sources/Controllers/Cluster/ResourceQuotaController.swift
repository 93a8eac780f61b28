// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Logging
import Synchronization
import Values

/// Counts what the quotas of a namespace are about, when a quota changes and when something that it counts goes.
///
/// What is made is charged by the API server before it is there, so additions need no look. Pods, Services and claims are
/// seen through the shared caches; of any other resource that a quota names, deletions alone are watched for.
final class ResourceQuotaController: Controller {
    private let context: ControllerContext
    private let kinds: CustomKinds
    private let queue = WorkQueue<ObjectKey>("resourcequota_primary")
    private let followed: Mutex<Set<String>>
    private let newcomers = AsyncStream<String>.makeStream()

    init(_ context: ControllerContext, _ kinds: CustomKinds) {
        self.context = context
        self.kinds = kinds
        followed = Mutex(["pods", "services", "persistentvolumeclaims"])
    }

    func register() {
        let caches = context.caches
        caches.resourceQuotas.onChange { [self] change in
            guard let quota = change.new else { return }
            follow(Quota(quota).counted)
            if change.old?["spec"] != quota["spec"] || quota["status"]["hard"] != quota["spec"]["hard"] {
                queue.add(quota.key)
            }
        }
        caches.pods.onChange { [self] change in
            guard let old = change.old else { return }
            if change.new == nil || change.new?.isPodFinished != old.isPodFinished
                || Self.isResized(change.new, old)
            {
                touch("pods", in: change.object.namespace)
            }
        }
        caches.services.onChange { [self] change in
            if let old = change.old, change.new?["spec"] != old["spec"] {
                touch("services", in: change.object.namespace)
            }
        }
        caches.persistentVolumeClaims.onChange { [self] change in
            guard let old = change.old else { return }
            if change.new?["spec"] != old["spec"]
                || change.new?["status"]["allocatedResources"] != old["status"]["allocatedResources"]
            {
                touch("persistentvolumeclaims", in: change.object.namespace)
            }
        }
    }

    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.queue.run(workers: 2) { key in try await self.reconcile(key) } }
            for await resource in newcomers.stream { group.addTask { await self.watch(resource) } }
        }
    }

    private static func isResized(_ new: KubeObject?, _ old: KubeObject) -> Bool {
        guard let new, new.generation != old.generation else { return false }
        return ["containers", "initContainers", "resources"].contains { new["spec"][$0] != old["spec"][$0] }
    }

    /// Something that counts is gone: its namespace's quotas that count such things are looked at.
    private func touch(_ groupResource: String, in namespace: String?) {
        for quota in context.caches.resourceQuotas.inNamespace(namespace)
        where Quota(quota).counted.contains(groupResource) { queue.add(quota.key) }
    }

    private func follow(_ resources: Set<String>) {
        let new = followed.withLock { followed in
            defer { followed.formUnion(resources) }
            return resources.subtracting(followed)
        }
        for resource in new { newcomers.continuation.yield(resource) }
    }

    // MARK: Counting

    private func reconcile(_ key: ObjectKey) async throws {
        let quotas = context.caches.resourceQuotas
        do {
            // The server answers when all that it has charged so far is there to be counted. Whatever it charges from
            // now on changes the version, and this is done again.
            var object = try await quotas.fresh(key)
            let quota = Quota(object)
            var used: ResourceAmounts = [:]
            for resource in quota.counted {
                used.add(quota.usage(of: try await objects(resource, in: key.namespace), resource, now: .now))
            }
            guard object["status"]["hard"] != object["spec"]["hard"] || quota.used != used else { return }
            object["status"] = ["hard": object["spec"]["hard"] ?? .object([:]), "used": used.json]
            try await quotas.update(object, subresource: "status")
        } catch let error as APIError where error.isNotFound {
            // Deleted meanwhile.
        }
    }

    private func objects(_ groupResource: String, in namespace: String?) async throws -> [KubeObject] {
        guard let resource = resource(groupResource) else { return [] }
        do {
            return try await context.client.list(resource, in: namespace).items
        } catch let error as APIError where error.isNotFound {
            // Not served any more.
            return []
        }
    }

    /// Nil for what nobody serves, and for what is not in namespaces.
    private func resource(_ groupResource: String) -> GroupVersionResource? {
        let builtIn = ResourceRegistry.shared.resources.first { $0.resource.groupResource == groupResource }
        if let builtIn { return builtIn.isNamespaced ? builtIn.resource : nil }
        return kinds.all.first { $0.isNamespaced && $0.resource.groupResource == groupResource }?.resource
    }

    // MARK: Deletions of other resources

    private func watch(_ groupResource: String) async {
        var backoff = Backoff()
        while !Task.isCancelled {
            do {
                guard let resource = resource(groupResource) else {
                    // A quota that comes to name it again asks again.
                    followed.withLock { _ = $0.remove(groupResource) }
                    return
                }
                let start = try await context.client.list(resource, limit: 1).resourceVersion
                // Something may have gone before the watch began.
                for quota in context.caches.resourceQuotas.all where Quota(quota).counted.contains(groupResource) {
                    queue.add(quota.key)
                }
                for try await batch in try await context.client.watch(resource, resourceVersion: start) {
                    backoff.reset()
                    for event in batch where event.type == .deleted {
                        touch(groupResource, in: event.object.namespace)
                    }
                }
            } catch {
                context.log.debug("watching \(groupResource) for quotas: \(error)")
            }
            // Only between attempts, and longer from failure to failure.
            try? await Task.sleep(for: backoff.next())
        }
    }
}
