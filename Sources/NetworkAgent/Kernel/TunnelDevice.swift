// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Logging
import NetworkModel
import Values

/// The VXLAN device of one family with its forwarding entries and neighbours: what it is wanted to hold is compared
/// with what the kernel lists, and the difference is written. Entries that are not permanent are not Catbird's.
struct TunnelDevice {
    let family: IPFamily
    let namespace: NamespaceRef?
    let netlink: NetlinkSocket
    let logger: Logger

    private var name: String { NetworkPlan.Tunnel.interface(family) }

    /// What the kernel is known to hold.
    struct Known: Sendable {
        let tunnel: NetworkPlan.Tunnel
        let peers: Set<TunnelPeer>
        let interface: Int32
        /// Whether the device had to be made, or its settings written.
        var wasWritten = false
    }

    /// - Parameter known: nil has the kernel's entries listed.
    /// - Returns: what the kernel holds now, except for strangers, which `dropStrangers` takes away; nil when no device
    ///   is wanted.
    func apply(_ tunnel: NetworkPlan.Tunnel?, peers: Set<TunnelPeer>, known: Known?) throws -> Known? {
        guard let tunnel else {
            try netlink.deleteLink(name)
            return nil
        }
        if let known, known.tunnel == tunnel {
            do throws(Errno) {
                try addPeers(peers, to: known)
                return Known(tunnel: tunnel, peers: peers, interface: known.interface)
            } catch {
                // The device's entries go before it does: the kernel may not have told of that yet.
                guard error.code == ENODEV else { throw error }
            }
        }
        let link = try device(tunnel)
        let isRight = link.mac == tunnel.mac && link.mtu == tunnel.mtu && link.isUp
        if link.mac != tunnel.mac { try netlink.setLink(link.index, LinkOptions(mac: tunnel.mac)) }
        if link.mtu != tunnel.mtu || !link.isUp {
            try netlink.setLink(link.index, LinkOptions(mtu: tunnel.mtu, up: true))
        }
        try setAddress(tunnel.address, link.index)
        try setPeers(peers, link.index)
        return Known(tunnel: tunnel, peers: peers, interface: link.index, wasWritten: !isRight)
    }

    private func addPeers(_ peers: Set<TunnelPeer>, to known: Known) throws(Errno) {
        for peer in peers.subtracting(known.peers) {
            for old in known.peers where old.mac == peer.mac && old.nodeAddress != peer.nodeAddress {
                try netlink.deleteForwardingEntry(entry(old, known.interface))
            }
            try netlink.setNeighbour(neighbour(peer, known.interface))
            try netlink.setForwardingEntry(entry(peer, known.interface))
        }
    }

    private func neighbour(_ peer: TunnelPeer, _ interface: Int32) -> Neighbour {
        Neighbour(interface: interface, address: peer.tunnelAddress, mac: peer.mac)
    }

    private func entry(_ peer: TunnelPeer, _ interface: Int32) -> Neighbour {
        Neighbour(interface: interface, address: peer.nodeAddress, mac: peer.mac, flags: .ownTable)
    }

    private func device(_ tunnel: NetworkPlan.Tunnel) throws -> Link {
        let wanted = VXLAN(
            id: UInt32(NetworkPlan.Tunnel.networkIdentifier), port: UInt16(NetworkPlan.Tunnel.port),
            local: tunnel.underlay)
        if let found = try netlink.link(name) {
            let same = found.vxlan.map { $0.id == wanted.id && $0.port == wanted.port && $0.local == wanted.local }
            if same == true { return found }
            logger.notice("\(name) is made anew: it was made for another address or tunnel")
            try netlink.deleteLink(name)
        }
        try netlink.addVXLAN(name, wanted, LinkOptions(mtu: tunnel.mtu, mac: tunnel.mac))
        // Before it comes up: the device's link-local address would be tentative for a second, and until then the node
        // could not ask for a neighbour. Its MAC is derived from the node's name, so that there is nothing to detect.
        if family == .v6 {
            try Namespaces.inNamespaces(net: namespace) { [name] in
                try Sysctl.write("net/ipv6/conf/\(name)/accept_dad", "0")
            }
        }
        return try netlink.requireLink(name)
    }

