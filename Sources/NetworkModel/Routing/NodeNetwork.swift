// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// What other nodes need to know of a node to reach its pods.
public struct NodeNetwork: Sendable, Hashable {
    public let name: String
    /// Its address with the prefix of its subnet; a /32 when the subnet is not known.
    public let address: CIDR
    public let tunnelAddress: IPAddress?
    public let tunnelMAC: MACAddress?

    public init(name: String, address: CIDR, tunnelAddress: IPAddress? = nil, tunnelMAC: MACAddress? = nil) {
        self.name = name
        self.address = address
        self.tunnelAddress = tunnelAddress
        self.tunnelMAC = tunnelMAC
    }

    /// From the annotations that node agents write, else from the addresses that the kubelet reports. Nil for a node
    /// without an IPv4 address.
    public init?(_ node: KubeObject) {
        let annotations = node.annotations
        let annotated = annotations[CalicoKeys.ipv4Address]
        guard
            let address = annotated.flatMap({ CIDR($0) })
                ?? (annotated.flatMap({ IPAddress($0) }) ?? Self.reportedAddress(node)).map({ CIDR(host: $0) })
        else { return nil }
        self.init(
            name: node.name, address: address,
            tunnelAddress: annotations[CalicoKeys.vxlanTunnelAddress].flatMap { IPAddress($0) },
            tunnelMAC: annotations[CalicoKeys.vxlanTunnelMAC].flatMap { MACAddress($0) }
                ?? IPAMNames.vxlanMAC(node: node.name))
    }

    /// The IPv4 address that the node's kubelet reports, which is newer than any annotation when it changes.
    public static func reportedAddress(_ node: KubeObject) -> IPAddress? {
        (node["status"]["addresses"].array ?? []).lazy.filter { $0["type"].string == "InternalIP" }
            .compactMap { $0["address"].string.flatMap { IPAddress($0) } }.first { $0.family == .v4 }
    }
}
