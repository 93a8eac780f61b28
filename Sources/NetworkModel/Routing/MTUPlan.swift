// SPDX-License-Identifier: Apache-2.0

public import Values

/// How large packets of pods and tunnels may be, in bytes.
public enum MTUPlan {
    /// Outer IPv4 header of IP in IP.
    public static let ipipOverhead = 20

    /// Outer headers of IP, UDP and VXLAN, and the inner Ethernet header.
    public static func vxlanOverhead(_ family: IPFamily) -> Int { family == .v4 ? 50 : 70 }

    /// What IPv4 and IPv6 ask of every link.
    public static func minimum(_ family: IPFamily) -> Int { family == .v4 ? 576 : 1280 }

    /// The MTU of a VXLAN device over an uplink of the given MTU.
    public static func tunnel(uplink: Int, _ family: IPFamily) -> Int {
        max(minimum(family), uplink - vxlanOverhead(family))
    }

    /// The MTU of pods: the uplink's, less the largest overhead of what their pools are carried in.
    public static func pods(uplink: Int, pools: [IPPool], kernelHasIPIP: Bool) -> Int {
        let overheads = pools.map { pool in
            switch pool.carrier(kernelHasIPIP: kernelHasIPIP) {
            case .none: 0
            case .ipip: ipipOverhead
            case .vxlan: vxlanOverhead(pool.cidr.family)
            }
        }
        let family = pools.contains { $0.cidr.family == .v6 } ? IPFamily.v6 : .v4
        return max(minimum(family), uplink - (overheads.max() ?? 0))
    }

    /// The smallest MTU of the node's physical interfaces that are up, by name as Felix tells them; nil where none is.
    public static func uplink(of links: [(name: String, mtu: Int, isUp: Bool)]) -> Int? {
        links.filter { $0.isUp && $0.mtu > 0 && isUplink($0.name) }.map(\.mtu).min()
    }

    /// `en`, `wl`, `ww`, `sl`, `ib` with a letter of predictable names after it, or `eth`, `wlan`, `wwan`.
    public static func isUplink(_ name: String) -> Bool {
        if ["eth", "wlan", "wwan"].contains(where: name.hasPrefix) { return true }
        guard ["en", "wl", "ww", "sl", "ib"].contains(where: name.hasPrefix) else { return false }
        return name.dropFirst(2).first.map { "Pcopsvx".contains($0) } ?? false
    }
}
