// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc
public import Values

/// An element of a set or map, in the bytes that the kernel keeps of it: each part of a key or of data begins at a
/// multiple of four, addresses, ports and protocols in network order, marks and numbers in the machine's.
public struct NFTElement: Sendable, Hashable {
    /// Where it is: `fronts`.
    public let set: String
    public let key: [UInt8]
    /// Where an interval ends, inclusive; nil for a single key.
    public let keyEnd: [UInt8]?
    /// What the key leads to; nil in a set.
    public let data: [UInt8]?
    /// When it was made for a time: how long, and how much of that is left, in milliseconds. As it was read.
    public let timeout: UInt64?
    public let expiration: UInt64?

    public init(set: String, key: [UInt8], keyEnd: [UInt8]? = nil, data: [UInt8]? = nil) {
        self.init(set: set, key: key, keyEnd: keyEnd, data: data, timeout: nil, expiration: nil)
    }

    fileprivate init(
        set: String, key: [UInt8], keyEnd: [UInt8]?, data: [UInt8]?, timeout: UInt64?, expiration: UInt64?
    ) {
        self.set = set
        self.key = key
        self.keyEnd = keyEnd
        self.data = data
        self.timeout = timeout
        self.expiration = expiration
    }
}

/// Elements that are taken away and added in one transaction: removals come first, so that a key can get other data.
///
/// Nothing is read back before, unlike by libnftables: who changes elements has to know what is there.
public struct NFTElementBatch: Sendable {
    private let family: IPFamily
    private let table: String
    private var removals: [NFTElement] = []
    private var additions: [NFTElement] = []

    /// - Parameter table: the table's name: `catbird`.
    public init(_ family: IPFamily, table: String) {
        self.family = family
        self.table = table
    }

    public var isEmpty: Bool { removals.isEmpty && additions.isEmpty }
    public var count: Int { removals.count + additions.count }

    /// It must be there, or the kernel refuses the whole batch with `ENOENT`.
    public mutating func remove(_ element: NFTElement) { removals.append(element) }

    /// It must not be there with other data, or the kernel refuses the whole batch.
    public mutating func add(_ element: NFTElement) { additions.append(element) }

    fileprivate func messages() -> [NetlinkMessage] {
        var result: [NetlinkMessage] = []
        result.reserveCapacity(count)
        for (index, element) in removals.enumerated() {
            result.append(message(element, NFElement.delete, 0, isLast: index == count - 1))
        }
        let create = Int32(NLM_F_CREATE)
        for (index, element) in additions.enumerated() {
            result.append(
                message(element, NFElement.new, create, isLast: removals.count + index == count - 1))
        }
        return result
    }

    private func message(_ element: NFTElement, _ kind: Int, _ flags: Int32, isLast: Bool) -> NetlinkMessage {
        var message = NFElement.message(
            kind, family, flags | Int32(NLM_F_REQUEST) | (isLast ? Int32(NLM_F_ACK) : 0))
        message.attribute(NFElement.table, string: table)
        message.attribute(NFElement.set, string: element.set)
        message.nested(NFElement.elements) { message in
            message.nested(NFElement.element) { message in
                message.nested(NFElement.key) { $0.attribute(NFElement.value, bytes: element.key) }
                if let end = element.keyEnd {
                    message.nested(NFElement.keyEnd) { $0.attribute(NFElement.value, bytes: end) }
                }
                if let data = element.data, kind == NFElement.new {
                    message.nested(NFElement.data) { $0.attribute(NFElement.value, bytes: data) }
                }
            }
        }
        return message
    }

    fileprivate func words(_ index: Int?) -> String {
        let place = "table \(family == .v4 ? "ip" : "ip6") \(table)"
        guard let index, index < count else { return "\(count) elements of \(place)" }
        let isRemoval = index < removals.count
        let element = isRemoval ? removals[index] : additions[index - removals.count]
        let key = element.key.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
        return "\(isRemoval ? "remove" : "add") element 0x\(key) of \(element.set) in \(place)"
    }
}

/// What the messages about elements are made of.
private enum NFElement {
    static let subsystem = 10
    static let new = 12
    static let get = 13
    static let delete = 14
    static let batchBegin = 0x10
    static let batchEnd = 0x11
    static let table = 1
    static let set = 2
    static let elements = 3
    static let element = 1
    static let key = 1
    static let data = 2
    static let timeout = 4
    static let expiration = 5
    static let keyEnd = 10
    static let value = 1
    static let headerSize = 4

    static func message(_ kind: Int, _ family: IPFamily, _ flags: Int32) -> NetlinkMessage {
        .netfilter(subsystem: subsystem, kind, family, flags: flags)
    }

    /// The beginning or the end of a batch.
    static func border(_ type: Int) -> NetlinkMessage {
        var message = NetlinkMessage(type: type, flags: Int32(NLM_F_REQUEST))
        message.append(UInt8(0))
        message.append(UInt8(0))
        message.append(UInt16(subsystem).bigEndian)
        return message
    }
}

/// A connection to the kernel's packet filter and its connection tracking, in one network namespace: the one it was
/// opened in, whichever thread uses it later.
public struct NetfilterSocket: Sendable {
    let socket: NetlinkSocket

    /// - Parameter namespace: nil is the calling thread's.
    public init(in namespace: NamespaceRef? = nil) throws {
        socket = try NetlinkSocket(protocol: NETLINK_NETFILTER, in: namespace)
    }

    /// Carries a batch out as one transaction: all of it takes effect, or none. An empty one is none.
    ///
    /// The error names the element that was refused.
    public func commit(_ batch: NFTElementBatch) throws(Errno) {
        guard !batch.isEmpty else { return }
        try socket.commit(
            first: NFElement.border(NFElement.batchBegin), batch.messages(),
            last: NFElement.border(NFElement.batchEnd), { batch.words($0) })
    }

    /// The elements of a set or map: for what packets put there. What this process put there it knows.
    public func elements(of set: String, table: String, _ family: IPFamily) throws(Errno) -> [NFTElement] {
        var message = NFElement.message(NFElement.get, family, Int32(NLM_F_REQUEST | NLM_F_DUMP))
        message.attribute(NFElement.table, string: table)
        message.attribute(NFElement.set, string: set)
        let replies = try socket.dump(message, "list \(set) of table \(table)")
        return replies.flatMap { reply -> [NFTElement] in
            guard reply.type == NFElement.subsystem << 8 | NFElement.new,
                let list = reply.attributes(after: NFElement.headerSize).nested(NFElement.elements)
            else { return [] }
            return list.list.compactMap { _, bytes in
                let parts = NetlinkAttributes(bytes)
                func value(_ type: Int) -> [UInt8]? { parts.nested(type)?[NFElement.value].map(Array.init) }
                guard let key = value(NFElement.key) else { return nil }
                func time(_ type: Int) -> UInt64? {
                    parts.number(type, as: UInt64.self).map { UInt64(bigEndian: $0) }
                }
                return NFTElement(
                    set: set, key: key, keyEnd: value(NFElement.keyEnd), data: value(NFElement.data),
                    timeout: time(NFElement.timeout), expiration: time(NFElement.expiration))
            }
        }
    }
}
