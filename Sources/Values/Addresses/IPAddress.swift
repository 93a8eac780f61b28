// SPDX-License-Identifier: Apache-2.0

public enum IPFamily: String, Sendable, Hashable, CaseIterable {
    case v4 = "IPv4"
    case v6 = "IPv6"

    /// The length of an address, in bits.
    public var bitWidth: Int { self == .v4 ? 32 : 128 }

    var mask: UInt128 { self == .v4 ? UInt128(UInt32.max) : .max }
}

/// An IPv4 or IPv6 address.
public struct IPAddress: Sendable, Hashable {
    public let family: IPFamily
    /// The address as a number; of IPv4 only the lower 32 bits are used.
    public let bits: UInt128

    /// `bits` beyond the family's width are cut off.
    public init(_ family: IPFamily, _ bits: UInt128) {
        self.family = family
        self.bits = bits & family.mask
    }

    public init(v4 bits: UInt32) { self.init(.v4, UInt128(bits)) }

    public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) {
        self.init(v4: UInt32(a) << 24 | UInt32(b) << 16 | UInt32(c) << 8 | UInt32(d))
    }

    /// From 4 or 16 bytes in network order; nil for any other count.
    public init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.init(bytes.count == 4 ? .v4 : .v6, bytes.reduce(UInt128(0)) { $0 << 8 | UInt128($1) })
    }

    /// 4 or 16 bytes in network order.
    public var bytes: [UInt8] {
        let count = family.bitWidth / 8
        return (0..<count).map { UInt8(truncatingIfNeeded: bits >> UInt128(8 * (count - 1 - $0))) }
    }

    /// The lower 32 bits: the whole of an IPv4 address.
    public var v4Bits: UInt32 { UInt32(truncatingIfNeeded: bits) }

    /// The address `distance` further on; nil when the family's range ends before.
    public func advanced(by distance: UInt128) -> IPAddress? {
        let (sum, overflow) = bits.addingReportingOverflow(distance)
        return overflow || sum > family.mask ? nil : IPAddress(family, sum)
    }
}

extension IPAddress: Comparable {
    /// IPv4 before IPv6, then by number.
    public static func < (left: IPAddress, right: IPAddress) -> Bool {
        left.family == right.family ? left.bits < right.bits : left.family == .v4
    }
}

extension IPAddress: LosslessStringConvertible {
    /// Reads dotted decimal without leading zeros (RFC 6943 section 3.1.1's strict form), or RFC 4291 text.
    public init?(_ text: some StringProtocol) {
        if text.utf8.contains(UInt8(ascii: ":")) {
            guard let bits = Self.parseV6(text) else { return nil }
            self.init(.v6, bits)
        } else {
            guard let bits = Self.parseV4(text) else { return nil }
            self.init(v4: bits)
        }
    }

    /// Dotted decimal, or RFC 5952's canonical text.
    public var description: String {
        guard family == .v6 else { return bytes.map { String($0) }.joined(separator: ".") }
        if bits >> 32 == 0xFFFF { return "::ffff:\(IPAddress(v4: v4Bits))" }
        let groups = (0..<8).map { UInt16(truncatingIfNeeded: bits >> UInt128(16 * (7 - $0))) }
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, groups[end] == 0 { end += 1 }
            if end - start > best.count, end - start > 1 { best = start..<end }
            start = max(end, start + 1)
        }
        let hex = { (range: Range<Int>) in range.map { String(groups[$0], radix: 16) }.joined(separator: ":") }
        return best.isEmpty ? hex(0..<8) : "\(hex(0..<best.lowerBound))::\(hex(best.upperBound..<8))"
    }

    private static func parseV4(_ text: some StringProtocol) -> UInt32? {
        var result: UInt32 = 0
        var parts = 0
        for part in text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
            guard (1...3).contains(part.count), part.count == 1 || part.first != 0x30 else { return nil }
            var octet: UInt32 = 0
            for byte in part {
                guard (0x30...0x39).contains(byte) else { return nil }
                octet = octet * 10 + UInt32(byte - 0x30)
            }
            guard octet < 256, parts < 4 else { return nil }
            result = result << 8 | octet
            parts += 1
        }
        return parts == 4 ? result : nil
    }

    private static func parseV6(_ text: some StringProtocol) -> UInt128? {
        guard text.utf8.count <= 45 else { return nil }
        let text = String(text)
        let halves = text.split(separator: "::", maxSplits: 2, omittingEmptySubsequences: false)
        guard halves.count <= 2 else { return nil }
        func groups(_ half: Substring, last: Bool) -> [UInt16]? {
            if half.isEmpty { return [] }
            var result: [UInt16] = []
            let parts = half.split(separator: ":", omittingEmptySubsequences: false)
            for (index, part) in parts.enumerated() {
                if last, index == parts.count - 1, part.contains(".") {
                    guard let v4 = parseV4(part) else { return nil }
                    result += [UInt16(truncatingIfNeeded: v4 >> 16), UInt16(truncatingIfNeeded: v4)]
                } else {
                    guard (1...4).contains(part.utf8.count), part.utf8.allSatisfy({ isHexDigit($0) }),
                        let group = UInt16(part, radix: 16)
                    else { return nil }
                    result.append(group)
                }
            }
            return result
        }
        guard let head = groups(halves[0], last: halves.count == 1) else { return nil }
        var all = head
        if halves.count == 2 {
            guard let tail = groups(halves[1], last: true), head.count + tail.count <= 7 else { return nil }
            all += Array(repeating: 0, count: 8 - head.count - tail.count) + tail
        }
        guard all.count == 8 else { return nil }
        return all.reduce(UInt128(0)) { $0 << 16 | UInt128($1) }
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte | 0x20)
    }
}