    private func setAddress(_ address: IPAddress, _ interface: Int32) throws(Errno) {
        let present = try netlink.addresses(interface: interface).filter {
            $0.address.family == family && $0.scope == .universe
        }
        if !present.contains(where: { $0.address == CIDR(host: address) }) {
            try netlink.ensureAddress(
                InterfaceAddress(
                    interface: interface, address: CIDR(host: address),
                    flags: family == .v6 ? PodLink.withoutDetection : 0))
        }
        for other in present where other.address.address != address { try netlink.deleteAddress(other) }
    }

    private func setPeers(_ peers: Set<TunnelPeer>, _ interface: Int32) throws(Errno) {
        let neighbours = Set(try netlink.neighbours(family, interface: interface))
        let entries = Set(try netlink.forwardingEntries(interface: interface))
        for peer in peers {
            let neighbour = neighbour(peer, interface)
            if !neighbours.contains(neighbour) { try netlink.setNeighbour(neighbour) }
            if !entries.contains(where: { $0.mac == peer.mac && $0.address == peer.nodeAddress }) {
                for old in entries where old.mac == peer.mac { try netlink.deleteForwardingEntry(old) }
                try netlink.setForwardingEntry(entry(peer, interface))
            }
        }
    }

    /// Takes away what no peer needs any more; to be called after the routes that needed it have gone.
    ///
    /// - Parameter before: what was known before `apply`; nil has the kernel's entries listed.
    func dropStrangers(_ now: Known, before: Known?) throws(Errno) {
        let addresses = Set(now.peers.map(\.tunnelAddress))
        let macs = Set(now.peers.map(\.mac))
        if let before, before.tunnel == now.tunnel, before.interface == now.interface {
            for peer in before.peers.subtracting(now.peers) {
                if !addresses.contains(peer.tunnelAddress) {
                    try netlink.deleteNeighbour(neighbour(peer, now.interface))
                }
                if !macs.contains(peer.mac) { try netlink.deleteForwardingEntry(entry(peer, now.interface)) }
            }
            return
        }
        for neighbour in try netlink.neighbours(family, interface: now.interface) {
            guard neighbour.state.contains(.permanent), let address = neighbour.address, !addresses.contains(address)
            else { continue }
            try netlink.deleteNeighbour(neighbour)
        }
        for entry in try netlink.forwardingEntries(interface: now.interface) {
            if let mac = entry.mac, !macs.contains(mac), entry.address != nil {
                try netlink.deleteForwardingEntry(entry)
            }
        }
    }
}

/// `tunl0`, the IP in IP device that the kernel's module makes in each namespace.
struct IPIPDevice {
    let netlink: NetlinkSocket

    /// - Returns: the device's index; nil when none is wanted.
    func apply(_ tunnel: NetworkPlan.IPIPTunnel?) throws(Errno) -> Int32? {
        guard let tunnel else { return nil }
        if try netlink.link(NetworkPlan.IPIPTunnel.interface) == nil {
            try netlink.addIPIP(NetworkPlan.IPIPTunnel.interface)
        }
        let link = try netlink.requireLink(NetworkPlan.IPIPTunnel.interface)
        if link.mtu != tunnel.mtu || !link.isUp {
            try netlink.setLink(link.index, LinkOptions(mtu: tunnel.mtu, up: true))
        }
        let wanted = CIDR(host: tunnel.address)
        let present = try netlink.addresses(interface: link.index).filter { $0.address.family == .v4 }
        if !present.contains(where: { $0.address == wanted }) {
            try netlink.ensureAddress(InterfaceAddress(interface: link.index, address: wanted))
        }
        for other in present where other.address != wanted { try netlink.deleteAddress(other) }
        return link.index
    }
}
