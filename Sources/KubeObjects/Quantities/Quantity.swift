// SPDX-License-Identifier: Apache-2.0

/// An amount of a resource: `100m`, `1.5`, `128Mi`, `2e3`.
///
/// It is kept as a whole number of billionths, which is what Kubernetes keeps at least; finer fractions are
/// rounded up.
public struct Quantity: Sendable, Hashable {
    public enum Format: Sendable, Hashable { case decimal, binary, exponent }

    /// The amount times 10^9.
    public let nano: Int128
    /// How the text is written; amounts of different formats may be equal.
    public let format: Format

    private static let unit: Int128 = 1_000_000_000

    public init(nano: Int128, format: Format = .decimal) {
        self.nano = nano
        self.format = format
    }

    public init(_ value: Int64) { self.init(nano: Int128(value) * Self.unit) }
    public init(milli: Int64) { self.init(nano: Int128(milli) * 1_000_000) }
    /// An amount of bytes, written with Ki, Mi and so on.
    public init(bytes: Int64) { self.init(nano: Int128(bytes) * Self.unit, format: .binary) }

    public static let zero = Quantity(0)

    public static func == (left: Quantity, right: Quantity) -> Bool { left.nano == right.nano }
    public func hash(into hasher: inout Hasher) { hasher.combine(nano) }

    /// Whole units, rounded up; clamped to what fits.
    public var value: Int64 { Self.roundedUp(nano, Self.unit) }
    /// Thousandths, rounded up; clamped to what fits.
    public var milliValue: Int64 { Self.roundedUp(nano, 1_000_000) }
    public var double: Double { Double(nano) / 1e9 }
    public var isZero: Bool { nano == 0 }

    private static func roundedUp(_ nano: Int128, _ divisor: Int128) -> Int64 {
        let (quotient, remainder) = nano.quotientAndRemainder(dividingBy: divisor)
        return Int64(clamping: remainder > 0 ? quotient + 1 : quotient)
    }
}

extension Quantity: Comparable {
    public static func < (left: Quantity, right: Quantity) -> Bool { left.nano < right.nano }

    /// Sums keep the format of the first that is not zero, and stay within what is representable.
    public static func + (left: Quantity, right: Quantity) -> Quantity {
        let (sum, overflow) = left.nano.addingReportingOverflow(right.nano)
        return Quantity(
            nano: overflow ? (left.nano > 0 ? limit : -limit) : min(max(sum, -limit), limit),
            format: left.isZero ? right.format : left.format)
    }

    public static func - (left: Quantity, right: Quantity) -> Quantity {
        left + Quantity(nano: -right.nano, format: right.format)
    }
    public static func += (left: inout Quantity, right: Quantity) { left = left + right }
    public static func -= (left: inout Quantity, right: Quantity) { left = left - right }

    private static let limit = Int128(Int64.max) * unit
}

extension Quantity: LosslessStringConvertible {
    private static let binarySuffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
    private static let decimalSuffixes: [(text: String, power: Int)] = [
        ("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18),
    ]

    /// Nil for text that is no quantity. Amounts beyond 2^63-1 are cut to it, as Kubernetes does.
    public init?(_ text: some StringProtocol) {
        let bytes = Array(text.utf8)
        guard bytes.count <= 64 else { return nil }
        var offset = 0
        var negative = false
        if let sign = bytes.first, sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") {
            negative = sign == UInt8(ascii: "-")
            offset = 1
        }
        var digits: [UInt8] = []
        var fractionDigits = 0
        var seenPoint = false
        var seenDigit = false
        while offset < bytes.count {
            if (0x30...0x39).contains(bytes[offset]) {
                seenDigit = true
                if seenPoint { fractionDigits += 1 }
                digits.append(bytes[offset] - 0x30)
            } else if bytes[offset] == UInt8(ascii: "."), !seenPoint {
                seenPoint = true
            } else {
                break
            }
            offset += 1
        }
        guard seenDigit else { return nil }
        let suffix = String(decoding: bytes[offset...], as: UTF8.self)
        var power = 0
        var shift = 0
        let format: Format
        if let index = Self.binarySuffixes.firstIndex(of: suffix), index > 0 {
            shift = index * 10
            format = .binary
        } else if let found = Self.decimalSuffixes.first(where: { $0.text == suffix }) {
            power = found.power
            format = .decimal
        } else if let first = suffix.utf8.first, first | 0x20 == UInt8(ascii: "e"),
            let exponent = Int(suffix.dropFirst()), (-40...40).contains(exponent)
        {
            power = exponent
            format = .exponent
        } else {
            return nil
        }
        guard let magnitude = Self.scaled(digits, power: power - fractionDigits + 9, shift: shift) else { return nil }
        let clamped = min(magnitude, Self.limit)
        self.init(nano: negative ? -clamped : clamped, format: format)
    }

    /// digits × 10^power × 2^shift, rounded up; cut where it would not fit.
    private static func scaled(_ digits: [UInt8], power: Int, shift: Int) -> Int128? {
        let ceiling = Int128.max / 16
        var value: Int128 = 0
        var dropped = 0
        var lost = false
        for digit in digits {
            if value < ceiling >> 64 {
                value = value * 10 + Int128(digit)
            } else {
                dropped += 1
                if digit != 0 { lost = true }
            }
        }
        var power = power + dropped
        if value == 0 { return lost ? 1 : 0 }
        for _ in 0..<shift {
            if value > ceiling { return ceiling }
            value *= 2
        }
        while power > 0 {
            if value > ceiling { return ceiling }
            value *= 10
            power -= 1
        }
        while power < 0, value > 0 {
            if value % 10 != 0 { lost = true }
            value /= 10
            power += 1
        }
        return lost ? value + 1 : value
    }

    /// The canonical text: no fraction, the largest suffix that keeps the amount whole.
    public var description: String {
        if nano == 0 { return "0" }
        let magnitude = nano.magnitude
        let sign = nano < 0 ? "-" : ""
        let one = UInt128(Self.unit)
        if format == .binary, magnitude % one == 0, magnitude / one >= 1024 || magnitude / one < 1000 {
            var amount = magnitude / one
            var index = 0
            while index + 1 < Self.binarySuffixes.count, amount % 1024 == 0 {
                amount /= 1024
                index += 1
            }
            return "\(sign)\(amount)\(Self.binarySuffixes[index])"
        }
        var amount = magnitude
        var index = 0
        while index + 1 < Self.decimalSuffixes.count, amount % 1000 == 0 {
            amount /= 1000
            index += 1
        }
        if format == .exponent {
            let power = Self.decimalSuffixes[index].power
            return power == 0 ? "\(sign)\(amount)" : "\(sign)\(amount)e\(power)"
        }
        if format == .binary, magnitude % one == 0 { return "\(sign)\(magnitude / one)" }
        return "\(sign)\(amount)\(Self.decimalSuffixes[index].text)"
    }
}
