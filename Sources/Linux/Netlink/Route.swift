// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc
public import Values

/// Who made a route.
public struct RouteProtocol: RawRepresentable, Sendable, Hashable {
    public var rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let redirect = RouteProtocol(rawValue: 1)
    public static let kernel = RouteProtocol(rawValue: 2)
    public static let boot = RouteProtocol(rawValue: 3)
    public static let `static` = RouteProtocol(rawValue: 4)
    /// BIRD's, which nobody else touches.
    public static let bird = RouteProtocol(rawValue: 12)
    /// Felix's number, and so ours: routes of pods, blocks and tunnels.
    public static let calico = RouteProtocol(rawValue: 80)
    /// Routes to containers of a network that no agent looks after: an agent of the same machine leaves them alone.
    public static let plugin = RouteProtocol(rawValue: 81)
}

/// One entry of a routing table.
public struct Route: Sendable, Hashable {
    public enum Kind: UInt8, Sendable, Hashable {
        case unicast = 1
        case local = 2
        case broadcast = 3
        case anycast = 4
        case multicast = 5
        case blackhole = 6
        case unreachable = 7
        case prohibit = 8
        case `throw` = 9
    }

    /// One way of several.
    public struct Hop: Sendable, Hashable {
        public var gateway: IPAddress?
        public var interface: Int32
        public var weight: Int
    }

    /// 0.0.0.0/0 for the default route.
    public var destination: CIDR
    public var kind: Kind
    public var gateway: IPAddress?
    public var interface: Int32?
    public var source: IPAddress?
    public var table: UInt32
    public var scope: RouteScope
    public var `protocol`: RouteProtocol
    public var priority: UInt32?
    public var mtu: UInt32?
    /// The gateway is taken to be on the interface, though no address says so.
    public var onlink: Bool
    /// Set when there is more than one way; then `gateway` and `interface` are nil.
    public var hops: [Hop] = []

    public static let mainTable: UInt32 = 254
    public static let localTable: UInt32 = 255

    public init(
        to destination: CIDR, kind: Kind = .unicast, via gateway: IPAddress? = nil, interface: Int32? = nil,
        source: IPAddress? = nil, table: UInt32 = Route.mainTable, scope: RouteScope? = nil,
        protocol: RouteProtocol = .boot, priority: UInt32? = nil, mtu: UInt32? = nil, onlink: Bool = false
    ) {
        self.destination = destination.network
        self.kind = kind
        self.gateway = gateway
        self.interface = interface
        self.source = source
        self.table = table
        // As ip(8) chooses: without a gateway the destination is on the link.
        self.scope = scope ?? (kind == .local ? .host : kind == .unicast && gateway == nil ? .link : .universe)
        self.protocol = `protocol`
        self.priority = priority
        self.mtu = mtu
        self.onlink = onlink
    }
}

extension NetlinkSocket {
    /// Routes of a family; of one table (the main one unless said otherwise; nil for all) and one maker.
    public func routes(
        _ family: IPFamily = .v4, table: UInt32? = Route.mainTable, protocol: RouteProtocol? = nil
    ) throws(Errno) -> [Route] {
        var message = NetlinkMessage(type: Int(RTM_GETROUTE), flags: dumpFlags)
        var header = rtmsg()
        header.rtm_family = family.number
        if let `protocol` { header.rtm_protocol = `protocol`.rawValue }
        message.append(structure: header)
        if let table { message.attribute(Int(RTA_TABLE.rawValue), number: table) }
        do throws(Errno) {
            return try dump(message, "list routes").compactMap { Route($0) }.filter {
                (table == nil || $0.table == table) && (`protocol` == nil || $0.protocol == `protocol`)
            }
        } catch  where error.code == ENOENT {
            return []  // the table has never had a route
        }
    }

    public func addRoute(_ route: Route) throws(Errno) {
        try perform(message(route, RTM_NEWROUTE, createFlags), "add route \(route)")
    }

    /// Adds a route, or puts it in the place of the one to the same destination in the same table and priority.
    public func replaceRoute(_ route: Route) throws(Errno) {
        try perform(message(route, RTM_NEWROUTE, replaceFlags), "replace route \(route)")
    }

    /// Not there is no error.
    ///
    /// - Returns: whether it was there.
    @discardableResult
    public func deleteRoute(_ route: Route) throws(Errno) -> Bool {
        do throws(Errno) {
            try perform(message(route, RTM_DELROUTE, requestFlags), "delete route \(route)")
        } catch  where error.code == ESRCH || error.code == ENOENT || error.code == ENODEV {
            return false
        }
        return true
    }

    /// The route that a packet to `address` would take.
    public func route(to address: IPAddress) throws(Errno) -> Route? {
        var message = NetlinkMessage(type: Int(RTM_GETROUTE), flags: requestFlags)
        var header = rtmsg()
        header.rtm_family = address.family.number
        header.rtm_dst_len = UInt8(address.family.bitWidth)
        message.append(structure: header)
        message.attribute(Int(RTA_DST.rawValue), address: address)
        do throws(Errno) {
            return try dump(message, "route to \(address)").lazy.compactMap { Route($0) }.first
        } catch  where [ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL].contains(error.code) {
            return nil
        }
    }

