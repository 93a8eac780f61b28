// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Synchronization
import Values

/// The kinds that users have defined, and the way out of their definitions: a definition that is deleted takes its
/// objects along, and goes when the last of them has gone.
final class CustomKinds: Controller {
    struct Kind: Sendable, Equatable {
        var resource: GroupVersionResource
        var kind: String
        var isNamespaced: Bool
        var isBeingDeleted: Bool
    }

    static let finalizer = "customresourcecleanup.apiextensions.k8s.io"

    private let context: ControllerContext
    private let queue = WorkQueue<String>("crd_kinds")
    private let kinds = Mutex<[String: Kind]>([:])
    /// The resources that have come, for those who follow their objects.
    let arrivals: AsyncStream<GroupVersionResource>
    private let arrived: AsyncStream<GroupVersionResource>.Continuation

    init(_ context: ControllerContext) {
        self.context = context
        (arrivals, arrived) = AsyncStream.makeStream()
    }

    func register() {}

    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                let follower = ResourceFollower(client: self.context.client, log: self.context.log)
                await follower.run(.customResourceDefinitions) { self.take($0) }
            }
            group.addTask { await self.queue.run(workers: 4) { name in try await self.reconcile(name) } }
        }
    }

    // MARK: What there is

    var all: [Kind] { Array(kinds.withLock { $0 }.values) }

    func kind(_ kind: GroupVersionKind) -> Kind? {
        all.first { $0.kind == kind.kind && $0.resource.group == kind.group }
    }

    func serves(_ resource: GroupVersionResource) -> Bool { all.contains { $0.resource == resource } }

    /// Says that an object may have gone: its definition may wait for that.
    func objectLeft(_ resource: GroupVersionResource) {
        let waiting = kinds.withLock { $0.first { $0.value.resource == resource && $0.value.isBeingDeleted }?.key }
        if let waiting { queue.add(waiting) }
    }

    /// Says that a resource is to be followed again.
    func announce(_ resource: GroupVersionResource) { arrived.yield(resource) }

    private func take(_ event: ResourceFollower.Event) {
        switch event {
        case .listed(let definitions):
            let names = Set(definitions.map(\.name))
            kinds.withLock { kinds in kinds = kinds.filter { names.contains($0.key) } }
            for definition in definitions { changed(definition) }
        case .changed(let definition): changed(definition)
        case .left(let definition): _ = kinds.withLock { $0.removeValue(forKey: definition.name) }
        }
    }

    private func changed(_ definition: KubeObject) {
        guard let kind = Self.kind(definition) else { return }
        let old = kinds.withLock { $0.updateValue(kind, forKey: definition.name) }
        if old?.resource != kind.resource { arrived.yield(kind.resource) }
        if kind.isBeingDeleted, definition.finalizers.contains(Self.finalizer) { queue.add(definition.name) }
    }

    /// Nil for what the program serves by itself, and for what is not served.
    private static func kind(_ definition: KubeObject) -> Kind? {
        let spec = definition["spec"]
        guard let group = spec["group"].string, let plural = spec["names"]["plural"].string,
            let kind = spec["names"]["kind"].string, !ownGroupResources.contains("\(plural).\(group)")
        else { return nil }
        let versions = spec["versions"].array ?? []
        let version =
            versions.first { ($0["served"].bool ?? false) && ($0["storage"].bool ?? false) }
            ?? versions.first { $0["served"].bool ?? false }
        guard let name = version?["name"].string else { return nil }
        return Kind(
            resource: GroupVersionResource(group, name, plural), kind: kind,
            isNamespaced: spec["scope"].string == "Namespaced", isBeingDeleted: definition.isBeingDeleted)
    }

    private static let ownGroupResources = Set(ResourceRegistry.shared.resources.map(\.resource.groupResource))

    // MARK: Deletion

    private func reconcile(_ name: String) async throws {
        guard let kind = kinds.withLock({ $0[name] }), kind.isBeingDeleted else { return }
        let client = context.client
        do {
            let left = try await client.list(kind.resource).items
            for object in left where !object.isBeingDeleted {
                do {
                    try await client.delete(kind.resource, object.name, in: object.namespace, uid: object.uid)
                } catch let error as APIError where error.isNotFound || error.isConflict {
                    // Gone, or another by now: the next round sees it.
                }
            }
            let held = left.isEmpty ? [] : try await client.list(kind.resource).items
            guard held.isEmpty else {
                // The last one that goes brings us back.
                return try await note(name, held)
            }
        } catch let error as APIError where error.isNotFound {
            // Never served: there is nothing to wait for.
        }
        try await release(name)
    }

    private func note(_ name: String, _ held: [KubeObject]) async throws {
        let finalizers = Set(held.flatMap(\.finalizers)).sorted().joined(separator: ", ")
        let why = finalizers.isEmpty ? "" : ", held by \(finalizers)"
        try await change(name) { definition in
            var conditions = definition["status"]["conditions"]
            conditions.setCondition(
                Condition(
                    "Terminating", true, "InstanceDeletionInProgress",
                    "CustomResource deletion is in progress: \(held.count) left\(why)"), now: .now)
            guard conditions != definition["status"]["conditions"] else { return nil }
            return (["status": ["conditions": conditions ?? .array([])]], "status")
        }
    }

    private func release(_ name: String) async throws {
        try await change(name) { definition in
            guard definition.finalizers.contains(Self.finalizer) else { return nil }
            let kept = definition.finalizers.filter { $0 != Self.finalizer }
            return (["metadata": ["finalizers": kept.isEmpty ? .null : JSON(kept)]], nil)
        }
    }

    /// Merges a patch into the definition as it was read.
    private func change(
        _ name: String, _ patch: (KubeObject) -> (JSON, String?)?
    ) async throws {
        let client = context.client
        do {
            let definition = try await client.get(.customResourceDefinitions, name)
            guard definition.isBeingDeleted, case (var body, let subresource)? = patch(definition) else { return }
            body["metadata"]["resourceVersion"] = JSON(definition.resourceVersion)
            _ = try await client.patch(
                .customResourceDefinitions, name, type: .merge, body, subresource: subresource)
        } catch let error as APIError where error.isNotFound {
            // Gone already.
        }
    }
}
