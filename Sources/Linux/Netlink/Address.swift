// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc
public import Values

/// How far an address or a route reaches.
public enum RouteScope: UInt8, Sendable, Hashable {
    case universe = 0
    case site = 200
    case link = 253
    case host = 254
    case nowhere = 255
}

/// An address of an interface.
public struct InterfaceAddress: Sendable, Hashable {
    public var interface: Int32
    /// The address with the length of its network's prefix.
    public var address: CIDR
    public var broadcast: IPAddress?
    public var label: String?
    public var scope: RouteScope
    /// `IFA_F_…`
    public var flags: UInt32

    public init(
        interface: Int32, address: CIDR, broadcast: IPAddress? = nil, label: String? = nil,
        scope: RouteScope = .universe, flags: UInt32 = 0
    ) {
        self.interface = interface
        self.address = address
        self.broadcast = broadcast
        self.label = label
        self.scope = scope
        self.flags = flags
    }
}

extension NetlinkSocket {
    /// Addresses of one interface, or of all.
    public func addresses(interface: Int32? = nil) throws(Errno) -> [InterfaceAddress] {
        var message = NetlinkMessage(type: Int(RTM_GETADDR), flags: dumpFlags)
        var header = ifaddrmsg()
        header.ifa_index = UInt32(bitPattern: interface ?? 0)
        message.append(structure: header)
        return try dump(message, "list addresses").compactMap { InterfaceAddress($0) }
            .filter { interface == nil || $0.interface == interface }
    }

    public func addAddress(_ address: InterfaceAddress) throws(Errno) {
        try perform(message(address, RTM_NEWADDR, createFlags), "add address \(address.address)")
    }

    /// Adds an address; one that is there already stays.
    public func ensureAddress(_ address: InterfaceAddress) throws(Errno) {
        try perform(message(address, RTM_NEWADDR, replaceFlags), "set address \(address.address)")
    }

    /// Not there is no error.
    public func deleteAddress(_ address: InterfaceAddress) throws(Errno) {
        do throws(Errno) {
            try perform(message(address, RTM_DELADDR, requestFlags), "delete address \(address.address)")
        } catch  where error.code == EADDRNOTAVAIL || error.code == ENODEV {}
    }

    private func message(_ address: InterfaceAddress, _ type: some BinaryInteger, _ flags: Int32) -> NetlinkMessage {
        var message = NetlinkMessage(type: Int(type), flags: flags)
        var header = ifaddrmsg()
        header.ifa_family = address.address.family.number
        header.ifa_prefixlen = UInt8(address.address.prefixLength)
        header.ifa_scope = address.scope.rawValue
        header.ifa_index = UInt32(bitPattern: address.interface)
        message.append(structure: header)
        message.attribute(Int(IFA_LOCAL), address: address.address.address)
        message.attribute(Int(IFA_ADDRESS), address: address.address.address)
        if let broadcast = address.broadcast { message.attribute(Int(IFA_BROADCAST), address: broadcast) }
        if let label = address.label { message.attribute(Int(IFA_LABEL), string: label) }
        if address.flags != 0 { message.attribute(Int(IFA_FLAGS), number: address.flags) }
        return message
    }
}

extension InterfaceAddress {
    init?(_ reply: NetlinkReply) {
        guard let header = reply.structure(ifaddrmsg.self) else { return nil }
        let attributes = reply.attributes(after: MemoryLayout<ifaddrmsg>.size)
        guard let address = attributes.address(Int(IFA_LOCAL)) ?? attributes.address(Int(IFA_ADDRESS)),
            let network = CIDR(address, Int(header.ifa_prefixlen))
        else { return nil }
        self.init(
            interface: Int32(bitPattern: header.ifa_index), address: network,
            broadcast: attributes.address(Int(IFA_BROADCAST)), label: attributes.string(Int(IFA_LABEL)),
            scope: RouteScope(rawValue: header.ifa_scope) ?? .universe,
            flags: attributes.number(Int(IFA_FLAGS)) ?? UInt32(header.ifa_flags))
    }
}

extension IPFamily {
    var number: UInt8 { self == .v4 ? UInt8(AF_INET) : UInt8(AF_INET6) }

    init?(number: UInt8) {
        switch Int32(number) {
        case AF_INET: self = .v4
        case AF_INET6: self = .v6
        default: return nil
        }
    }
}
