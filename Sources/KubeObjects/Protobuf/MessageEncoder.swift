// SPDX-License-Identifier: Apache-2.0

import Values

/// Writes JSON as the message that Kubernetes has for it.
///
/// A member is written when the JSON has it, in the order of the fields' numbers, entries of maps in the order of their
/// keys: equal objects have equal bytes. Go's encoder writes the zero of each field that is no pointer as well; whoever
/// reads the message finds the same zero in a field that is missing, so nothing is lost by leaving it out. What a
/// message has no field for, and what is not of the field's type, cannot be said in it and is left out.
struct MessageEncoder {
    private let layouts: [MessagePlan.Layout]
    private(set) var bytes: [UInt8] = []

    init(_ plan: MessagePlan) { layouts = plan.layouts }

    /// The fields of the plan's first message.
    mutating func encode(_ value: JSON) { message(value, 0) }

    // MARK: Messages

    private mutating func message(_ value: JSON, _ place: Int) {
        switch layouts[place].form {
        case .fields: if case .object(let object) = value { fields(of: object, place) }
        case .quantity: quantity(value)
        case .intOrString: intOrString(value)
        case .time: time(value, isMicro: false)
        case .microTime: time(value, isMicro: true)
        case .raw: if !value.isNull { self.value(bytes: value.serialized(), key: 1 << 3 | 2) }
        case .items: texts(value, key: 1 << 3 | 2)
        case .schemaOrList(let schema):
            if case .array(let elements) = value {
                for element in elements { nested(element, schema, key: 2 << 3 | 2) }
            } else {
                nested(value, schema, key: 1 << 3 | 2)
            }
        case .schemaOrFlag(let schema):
            varint(1 << 3)
            varint(value == .bool(false) ? 0 : 1)
            if case .object = value { nested(value, schema, key: 2 << 3 | 2) }
        case .schemaOrTexts(let schema):
            if case .object = value { nested(value, schema, key: 1 << 3 | 2) } else { texts(value, key: 2 << 3 | 2) }
        }
    }

    private mutating func fields(of object: JSONObject, _ place: Int) {
        let count = layouts[place].fields.count
        // Which member each field stands for, counted from 1.
        withUnsafeTemporaryAllocation(of: Int.self, capacity: count) { members in
            members.initialize(repeating: 0)
            for (index, member) in object.members.enumerated() where !member.value.isNull {
                if let field = layouts[place].byMember[member.key] { members[field] = index + 1 }
            }
            for index in 0..<count where members[index] > 0 {
                let field = layouts[place].fields[index]
                if field.role == .inlined, case .message(let inner) = field.kind {
                    nested(.object(object), inner, key: field.key)
                } else {
                    write(object.members[members[index] - 1].value, field)
                }
            }
        }
    }

    private mutating func write(_ value: JSON, _ field: MessagePlan.Field) {
        switch field.role {
        case .single, .inlined: single(value, field.kind, key: field.key)
        case .repeated:
            guard case .array(let elements) = value else { return }
            for element in elements { single(element, field.kind, key: field.key) }
        case .map:
            guard case .object(let entries) = value else { return }
            let key = field.number << 3 | 2
            for (name, member) in entries.members.sorted(by: { Self.precedes($0.key, $1.key) }) {
                delimited(key: key) { encoder in
                    encoder.text(name, key: 1 << 3 | 2)
                    encoder.single(member, field.kind, key: MessagePlan.Field.valueKey(field.kind))
                }
            }
        }
    }

    /// As Go sorts text: by its bytes.
    private static func precedes(_ left: String, _ right: String) -> Bool {
        left.utf8.lexicographicallyPrecedes(right.utf8)
    }

    private mutating func single(_ value: JSON, _ kind: MessagePlan.Kind, key: UInt64) {
        switch kind {
        case .string: if case .string(let text) = value { self.text(text, key: key) }
        case .bytes: if case .string(let text) = value { self.value(bytes: Base64.bytes(text) ?? [], key: key) }
        case .bool: if case .bool(let flag) = value { number(flag ? 1 : 0, key: key) }
        case .integer: if let integer = value.int { number(UInt64(bitPattern: Int64(integer)), key: key) }
        case .double:
            guard let double = value.double else { return }
            varint(key)
            bytes.appendLittleEndian(double.bitPattern)
        case .message(let place): nested(value, place, key: key)
        }
    }

    private mutating func nested(_ value: JSON, _ place: Int, key: UInt64) {
        delimited(key: key) { $0.message(value, place) }
    }

    // MARK: Messages that JSON writes as something other than an object

    private mutating func quantity(_ value: JSON) {
        switch value {
        case .string(let text): self.text(text, key: 1 << 3 | 2)
        case .int, .double: text(value.text(), key: 1 << 3 | 2)
        default: break
        }
    }

    /// All three fields, as Go writes them: which of the values counts, then both.
    private mutating func intOrString(_ value: JSON) {
        let text = value.string
        number(text == nil ? 0 : 1, key: 1 << 3)
        number(UInt64(bitPattern: Int64(value.int ?? 0)), key: 2 << 3)
        self.text(text ?? "", key: 3 << 3 | 2)
    }

    /// Seconds since 1970 and nanoseconds, also where they are 0: an empty message is Go's zero time. `Time` has whole
    /// seconds, `MicroTime` whole microseconds.
    private mutating func time(_ value: JSON, isMicro: Bool) {
        guard let time = value.string.flatMap({ Timestamp($0) }) else { return }
        number(UInt64(bitPattern: time.seconds), key: 1 << 3)
        number(isMicro ? UInt64(time.nanoseconds / 1000 * 1000) : 0, key: 2 << 3)
    }

    private mutating func texts(_ value: JSON, key: UInt64) {
        for element in value.array ?? [] { if case .string(let text) = element { self.text(text, key: key) } }
    }

    // MARK: The wire

    private mutating func number(_ value: UInt64, key: UInt64) {
        varint(key)
        varint(value)
    }

    private mutating func text(_ text: String, key: UInt64) {
        varint(key)
        varint(UInt64(text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }

    private mutating func value(bytes value: [UInt8], key: UInt64) {
        varint(key)
        varint(UInt64(value.count))
        bytes.append(contentsOf: value)
    }

    private mutating func varint(_ value: UInt64) { bytes.appendVarint(value) }

    /// Most messages are short: a byte is left for the length, and more are put in where it was not enough.
    private mutating func delimited(key: UInt64, _ content: (inout MessageEncoder) -> Void) {
        varint(key)
        let place = bytes.count
        bytes.append(0)
        content(&self)
        let length = bytes.count - place - 1
        guard length >= 0x80 else { return bytes[place] = UInt8(length) }
        var prefix: [UInt8] = []
        prefix.appendVarint(UInt64(length))
        bytes.replaceSubrange(place...place, with: prefix)
    }
}

extension MessagePlan.Field {
    /// The key of the value in an entry of a map, whose number is 2.
    static func valueKey(_ kind: MessagePlan.Kind) -> UInt64 {
        MessagePlan.Field(number: 2, kind: kind, role: .single).key
    }
}

extension [UInt8] {
    /// Appends a number in protobuf's base 128, lowest bits first.
    mutating func appendVarint(_ number: UInt64) {
        var rest = number
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(truncatingIfNeeded: rest))
    }
}
