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
    private static let poolFields: Set<String> = [
        "name", "cidr", "blockSize", "natOutgoing", "disabled", "allowedUses", "assignmentMode", "ipipMode",
        "vxlanMode", "nodeSelector", "namespaceSelector",
    ]

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
        let objects = try Self.pools(ipam, network: configuration.name)
        var pools: [IPPool] = []
        for object in objects {
            do throws(IPPool.Problem) { pools.append(try IPPool(object)) } catch {
                throw CNIError(.invalidConfiguration, "network \"\(configuration.name)\": \(error)")
            }
        }
        self.pools = pools
        var reserved = try Self.reserved(ipam)
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

    private static func reserved(_ ipam: JSON) throws(CNIError) -> [JSON] {
        guard let value = ipam["reservedCIDRs"], !value.isNull else { return [] }
        for element in value.array ?? [.null] {
            guard let text = element.string, CIDR(text) != nil || IPAddress(text) != nil else {
                throw CNIError(
                    .invalidConfiguration,
                    "ipam.reservedCIDRs is \(value), which is not a list of networks such as [\"10.88.0.0/29\"]")
            }
        }
        return value.array ?? []
    }

    /// `ipam.pools`, or for one pool of no special wishes `ipam.subnet`.
    private static func pools(_ ipam: JSON, network: String) throws(CNIError) -> [KubeObject] {
        let written: [JSON]
        if let list = ipam["pools"], !list.isNull {
            guard let elements = list.array, !elements.isEmpty else {
                throw CNIError(
                    .invalidConfiguration,
                    "ipam.pools is \(list), which is not a list such as [{\"cidr\": \"10.88.0.0/16\"}]")
            }
            written = elements
        } else if let subnet = ipam["subnet"].string {
            written = [["cidr": JSON(subnet)]]
        } else {
            throw CNIError(
                .invalidConfiguration, "network \"\(network)\" has no addresses: datastore \"file\" needs ipam.pools",
                details:
                    "for example \"ipam\": {\"type\": \"calico-ipam\", \"pools\": [{\"cidr\": \"10.88.0.0/16\"}]}")
        }
        var objects: [KubeObject] = []
        for (index, element) in written.enumerated() {
            objects.append(try pool(element, "ipam.pools[\(index)]"))
        }
        for (index, object) in objects.enumerated() {
            let others = objects.enumerated().filter { $0.offset != index }.map(\.element)
            if others.contains(where: { $0.name == object.name }) {
                throw CNIError(.invalidConfiguration, "two of ipam.pools have the name \"\(object.name)\"")
            }
            if let error = IPPoolValidation.validate(object, existing: others, old: nil).first {
                throw CNIError(.invalidConfiguration, "ipam.pools[\(index)] (\(object.name)): \(error)")
            }
            // Nobody hears a warning of a plugin that goes on.
            if let warning = IPPoolValidation.warnings(object).first {
                throw CNIError(.invalidConfiguration, "ipam.pools[\(index)] (\(object.name)): \(warning); write that")
            }
        }
        return objects
    }

    private static func pool(_ element: JSON, _ field: String) throws(CNIError) -> KubeObject {
        guard let members = element.object else {
            throw CNIError(.invalidConfiguration, "\(field) is \(element), which is not an object with a cidr")
        }
        for (key, _) in members where !poolFields.contains(key) {
            throw CNIError(
                .invalidConfiguration, "\(field).\(key) is no field of a pool",
                details: "known are \(poolFields.sorted().joined(separator: ", "))")
        }
        guard let cidr = element["cidr"].string.flatMap({ CIDR($0) }) else {
            throw CNIError(
                .invalidConfiguration,
                "\(field).cidr is \(element["cidr"] ?? .null), which is not a network such as 10.88.0.0/16")
        }
        for key in ["ipipMode", "vxlanMode"] {
            if let mode = element[key].string, mode != "Never" {
                throw CNIError(
                    .invalidConfiguration,
                    "\(field).\(key) is \"\(mode)\": with datastore \"file\" there are no other nodes to reach",
                    details: "leave it out, or use a cluster's datastore")
            }
        }
        var object = KubeObject(
            .ipPools, kind: "IPPool", name: element["name"].string ?? IPAMNames.block(cidr.network))
        var spec = element
        spec["name"] = nil
        if element["natOutgoing"] == nil { spec["natOutgoing"] = true }
        let usual = IPPool.defaultBlockSize(cidr.family)
        if element["blockSize"] == nil { spec["blockSize"] = JSON(max(usual, cidr.prefixLength)) }
        object["spec"] = spec
        return object
    }

    /// A pool in which an address of the machine itself lies would take its traffic away.
    func check(against interfaces: [NodeInterface]) throws(CNIError) {
        for interface in interfaces where !interface.name.hasPrefix("cali") {
            for address in interface.addresses {
                let pool = pools.first { $0.cidr.contains(address.address) || address.contains($0.cidr.address) }
                guard let pool, !address.isHost else { continue }
                throw CNIError(
                    .invalidConfiguration,
                    "pool \(pool.label) of network \"\(name)\" overlaps \(address) of the machine's interface \(interface.name)",
                    details: "choose another network in ipam.pools")
            }
        }
    }
}

extension CIDR {
    fileprivate var isHost: Bool { prefixLength == family.bitWidth }
}
