// SPDX-License-Identifier: Apache-2.0

public import Values

/// A tunnel that nodes have an end of, with an address of its own from the pools that it carries.
public struct NodeTunnel: Sendable, Hashable {
    public let family: IPFamily
    /// What the allocation's attribute `type` says.
    public let type: String
    /// For messages.
    public let subject: String
    /// The node's annotations that tell the others.
    public let annotation: String
    public let macAnnotation: String?
    private let handlePrefix: String
    private let isIPIP: Bool

    public static let all = [
        NodeTunnel(
            family: .v4, type: "vxlanTunnelAddress", subject: "the VXLAN tunnel",
            annotation: NodeAnnotations(.v4).tunnelAddress, macAnnotation: NodeAnnotations(.v4).tunnelMAC,
            handlePrefix: "vxlan-tunnel-addr", isIPIP: false),
        NodeTunnel(
            family: .v6, type: "vxlanV6TunnelAddress", subject: "the IPv6 VXLAN tunnel",
            annotation: NodeAnnotations(.v6).tunnelAddress, macAnnotation: NodeAnnotations(.v6).tunnelMAC,
            handlePrefix: "vxlan-v6-tunnel-addr", isIPIP: false),
        NodeTunnel(
            family: .v4, type: "ipipTunnelAddress", subject: "the IP in IP tunnel",
            annotation: "projectcalico.org/IPv4IPIPTunnelAddr", macAnnotation: nil, handlePrefix: "ipip-tunnel-addr",
            isIPIP: true),
    ]

    /// The handle of the tunnel's address on a node.
    public func handleID(node: String) -> String { "\(handlePrefix)-\(node)" }

    /// Whether packets of the pool go through this tunnel.
    public func carries(_ pool: IPPool, _ kernelHasIPIP: Bool) -> Bool {
        guard pool.cidr.family == family else { return false }
        switch pool.carrier(kernelHasIPIP: kernelHasIPIP) {
        case .none: return false
        case .vxlan: return !isIPIP
        case .ipip: return isIPIP
        }
    }
}
