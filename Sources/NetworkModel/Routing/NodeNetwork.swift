// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// What other nodes need to know of a node to reach its pods.
public struct NodeNetwork: Sendable, Hashable {
    /// Of one family.
    public struct Endpoint: Sendable, Hashable {
        /// The node's address with the prefix of its subnet; a /32 or /128 when the subnet is not known.
        public var address: CIDR
        /// Its end of the VXLAN tunnel.
        public var tunnelAddress: IPAddress?
        public var tunnelMAC: MACAddress?
        /// Its end of the IP in IP tunnel, which is IPv4's alone.
        public var ipipAddress: IPAddress?

        public init(
            address: CIDR, tunnelAddress: IPAddress? = nil, tunnelMAC: MACAddress? = nil, ipipAddress: IPAddress? = nil
        ) {
            self.address = address
            self.tunnelAddress = tunnelAddress
            self.tunnelMAC = tunnelMAC
            self.ipipAddress = ipipAddress
        }
    }

    public let name: String
    /// Never empty.
    public var endpoints: [IPFamily: Endpoint]

    public init(name: String, endpoints: [IPFamily: Endpoint]) {
        self.name = name
        self.endpoints = endpoints
    }

    /// A node of one family.
    public init(name: String, address: CIDR, tunnelAddress: IPAddress? = nil, tunnelMAC: MACAddress? = nil) {
        self.init(
            name: name,
            endpoints: [
                address.family: Endpoint(address: address, tunnelAddress: tunnelAddress, tunnelMAC: tunnelMAC)
            ])
    }

    public subscript(family: IPFamily) -> Endpoint? { endpoints[family] }

    /// From the annotations that node agents write, else from the addresses that the kubelet reports. Nil for a node
    /// without any address.
    public init?(_ node: KubeObject) {
        var endpoints: [IPFamily: Endpoint] = [:]
        for family in IPFamily.allCases {
            let keys = NodeAnnotations(family)
            let annotated = node.annotations[keys.address]
            guard
                let address = annotated.flatMap({ CIDR($0) })
                    ?? (annotated.flatMap({ IPAddress($0) }) ?? Self.reportedAddress(node, family))
                    .map({ CIDR(host: $0) }),
                address.family == family
            else { continue }
            endpoints[family] = Endpoint(
                address: address, tunnelAddress: node.annotations[keys.tunnelAddress].flatMap { IPAddress($0) },
                tunnelMAC: node.annotations[keys.tunnelMAC].flatMap { MACAddress($0) }
                    ?? IPAMNames.vxlanMAC(node: node.name),
                ipipAddress: keys.ipipAddress.flatMap { node.annotations[$0] }.flatMap { IPAddress($0) })
        }
        guard !endpoints.isEmpty else { return nil }
        self.init(name: node.name, endpoints: endpoints)
    }

    /// The address that the node's kubelet reports, which is newer than any annotation when it changes.
    public static func reportedAddress(_ node: KubeObject, _ family: IPFamily = .v4) -> IPAddress? {
        (node["status"]["addresses"].array ?? []).lazy.filter { $0["type"].string == "InternalIP" }
            .compactMap { $0["address"].string.flatMap { IPAddress($0) } }.first { $0.family == family }
    }
}

/// The annotations by which a node tells the others of its addresses, by family.
public struct NodeAnnotations: Sendable, Hashable {
    public let address: String
    public let tunnelAddress: String
    public let tunnelMAC: String
    public let ipipAddress: String?

    public init(_ family: IPFamily) {
        switch family {
        case .v4:
            address = CalicoKeys.ipv4Address
            tunnelAddress = CalicoKeys.vxlanTunnelAddress
            tunnelMAC = CalicoKeys.vxlanTunnelMAC
            ipipAddress = "projectcalico.org/IPv4IPIPTunnelAddr"
        case .v6:
            address = "projectcalico.org/IPv6Address"
            tunnelAddress = "projectcalico.org/IPv6VXLANTunnelAddr"
            tunnelMAC = "projectcalico.org/VXLANTunnelMACAddrV6"
            ipipAddress = nil
        }
    }
}
