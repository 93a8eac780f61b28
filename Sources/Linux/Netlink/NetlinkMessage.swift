// SPDX-License-Identifier: Apache-2.0
import CLinux
package import Values

/// Builds one netlink message: a header, a fixed part, and attributes whose lengths are filled in when they end.
package struct NetlinkMessage: Sendable {
    package private(set) var bytes: [UInt8]

    package init(type: Int, flags: Int32) {
        bytes = []
        bytes.reserveCapacity(256)
        append(UInt32(0))
        append(UInt16(truncatingIfNeeded: type))
        append(UInt16(truncatingIfNeeded: flags))
        append(UInt32(0))
        append(UInt32(0))
    }

    /// Appends a number in the machine's order.
    package mutating func append(_ number: some FixedWidthInteger) {
        withUnsafeBytes(of: number) { bytes.append(contentsOf: $0) }
    }

    /// Appends a C structure as it lies in memory.
    package mutating func append<T: BitwiseCopyable>(structure: T) {
        withUnsafeBytes(of: structure) { bytes.append(contentsOf: $0) }
        pad()
    }

    private mutating func pad() {
        while bytes.count % 4 != 0 { bytes.append(0) }
    }

    private mutating func setLength(at offset: Int) {
        let length = UInt16(truncatingIfNeeded: bytes.count - offset)
        withUnsafeBytes(of: length) { raw in
            bytes[offset] = raw[0]
            bytes[offset + 1] = raw[1]
        }
    }

    /// Appends an attribute whose content `body` writes.
    package mutating func attribute(_ type: Int, _ body: (inout NetlinkMessage) -> Void) {
        pad()
        let start = bytes.count
        append(UInt16(0))
        append(UInt16(truncatingIfNeeded: type))
        body(&self)
        setLength(at: start)
        pad()
    }

    /// Appends an attribute that has attributes inside.
    package mutating func nested(_ type: Int, _ body: (inout NetlinkMessage) -> Void) {
        attribute(type | Int(NLA_F_NESTED), body)
    }

    package mutating func attribute(_ type: Int, bytes content: some Collection<UInt8>) {
        attribute(type) { $0.bytes.append(contentsOf: content) }
    }

    package mutating func attribute(_ type: Int, number: some FixedWidthInteger) {
        attribute(type) { $0.append(number) }
    }

    /// Appends a number in network order.
    package mutating func attribute(_ type: Int, bigEndian number: some FixedWidthInteger) {
        attribute(type) { $0.append(number.bigEndian) }
    }

    package mutating func attribute(_ type: Int, string: String) {
        attribute(type, bytes: Array(string.utf8) + [0])
    }

    package mutating func attribute(_ type: Int, address: IPAddress) {
        attribute(type, bytes: address.bytes)
    }

    package mutating func attribute(_ type: Int, mac: MACAddress) {
        attribute(type, bytes: mac.bytes)
    }

    /// The message with its length and sequence number.
    package func finished(sequence: UInt32) -> [UInt8] {
        var result = bytes
        withUnsafeBytes(of: UInt32(truncatingIfNeeded: result.count)) { raw in
            for index in 0..<4 { result[index] = raw[index] }
        }
        withUnsafeBytes(of: sequence) { raw in
            for index in 0..<4 { result[8 + index] = raw[index] }
        }
        return result
    }
}

/// One message that came from the kernel.
package struct NetlinkReply: Sendable {
    package let type: Int
    package let flags: Int32
    package let sequence: UInt32
    package let payload: ArraySlice<UInt8>

    /// The messages of one datagram. What does not fit the lengths it states ends the list.
    package static func parse(_ bytes: [UInt8]) -> [NetlinkReply] {
        var result: [NetlinkReply] = []
        var offset = 0
        while bytes.count - offset >= 16 {
            guard let length = bytes[...].number(at: offset, as: UInt32.self).map({ Int($0) }), length >= 16,
                length <= bytes.count - offset,
                let type = bytes[...].number(at: offset + 4, as: UInt16.self),
                let flags = bytes[...].number(at: offset + 6, as: UInt16.self),
                let sequence = bytes[...].number(at: offset + 8, as: UInt32.self)
            else { break }
            result.append(
                NetlinkReply(
                    type: Int(type), flags: Int32(flags), sequence: sequence,
                    payload: bytes[(offset + 16)..<(offset + length)]))
            offset += (length + 3) & ~3
        }
        return result
    }

    /// A C structure at the start of the payload; nil when the payload is shorter.
    package func structure<T: BitwiseCopyable>(_ type: T.Type) -> T? {
        guard payload.count >= MemoryLayout<T>.size else { return nil }
        return payload.withUnsafeBytes { $0.loadUnaligned(as: T.self) }
    }

    /// The attributes after a structure of `size` bytes.
    package func attributes(after size: Int) -> NetlinkAttributes {
        NetlinkAttributes(payload.dropFirst((size + 3) & ~3))
    }
}

/// Attributes by type. Of several of one type the last counts.
package struct NetlinkAttributes: Sendable {
    private var values: [Int: ArraySlice<UInt8>] = [:]
    /// In the order they came.
    package private(set) var list: [(type: Int, value: ArraySlice<UInt8>)] = []

    package init(_ bytes: ArraySlice<UInt8>) {
        var offset = bytes.startIndex
        while bytes.endIndex - offset >= 4 {
            guard let length = bytes.number(at: offset, as: UInt16.self).map({ Int($0) }),
                let type = bytes.number(at: offset + 2, as: UInt16.self), length >= 4,
                length <= bytes.endIndex - offset
            else { break }
            let value = bytes[(offset + 4)..<(offset + length)]
            let plain = Int(type) & 0x3FFF
            values[plain] = value
            list.append((plain, value))
            offset += (length + 3) & ~3
            if offset > bytes.endIndex { break }
        }
    }

    package subscript(type: Int) -> ArraySlice<UInt8>? { values[type] }

    package func number<T: FixedWidthInteger>(_ type: Int, as kind: T.Type = T.self) -> T? {
        values[type].flatMap { $0.number(at: $0.startIndex, as: kind) }
    }

    package func string(_ type: Int) -> String? {
        values[type].map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    package func address(_ type: Int) -> IPAddress? { values[type].flatMap { IPAddress(bytes: $0) } }

    package func mac(_ type: Int) -> MACAddress? { values[type].flatMap { MACAddress(bytes: $0) } }

    package func nested(_ type: Int) -> NetlinkAttributes? { values[type].map { NetlinkAttributes($0) } }
}

extension ArraySlice where Element == UInt8 {
    /// A number in the machine's order at an index of this slice; nil when it does not fit in.
    func number<T: FixedWidthInteger>(at index: Int, as type: T.Type) -> T? {
        guard index >= startIndex, endIndex - index >= MemoryLayout<T>.size else { return nil }
        let offset = index - startIndex
        return withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: type) }
    }
}
