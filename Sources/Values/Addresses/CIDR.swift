// SPDX-License-Identifier: Apache-2.0

/// An address with a prefix length. The address may have host bits; `network` is the same without them.
public struct CIDR: Sendable, Hashable {
    public let address: IPAddress
    /// 0 to 32 for IPv4, 0 to 128 for IPv6.
    public let prefixLength: Int

    /// Nil when the prefix length does not fit the family.
    public init?(_ address: IPAddress, _ prefixLength: Int) {
        guard (0...address.family.bitWidth).contains(prefixLength) else { return nil }
        self.address = address
        self.prefixLength = prefixLength
    }

    /// The network of one address: /32 or /128.
    public init(host address: IPAddress) {
        self.address = address
        prefixLength = address.family.bitWidth
    }

    public var family: IPFamily { address.family }
    /// How many bits follow the prefix.
    public var hostBits: Int { family.bitWidth - prefixLength }

    private var hostMask: UInt128 { hostBits == 128 ? .max : (UInt128(1) << UInt128(hostBits)) - 1 }

    public var first: IPAddress { IPAddress(family, address.bits & ~hostMask) }
    public var last: IPAddress { IPAddress(family, address.bits | hostMask) }
    public var hasHostBits: Bool { address.bits & hostMask != 0 }
    public var netmask: IPAddress { IPAddress(family, ~hostMask) }

    /// The same network with its host bits cleared.
    public var network: CIDR { CIDR(unchecked: first, prefixLength) }

    private init(unchecked address: IPAddress, _ prefixLength: Int) {
        self.address = address
        self.prefixLength = prefixLength
    }

    /// How many addresses it has; of ::/0 one fewer, so that the number fits.
    public var count: UInt128 { hostBits == 128 ? .max : UInt128(1) << UInt128(hostBits) }

    public func contains(_ address: IPAddress) -> Bool {
        address.family == family && address.bits & ~hostMask == first.bits
    }

    public func contains(_ other: CIDR) -> Bool {
        other.prefixLength >= prefixLength && contains(other.address)
    }

    public func overlaps(_ other: CIDR) -> Bool { contains(other) || other.contains(self) }

    /// The address at `offset` from the first; nil when the network ends before.
    public subscript(offset: UInt128) -> IPAddress? {
        offset <= hostMask ? first.advanced(by: offset) : nil
    }

    /// The networks of `length` that make this one up, in order; empty when `length` is shorter than its prefix.
    public func subnets(ofPrefixLength length: Int) -> UnfoldSequence<CIDR, IPAddress?> {
        let usable = (prefixLength...family.bitWidth).contains(length)
        let step = UInt128(1) << UInt128(usable ? min(family.bitWidth - length, 127) : 0)
        let end = last
        return sequence(state: usable ? first : nil) { next in
            guard let current = next, current <= end else { return nil }
            next = current.advanced(by: step)
            return CIDR(current, length)
        }
    }
}

extension CIDR: LosslessStringConvertible {
    /// Reads `10.244.0.0/16`; host bits are kept, a missing prefix length is an error.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let address = IPAddress(parts[0]), (1...3).contains(parts[1].utf8.count),
            parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let length = Int(parts[1])
        else { return nil }
        self.init(address, length)
    }

    public var description: String { "\(address)/\(prefixLength)" }
}

extension CIDR: Comparable {
    /// By first address, the wider network first.
    public static func < (left: CIDR, right: CIDR) -> Bool {
        left.address == right.address ? left.prefixLength < right.prefixLength : left.address < right.address
    }
}
