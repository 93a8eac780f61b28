// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc
public import Values

/// What links are given when they are made or changed; nil leaves it to the kernel, or as it is.
public struct LinkOptions: Sendable, Hashable {
    public var mtu: Int?
    public var mac: MACAddress?
    public var master: Int32?
    public var up: Bool?
    public var alias: String?
    /// A new name, when it changes an existing link.
    public var name: String?
    /// Where it is made or moved to.
    public var namespace: NamespaceRef?
    /// The index it is to have, when it is made.
    public var index: Int32?
    /// How many packets may wait.
    public var queueLength: UInt32?

    public init(
        mtu: Int? = nil, mac: MACAddress? = nil, master: Int32? = nil, up: Bool? = nil, alias: String? = nil,
        name: String? = nil, namespace: NamespaceRef? = nil, index: Int32? = nil
    ) {
        self.mtu = mtu
        self.mac = mac
        self.master = master
        self.up = up
        self.alias = alias
        self.name = name
        self.namespace = namespace
        self.index = index
    }
}

let requestFlags = Int32(NLM_F_REQUEST | NLM_F_ACK)
let createFlags = requestFlags | Int32(NLM_F_CREATE | NLM_F_EXCL)
let replaceFlags = requestFlags | Int32(NLM_F_CREATE | NLM_F_REPLACE)
let dumpFlags = Int32(NLM_F_REQUEST | NLM_F_DUMP)

extension NetlinkSocket {
    /// All links of the namespace.
    public func links() throws(Errno) -> [Link] {
        var message = NetlinkMessage(type: Int(RTM_GETLINK), flags: dumpFlags)
        message.append(structure: ifinfomsg())
        return try dump(message, "list links").compactMap { Link($0) }
    }

    /// Nil when there is none of the name.
    public func link(_ name: String) throws(Errno) -> Link? {
        try oneLink(index: 0, name: name)
    }

    public func link(index: Int32) throws(Errno) -> Link? {
        try oneLink(index: index, name: nil)
    }

    private func oneLink(index: Int32, name: String?) throws(Errno) -> Link? {
        if let name { try validate(name) }
        var message = NetlinkMessage(type: Int(RTM_GETLINK), flags: requestFlags)
        message.append(structure: ifinfomsg(index: index))
        if let name { message.attribute(Int(IFLA_IFNAME), string: name) }
        do throws(Errno) {
            return try dump(message, "look up link \(name ?? "\(index)")").lazy.compactMap { Link($0) }.first
        } catch  where error.code == ENODEV {
            return nil
        }
    }

    /// The link of the name; throws `ENODEV` when there is none.
    public func requireLink(_ name: String) throws(Errno) -> Link {
        guard let link = try link(name) else { throw Errno(code: ENODEV, call: "netlink", detail: "link \(name)") }
        return link
    }

    private func validate(_ name: String) throws(Errno) {
        guard (1...15).contains(name.utf8.count), !name.contains("/"), !name.contains(where: \.isWhitespace) else {
            throw Errno(
                code: EINVAL, call: "netlink",
                detail: "link name \"\(name)\": it must have 1 to 15 bytes, no slash and no space")
        }
    }

    /// A pair of interfaces joined by a cable. Each end may lie in a namespace of its own.
    public func addVeth(
        _ name: String, _ options: LinkOptions = LinkOptions(), peer: String, peerOptions: LinkOptions = LinkOptions()
    ) throws(Errno) {
        try validate(peer)
        let peerNamespace = try openNamespace(peerOptions)
        defer { if let peerNamespace { close(peerNamespace) } }
        // An end cannot come up before there is another: both are raised afterwards.
        var ownOptions = options
        ownOptions.up = nil
        try add(name, kind: "veth", ownOptions, "veth \(name) with peer \(peer)") { data in
            data.nested(Int(VETH_INFO_PEER)) { message in
                message.append(structure: ifinfomsg(index: peerOptions.index ?? 0))
                message.attribute(Int(IFLA_IFNAME), string: peer)
                message.append(peerOptions, namespace: peerNamespace)
            }
        }
        do throws(Errno) {
            if options.up == true { try raise(name, in: options.namespace) }
            if peerOptions.up == true { try raise(peer, in: peerOptions.namespace) }
        } catch {
            if options.namespace == nil { _ = try? deleteLink(name) }
            throw error
        }
    }

    private func raise(_ name: String, in namespace: NamespaceRef?) throws(Errno) {
        guard let namespace else { return try setUp(name) }
        do { try NetlinkSocket(in: namespace).setUp(name) } catch let error as Errno { throw error } catch {
            throw Errno(code: EINVAL, call: "netlink", detail: "set \(name) up in \(namespace): \(error)")
        }
    }

    public func addBridge(_ name: String, _ options: LinkOptions = LinkOptions()) throws(Errno) {
        try add(name, kind: "bridge", options, "bridge \(name)")
    }

    public func addDummy(_ name: String, _ options: LinkOptions = LinkOptions()) throws(Errno) {
        try add(name, kind: "dummy", options, "dummy \(name)")
    }

    /// An IP in IP device; the kernel's module has to be there.
    public func addIPIP(_ name: String, _ options: LinkOptions = LinkOptions()) throws(Errno) {
        try add(name, kind: "ipip", options, "ipip \(name)")
    }