    private func message(_ route: Route, _ type: some BinaryInteger, _ flags: Int32) -> NetlinkMessage {
        var message = NetlinkMessage(type: Int(type), flags: flags)
        var header = rtmsg()
        header.rtm_family = route.destination.family.number
        header.rtm_dst_len = UInt8(route.destination.prefixLength)
        header.rtm_table = route.table < 256 ? UInt8(route.table) : UInt8(RT_TABLE_COMPAT.rawValue)
        header.rtm_protocol = route.protocol.rawValue
        // A route is found for removal whatever its scope.
        header.rtm_scope = Int(type) == Int(RTM_DELROUTE) ? RouteScope.nowhere.rawValue : route.scope.rawValue
        header.rtm_type = route.kind.rawValue
        if route.onlink { header.rtm_flags = UInt32(RTNH_F_ONLINK) }
        message.append(structure: header)
        if route.destination.prefixLength > 0 {
            message.attribute(Int(RTA_DST.rawValue), address: route.destination.address)
        }
        message.attribute(Int(RTA_TABLE.rawValue), number: route.table)
        if let gateway = route.gateway { message.attribute(Int(RTA_GATEWAY.rawValue), address: gateway) }
        if let interface = route.interface { message.attribute(Int(RTA_OIF.rawValue), number: interface) }
        if let source = route.source { message.attribute(Int(RTA_PREFSRC.rawValue), address: source) }
        if let priority = route.priority { message.attribute(Int(RTA_PRIORITY.rawValue), number: priority) }
        if let mtu = route.mtu {
            message.nested(Int(RTA_METRICS.rawValue)) { $0.attribute(Int(RTAX_MTU), number: mtu) }
        }
        if !route.hops.isEmpty {
            message.attribute(Int(RTA_MULTIPATH.rawValue)) { list in
                for hop in route.hops { list.append(hop) }
            }
        }
        return message
    }
}

extension NetlinkMessage {
    fileprivate mutating func append(_ hop: Route.Hop) {
        var inner = NetlinkMessage(type: 0, flags: 0)
        if let gateway = hop.gateway { inner.attribute(Int(RTA_GATEWAY.rawValue), address: gateway) }
        let attributes = inner.bytes.dropFirst(16)
        append(UInt16(8 + attributes.count))
        append(UInt8(0))
        append(UInt8(clamping: hop.weight - 1))
        append(hop.interface)
        for byte in attributes { append(byte) }
    }
}

extension Route: CustomStringConvertible {
    init?(_ reply: NetlinkReply) {
        guard let header = reply.structure(rtmsg.self), let family = IPFamily(number: header.rtm_family),
            let kind = Kind(rawValue: header.rtm_type)
        else { return nil }
        // Cached entries are no routes.
        if header.rtm_flags & UInt32(RTM_F_CLONED) != 0, header.rtm_dst_len != family.bitWidth { return nil }
        let attributes = reply.attributes(after: MemoryLayout<rtmsg>.size)
        let address = attributes.address(Int(RTA_DST.rawValue)) ?? IPAddress(family, 0)
        guard let destination = CIDR(address, Int(header.rtm_dst_len)) else { return nil }
        self.init(
            to: destination, kind: kind, via: attributes.address(Int(RTA_GATEWAY.rawValue)),
            interface: attributes.number(Int(RTA_OIF.rawValue)),
            source: attributes.address(Int(RTA_PREFSRC.rawValue)),
            table: attributes.number(Int(RTA_TABLE.rawValue)) ?? UInt32(header.rtm_table),
            scope: RouteScope(rawValue: header.rtm_scope) ?? .universe,
            protocol: RouteProtocol(rawValue: header.rtm_protocol),
            priority: attributes.number(Int(RTA_PRIORITY.rawValue)),
            mtu: attributes.nested(Int(RTA_METRICS.rawValue))?.number(Int(RTAX_MTU)),
            onlink: header.rtm_flags & UInt32(RTNH_F_ONLINK) != 0)
        guard var list = attributes[Int(RTA_MULTIPATH.rawValue)] else { return }
        while let length = list.number(at: list.startIndex, as: UInt16.self).map({ Int($0) }), length >= 8,
            length <= list.count, let interface = list.number(at: list.startIndex + 4, as: Int32.self)
        {
            let inner = NetlinkAttributes(list.prefix(length).dropFirst(8))
            hops.append(
                Hop(
                    gateway: inner.address(Int(RTA_GATEWAY.rawValue)), interface: interface,
                    weight: Int(list[list.startIndex + 3]) + 1))
            list = list.dropFirst((length + 3) & ~3)
        }
    }

    public var description: String {
        var text = kind == .unicast ? "\(destination)" : "\(kind) \(destination)"
        if let gateway { text += " via \(gateway)" }
        if let interface { text += " dev \(interface)" }
        if table != Route.mainTable { text += " table \(table)" }
        if `protocol` != .boot { text += " proto \(`protocol`.rawValue)" }
        return text
    }
}
