// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc
public import Values

/// An entry of the neighbour table (ARP, NDP), or of a bridge's or VXLAN's forwarding table.
public struct Neighbour: Sendable, Hashable {
    public struct State: OptionSet, Sendable, Hashable {
        public let rawValue: UInt16
        public init(rawValue: UInt16) { self.rawValue = rawValue }

        public static let incomplete = State(rawValue: 0x01)
        public static let reachable = State(rawValue: 0x02)
        public static let stale = State(rawValue: 0x04)
        public static let failed = State(rawValue: 0x20)
        public static let noARP = State(rawValue: 0x40)
        public static let permanent = State(rawValue: 0x80)
    }

    public struct Flags: OptionSet, Sendable, Hashable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        /// Of the interface's own forwarding table (VXLAN).
        public static let ownTable = Flags(rawValue: 0x02)
        /// Of the bridge's that it is a port of.
        public static let master = Flags(rawValue: 0x04)
        /// Answered for on behalf of somebody else.
        public static let proxy = Flags(rawValue: 0x08)
        public static let externallyLearned = Flags(rawValue: 0x10)
    }

    public var interface: Int32
    /// Of a VXLAN's forwarding entry: the tunnel's other end. Nil in a bridge's.
    public var address: IPAddress?
    public var mac: MACAddress?
    public var state: State
    public var flags: Flags

    public init(
        interface: Int32, address: IPAddress?, mac: MACAddress?, state: State = .permanent, flags: Flags = []
    ) {
        self.interface = interface
        self.address = address
        self.mac = mac
        self.state = state
        self.flags = flags
    }
}

extension NetlinkSocket {
    /// Neighbours of one interface, or of all.
    public func neighbours(_ family: IPFamily = .v4, interface: Int32? = nil) throws(Errno) -> [Neighbour] {
        try neighbours(family: family.number, interface: interface)
    }

    /// Forwarding entries of a bridge port or a VXLAN, or of all.
    public func forwardingEntries(interface: Int32? = nil) throws(Errno) -> [Neighbour] {
        try neighbours(family: UInt8(PF_BRIDGE), interface: interface)
    }

    private func neighbours(family: UInt8, interface: Int32?) throws(Errno) -> [Neighbour] {
        var message = NetlinkMessage(type: Int(RTM_GETNEIGH), flags: dumpFlags)
        var header = ndmsg()
        header.ndm_family = family
        message.append(structure: header)
        return try dump(message, "list neighbours").compactMap { Neighbour($0) }
            .filter { interface == nil || $0.interface == interface }
    }

    /// Adds a neighbour or changes it.
    public func setNeighbour(_ neighbour: Neighbour) throws(Errno) {
        let message = neighbour.message(RTM_NEWNEIGH, replaceFlags, family: neighbour.address?.family.number ?? 0)
        try perform(message, "set neighbour \(neighbour.text)")
    }

    /// Not there is no error.
    public func deleteNeighbour(_ neighbour: Neighbour) throws(Errno) {
        let message = neighbour.message(RTM_DELNEIGH, requestFlags, family: neighbour.address?.family.number ?? 0)
        do throws(Errno) { try perform(message, "delete neighbour \(neighbour.text)") } catch
            where error.code == ENOENT || error.code == ENODEV
        {}
    }

    /// Adds a forwarding entry or changes it: for a VXLAN `mac` behind the tunnel end `address`.
    public func setForwardingEntry(_ entry: Neighbour) throws(Errno) {
        var entry = entry
        if entry.flags.isDisjoint(with: [.ownTable, .master]) { entry.flags.insert(.ownTable) }
        let message = entry.message(RTM_NEWNEIGH, replaceFlags, family: UInt8(PF_BRIDGE))
        try perform(message, "set forwarding entry \(entry.text)")
    }

    /// Not there is no error.
    public func deleteForwardingEntry(_ entry: Neighbour) throws(Errno) {
        var entry = entry
        if entry.flags.isDisjoint(with: [.ownTable, .master]) { entry.flags.insert(.ownTable) }
        let message = entry.message(RTM_DELNEIGH, requestFlags, family: UInt8(PF_BRIDGE))
        do throws(Errno) { try perform(message, "delete forwarding entry \(entry.text)") } catch
            where error.code == ENOENT || error.code == ENODEV
        {}
    }
}

extension Neighbour {
    fileprivate var text: String {
        "\(address.map { "\($0)" } ?? "-") at \(mac.map { "\($0)" } ?? "-") on interface \(interface)"
    }

    fileprivate func message(_ type: some BinaryInteger, _ flags: Int32, family: UInt8) -> NetlinkMessage {
        var message = NetlinkMessage(type: Int(type), flags: flags)
        var header = ndmsg()
        header.ndm_family = family
        header.ndm_ifindex = interface
        header.ndm_state = state.rawValue
        header.ndm_flags = self.flags.rawValue
        message.append(structure: header)
        if let address { message.attribute(Int(NDA_DST), address: address) }
        if let mac { message.attribute(Int(NDA_LLADDR), mac: mac) }
        return message
    }

    init?(_ reply: NetlinkReply) {
        guard let header = reply.structure(ndmsg.self) else { return nil }
        let attributes = reply.attributes(after: MemoryLayout<ndmsg>.size)
        self.init(
            interface: header.ndm_ifindex, address: attributes.address(Int(NDA_DST)),
            mac: attributes.mac(Int(NDA_LLADDR)), state: State(rawValue: header.ndm_state),
            flags: Flags(rawValue: header.ndm_flags))
    }
}
