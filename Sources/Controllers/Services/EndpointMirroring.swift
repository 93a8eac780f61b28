// SPDX-License-Identifier: Apache-2.0

import KubeClient
package import KubeObjects
import Values

/// Shows the Endpoints that users write for Services without a selector as EndpointSlices, which is what everybody
/// reads.
struct EndpointMirroring: Controller {
    static let manager = "endpointslicemirroring-controller.k8s.io"

    let context: ControllerContext
    private let queue = WorkQueue<ObjectKey>("endpoint_slice_mirroring")
    private let events: EventRecorder

    init(_ context: ControllerContext) {
        self.context = context
        events = context.events(from: "endpoint-slice-mirroring-controller")
    }

    func register() {
        let queue = queue
        let caches = context.caches
        caches.endpoints.onChange { change in
            let isMirrored = [change.old, change.new].contains { $0.map(Self.isMirrored) ?? false }
            if isMirrored { queue.add(change.object.key) }
        }
        caches.services.onChange { change in
            let hadSelector = change.old?["spec"]["selector"] != nil
            let hasSelector = change.new?["spec"]["selector"] != nil
            if change.old == nil || change.new == nil || hadSelector != hasSelector { queue.add(change.object.key) }
        }
        caches.endpointSlices.onChange { change in
            if change.object.mirroredName != nil, let name = change.object.labels["kubernetes.io/service-name"] {
                queue.add(ObjectKey(change.object.namespace, name))
            }
        }
    }

    func run() async { await queue.run(workers: 5) { key in try await reconcile(key) } }

    /// Endpoints that say so, and those that only hold who leads, are nobody's endpoints.
    private static func isMirrored(_ endpoints: KubeObject) -> Bool {
        endpoints.labels["endpointslice.kubernetes.io/skip-mirror"] != "true"
            && endpoints.annotations["control-plane.alpha.kubernetes.io/leader"] == nil
    }

    private func reconcile(_ key: ObjectKey) async throws {
        let caches = context.caches
        let existing = caches.endpointSlices.objects(by: "service", key.description).filter {
            $0.mirroredName != nil && !$0.isBeingDeleted
        }
        guard let endpoints = caches.endpoints[key], !endpoints.isBeingDeleted, Self.isMirrored(endpoints),
            let service = caches.services[key], service["spec"]["selector"] == nil
        else {
            for slice in existing { try await caches.endpointSlices.delete(slice) }
            return
        }
        let plan = MirrorPlan(endpoints, existing: existing)
        do {
            for slice in plan.create { try await caches.endpointSlices.create(slice) }
            for slice in plan.update { try await caches.endpointSlices.update(slice) }
            for slice in plan.delete { try await caches.endpointSlices.delete(slice) }
        } catch let error as APIError where error.isNamespaceTerminating {
            return
        }
        guard !(plan.create.isEmpty && plan.update.isEmpty) else { return }
        if plan.invalid > 0 {
            events.record(
                endpoints, type: .warning, reason: "InvalidIPAddress",
                message: "Skipped \(plan.invalid) invalid IP addresses when mirroring to EndpointSlices")
        }
        if plan.skipped > plan.invalid {
            events.record(
                endpoints, type: .warning, reason: "TooManyAddressesToMirror",
                message: "A max of \(MirrorPlan.capacity) addresses can be mirrored to EndpointSlices per Endpoints "
                    + "subset. \(plan.skipped) addresses were skipped")
        }
    }
}

extension KubeObject {
    /// The Service of a slice that is a mirror; nil for other slices.
    fileprivate var mirroredName: String? {
        let labels = labels
        guard labels["endpointslice.kubernetes.io/managed-by"] == EndpointMirroring.manager else { return nil }
        return labels["kubernetes.io/service-name"]
    }
}

