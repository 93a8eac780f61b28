// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Storage
import Values

/// Refuses externalIPs that belong to somebody: whoever may make a Service in one namespace could else take the traffic
/// of the API server or of others' pods (the class of CVE-2020-8554). Addresses of nodes, which manifests for other
/// clusters have, are admitted with a warning: no agent acts upon them. What a Service has already stays.
struct ServiceExternalAddresses: AdmissionPlugin {
    let objects: AdmissionObjects
    let apiServer: IPAddress
    let serviceCIDR: CIDR

    func validate(_ review: inout AdmissionReview) async throws {
        guard review.type.storage == .services, review.subresource.isEmpty, review.operation != .delete else { return }
        let before = Set((review.old?["spec"]["externalIPs"].array ?? []).compactMap(\.string))
        let asked = (review.object["spec"]["externalIPs"].array ?? []).map { $0.string ?? "" }
        guard asked.contains(where: { !before.contains($0) }) else { return }
        let owners = owners()
        var errors: [FieldError] = []
        for (index, text) in asked.enumerated() where !before.contains(text) {
            guard let address = IPAddress(text), let owner = owners.owner(of: address) else { continue }
            if owners.nodes[address] != nil {
                review.warnings.append(
                    "spec.externalIPs[\(index)]: \(text) is \(owner), and is not acted upon: it goes on leading to the node itself; use type NodePort or LoadBalancer"
                )
                continue
            }
            errors.append(
                .invalid(
                    "spec.externalIPs[\(index)]", JSON(text),
                    "is \(owner), whose traffic a Service may not take; use type NodePort or LoadBalancer, or an address that is routed to the nodes and belongs to nobody else"
                ))
        }
        guard errors.isEmpty else { throw StatusError.invalid(review.type, name: review.object.name, errors) }
    }

    private func owners() -> AddressOwners {
        var owners = AddressOwners()
        owners.apiServers = [apiServer]
        for slice in objects.list(StorageKey(.endpointSlices), namespace: "default")
        where slice.labels["kubernetes.io/service-name"] == "kubernetes" {
            for endpoint in slice["endpoints"].array ?? [] {
                owners.apiServers.formUnion(
                    (endpoint["addresses"].array ?? []).compactMap { $0.string.flatMap { IPAddress($0) } })
            }
        }
        for node in objects.list(StorageKey(.nodes)) {
            owners.add(node: node)
            for text in (node["spec"]["podCIDRs"].array ?? [node["spec"]["podCIDR"] ?? .null]).compactMap(\.string) {
                if let range = CIDR(text) { owners.ranges[range.network] = "node \(node.name)'s range of pods" }
            }
        }
        for object in objects.list(StorageKey(.ipPools)) {
            // Pools of load balancers' addresses are for Services.
            guard let pool = try? IPPool(object), !pool.isForServicesAlone else { continue }
            owners.ranges[pool.cidr] = "pool \(pool.name)"
        }
        owners.ranges[serviceCIDR] = "the Services' range"
        for range in objects.list(StorageKey(.serviceCIDRs)) {
            for text in (range["spec"]["cidrs"].array ?? []).compactMap(\.string) {
                if let cidr = CIDR(text) { owners.ranges[cidr.network] = "ServiceCIDR \(range.name)" }
            }
        }
        return owners
    }
}
