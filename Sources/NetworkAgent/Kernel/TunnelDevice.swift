// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Logging
import NetworkModel
import Values

/// What one family's VXLAN device is to hold, what it is known to hold, and where the two may differ. Entries that are not
/// permanent are not Catbird's.
struct TunnelState {
    let family: IPFamily
    private(set) var desired: NetworkPlan.Tunnel?
    private(set) var neighbours = Contributions<IPAddress, String, MACAddress>()
    private(set) var entries = Contributions<MACAddress, String, IPAddress>()
    private var peers: [String: TunnelPeer] = [:]
    /// Nil: the device has to be looked at, and its entries listed.
    fileprivate(set) var device: (tunnel: NetworkPlan.Tunnel, interface: Int32)?
    /// Whether there may be a device that nobody wants.
    fileprivate var mustGo = true
    fileprivate var appliedNeighbours: [IPAddress: MACAddress] = [:]
    fileprivate var appliedEntries: [MACAddress: IPAddress] = [:]
    fileprivate var pendingNeighbours: Set<IPAddress> = []
    fileprivate var pendingEntries: Set<MACAddress> = []
    /// Permanent ones that were found and are not wanted.
    fileprivate var strangers: (neighbours: [Neighbour], entries: [Neighbour]) = ([], [])
    /// The device's settings may have been changed; told only if there is something to write.
    fileprivate var isDoubted = false
    /// What somebody else took away, to be told of when it has been put back.
    var losses: [String] = []

    init(_ family: IPFamily) { self.family = family }

    var interface: Int32? { device?.interface }
    private var name: String { NetworkPlan.Tunnel.interface(family) }

    mutating func want(_ tunnel: NetworkPlan.Tunnel?) {
        guard tunnel != desired else { return }
        desired = tunnel
        device = nil
        mustGo = true
    }

    mutating func want(_ peer: TunnelPeer?, of node: String) {
        if let old = peers[node] {
            neighbours.set(old.tunnelAddress, from: node, to: nil)
            entries.set(old.mac, from: node, to: nil)
        }
        peers[node] = peer
        if let peer {
            neighbours.set(peer.tunnelAddress, from: node, to: peer.mac)
            entries.set(peer.mac, from: node, to: peer.nodeAddress)
        }
        pendingNeighbours.formUnion(neighbours.takeChanges().keys)
        pendingEntries.formUnion(entries.takeChanges().keys)
    }

    /// The nodes whose ends are wanted.
    var nodes: Set<String> { Set(peers.keys) }

    var isPending: Bool {
        guard desired != nil else { return mustGo }
        return device == nil || !pendingNeighbours.isEmpty || !pendingEntries.isEmpty
            || !strangers.neighbours.isEmpty || !strangers.entries.isEmpty
    }

    /// Makes the next `apply` look at everything.
    mutating func forget() {
        device = nil
        mustGo = true
    }

    // MARK: What the kernel tells

    /// Forgets what the event says has gone: a peer's entries alone where it names them.
    ///
    /// - Returns: whether there may be something to put right.
    mutating func take(_ event: NetlinkEvent) -> Bool {
        guard let known = device else { return false }
        switch event {
        case .linkRemoved(let link) where link.index == known.interface: return lose("interface \(link.name)")
        case .link(let link) where link.index == known.interface:
            let isRight = link.isUp && link.mtu == known.tunnel.mtu && link.mac == known.tunnel.mac
            if isRight { return false }
            // The kernel may still be telling of how the device was made.
            device = nil
            isDoubted = true
            return true
        case .addressRemoved(let address) where address.interface == known.interface:
            guard address.address.address == known.tunnel.address else { return false }
            return lose("address \(address.address) of \(name)")
        case .neighbourRemoved(let neighbour) where neighbour.interface == known.interface: return lose(neighbour)
        case .neighbour(let neighbour) where neighbour.interface == known.interface:
            return neighbour.state.contains(.permanent) ? false : lose(neighbour)
        case .overflow:
            device = nil
            return true
        default: return false
        }
    }

    private mutating func lose(_ what: String) -> Bool {
        device = nil
        losses.append(what)
        return true
    }

    private mutating func lose(_ neighbour: Neighbour) -> Bool {
        guard let address = neighbour.address else { return false }
        var node: String?
        if appliedNeighbours[address] != nil {
            appliedNeighbours[address] = nil
            pendingNeighbours.insert(address)
            node = neighbours.source(of: address)
        }
        if let mac = neighbour.mac, appliedEntries[mac] == address {
            appliedEntries[mac] = nil
            pendingEntries.insert(mac)
            node = node ?? entries.source(of: mac)
        }
        guard let node else { return false }
        losses.append("\(name)'s entries of node \(node)")
        return true
    }
}

/// Writes what a ``TunnelState`` says is missing.
struct TunnelDevice {
    let family: IPFamily
    let namespace: NamespaceRef?
    let netlink: NetlinkSocket
    let logger: Logger

    private var name: String { NetworkPlan.Tunnel.interface(family) }

    /// Makes the device and what is missing in it, or takes the device away; to be called before routes are written.
    ///
    /// - Returns: whether the device is another than before.
    func apply(_ state: inout TunnelState) throws -> Bool {
        guard let tunnel = state.desired else {
            guard state.mustGo else { return false }
            try netlink.deleteLink(name)
            state.mustGo = false
            state.losses = []
            state.appliedNeighbours = [:]
            state.appliedEntries = [:]
            return true
        }
        var isAnother = false
        if state.device == nil {
            try look(tunnel, &state)
            isAnother = true
        }
        guard let interface = state.device?.interface else { return isAnother }
        do throws(Errno) {
            try addEntries(&state, interface)
        } catch {
            // The device's entries go before it does: the kernel may not have told of that yet.
            guard error.code == ENODEV else { throw error }
            state.losses.append("interface \(name)")
            try look(tunnel, &state)
            isAnother = true
            if let interface = state.device?.interface { try addEntries(&state, interface) }
        }
        return isAnother
    }

