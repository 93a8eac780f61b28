// SPDX-License-Identifier: Apache-2.0

/// The bytes ended before what was to be read from them.
public struct OutOfBytes: Error, Hashable, Sendable, CustomStringConvertible {
    public let offset: Int
    public let wanted: Int
    public var description: String { "\(wanted) more byte(s) expected at offset \(offset)" }
}

/// A cursor over bytes from outside: each read checks the bounds and throws rather than traps.
public struct ByteReader: Sendable {
    public let bytes: [UInt8]
    /// From 0 to `bytes.count`.
    public private(set) var offset: Int

    public init(_ bytes: [UInt8], offset: Int = 0) {
        self.bytes = bytes
        self.offset = min(max(offset, 0), bytes.count)
    }

    public var remaining: Int { bytes.count - offset }
    public var isAtEnd: Bool { remaining == 0 }

    private mutating func advance(_ count: Int) throws(OutOfBytes) -> Int {
        guard count >= 0, count <= remaining else { throw OutOfBytes(offset: offset, wanted: count) }
        defer { offset += count }
        return offset
    }

    public mutating func skip(_ count: Int) throws(OutOfBytes) { _ = try advance(count) }

    /// Moves to `offset`, counted from the start.
    public mutating func seek(to offset: Int) throws(OutOfBytes) {
        guard (0...bytes.count).contains(offset) else { throw OutOfBytes(offset: offset, wanted: 0) }
        self.offset = offset
    }

    public mutating func read(_ count: Int) throws(OutOfBytes) -> ArraySlice<UInt8> {
        let start = try advance(count)
        return bytes[start..<start + count]
    }

    /// A number in network order.
    public mutating func bigEndian<Number: FixedWidthInteger & UnsignedInteger>(
        _ type: Number.Type = Number.self
    ) throws(OutOfBytes) -> Number {
        let start = try advance(Number.bitWidth / 8)
        var value: Number = 0
        for index in 0..<Number.bitWidth / 8 { value = (value << 8) | Number(bytes[start + index]) }
        return value
    }

    /// A number in little-endian order.
    public mutating func littleEndian<Number: FixedWidthInteger & UnsignedInteger>(
        _ type: Number.Type = Number.self
    ) throws(OutOfBytes) -> Number {
        try bigEndian(type).byteSwapped
    }

    public mutating func byte() throws(OutOfBytes) -> UInt8 { bytes[try advance(1)] }
}

extension Array where Element == UInt8 {
    /// Appends a number in network order.
    public mutating func appendBigEndian<Number: FixedWidthInteger>(_ number: Number) {
        Swift.withUnsafeBytes(of: number.bigEndian) { append(contentsOf: $0) }
    }

    /// Appends a number in little-endian order.
    public mutating func appendLittleEndian<Number: FixedWidthInteger>(_ number: Number) {
        Swift.withUnsafeBytes(of: number.littleEndian) { append(contentsOf: $0) }
    }
}
