// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc
public import Values

/// A connection that the kernel tracks: who began it with whom, and who answers.
public struct TrackedConnection: Sendable, Hashable {
    /// One direction of it.
    public struct Direction: Sendable, Hashable {
        public let source: IPAddress
        public let destination: IPAddress
        /// 0 for protocols without ports.
        public let sourcePort: UInt16
        public let destinationPort: UInt16
    }

    /// The number of its protocol: 17 is UDP.
    public let transport: UInt8
    /// As it was begun.
    public let original: Direction
    /// As answers come: from where the packets were really sent to.
    public let reply: Direction
    public let mark: UInt32
    /// What names it to the kernel.
    fileprivate let tuple: [UInt8]
    fileprivate let zone: [UInt8]?
    fileprivate let id: [UInt8]?
}

/// What ctnetlink's messages are made of.
private enum CT {
    static let subsystem = 1
    static let new = 0
    static let get = 1
    static let delete = 2
    static let original = 1
    static let reply = 2
    static let mark = 8
    static let id = 12
    static let zone = 18
    static let markMask = 21
    static let addresses = 1
    static let transport = 2
    static let number = 1
    static let sourcePort = 2
    static let destinationPort = 3
    static let headerSize = 4

    static func message(_ kind: Int, _ family: IPFamily, _ flags: Int32) -> NetlinkMessage {
        .netfilter(subsystem: subsystem, kind, family, flags: flags)
    }
}

extension TrackedConnection {
    init?(_ reply: NetlinkReply, _ family: IPFamily) {
        guard reply.type == CT.subsystem << 8 | CT.new else { return nil }
        let parts = reply.attributes(after: CT.headerSize)
        guard let tuple = parts[CT.original], let first = Self.direction(parts.nested(CT.original), family),
            let second = Self.direction(parts.nested(CT.reply), family)
        else { return nil }
        transport = first.transport
        original = first.direction
        self.reply = second.direction
        mark = parts.number(CT.mark, as: UInt32.self).map { UInt32(bigEndian: $0) } ?? 0
        self.tuple = Array(tuple)
        zone = parts[CT.zone].map(Array.init)
        id = parts[CT.id].map(Array.init)
    }

    private static func direction(_ tuple: NetlinkAttributes?, _ family: IPFamily) -> (
        direction: Direction, transport: UInt8
    )? {
        // Attributes 1 and 2 are addresses of IPv4, 3 and 4 of IPv6.
        let first = family == .v4 ? 1 : 3
        guard let addresses = tuple?.nested(CT.addresses), let source = addresses.address(first),
            let destination = addresses.address(first + 1), let ports = tuple?.nested(CT.transport),
            let number = ports.number(CT.number, as: UInt8.self)
        else { return nil }
        func port(_ type: Int) -> UInt16 { ports.number(type, as: UInt16.self).map { UInt16(bigEndian: $0) } ?? 0 }
        return (
            Direction(
                source: source, destination: destination, sourcePort: port(CT.sourcePort),
                destinationPort: port(CT.destinationPort)), number
        )
    }
}

extension NetfilterSocket {
    /// The tracked connections of a family.
    ///
    /// - Parameter mark: only those that have it, which the kernel sorts out; nil is all.
    public func connections(_ family: IPFamily, mark: UInt32? = nil) throws(Errno) -> [TrackedConnection] {
        var message = CT.message(CT.get, family, Int32(NLM_F_REQUEST | NLM_F_DUMP))
        if let mark {
            message.attribute(CT.mark, bigEndian: mark)
            message.attribute(CT.markMask, bigEndian: UInt32.max)
        }
        return try socket.dump(message, "list connections").compactMap { TrackedConnection($0, family) }
            // A kernel without connection marks lists them all.
            .filter { mark == nil || $0.mark == mark }
    }

    /// Forgets a connection: its next packet is looked at as a first one is. Gone already is no error.
    public func forget(_ connection: TrackedConnection) throws(Errno) {
        var message = CT.message(CT.delete, connection.original.source.family, requestFlags)
        message.attribute(CT.original | Int(NLA_F_NESTED), bytes: connection.tuple)
        if let zone = connection.zone { message.attribute(CT.zone, bytes: zone) }
        if let id = connection.id { message.attribute(CT.id, bytes: id) }
        do throws(Errno) {
            try socket.perform(message, "forget the connection to \(connection.original.destination)")
        } catch {
            if error.code != ENOENT { throw error }
        }
    }
}