/// How Endpoints are laid into slices: one for each set of ports and each family of addresses.
package struct MirrorPlan: Sendable {
    /// Addresses of a subset that are mirrored; more are left out.
    package static let capacity = 1000

    package var create: [KubeObject] = []
    package var update: [KubeObject] = []
    package var delete: [KubeObject] = []
    /// Addresses that are none.
    package var invalid = 0
    /// Addresses that were left out, the invalid ones among them.
    package var skipped = 0

    private struct Group: Hashable {
        var family: IPFamily
        var ports: Set<JSON>
    }

    package init(_ endpoints: KubeObject, existing: [KubeObject]) {
        var wanted: [Group: (ports: JSON, endpoints: [JSON])] = [:]
        for subset in endpoints["subsets"].array ?? [] { add(subset, &wanted) }
        var left = existing.sorted { $0.name < $1.name }
        for (group, content) in wanted.sorted(by: { "\($0.value.ports)" < "\($1.value.ports)" }) {
            let type = group.family == .v4 ? "IPv4" : "IPv6"
            let place = left.firstIndex {
                $0["addressType"].string == type && Set($0["ports"].array ?? []) == group.ports
            }
            let old = place.map { left.remove(at: $0) }
            var slice = old ?? Self.empty(endpoints, type)
            slice["ports"] = content.ports
            slice["endpoints"] = .array(
                content.endpoints.sorted { ($0["addresses"][0].string ?? "") < ($1["addresses"][0].string ?? "") })
            Self.dress(&slice, endpoints)
            if old == nil { create.append(slice) } else if slice != old { update.append(slice) }
        }
        delete = left
    }

    private mutating func add(_ subset: JSON, _ wanted: inout [Group: (ports: JSON, endpoints: [JSON])]) {
        let ports = (subset["ports"].array ?? []).map { port in
            var json: JSON = ["name": port["name"] ?? "", "protocol": port["protocol"] ?? "TCP"]
            for member in ["port", "appProtocol"] where port[member] != nil { json[member] = port[member] }
            return json
        }
        var added = 0
        for (list, isReady) in [("addresses", true), ("notReadyAddresses", false)] {
            for address in subset[list].array ?? [] {
                guard added < Self.capacity else {
                    skipped += 1
                    continue
                }
                guard let text = address["ip"].string, let ip = IPAddress(text) else {
                    invalid += 1
                    skipped += 1
                    continue
                }
                added += 1
                var endpoint: JSON = ["addresses": [JSON(text)], "conditions": ["ready": JSON(isReady)]]
                for member in ["hostname", "nodeName", "targetRef"] where address[member] != nil {
                    endpoint[member] = address[member]
                }
                let group = Group(family: ip.family, ports: Set(ports))
                var content = wanted[group] ?? (.array(ports), [])
                let isKnown = content.endpoints.contains { $0["addresses"][0].string == text }
                if !isKnown, content.endpoints.count < Self.capacity { content.endpoints.append(endpoint) }
                wanted[group] = content
            }
        }
    }

    private static func empty(_ endpoints: KubeObject, _ type: String) -> KubeObject {
        var slice = KubeObject([
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": ["generateName": JSON("\(endpoints.name)-")], "addressType": JSON(type),
        ])
        slice.metadata["namespace"] = endpoints.namespace.map { JSON($0) }
        return slice
    }

    /// What a slice takes over from the Endpoints besides their addresses.
    private static func dress(_ slice: inout KubeObject, _ endpoints: KubeObject) {
        var labels = endpoints.labels
        labels["kubernetes.io/service-name"] = endpoints.name
        labels["endpointslice.kubernetes.io/managed-by"] = EndpointMirroring.manager
        slice.metadata["labels"] = JSON(labels)
        var annotations = endpoints.annotations
        annotations["kubectl.kubernetes.io/last-applied-configuration"] = nil
        annotations["endpoints.kubernetes.io/last-change-trigger-time"] = nil
        slice.metadata["annotations"] = annotations.isEmpty ? nil : JSON(annotations)
        slice.metadata["ownerReferences"] = [OwnerReference(controller: endpoints).json]
    }
}
