// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

/// Keeps Services and the IPAddress objects of their addresses in step.
///
/// The API server makes an IPAddress before the Service and deletes it after it. What is missing or left over, because
/// the server was killed in between or somebody deleted one by hand, is put in order here.
struct ServiceAddresses: Controller {
    static let managedBy = "ipaddress.kubernetes.io/managed-by"
    static let manager = "ipallocator.k8s.io"
    private static let family = "ipaddress.kubernetes.io/ip-family"

    enum Work: Sendable, Hashable {
        case service(ObjectKey)
        case address(String)
    }

    let context: ControllerContext
    private let queue = WorkQueue<Work>("ipallocator_repair")
    private let events: EventRecorder

    init(_ context: ControllerContext) {
        self.context = context
        events = context.events(from: "ipallocator-repair-controller")
    }

    func register() {
        let queue = queue
        context.caches.services.onChange { change in
            queue.add(.service(change.object.key))
            let kept = change.new?.clusterAddresses ?? []
            for address in change.old?.clusterAddresses ?? [] where !kept.contains(address) {
                queue.add(.address(address.description))
            }
        }
        context.caches.ipAddresses.onChange { change in
            queue.add(.address(change.object.name))
            for object in [change.old, change.new] {
                if let parent = object?.parentService { queue.add(.service(parent)) }
            }
        }
    }

    func run() async {
        await queue.run(workers: 4) { work in
            switch work {
            case .service(let key): try await look(at: key)
            case .address(let name): try await look(at: name)
            }
        }
    }

    // MARK: A Service

    private func look(at key: ObjectKey) async throws {
        guard let service = context.caches.services[key], !service.isBeingDeleted else { return }
        for address in service.clusterAddresses {
            let place = "[\(address.family == .v4 ? "IPv4" : "IPv6")]: \(address)"
            let ranges = context.caches.serviceCIDRs.all
            guard ranges.isEmpty || ranges.contains(where: { $0.networks.contains { $0.contains(address) } }) else {
                events.record(
                    service, type: .warning, reason: "ClusterIPOutOfRange",
                    message: "Cluster IP \(place) is not within any configured Service CIDR; please recreate service")
                continue
            }
            if isInOrder(service, address) { continue }
            // The watches of Services and addresses know nothing of each other: only the server's word counts.
            let current = try await context.client.find(.ipAddresses, address.description)
            guard let stillThere = try await context.client.find(.services, key),
                stillThere.uid == service.uid, stillThere.clusterAddresses.contains(address)
            else { return }
            try await repair(service, address, current, place)
        }
    }

    private func isInOrder(_ service: KubeObject, _ address: IPAddress) -> Bool {
        guard let known = context.caches.ipAddresses[ObjectKey(nil, address.description)] else { return false }
        return known.parentService == service.key
            && Self.labels(address).allSatisfy { known.labels[$0.key] == $0.value }
    }

    private func repair(
        _ service: KubeObject, _ address: IPAddress, _ current: KubeObject?, _ place: String
    ) async throws {
        let addresses = context.caches.ipAddresses
        if let current {
            if current.parentService == service.key {
                let labels = JSON(Self.labels(address))
                if Self.labels(address).contains(where: { current.labels[$0.key] != $0.value }) {
                    try await addresses.patch(current, ["metadata": ["labels": labels]])
                }
                return
            }
            if let other = current.parentService,
                let holder = try await context.client.find(.services, other),
                holder.clusterAddresses.contains(address)
            {
                return events.record(
                    service, type: .warning, reason: "ClusterIPAlreadyAllocated",
                    message: "Cluster IP \(place) was assigned to multiple services; please recreate service")
            }
            events.record(
                service, type: .warning, reason: "ClusterIPNotAllocated",
                message: "the ClusterIP \(place) for Service \(service.key) has a wrong reference; repairing")
            try await addresses.delete(current)
        } else {
            events.record(
                service, type: .warning, reason: "ClusterIPNotAllocated",
                message: "Cluster IP \(place) is not allocated; repairing")
        }
        do {
            try await addresses.create(Self.object(address, service.key))
        } catch let error as APIError where error.isAlreadyExists {
            queue.addRateLimited(.service(service.key))
        }
    }

    // MARK: An address

    private func look(at name: String) async throws {
        let addresses = context.caches.ipAddresses
        guard let known = addresses[ObjectKey(nil, name)], !known.isBeingDeleted,
            known.labels[Self.managedBy] == Self.manager, let address = IPAddress(name)
        else { return }
        if let parent = known.parentService {
            if context.caches.services[parent]?.clusterAddresses.contains(address) ?? false { return }
            if try await context.client.find(.services, parent)?.clusterAddresses.contains(address) ?? false { return }
            // Its Service may be about to be made.
            let age = known.creationTimestamp.map { Timestamp.now.seconds(since: $0) } ?? .infinity
            let grace = Double(context.configuration.addressGracePeriod.components.seconds)
            if age < grace { return queue.addAfter(.address(name), .seconds(grace - age)) }
        }
        events.record(
            known, type: .warning, reason: "IPAddressNotAllocated",
            message: "IPAddress: \(name) for Service \(known.parentService?.description ?? "") appears to have leaked: "
                + "cleaning up")
        try await addresses.delete(known)
    }

    private static func labels(_ address: IPAddress) -> [String: String] {
        [family: address.family == .v4 ? "IPv4" : "IPv6", managedBy: manager]
    }

    private static func object(_ address: IPAddress, _ service: ObjectKey) -> KubeObject {
        var object = KubeObject(
            .ipAddresses, kind: "IPAddress", name: address.description, labels: labels(address))
        object["spec"] = [
            "parentRef": [
                "group": "", "resource": "services", "namespace": JSON(service.namespace ?? ""),
                "name": JSON(service.name),
            ]
        ]
        return object
    }
}

extension KubeObject {
    /// The addresses of a Service within the cluster.
    fileprivate var clusterAddresses: [IPAddress] {
        guard json["spec"]["type"].string != "ExternalName" else { return [] }
        let all = json["spec"]["clusterIPs"].array ?? json["spec"]["clusterIP"].map { [$0] } ?? []
        return all.compactMap { $0.string.flatMap { IPAddress($0) } }
    }

    /// The Service that an IPAddress belongs to; nil when it belongs to something else.
    fileprivate var parentService: ObjectKey? {
        let parent = json["spec"]["parentRef"]
        guard (parent["group"].string ?? "").isEmpty, parent["resource"].string == "services",
            let name = parent["name"].string
        else { return nil }
        return ObjectKey(parent["namespace"].string, name)
    }
}
