// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import IPAM
import KubeObjects
import NetworkModel
import Values

/// A network without a cluster (`"datastore": "file"`): its pools are in the network configuration itself, what is given
/// out of them in a folder of this machine.
struct LocalNetwork: Sendable {
    /// What addresses of all local networks are recorded for.
    static let usualNode = "local"

    let name: String
    let folder: String
    let node: String
    let pools: [IPPool]
    let objects: IPAMObjects
    /// With the families that the pools are of, unless the configuration says which are wanted.
    let configuration: NetworkConfiguration

    init(_ configuration: NetworkConfiguration) throws(CNIError) {
        name = configuration.name
        folder = try Self.folder(configuration)
        node = configuration.json["nodename"].string ?? Self.usualNode
        let ipam = configuration.json["ipam"] ?? [:]
        let objects: [KubeObject]
        let pools: [IPPool]
        var reserved: [JSON]
        do throws(LocalPools.Problem) {
            (objects, pools) = try LocalPools.read(ipam, network: configuration.name)
            reserved = try LocalPools.reserved(ipam).map { JSON("\($0)") }
        } catch {
            throw CNIError(.invalidConfiguration, error.description, details: error.nextStep)
        }
        self.pools = pools
        reserved += try IPAMAnswer.gateways(ipam).map { JSON("\(CIDR(host: $0))") }
        var reservation = KubeObject(.ipReservations, kind: "IPReservation", name: "network")
        reservation["spec"] = ["reservedCIDRs": .array(reserved)]
        // One machine owns all there is: no limit keeps blocks for others.
        var config = KubeObject(.ipamConfigs, kind: "IPAMConfig", name: "default")
        config["spec"] = ["maxBlocksPerHost": 1_000_000]
        self.objects = IPAMObjects(
            pools: objects, nodes: [KubeObject(.nodes, kind: "Node", name: node)], reservations: [reservation],
            config: config)
        var completed = configuration.json
        for (family, key) in [(IPFamily.v4, "assign_ipv4"), (.v6, "assign_ipv6")] where ipam[key] == nil {
            let isThere = pools.contains { $0.cidr.family == family }
            completed["ipam"][key] = .bool(isThere)
        }
        self.configuration = try NetworkConfiguration(completed)
    }

    /// `path` of the configuration, else a folder for each network.
    static func folder(_ configuration: NetworkConfiguration) throws(CNIError) -> String {
        switch configuration.json["path"] {
        case nil, .null: return "/var/lib/cni/catbird/\(configuration.name)"
        case .string(let path) where path.hasPrefix("/"): return path
        case .some(let value):
            throw CNIError(
                .invalidConfiguration, "path is \(value), which is not the absolute path of a folder",
                details: "leave it out for /var/lib/cni/catbird/\(configuration.name)")
        }
    }

    /// A pool in which an address of the machine itself lies would take its traffic away.
    func check(against interfaces: [NodeInterface]) throws(CNIError) {
        for interface in interfaces where !interface.name.hasPrefix("cali") {
            for address in interface.addresses {
                guard let pool = LocalPools.clash(pools, with: address) else { continue }
                throw CNIError(
                    .invalidConfiguration,
                    "pool \(pool.label) of network \"\(name)\" overlaps \(address) of the machine's interface \(interface.name)",
                    details: "choose another network in ipam.pools")
            }
        }
    }
}
