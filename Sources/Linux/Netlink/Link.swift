// SPDX-License-Identifier: Apache-2.0
import CLinux
public import Values

/// A network interface.
public struct Link: Sendable, Hashable {
    public var index: Int32
    public var name: String
    /// `veth`, `bridge`, `vxlan`, `dummy`, ...; nil for a physical one.
    public var kind: String?
    public var flags: UInt32
    public var mtu: Int
    public var mac: MACAddress?
    /// The bridge (or bond) it is a port of.
    public var master: Int32?
    /// The interface it lies on, or a veth's other end.
    public var peer: Int32?
    /// Set when `peer` is in another namespace.
    public var peerNamespaceID: Int32?
    public var alias: String?
    public var vxlan: VXLAN?

    public var isUp: Bool { flags & 1 != 0 }
    /// Up and with a carrier.
    public var isRunning: Bool { flags & 0x40 != 0 }
    public var isLoopback: Bool { flags & 8 != 0 }
}

/// What a VXLAN tunnel is made of.
public struct VXLAN: Sendable, Hashable {
    public var id: UInt32
    public var port: UInt16
    /// The sender address of the packets outside.
    public var local: IPAddress?
    /// The group or the one peer for unknown destinations.
    public var remote: IPAddress?
    /// The interface the packets go out by.
    public var device: Int32?
    public var learning: Bool

    public init(
        id: UInt32, port: UInt16 = 4789, local: IPAddress? = nil, remote: IPAddress? = nil, device: Int32? = nil,
        learning: Bool = false
    ) {
        self.id = id
        self.port = port
        self.local = local
        self.remote = remote
        self.device = device
        self.learning = learning
    }
}

extension Link {
    /// Nil for a message that is no link.
    init?(_ reply: NetlinkReply) {
        guard let header = reply.structure(ifinfomsg.self) else { return nil }
        let attributes = reply.attributes(after: MemoryLayout<ifinfomsg>.size)
        guard let name = attributes.string(Int(IFLA_IFNAME)) else { return nil }
        index = header.ifi_index
        self.name = name
        flags = header.ifi_flags
        mtu = Int(attributes.number(Int(IFLA_MTU), as: UInt32.self) ?? 0)
        mac = attributes.mac(Int(IFLA_ADDRESS))
        master = attributes.number(Int(IFLA_MASTER))
        peer = attributes.number(Int(IFLA_LINK))
        peerNamespaceID = attributes.number(Int(IFLA_LINK_NETNSID))
        alias = attributes.string(Int(IFLA_IFALIAS))
        let info = attributes.nested(Int(IFLA_LINKINFO))
        kind = info?.string(Int(IFLA_INFO_KIND))
        if kind == "vxlan", let data = info?.nested(Int(IFLA_INFO_DATA)) {
            vxlan = VXLAN(
                id: data.number(Int(IFLA_VXLAN_ID)) ?? 0,
                port: UInt16(bigEndian: data.number(Int(IFLA_VXLAN_PORT)) ?? 0),
                local: data.address(Int(IFLA_VXLAN_LOCAL)) ?? data.address(Int(IFLA_VXLAN_LOCAL6)),
                remote: data.address(Int(IFLA_VXLAN_GROUP)) ?? data.address(Int(IFLA_VXLAN_GROUP6)),
                device: data.number(Int(IFLA_VXLAN_LINK)),
                learning: data.number(Int(IFLA_VXLAN_LEARNING), as: UInt8.self) == 1)
        }
    }
}
