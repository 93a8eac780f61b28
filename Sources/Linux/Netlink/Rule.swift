// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc
public import Values

/// A rule that chooses the routing table.
public struct RoutingRule: Sendable, Hashable {
    public var family: IPFamily
    public var priority: UInt32
    public var source: CIDR?
    public var destination: CIDR?
    public var table: UInt32
    public var mark: UInt32?
    public var mask: UInt32?
    public var inputInterface: String?

    public init(
        family: IPFamily = .v4, priority: UInt32, source: CIDR? = nil, destination: CIDR? = nil, table: UInt32,
        mark: UInt32? = nil, mask: UInt32? = nil, inputInterface: String? = nil
    ) {
        self.family = family
        self.priority = priority
        self.source = source
        self.destination = destination
        self.table = table
        self.mark = mark
        self.mask = mask
        self.inputInterface = inputInterface
    }
}

extension NetlinkSocket {
    public func rules(_ family: IPFamily = .v4) throws(Errno) -> [RoutingRule] {
        var message = NetlinkMessage(type: Int(RTM_GETRULE), flags: dumpFlags)
        var header = fib_rule_hdr()
        header.family = family.number
        message.append(structure: header)
        return try dump(message, "list rules").compactMap { RoutingRule($0) }
    }

    public func addRule(_ rule: RoutingRule) throws(Errno) {
        try perform(message(rule, RTM_NEWRULE, createFlags), "add rule \(rule.priority)")
    }

    /// Not there is no error.
    public func deleteRule(_ rule: RoutingRule) throws(Errno) {
        do throws(Errno) {
            try perform(message(rule, RTM_DELRULE, requestFlags), "delete rule \(rule.priority)")
        } catch  where error.code == ENOENT {}
    }

    private func message(_ rule: RoutingRule, _ type: some BinaryInteger, _ flags: Int32) -> NetlinkMessage {
        var message = NetlinkMessage(type: Int(type), flags: flags)
        var header = fib_rule_hdr()
        header.family = rule.family.number
        header.src_len = UInt8(rule.source?.prefixLength ?? 0)
        header.dst_len = UInt8(rule.destination?.prefixLength ?? 0)
        header.action = UInt8(FR_ACT_TO_TBL)
        message.append(structure: header)
        message.attribute(Int(FRA_PRIORITY), number: rule.priority)
        message.attribute(Int(FRA_TABLE), number: rule.table)
        if let source = rule.source { message.attribute(Int(FRA_SRC), address: source.address) }
        if let destination = rule.destination { message.attribute(Int(FRA_DST), address: destination.address) }
        if let mark = rule.mark { message.attribute(Int(FRA_FWMARK), number: mark) }
        if let mask = rule.mask { message.attribute(Int(FRA_FWMASK), number: mask) }
        if let name = rule.inputInterface { message.attribute(Int(FRA_IIFNAME), string: name) }
        return message
    }
}

extension RoutingRule {
    fileprivate init?(_ reply: NetlinkReply) {
        guard let header = reply.structure(fib_rule_hdr.self), let family = IPFamily(number: header.family) else {
            return nil
        }
        let attributes = reply.attributes(after: MemoryLayout<fib_rule_hdr>.size)
        self.init(
            family: family, priority: attributes.number(Int(FRA_PRIORITY)) ?? 0,
            source: attributes.address(Int(FRA_SRC)).flatMap { CIDR($0, Int(header.src_len)) },
            destination: attributes.address(Int(FRA_DST)).flatMap { CIDR($0, Int(header.dst_len)) },
            table: attributes.number(Int(FRA_TABLE)) ?? UInt32(header.table),
            mark: attributes.number(Int(FRA_FWMARK)), mask: attributes.number(Int(FRA_FWMASK)),
            inputInterface: attributes.string(Int(FRA_IIFNAME)))
    }
}
