// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import IPAM
import NetworkModel
import Values

/// What another plugin is told when it asks for addresses (`"ipam": {"type": "calico-ipam"}`): addresses with their
/// block's prefix, as Calico's plugin prints them. Plugins that make a subnet (ptp, bridge) need a gateway in it:
/// `ipam.gateway` names one for each family, and then the prefix is the pool's, so that all of the pool is on the link.
struct IPAMAnswer {
    let result: CNIResult

    init(_ call: PluginCall, _ held: [HeldAddress], _ snapshot: IPAMSnapshot) throws(CNIError) {
        let ipam = call.configuration.json["ipam"] ?? [:]
        let gateways = try Self.gateways(ipam)
        var addresses: [CNIResult.Address] = []
        for entry in held {
            let gateway = gateways.first { $0.family == entry.address.family }
            var prefix = entry.block.prefixLength
            if let gateway {
                guard let pool = snapshot.pools.first(where: { $0.cidr.contains(entry.address) }) else { continue }
                guard pool.cidr.contains(gateway) else {
                    throw CNIError(
                        .invalidConfiguration,
                        "ipam.gateway \(gateway) is not in pool \(pool.label), which \(entry.address) is from",
                        details: "name an address of the pool, or another pool with ipam.ipv4_pools")
                }
                guard snapshot.reserved.contains(gateway) else {
                    throw CNIError(
                        .invalidConfiguration,
                        "ipam.gateway \(gateway) could be given to a pod: no IPReservation covers it",
                        details: "create one with spec.reservedCIDRs [\"\(CIDR(host: gateway))\"]")
                }
                prefix = pool.cidr.prefixLength
            }
            guard let cidr = CIDR(entry.address, prefix) else { continue }
            addresses.append(.init(cidr, gateway: gateway))
        }
        var answer = CNIResult(ips: addresses)
        if let routes = ipam["routes"], !routes.isNull {
            do throws(CNIError) { answer.routes = try CNIResult(["routes": routes]).routes } catch {
                throw CNIError(
                    .invalidConfiguration, "ipam.routes is not a list of routes such as [{\"dst\": \"0.0.0.0/0\"}]",
                    details: error.message)
            }
        }
        result = answer
    }

    /// `ipam.gateway`: an address, or one for each family.
    static func gateways(_ ipam: JSON) throws(CNIError) -> [IPAddress] {
        guard let value = ipam["gateway"], !value.isNull else { return [] }
        let texts = value.array?.map(\.string) ?? [value.string]
        let gateways = texts.map { $0.flatMap { IPAddress($0) } }
        guard !gateways.contains(nil) else {
            throw CNIError(
                .invalidConfiguration, "ipam.gateway is \(value), which is neither an address nor a list of addresses")
        }
        return gateways.compactMap(\.self)
    }
}
