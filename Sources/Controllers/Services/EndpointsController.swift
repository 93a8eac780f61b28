// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

/// Writes the EndpointSlices of every Service with a selector, and the older Endpoints object beside them.
struct EndpointsController: Controller {
    static let manager = "endpointslice-controller.k8s.io"
    static let managedEndpoints = "endpoints.kubernetes.io/managed-by"

    let context: ControllerContext
    private let queue = WorkQueue<ObjectKey>("endpoint_slice")
    private let events: EventRecorder

    init(_ context: ControllerContext) {
        self.context = context
        events = context.events(from: "endpoint-slice-controller")
    }

    func register() {
        let queue = queue
        let caches = context.caches
        caches.services.onChange { queue.add($0.object.key) }
        caches.endpointSlices.onChange { change in
            if let name = change.object.labels["kubernetes.io/service-name"] {
                queue.add(ObjectKey(change.object.namespace, name))
            }
        }
        caches.endpoints.onChange { queue.add($0.object.key) }
        caches.pods.onChange { change in
            if let old = change.old, let new = change.new, Self.looksTheSame(old, new) { return }
            for service in caches.services.inNamespace(change.object.namespace) {
                guard let selector = service["spec"]["selector"].object?.strings, !selector.isEmpty else { continue }
                let isSelected = [change.old, change.new].contains { pod in
                    guard let labels = pod?.labels else { return false }
                    return selector.allSatisfy { labels[$0.key] == $0.value }
                }
                if isSelected { queue.add(service.key) }
            }
        }
        caches.nodes.onChange { change in
            let key = "topology.kubernetes.io/zone"
            guard change.old?.labels[key] != change.new?.labels[key] else { return }
            for service in caches.services.all { queue.add(service.key) }
        }
    }

    /// Nothing of what an endpoint says changed.
    private static func looksTheSame(_ old: KubeObject, _ new: KubeObject) -> Bool {
        old.labels == new.labels && old.podIPs == new.podIPs && old.isPodReady == new.isPodReady
            && old.isBeingDeleted == new.isBeingDeleted && old.isPodFinished == new.isPodFinished
            && old.nodeName == new.nodeName && old["spec"]["hostname"] == new["spec"]["hostname"]
    }

    func run() async { await queue.run(workers: 5) { key in try await reconcile(key) } }

    private func reconcile(_ key: ObjectKey) async throws {
        let caches = context.caches
        let managed = caches.endpointSlices.objects(by: "service", key.description).filter {
            $0.labels["endpointslice.kubernetes.io/managed-by"] == Self.manager
        }
        guard let service = caches.services[key], !service.isBeingDeleted else {
            for slice in managed { try await caches.endpointSlices.delete(slice) }
            if caches.services[key] == nil, let endpoints = caches.endpoints[key],
                endpoints.labels[Self.managedEndpoints] == "endpoint-controller"
            {
                try await caches.endpoints.delete(endpoints)
            }
            return
        }
        // Without a selector the user writes the endpoints; `kubernetes` is the API server's own.
        guard let selector = service["spec"]["selector"].object?.strings, !selector.isEmpty,
            service["spec"]["type"].string != "ExternalName"
        else {
            for slice in managed { try await caches.endpointSlices.delete(slice) }
            return
        }
        let pods = caches.pods.inNamespace(key.namespace).filter { pod in
            let labels = pod.labels
            return selector.allSatisfy { labels[$0.key] == $0.value }
        }
        var zones: [String: String] = [:]
        for node in caches.nodes.all { zones[node.name] = node.labels["topology.kubernetes.io/zone"] }
        let computation = EndpointComputation(service: service, pods: pods, zones: zones)
        do {
            try await apply(SlicePlan(computation: computation, existing: managed))
            try await writeEndpoints(computation)
        } catch let error as APIError where error.isNamespaceTerminating {
            return
        } catch let error as APIError {
            if !error.isStale {
                events.record(
                    service, type: .warning, reason: "FailedToUpdateEndpointSlices",
                    message: "Error updating Endpoint Slices for Service \(key): \(error.message)")
            }
            throw error
        }
    }

    private func apply(_ plan: SlicePlan) async throws {
        for slice in plan.create { try await context.caches.endpointSlices.create(slice) }
        for slice in plan.update { try await context.caches.endpointSlices.update(slice) }
        for slice in plan.delete { try await context.caches.endpointSlices.delete(slice) }
    }

    private func writeEndpoints(_ computation: EndpointComputation) async throws {
        let service = computation.service
        let endpoints = context.caches.endpoints
        let subsets = computation.subsets()
        var labels = service.labels
        labels[Self.managedEndpoints] = "endpoint-controller"
        if computation.isHeadless { labels["service.kubernetes.io/headless"] = "" }
        let existing = endpoints[service.key]
        var wanted =
            existing ?? KubeObject(.endpoints, kind: "Endpoints", name: service.name, namespace: service.namespace)
        wanted["subsets"] = subsets.isEmpty ? nil : .array(subsets)
        wanted.metadata["labels"] = JSON(labels)
        guard let existing else {
            do {
                try await endpoints.create(wanted)
            } catch let error as APIError where error.isAlreadyExists {
                queue.addRateLimited(service.key)
            }
            return
        }
        if wanted != existing { try await endpoints.update(wanted) }
    }
}
