// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// The pools of a network without a cluster (`"datastore": "file"`), as its CNI configuration writes them in `ipam`.
public enum LocalPools {
    /// What is wrong with the configuration, and what to do.
    public struct Problem: Error, Sendable, Hashable, CustomStringConvertible {
        public let description: String
        /// Empty where the description says it.
        public let nextStep: String

        init(_ description: String, _ nextStep: String = "") {
            self.description = description
            self.nextStep = nextStep
        }
    }

    private static let fields: Set<String> = [
        "name", "cidr", "blockSize", "natOutgoing", "disabled", "allowedUses", "assignmentMode", "ipipMode",
        "vxlanMode", "nodeSelector", "namespaceSelector",
    ]

    /// `ipam.pools`, or for one pool of no special wishes `ipam.subnet`: as objects, and read. Pods' way out of the
    /// machine is translated unless a pool says otherwise; a pool smaller than a block is one block.
    public static func read(_ ipam: JSON, network: String) throws(Problem) -> (objects: [KubeObject], pools: [IPPool]) {
        let written: [JSON]
        if let list = ipam["pools"], !list.isNull {
            guard let elements = list.array, !elements.isEmpty else {
                throw Problem("ipam.pools is \(list), which is not a list such as [{\"cidr\": \"10.88.0.0/16\"}]")
            }
            written = elements
        } else if let subnet = ipam["subnet"].string {
            written = [["cidr": JSON(subnet)]]
        } else {
            throw Problem(
                "network \"\(network)\" has no addresses: datastore \"file\" needs ipam.pools",
                "for example \"ipam\": {\"type\": \"calico-ipam\", \"pools\": [{\"cidr\": \"10.88.0.0/16\"}]}")
        }
        var objects: [KubeObject] = []
        for (index, element) in written.enumerated() { objects.append(try pool(element, "ipam.pools[\(index)]")) }
        for (index, object) in objects.enumerated() {
            let others = objects.enumerated().filter { $0.offset != index }.map(\.element)
            if others.contains(where: { $0.name == object.name }) {
                throw Problem("two of ipam.pools have the name \"\(object.name)\"")
            }
            if let error = IPPoolValidation.validate(object, existing: others, old: nil).first {
                throw Problem("ipam.pools[\(index)] (\(object.name)): \(error)")
            }
            // Nobody hears a warning of a plugin that goes on.
            if let warning = IPPoolValidation.warnings(object).first {
                throw Problem("ipam.pools[\(index)] (\(object.name)): \(warning); write that")
            }
        }
        var pools: [IPPool] = []
        for object in objects {
            do throws(IPPool.Problem) { pools.append(try IPPool(object)) } catch {
                throw Problem("network \"\(network)\": \(error)")
            }
        }
        return (objects, pools)
    }

    private static func pool(_ element: JSON, _ field: String) throws(Problem) -> KubeObject {
        guard let members = element.object else {
            throw Problem("\(field) is \(element), which is not an object with a cidr")
        }
        for (key, _) in members where !fields.contains(key) {
            throw Problem(
                "\(field).\(key) is no field of a pool", "known are \(fields.sorted().joined(separator: ", "))")
        }
        guard let cidr = element["cidr"].string.flatMap({ CIDR($0) }) else {
            throw Problem("\(field).cidr is \(element["cidr"] ?? .null), which is not a network such as 10.88.0.0/16")
        }
        for key in ["ipipMode", "vxlanMode"] {
            if let mode = element[key].string, mode != "Never" {
                throw Problem(
                    "\(field).\(key) is \"\(mode)\": with datastore \"file\" there are no other nodes to reach",
                    "leave it out, or use a cluster's datastore")
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

    /// `ipam.reservedCIDRs`: networks and addresses that no new address is taken from.
    public static func reserved(_ ipam: JSON) throws(Problem) -> [CIDR] {
        guard let value = ipam["reservedCIDRs"], !value.isNull else { return [] }
        var result: [CIDR] = []
        for element in value.array ?? [.null] {
            guard let cidr = element.string.flatMap({ CIDR($0) ?? IPAddress($0).map { CIDR(host: $0) } }) else {
                throw Problem(
                    "ipam.reservedCIDRs is \(value), which is not a list of networks such as [\"10.88.0.0/29\"]")
            }
            result.append(cidr)
        }
        return result
    }

    /// The pool that would take the traffic of an address of the machine itself away; addresses without a network, such
    /// as those of loopback and tunnels, take nothing.
    public static func clash(_ pools: [IPPool], with address: CIDR) -> IPPool? {
        guard address.hostBits > 0 else { return nil }
        return pools.first { $0.cidr.contains(address.address) || address.contains($0.cidr.address) }
    }
}
