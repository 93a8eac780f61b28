// SPDX-License-Identifier: Apache-2.0

public import Values

/// The addresses of a node's tunnel devices: which there are to be, and what to do about each.
public enum TunnelKind: String, Sendable, Hashable, CaseIterable {
    case ipip = "ipipTunnelAddress"
    case vxlan = "vxlanTunnelAddress"
    case vxlanV6 = "vxlanV6TunnelAddress"
    case wireguard = "wireguardTunnelAddress"
    case wireguardV6 = "wireguardV6TunnelAddress"

    public var family: IPFamily { self == .vxlanV6 || self == .wireguardV6 ? .v6 : .v4 }

    /// The annotation of the Node that has it.
    public var annotation: String {
        switch self {
        case .ipip: "projectcalico.org/IPv4IPIPTunnelAddr"
        case .vxlan: CalicoKeys.vxlanTunnelAddress
        case .vxlanV6: "projectcalico.org/IPv6VXLANTunnelAddr"
        case .wireguard: "projectcalico.org/IPv4WireguardInterfaceAddr"
        case .wireguardV6: "projectcalico.org/IPv6WireguardInterfaceAddr"
        }
    }

    public func handleID(node: String) -> String {
        let prefix: String
        switch self {
        case .ipip: prefix = "ipip-tunnel-addr-"
        case .vxlan: prefix = "vxlan-tunnel-addr-"
        case .vxlanV6: prefix = "vxlan-v6-tunnel-addr-"
        case .wireguard: prefix = "wireguard-tunnel-addr-"
        case .wireguardV6: prefix = "wireguard-v6-tunnel-addr-"
        }
        return prefix + node
    }

    public enum Action: Sendable, Hashable {
        case keep(IPAddress)
        /// Release what the handle has, and take an address of one of these pools.
        case assign(pools: [String], releasing: Bool)
        /// No pool needs the tunnel.
        case release
        /// There is none, and none is needed.
        case nothing
    }

    /// What to do about the node's address of this kind, after any change of pools, labels or keys.
    ///
    /// - Parameter held: what the handle has.
    public func action(node: String, held: [IPAddress], _ snapshot: IPAMSnapshot, hasWireguardKey: Bool = false)
        -> Action
    {
        let pools = pools(node: node, snapshot, hasWireguardKey: hasWireguardKey)
        guard !pools.isEmpty else { return held.isEmpty ? .nothing : .release }
        if held.count == 1, let address = held.first, pools.contains(where: { $0.cidr.contains(address) }) {
            return .keep(address)
        }
        return .assign(pools: pools.map(\.name), releasing: !held.isEmpty)
    }

    /// The request for an address of these pools: they are named, so that assignmentMode Manual does not exclude them.
    public func request(node: String, pools: [String]) -> AddressRequest {
        AddressRequest(
            node: node, use: .tunnel, handleID: handleID(node: node), values: ["node": node, "type": rawValue],
            subject: "\(rawValue) of node \(node)", families: [family],
            choices: [family: .init(pools, source: "the node's tunnel")])
    }

    private func pools(node: String, _ snapshot: IPAMSnapshot, hasWireguardKey: Bool) -> [IPPool] {
        guard let labels = snapshot.nodes[node] else { return [] }
        return snapshot.pools.filter { pool in
            guard pool.cidr.family == family, PoolJudge.unusable(pool, .tunnel) == nil,
                pool.nodeSelector.matches(labels)
            else { return false }
            switch self {
            case .ipip: return pool.ipipMode != .never
            case .vxlan, .vxlanV6: return pool.vxlanMode != .never
            case .wireguard, .wireguardV6: return hasWireguardKey
            }
        }.sorted { $0.name < $1.name }
    }
}
