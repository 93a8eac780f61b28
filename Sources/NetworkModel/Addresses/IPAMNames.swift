// SPDX-License-Identifier: Apache-2.0

public import Values

/// The names that Calico gives to its IPAM objects and interfaces.
public enum IPAMNames {
    /// `10-244-0-0-26`
    public static func block(_ cidr: CIDR) -> String {
        String(decoding: "\(cidr)".utf8.map { ".:/".utf8.contains($0) ? UInt8(ascii: "-") : $0 }, as: UTF8.self)
    }

    /// The network that a block's name stands for; nil for a name that is none.
    public static func cidr(ofBlock name: String) -> CIDR? {
        guard let dash = name.lastIndex(of: "-") else { return nil }
        let length = name[name.index(after: dash)...]
        return [".", ":"].lazy.compactMap { separator in
            CIDR(
                "\(name[..<dash].split(separator: "-", omittingEmptySubsequences: false).joined(separator: separator))/\(length)"
            )
        }.first
    }

    /// Where the names of all blocks lie that may overlap a block of this network: those very names, and names that
    /// begin so. Looking there and nowhere else, no question about one block looks at all blocks.
    public static func namesAround(_ network: CIDR) -> (names: [String], prefixes: [String]) {
        let address = network.network.address
        let sizes = IPPool.blockSizes(network.family)
        switch network.family {
        case .v4:
            // The names of blocks of one /24 differ in their last numbers alone.
            let wider = (sizes.lowerBound..<24).compactMap { CIDR(address, $0)?.network }
            let parts = CIDR(address, min(network.prefixLength, 24))?.network.subnets(ofPrefixLength: 24).map(\.self)
            return (wider.map { block($0) }, (parts ?? []).map { String(block($0).dropLast("0-24".count)) })
        case .v6:
            // So do those of one /112, but for the first address, whose zero belongs to the shortened zeros.
            guard let around = CIDR(address, min(network.prefixLength, 112))?.network, let second = around[1] else {
                return ([], [])
            }
            return (
                sizes.compactMap { CIDR(around.first, $0) }.map { block($0) },
                [String(block(CIDR(host: second)).dropLast("1-128".count))]
            )
        }
    }

    /// `<node>-<block>`, shortened with a digest where it would be longer than a name may be.
    public static func affinity(node: String, _ cidr: CIDR) -> String {
        let block = block(cidr)
        let name = "\(node)-\(block)"
        guard name.utf8.count >= 253 else { return name }
        let digest = Hex.text(SHA256.digest("\(node)+\(block)".utf8)).prefix(11)
        let room = max(0, 252 - block.utf8.count - digest.utf8.count - 2)
        return "\(node.prefix(room))-\(digest)-\(block)"
    }

    /// The name of a handle's object.
    public static func handle(_ handleID: String) -> String { handleID.lowercased() }

    /// The handle of a sandbox's addresses; those of a further interface have one of their own. What would make a name
    /// that no API server and no file system takes is shortened with a digest.
    public static func handleID(network: String, containerID: String, interface: String = "eth0") -> String {
        let text = "\(network).\(containerID)" + (interface == "eth0" ? "" : ".\(interface)")
        guard text.utf8.count > 240 else { return text }
        return "\(text.prefix(180)).\(Hex.text(SHA256.digest(text.utf8)).prefix(40))"
    }

    /// The digest of a node's name by which its affinities are looked up.
    public static func hostnameHash(_ node: String) -> String { Base32.text(SHA3.digest256(node.utf8)) }

    /// The host's end of a pod's veth pair: `cali` and eleven hexadecimal digits.
    public static func hostInterface(namespace: String, pod: String) -> String {
        "cali" + Hex.text(SHA1.digest("\(namespace).\(pod)".utf8)).prefix(11)
    }

    /// The same for a container of no pod: the first eleven digits of its ID, as Calico has it, where the ID is a digest;
    /// of names that people give (`default-web-1`) the beginning is not enough to tell them apart.
    public static func hostInterface(containerID: String) -> String {
        let isDigest = containerID.utf8.count >= 32 && containerID.utf8.allSatisfy { isHexadecimal($0) }
        return "cali" + (isDigest ? containerID : Hex.text(SHA1.digest(containerID.utf8))).prefix(11)
    }

    /// The host's end of an interface that is not the sandbox's first, `eth0`.
    public static func hostInterface(owner: String, further interface: String) -> String {
        "cali" + Hex.text(SHA1.digest("\(owner)/\(interface)".utf8)).prefix(11)
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte)
    }

    /// The address of the node's VXLAN device: locally administered, from the digest of the node's name.
    public static func vxlanMAC(node: String) -> MACAddress? {
        var bytes = Array(SHA1.digest(node.utf8).prefix(6))
        bytes[0] = bytes[0] & 0xFC | 0x02
        return MACAddress(bytes: bytes)
    }
}

/// Well-known labels and annotations.
public enum CalicoKeys {
    public static let hostnameHash = "projectcalico.org/hostname-hash"
    public static let affinityType = "projectcalico.org/affinity-type"
    public static let ipVersion = "projectcalico.org/ip-version"
    public static let ipv4Address = "projectcalico.org/IPv4Address"
    public static let vxlanTunnelAddress = "projectcalico.org/IPv4VXLANTunnelAddr"
    public static let vxlanTunnelMAC = "projectcalico.org/VXLANTunnelMACAddr"
    public static let podIP = "cni.projectcalico.org/podIP"
    public static let podIPs = "cni.projectcalico.org/podIPs"
    public static let containerID = "cni.projectcalico.org/containerID"
    public static let ipv4Pools = "cni.projectcalico.org/ipv4pools"
    public static let ipv6Pools = "cni.projectcalico.org/ipv6pools"
    /// On a Service of type LoadBalancer: exactly these addresses, and the pools to take addresses of.
    public static let loadBalancerIPs = "projectcalico.org/loadBalancerIPs"
    public static let serviceIPv4Pools = "projectcalico.org/ipv4pools"
    public static let serviceIPv6Pools = "projectcalico.org/ipv6pools"
    public static let ipFamilies = "cni.projectcalico.org/ipFamilies"
    /// On an IPPool: the pools to use when it is exhausted, in the order of preference, as a JSON list or with commas.
    public static let fallbackPools = "catbird.dev/fallback-pools"
    public static let ipAddresses = "cni.projectcalico.org/ipAddrs"
    public static let ipAddressesWithoutIPAM = "cni.projectcalico.org/ipAddrsNoIpam"
    public static let floatingIPs = "cni.projectcalico.org/floatingIPs"
    public static let hardwareAddress = "cni.projectcalico.org/hwAddr"
    /// Why a pool's encapsulation is not what its spec asks for.
    public static let encapsulationNote = "catbird.dev/encapsulation"
}
