// SPDX-License-Identifier: Apache-2.0

public import Values

/// An element of the sets and maps by which Services are served.
///
/// A packet's address, protocol and port, or on a node's own address protocol and port alone, lead to a *mark*: the
/// number of the Service's port, and flags that say how it was reached. The mark, and for several endpoints a random
/// slot, leads to an endpoint. So an endpoint that comes or goes changes some slots, and neither a rule nor a chain.
public enum ServiceElement: Sendable, Hashable {
    public typealias TransportProtocol = ServicePort.TransportProtocol

    /// An address that a Service is reached by.
    case front(IPAddress, TransportProtocol, UInt16)
    /// A port of the nodes.
    case nodeFront(TransportProtocol, UInt16)
    /// The only endpoint of a group.
    case endpoint(UInt32)
    /// One of several: which, and of how many.
    case slot(UInt32, UInt16, of: UInt16)
    /// An address of which all ports are a Service's.
    case address(IPAddress)
    /// Who may come by an address of a load balancer.
    indirect case sourceRange(IPAddress, TransportProtocol, UInt16, CIDR)
    /// A group without endpoints, which is refused.
    case unserved(UInt32)
    /// A group whose endpoints are all on other nodes: what asks for it here is dropped.
    case silent(UInt32)
    /// A pod of this node that may reach itself by a Service.
    case hairpin(IPAddress)
    /// A group whose clients come back to their endpoints, for so many seconds.
    case sticky(UInt32, seconds: Int)

    /// What a key leads to.
    public enum Value: Sendable, Hashable {
        case nothing
        case mark(UInt32)
        case endpoint(IPAddress, UInt16)
    }

    /// What the lower four bits of marks say.
    public enum Flag {
        /// Reached from outside of the cluster.
        public static let external: UInt32 = 0x1
        /// With `externalTrafficPolicy: Local`: clients outside are led to endpoints of this node alone.
        public static let split: UInt32 = 0x2
        /// Its clients must be of its source ranges.
        public static let ranged: UInt32 = 0x4
        /// In the mark of a group: the endpoints of this node alone.
        public static let local: UInt32 = 0x8
        static let all: UInt32 = 0xF
    }

    /// Of how many slots groups may be: 2 to 4 endpoints have 16, up to 16 have 64, and so on.
    public static let slotCounts: [UInt16] = [16, 64, 512, 4096]

    /// The set or map that it is an element of.
    public var set: String {
        switch self {
        case .front: "fronts"
        case .nodeFront: "node-fronts"
        case .endpoint: "endpoints-1"
        case .slot(_, _, let count): "endpoints-\(count)"
        case .address: "service-addresses"
        case .sourceRange: "source-ranges"
        case .unserved: "unserved"
        case .silent: "silent"
        case .hairpin: "hairpins"
        case .sticky(_, let seconds): Self.stickySet(seconds)
        }
    }

    static func stickySet(_ seconds: Int) -> String { "sticky-\(seconds)" }

    /// As nft writes the key.
    public var text: String {
        switch self {
        case .front(let address, let transport, let port): "\(address) . \(transport.rawValue) . \(port)"
        case .nodeFront(let transport, let port): "\(transport.rawValue) . \(port)"
        case .endpoint(let mark), .unserved(let mark), .silent(let mark), .sticky(let mark, _): Self.text(mark)
        case .slot(let mark, let slot, _): "\(Self.text(mark)) . \(slot)"
        case .address(let address): "\(address)"
        case .sourceRange(let address, let transport, let port, let range):
            "\(address) . \(transport.rawValue) . \(port) . \(range)"
        case .hairpin(let address): "\(address) . \(address)"
        }
    }

    private static func text(_ mark: UInt32) -> String {
        let digits = String(mark, radix: 16)
        return "0x" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
    }

    /// As the kernel keeps the key: parts begin at multiples of four bytes.
    public var bytes: [UInt8] {
        switch self {
        case .front(let address, let transport, let port):
            address.bytes + [transport.number, 0, 0, 0] + Self.bytes(port)
        case .nodeFront(let transport, let port): [transport.number, 0, 0, 0] + Self.bytes(port)
        case .endpoint(let mark), .unserved(let mark), .silent(let mark), .sticky(let mark, _): Self.bytes(mark)
        case .slot(let mark, let slot, _): Self.bytes(mark) + Self.bytes(UInt32(slot))
        case .address(let address): address.bytes
        case .sourceRange(let address, let transport, let port, let range):
            address.bytes + [transport.number, 0, 0, 0] + Self.bytes(port) + range.first.bytes
        case .hairpin(let address): address.bytes + address.bytes
        }
    }

    /// The last key of an interval.
    public var endBytes: [UInt8]? {
        guard case .sourceRange(let address, let transport, let port, let range) = self else { return nil }
        return address.bytes + [transport.number, 0, 0, 0] + Self.bytes(port) + range.last.bytes
    }

    /// Marks and numbers are in the machine's order.
    private static func bytes(_ number: UInt32) -> [UInt8] { withUnsafeBytes(of: number) { Array($0) } }
    private static func bytes(_ port: UInt16) -> [UInt8] { [UInt8(port >> 8), UInt8(port & 0xFF), 0, 0] }
}

extension ServiceElement.Value {
    /// As nft writes it; empty for none.
    public var text: String {
        switch self {
        case .nothing: ""
        case .mark(let mark): "0x" + String(mark, radix: 16)
        case .endpoint(let address, let port): "\(address) . \(port)"
        }
    }

    /// As the kernel keeps it.
    public var bytes: [UInt8]? {
        switch self {
        case .nothing: nil
        case .mark(let mark): withUnsafeBytes(of: mark) { Array($0) }
        case .endpoint(let address, let port): address.bytes + [UInt8(port >> 8), UInt8(port & 0xFF), 0, 0]
        }
    }

    /// The mark that a front leads to, without its flags.
    var number: UInt32? { if case .mark(let mark) = self { mark & ~ServiceElement.Flag.all } else { nil } }
}
