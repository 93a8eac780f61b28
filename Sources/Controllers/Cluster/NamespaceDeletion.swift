// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

/// Empties a namespace that is being deleted, pods first, and lets it go.
struct NamespaceDeletion: Controller {
    let context: ControllerContext
    private let kinds: CustomKinds
    private let queue = WorkQueue<String>("namespace")

    init(_ context: ControllerContext, _ kinds: CustomKinds) {
        self.context = context
        self.kinds = kinds
    }

    func register() {
        let queue = queue
        let caches = context.caches
        caches.namespaces.onChange { change in
            if change.new?.isBeingDeleted ?? false { queue.add(change.object.name) }
        }
        caches.pods.onChange { change in
            guard change.new == nil, let name = change.object.namespace,
                caches.namespaces[ObjectKey(nil, name)]?.isBeingDeleted ?? false
            else { return }
            queue.add(name)
        }
    }

    func run() async { await queue.run(workers: 4) { name in try await reconcile(name) } }

    private func reconcile(_ name: String) async throws {
        guard let namespace = context.caches.namespaces[ObjectKey(nil, name)], namespace.isBeingDeleted else { return }
        let finalizers = (namespace["spec"]["finalizers"].array ?? []).compactMap(\.string)
        guard finalizers.contains("kubernetes") else { return }
        let client = context.client

        // Pods may still need their ConfigMaps and accounts to end in good order: nothing else goes before them.
        let pods = try await remaining(.pods, in: name)
        if !pods.isEmpty {
            try await client.deleteCollection(.pods, in: name)
            let left = try await remaining(.pods, in: name)
            if !left.isEmpty {
                // The last pod that goes brings us back.
                return try await note(namespace, left: [(.pods, left)])
            }
        }
        let custom = kinds.all.filter(\.isNamespaced).map(\.resource)
        let resources = CollectedResources.builtIn().filter(\.isNamespaced).map(\.resource) + custom
        let left = try await withThrowingTaskGroup(of: (GroupVersionResource, [KubeObject]).self) { group in
            var results: [(GroupVersionResource, [KubeObject])] = []
            for resource in resources where resource != .pods {
                group.addTask { (resource, try await empty(resource, in: name)) }
            }
            for try await result in group where !result.1.isEmpty { results.append(result) }
            return results
        }
        if !left.isEmpty {
            try await note(namespace, left: left)
            // What is left has finalizers; not every kind is watched here, hence the clock.
            queue.addRateLimited(name)
            return
        }
        var final = namespace
        final["spec"]["finalizers"] = JSON(finalizers.filter { $0 != "kubernetes" })
        do {
            try await context.caches.namespaces.update(final, subresource: "finalize")
            queue.forget(name)
        } catch let error as APIError where error.isNotFound {
            queue.forget(name)
        } catch let error as APIError where error.isConflict {
            queue.addRateLimited(name)
        }
    }

    private func remaining(_ resource: GroupVersionResource, in namespace: String) async throws -> [KubeObject] {
        do {
            return try await context.client.list(resource, in: namespace).items
        } catch let error as APIError where error.isNotFound || error.code == 405 {
            return []
        }
    }

    /// Deletes all; returns what resists.
    private func empty(_ resource: GroupVersionResource, in namespace: String) async throws -> [KubeObject] {
        guard try await !remaining(resource, in: namespace).isEmpty else { return [] }
        try await context.client.deleteCollection(resource, in: namespace)
        return try await remaining(resource, in: namespace)
    }

    private func note(_ namespace: KubeObject, left: [(GroupVersionResource, [KubeObject])]) async throws {
        let sorted = left.sorted { $0.0.groupResource < $1.0.groupResource }
        let counts = sorted.map { "\($0.0.resource). has \($0.1.count) resource instances" }.joined(separator: ", ")
        var byFinalizer: [String: Int] = [:]
        for object in sorted.flatMap(\.1) { for name in object.finalizers { byFinalizer[name, default: 0] += 1 } }
        let now = Timestamp.now
        var conditions = namespace["status"]["conditions"]
        conditions.setCondition(
            Condition(
                "NamespaceContentRemaining", true, "SomeResourcesRemain", "Some resources are remaining: \(counts)"),
            now: now)
        if byFinalizer.isEmpty {
            conditions.setCondition(
                Condition(
                    "NamespaceFinalizersRemaining", false, "ContentHasNoFinalizers",
                    "All content-preserving finalizers finished"), now: now)
        } else {
            let list = byFinalizer.sorted { $0.key < $1.key }.map { "\($0.key) in \($0.value) resource instances" }
            conditions.setCondition(
                Condition(
                    "NamespaceFinalizersRemaining", true, "SomeFinalizersRemain",
                    "Some content in the namespace has finalizers remaining: \(list.joined(separator: ", "))"),
                now: now)
        }
        guard conditions != namespace["status"]["conditions"] else { return }
        var updated = namespace
        updated["status"]["conditions"] = conditions
        do {
            try await context.caches.namespaces.update(updated, subresource: "status")
        } catch let error as APIError where error.isStale {
            // Only words; the next round writes them.
        }
    }
}
