// SPDX-License-Identifier: Apache-2.0

extension JSON {
    /// The same with the members of all its objects in the order of their keys.
    public var withSortedKeys: JSON {
        switch self {
        case .object(let object):
            .object(JSONObject(object.members.sorted { $0.key < $1.key }.map { ($0.key, $0.value.withSortedKeys) }))
        case .array(let elements): .array(elements.map(\.withSortedKeys))
        default: self
        }
    }

    /// The value as UTF-8 text: compact, or with `indent` spaces a level and a line a member.
    public func serialized(indent: Int? = nil, sortedKeys: Bool = false) -> [UInt8] {
        var writer = JSONWriter(indent: indent, sortedKeys: sortedKeys)
        writer.write(self)
        return writer.bytes
    }

    public func text(indent: Int? = nil, sortedKeys: Bool = false) -> String {
        String(decoding: serialized(indent: indent, sortedKeys: sortedKeys), as: UTF8.self)
    }
}

extension JSON: CustomStringConvertible {
    public var description: String { text() }
}

/// Appends JSON text to a buffer of bytes.
public struct JSONWriter {
    public private(set) var bytes: [UInt8] = []
    private let indent: Int?
    private let sortedKeys: Bool
    private var level = 0

    public init(indent: Int? = nil, sortedKeys: Bool = false) {
        self.indent = indent
        self.sortedKeys = sortedKeys
        bytes.reserveCapacity(512)
    }

    public mutating func write(_ value: JSON) {
        switch value {
        case .null: literal("null")
        case .bool(let flag): literal(flag ? "true" : "false")
        case .int(let number): integer(number)
        case .double(let number): double(number)
        case .string(let text): string(text)
        case .array(let elements):
            list("[", "]", elements.count) { writer, index in writer.write(elements[index]) }
        case .object(let object):
            let members = sortedKeys ? object.members.sorted { $0.key < $1.key } : object.members
            list("{", "}", members.count) { writer, index in
                writer.string(members[index].key)
                writer.literal(writer.indent == nil ? ":" : ": ")
                writer.write(members[index].value)
            }
        }
    }

    private mutating func list(
        _ open: StaticString, _ close: StaticString, _ count: Int, _ element: (inout JSONWriter, Int) -> Void
    ) {
        literal(open)
        level += 1
        for index in 0..<count {
            if index > 0 { literal(",") }
            newline()
            element(&self, index)
        }
        level -= 1
        if count > 0 { newline() }
        literal(close)
    }

    private mutating func newline() {
        guard let indent else { return }
        bytes.append(0x0A)
        bytes.append(contentsOf: repeatElement(0x20, count: indent * level))
    }

    private mutating func literal(_ text: StaticString) {
        bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    private mutating func integer(_ number: Int64) {
        if (0...9).contains(number) {
            bytes.append(0x30 + UInt8(number))
        } else {
            bytes.append(contentsOf: String(number).utf8)
        }
    }

    private mutating func double(_ number: Double) {
        guard number.isFinite else { return literal("null") }
        if number == number.rounded(), number.magnitude < 1e15 {
            integer(Int64(number))
        } else {
            bytes.append(contentsOf: number.description.utf8)
        }
    }

    /// Writes a quoted string with what must be escaped escaped.
    public mutating func string(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        var text = text
        text.withUTF8 { utf8 in
            var clean = 0
            for index in utf8.indices {
                let byte = utf8[index]
                guard byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") else { continue }
                bytes.append(contentsOf: UnsafeBufferPointer(rebasing: utf8[clean..<index]))
                clean = index + 1
                switch byte {
                case 0x0A: bytes.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "n")])
                case 0x0D: bytes.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "r")])
                case 0x09: bytes.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "t")])
                case 0..<0x20:
                    let digits = Array("0123456789abcdef".utf8)
                    bytes.append(contentsOf: Array("\\u00".utf8))
                    bytes.append(digits[Int(byte >> 4)])
                    bytes.append(digits[Int(byte & 15)])
                default: bytes.append(contentsOf: [UInt8(ascii: "\\"), byte])
                }
            }
            bytes.append(contentsOf: UnsafeBufferPointer(rebasing: utf8[clean...]))
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
