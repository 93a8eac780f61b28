// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Values

/// Says of each ServiceCIDR whether Services get addresses from it, and holds one that is deleted for as long as Services
/// have addresses that are in no other.
struct ServiceRanges: Controller {
    static let finalizer = "networking.k8s.io/service-cidr-finalizer"

    let context: ControllerContext
    private let queue = WorkQueue<String>("service_cidr")

    init(_ context: ControllerContext) { self.context = context }

    func register() {
        let queue = queue
        let ranges = context.caches.serviceCIDRs
        ranges.onChange { change in
            queue.add(change.object.name)
            for range in ranges.all where range.isBeingDeleted { queue.add(range.name) }
        }
        context.caches.ipAddresses.onChange { change in
            guard change.old == nil || change.new == nil else { return }
            for range in ranges.all where range.isBeingDeleted { queue.add(range.name) }
        }
    }

    func run() async { await queue.run(workers: 1) { name in try await reconcile(name) } }

    private func reconcile(_ name: String) async throws {
        let ranges = context.caches.serviceCIDRs
        guard let range = ranges[ObjectKey(nil, name)] else { return }
        do {
            guard range.isBeingDeleted else {
                try await setFinalizer(range, true)
                return try await setReady(
                    ranges[range.key] ?? range, true, reason: "", message: "Kubernetes Service CIDR is ready")
            }
            if try await isNeeded(range) {
                return try await setReady(
                    range, false, reason: "Terminating",
                    message: "There are still IPAddresses referencing the ServiceCIDR, please remove them or create "
                        + "a new ServiceCIDR")
            }
            try await setFinalizer(range, false)
        } catch let error as APIError where error.isNotFound {
            // Gone.
        }
    }

    /// Whether addresses that Services have are in this range alone. The API server gives out none of it any more since
    /// it is being deleted, so what it lists now is all there will be.
    private func isNeeded(_ range: KubeObject) async throws -> Bool {
        let others = context.caches.serviceCIDRs.all.filter { $0.name != range.name && !$0.isBeingDeleted }
            .flatMap(\.networks)
        let own = range.networks.filter { network in !others.contains { $0.contains(network) } }
        if own.isEmpty { return false }
        let addresses = try await context.client.list(
            .ipAddresses, labelSelector: "\(ServiceAddresses.managedBy)=\(ServiceAddresses.manager)")
        return addresses.items.contains { object in
            guard let address = IPAddress(object.name) else { return false }
            return own.contains { $0.contains(address) } && !others.contains { $0.contains(address) }
        }
    }

    private func setFinalizer(_ range: KubeObject, _ isHeld: Bool) async throws {
        guard range.finalizers.contains(Self.finalizer) != isHeld else { return }
        var finalizers = range.finalizers.filter { $0 != Self.finalizer }
        if isHeld { finalizers.append(Self.finalizer) }
        try await context.caches.serviceCIDRs.patch(
            range,
            [
                "metadata": [
                    "finalizers": finalizers.isEmpty ? .null : JSON(finalizers),
                    "resourceVersion": JSON(range.resourceVersion),
                ]
            ])
    }

    private func setReady(_ range: KubeObject, _ isReady: Bool, reason: String, message: String) async throws {
        let status = isReady ? "True" : "False"
        let old = range["status"]["conditions"].condition("Ready")
        // `kubernetes` was made ready by the API server, in words of its own.
        if old["status"].string == status, isReady || old["reason"].string == reason { return }
        let others = (range["status"]["conditions"].array ?? []).filter { $0["type"].string != "Ready" }
        var updated = range
        let condition: JSON = [
            "type": "Ready", "status": JSON(status), "reason": JSON(reason), "message": JSON(message),
            "lastTransitionTime": JSON(Timestamp.now.description),
        ]
        updated["status"]["conditions"] = .array(others + [condition])
        try await context.caches.serviceCIDRs.update(updated, subresource: "status")
    }
}

extension KubeObject {
    /// The networks of a ServiceCIDR.
    var networks: [CIDR] { (json["spec"]["cidrs"].array ?? []).compactMap { $0.string.flatMap { CIDR($0) } } }
}
