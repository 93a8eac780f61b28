// SPDX-License-Identifier: Apache-2.0

import KubeClient
package import KubeObjects
package import Values

/// Gives Services of type LoadBalancer an address of the configured range, and takes it back.
///
/// Who has which address is read from the Services themselves: nothing is kept that a crash could lose. One worker
/// decides, so no address is given twice.
package struct LoadBalancerController: Controller {
    let context: ControllerContext
    private let queue = WorkQueue<ObjectKey>("service")
    private let events: EventRecorder

    init(_ context: ControllerContext) {
        self.context = context
        events = context.events(from: "service-controller")
    }

    package func register() {
        let queue = queue
        let services = context.caches.services
        services.onChange { change in
            queue.add(change.object.key)
            // An address may have become free for those that got none.
            let hadAddress = !Self.addresses(of: change.old).isEmpty
            guard hadAddress, Self.addresses(of: change.old) != Self.addresses(of: change.new) else { return }
            for service in services.all where Self.isOurs(service) && Self.addresses(of: service).isEmpty {
                queue.add(service.key)
            }
        }
    }

    package func run() async { await queue.run(workers: 1) { key in try await reconcile(key) } }

    static func isOurs(_ service: KubeObject) -> Bool {
        service["spec"]["type"].string == "LoadBalancer" && service["spec"]["loadBalancerClass"].string == nil
            && !service.isBeingDeleted
    }

    static func addresses(of service: KubeObject?) -> [IPAddress] {
        (service?["status"]["loadBalancer"]["ingress"].array ?? []).compactMap {
            $0["ip"].string.flatMap { IPAddress($0) }
        }
    }

    /// The address for `service`: the one it has, the one it asks for, or the first that is free. The error says
    /// why there is none.
    package static func choose(for service: KubeObject, among services: [KubeObject], range: CIDR) throws(Refusal)
        -> IPAddress
    {
        var taken: [IPAddress: ObjectKey] = [:]
        for other in services where other.uid != service.uid && isOurs(other) {
            for address in addresses(of: other) { taken[address] = other.key }
        }
        if let text = service["spec"]["loadBalancerIP"].string, !text.isEmpty {
            guard let wanted = IPAddress(text) else {
                throw Refusal("spec.loadBalancerIP \"\(text)\" is no IP address; remove it or name one of \(range)")
            }
            guard range.contains(wanted) else {
                throw Refusal(
                    "spec.loadBalancerIP \(wanted) is not in \(range), the range of this cluster; choose one of it")
            }
            if let other = taken[wanted] {
                throw Refusal(
                    "spec.loadBalancerIP \(wanted) belongs to Service \(other); choose another or delete that one")
            }
            return wanted
        }
        if let present = addresses(of: service).first, range.contains(present), taken[present] == nil { return present }
        var candidate: IPAddress? = range.first
        while let address = candidate, range.contains(address) {
            if taken[address] == nil { return address }
            candidate = address.advanced(by: 1)
        }
        throw Refusal("all \(range.count) addresses of \(range) are taken; delete a Service of type LoadBalancer")
    }

    package struct Refusal: Error, CustomStringConvertible {
        package let description: String
        init(_ description: String) { self.description = description }
    }

    private func reconcile(_ key: ObjectKey) async throws {
        let services = context.caches.services
        guard let service = services[key], let range = context.configuration.loadBalancerCIDR else { return }
        guard Self.isOurs(service) else {
            // Another type now: the address goes back.
            guard service["spec"]["type"].string != "LoadBalancer", !Self.addresses(of: service).isEmpty else { return }
            var updated = service
            updated["status"]["loadBalancer"] = .object([:])
            return try await write(updated)
        }
        do {
            let address = try Self.choose(for: service, among: services.all, range: range)
            guard Self.addresses(of: service) != [address] else { return }
            var updated = service
            updated["status"]["loadBalancer"] = ["ingress": [["ip": JSON(address.description), "ipMode": "VIP"]]]
            try await write(updated)
            events.record(service, type: .normal, reason: "EnsuredLoadBalancer", message: "Ensured load balancer")
        } catch let refusal as Refusal {
            if !Self.addresses(of: service).isEmpty {
                var updated = service
                updated["status"]["loadBalancer"] = .object([:])
                try await write(updated)
            }
            events.record(
                service, type: .warning, reason: "SyncLoadBalancerFailed",
                message: "Error syncing load balancer: \(refusal)")
        }
    }

    private func write(_ service: KubeObject) async throws {
        do {
            try await context.caches.services.update(service, subresource: "status")
        } catch let error as APIError where error.isNotFound {
            // Deleted meanwhile.
        }
    }
}