    public func addVXLAN(_ name: String, _ vxlan: VXLAN, _ options: LinkOptions = LinkOptions()) throws(Errno) {
        try add(name, kind: "vxlan", options, "vxlan \(name), id \(vxlan.id), port \(vxlan.port)") { data in
            data.attribute(Int(IFLA_VXLAN_ID), number: vxlan.id)
            data.attribute(Int(IFLA_VXLAN_PORT), bigEndian: vxlan.port)
            data.attribute(Int(IFLA_VXLAN_LEARNING), number: UInt8(vxlan.learning ? 1 : 0))
            if let device = vxlan.device { data.attribute(Int(IFLA_VXLAN_LINK), number: device) }
            if let local = vxlan.local {
                data.attribute(Int(local.family == .v4 ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6), address: local)
            }
            if let remote = vxlan.remote {
                data.attribute(Int(remote.family == .v4 ? IFLA_VXLAN_GROUP : IFLA_VXLAN_GROUP6), address: remote)
            }
        }
    }

    /// Makes a link of any kind; `data` writes the attributes of the kind.
    package func add(
        _ name: String, kind: String, _ options: LinkOptions, _ what: String,
        data: ((inout NetlinkMessage) -> Void)? = nil
    ) throws(Errno) {
        try validate(name)
        let namespace = try openNamespace(options)
        defer { if let namespace { close(namespace) } }
        var message = NetlinkMessage(type: Int(RTM_NEWLINK), flags: createFlags)
        message.append(structure: ifinfomsg(index: options.index ?? 0, up: options.up))
        message.attribute(Int(IFLA_IFNAME), string: name)
        message.append(options, namespace: namespace)
        message.nested(Int(IFLA_LINKINFO)) { info in
            info.attribute(Int(IFLA_INFO_KIND), string: kind)
            if let data { info.nested(Int(IFLA_INFO_DATA), data) }
        }
        try perform(message, "add \(what)")
    }

    private func openNamespace(_ options: LinkOptions) throws(Errno) -> Int32? {
        guard let namespace = options.namespace else { return nil }
        return try namespace.open(.net).take()
    }

    /// Changes what is not nil in `options`.
    public func setLink(_ index: Int32, _ options: LinkOptions) throws(Errno) {
        if let name = options.name { try validate(name) }
        let namespace = try openNamespace(options)
        defer { if let namespace { close(namespace) } }
        var message = NetlinkMessage(type: Int(RTM_NEWLINK), flags: requestFlags)
        message.append(structure: ifinfomsg(index: index, up: options.up))
        if let name = options.name { message.attribute(Int(IFLA_IFNAME), string: name) }
        message.append(options, namespace: namespace)
        try perform(message, "change link \(index)")
    }

    public func setUp(_ name: String) throws(Errno) {
        try setLink(try requireLink(name).index, LinkOptions(up: true))
    }

    /// Takes a port off its bridge.
    public func clearMaster(_ index: Int32) throws(Errno) {
        try setLink(index, LinkOptions(master: 0))
    }

    /// Lets a bridge send packets back to the port they came from, as services that are asked by their own pods need.
    public func setBridgePort(_ index: Int32, hairpin: Bool) throws(Errno) {
        var message = NetlinkMessage(type: Int(RTM_SETLINK), flags: requestFlags)
        var header = ifinfomsg(index: index)
        header.ifi_family = UInt8(PF_BRIDGE)
        message.append(structure: header)
        message.nested(Int(IFLA_PROTINFO)) { $0.attribute(Int(IFLA_BRPORT_MODE), number: UInt8(hairpin ? 1 : 0)) }
        try perform(message, "set hairpin of bridge port \(index)")
    }

    /// Removes a link; of a veth both ends go. One that is not there is no error.
    ///
    /// - Returns: whether it was there.
    @discardableResult
    public func deleteLink(_ name: String) throws(Errno) -> Bool {
        try validate(name)
        var message = NetlinkMessage(type: Int(RTM_DELLINK), flags: requestFlags)
        message.append(structure: ifinfomsg())
        message.attribute(Int(IFLA_IFNAME), string: name)
        do throws(Errno) { try perform(message, "delete link \(name)") } catch  where error.code == ENODEV {
            return false
        }
        return true
    }

    public func deleteLink(index: Int32) throws(Errno) {
        var message = NetlinkMessage(type: Int(RTM_DELLINK), flags: requestFlags)
        message.append(structure: ifinfomsg(index: index))
        do throws(Errno) { try perform(message, "delete link \(index)") } catch  where error.code == ENODEV {}
    }
}

extension NetlinkMessage {
    fileprivate mutating func append(_ options: LinkOptions, namespace: Int32?) {
        if let mtu = options.mtu { attribute(Int(IFLA_MTU), number: UInt32(clamping: mtu)) }
        if let mac = options.mac { attribute(Int(IFLA_ADDRESS), mac: mac) }
        if let master = options.master { attribute(Int(IFLA_MASTER), number: master) }
        if let alias = options.alias { attribute(Int(IFLA_IFALIAS), bytes: Array(alias.utf8)) }
        if let length = options.queueLength { attribute(Int(IFLA_TXQLEN), number: length) }
        if let namespace { attribute(Int(IFLA_NET_NS_FD), number: namespace) }
    }
}

extension ifinfomsg {
    fileprivate init(index: Int32, up: Bool? = nil) {
        self.init()
        ifi_family = UInt8(AF_UNSPEC)
        ifi_index = index
        if let up {
            ifi_flags = up ? 1 : 0
            ifi_change = 1
        }
    }
}
