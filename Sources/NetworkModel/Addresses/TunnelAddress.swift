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
    /// - Parameters:
    ///   - held: what the handle has.
    ///   - kernelHasIPIP: false has VXLAN carry the pools that ask for IP in IP.
    public func action(
        node: String, held: [IPAddress], _ snapshot: IPAMSnapshot, kernelHasIPIP: Bool, hasWireguardKey: Bool = false
    ) -> Action {
        let pools = pools(node: node, snapshot, kernelHasIPIP, hasWireguardKey: hasWireguardKey)
        guard !pools.isEmpty else {
            guard let address = held.first else { return .nothing }
            // Pods outlive their pool, and the nodes reach them through this tunnel.
            let isNeeded = carriesStrays && hasPodsWithoutPool(snapshot)
            return isNeeded && held.count == 1 ? .keep(address) : .release
        }
        if held.count == 1, let address = held.first, pools.contains(where: { $0.cidr.contains(address) }) {
            return .keep(address)
        }
        return .assign(pools: pools.map(\.name), releasing: !held.isEmpty)
    }

    /// Whether the tunnel is one that an agent makes.
    public static let ofAgents: [TunnelKind] = [.vxlan, .vxlanV6, .ipip]

    /// For messages.
    public var subject: String {
        switch self {
        case .ipip: "the IP in IP tunnel"
        case .vxlan: "the VXLAN tunnel"
        case .vxlanV6: "the IPv6 VXLAN tunnel"
        case .wireguard: "the WireGuard tunnel"
        case .wireguardV6: "the IPv6 WireGuard tunnel"
        }
    }

    /// The annotation of the Node that has the MAC of its end; nil for tunnels without one.
    public var macAnnotation: String? {
        switch self {
        case .vxlan: NodeAnnotations(.v4).tunnelMAC
        case .vxlanV6: NodeAnnotations(.v6).tunnelMAC
        case .ipip, .wireguard, .wireguardV6: nil
        }
    }

    /// The request for an address of these pools: they are named, so that assignmentMode Manual does not exclude them.
    public func request(node: String, pools: [String]) -> AddressRequest {
        AddressRequest(
            node: node, use: .tunnel, handleID: handleID(node: node), values: ["node": node, "type": rawValue],
            subject: "\(rawValue) of node \(node)", families: [family],
            choices: [family: .init(pools, source: "the node's tunnel")])
    }

    private func pools(
        node: String, _ snapshot: IPAMSnapshot, _ kernelHasIPIP: Bool, hasWireguardKey: Bool
    ) -> [IPPool] {
        guard let labels = snapshot.nodes[node] else { return [] }
        return snapshot.pools.filter { pool in
            guard pool.cidr.family == family, PoolJudge.unusable(pool, .tunnel) == nil,
                pool.nodeSelector.matches(labels)
            else { return false }
            switch (self, pool.carrier(kernelHasIPIP: kernelHasIPIP)) {
            case (.ipip, .ipip), (.vxlan, .vxlan), (.vxlanV6, .vxlan): return true
            case (.wireguard, _), (.wireguardV6, _): return hasWireguardKey
            default: return false
            }
        }.sorted { $0.name < $1.name }
    }

    /// Whether addresses of no pool are reached through the tunnel, as ``BlockRoutes`` has it: in VXLAN.
    private var carriesStrays: Bool { self == .vxlan || self == .vxlanV6 }

    private func hasPodsWithoutPool(_ snapshot: IPAMSnapshot) -> Bool {
        snapshot.blocks.values.contains { block in
            block.cidr.family == family && !snapshot.pools.contains { $0.cidr.contains(block.cidr) }
                && BlockRouting(block).endpoints > 0
        }
    }
}