    /// Brings the device in order and lists its entries.
    private func look(_ tunnel: NetworkPlan.Tunnel, _ state: inout TunnelState) throws {
        let link = try device(tunnel)
        let isRight = link.mac == tunnel.mac && link.mtu == tunnel.mtu && link.isUp
        if link.mac != tunnel.mac { try netlink.setLink(link.index, LinkOptions(mac: tunnel.mac)) }
        if link.mtu != tunnel.mtu || !link.isUp {
            try netlink.setLink(link.index, LinkOptions(mtu: tunnel.mtu, up: true))
        }
        try setAddress(tunnel.address, link.index)
        if state.isDoubted, !isRight { state.losses.append("interface \(name)'s settings") }
        state.isDoubted = false
        state.appliedNeighbours = [:]
        state.appliedEntries = [:]
        state.strangers = ([], [])
        for neighbour in try netlink.neighbours(family, interface: link.index) {
            guard neighbour.state.contains(.permanent), let address = neighbour.address else { continue }
            if state.neighbours[address] == nil {
                state.strangers.neighbours.append(neighbour)
            } else {
                state.appliedNeighbours[address] = neighbour.mac
            }
        }
        for entry in try netlink.forwardingEntries(interface: link.index) {
            guard let mac = entry.mac, let address = entry.address else { continue }
            if state.entries[mac] == address {
                state.appliedEntries[mac] = address
            } else {
                state.strangers.entries.append(entry)
            }
        }
        state.pendingNeighbours = Set(
            state.neighbours.keys.filter { state.appliedNeighbours[$0] != state.neighbours[$0] })
        state.pendingEntries = Set(state.entries.keys.filter { state.appliedEntries[$0] == nil })
        state.device = (tunnel, link.index)
    }

    private func addEntries(_ state: inout TunnelState, _ interface: Int32) throws(Errno) {
        for address in state.pendingNeighbours {
            guard let mac = state.neighbours[address] else { continue }
            if state.appliedNeighbours[address] != mac {
                try netlink.setNeighbour(Neighbour(interface: interface, address: address, mac: mac))
                state.appliedNeighbours[address] = mac
            }
            state.pendingNeighbours.remove(address)
        }
        for mac in state.pendingEntries {
            guard let address = state.entries[mac] else { continue }
            if let old = state.appliedEntries[mac], old != address {
                try netlink.deleteForwardingEntry(entry(mac, old, interface))
                state.appliedEntries[mac] = nil
            }
            for stranger in state.strangers.entries where stranger.mac == mac {
                try netlink.deleteForwardingEntry(stranger)
            }
            state.strangers.entries.removeAll { $0.mac == mac }
            if state.appliedEntries[mac] == nil {
                try netlink.setForwardingEntry(entry(mac, address, interface))
                state.appliedEntries[mac] = address
            }
            state.pendingEntries.remove(mac)
        }
    }

    /// Takes away what no peer needs any more; to be called after the routes that needed it have gone.
    func dropStrangers(_ state: inout TunnelState) throws(Errno) {
        guard let interface = state.device?.interface else { return }
        for address in state.pendingNeighbours where state.neighbours[address] == nil {
            if let mac = state.appliedNeighbours.removeValue(forKey: address) {
                try netlink.deleteNeighbour(Neighbour(interface: interface, address: address, mac: mac))
            }
            state.pendingNeighbours.remove(address)
        }
        for mac in state.pendingEntries where state.entries[mac] == nil {
            if let address = state.appliedEntries.removeValue(forKey: mac) {
                try netlink.deleteForwardingEntry(entry(mac, address, interface))
            }
            state.pendingEntries.remove(mac)
        }
        while let neighbour = state.strangers.neighbours.last {
            try netlink.deleteNeighbour(neighbour)
            state.strangers.neighbours.removeLast()
        }
        while let entry = state.strangers.entries.last {
            try netlink.deleteForwardingEntry(entry)
            state.strangers.entries.removeLast()
        }
    }

    private func entry(_ mac: MACAddress, _ address: IPAddress, _ interface: Int32) -> Neighbour {
        Neighbour(interface: interface, address: address, mac: mac, flags: .ownTable)
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
}

/// What `tunl0` is to be, and whether it is that.
struct IPIPState {
    private(set) var desired: NetworkPlan.IPIPTunnel?
    /// Nil where it has to be looked at.
    fileprivate(set) var interface: Int32?

    mutating func want(_ tunnel: NetworkPlan.IPIPTunnel?) {
        guard tunnel != desired else { return }
        desired = tunnel
        interface = nil
    }

    var isPending: Bool { desired != nil && interface == nil }

    mutating func forget() { interface = nil }

    /// - Returns: whether there may be something to put right.
    mutating func take(_ event: NetlinkEvent) -> Bool {
        guard let known = interface, let desired else { return false }
        switch event {
        case .link(let link) where link.index == known && !(link.isUp && link.mtu == desired.mtu): break
        case .linkRemoved(let link) where link.index == known: break
        case .addressRemoved(let address) where address.interface == known: break
        case .overflow: break
        default: return false
        }
        interface = nil
        return true
    }
}

/// `tunl0`, the IP in IP device that the kernel's module makes in each namespace.
struct IPIPDevice {
    let netlink: NetlinkSocket

    /// - Returns: whether the device may be another than before.
    func apply(_ state: inout IPIPState) throws(Errno) -> Bool {
        guard let tunnel = state.desired, state.interface == nil else { return false }
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
        state.interface = link.index
        return true
    }
}
