// SPDX-License-Identifier: Apache-2.0

import Values

/// Turns a message's bytes into the JSON that Kubernetes has for them, by the table.
struct MessageDecoder {
    private static let maximumDepth = 100
    private let table: MessageTable
    private var depth = 0

    init(_ table: MessageTable) { self.table = table }

    mutating func decode(_ bytes: ArraySlice<UInt8>, as message: String) throws(ProtobufError) -> JSON {
        if let scalar = try scalarMessage(bytes, message) { return scalar }
        guard let fields = table.fields(of: message) else { throw ProtobufError("message \(message) is not known") }
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.maximumDepth else {
            throw ProtobufError("messages are nested deeper than \(Self.maximumDepth) levels")
        }
        var result = JSONObject()
        var reader = WireReader(bytes)
        while let (number, value) = try reader.field() {
            guard let field = fields[number] else { continue }
            switch field.role {
            case .single: result[field.name] = try self.value(value, of: field, in: message)
            case .inlined:
                guard case .bytes(let inner) = value else { throw mismatch(field, message) }
                guard case .object(let members) = try decode(inner, as: field.type) else { continue }
                for (key, member) in members { result[key] = member }
            case .repeated: try append(value, of: field, in: message, to: &result)
            case .map:
                guard case .bytes(let entry) = value else { throw mismatch(field, message) }
                let (key, member) = try mapEntry(entry, of: field, in: message)
                var map = result.removeValue(forKey: field.name)?.object ?? JSONObject()
                map[key] = member
                result[field.name] = .object(map)
            }
        }
        result.removeAll(where: Self.isLeftOut)
        return .object(result)
    }

    /// The encoding carries the zero of every member that is not a pointer in Go; JSON leaves those out.
    private static func isLeftOut(_ member: JSONObject.Member) -> Bool {
        switch member.value {
        case .null: true
        case .string(""): !textPointers.contains(member.key)
        case .int(0): numbersWithoutZero.contains(member.key)
        case .bool(false): flagsWithoutFalse.contains(member.key)
        default: false
        }
    }

    /// Empty text in these says something else than nothing does.
    private static let textPointers: Set = [
        "storageClassName", "volumeAttributesClassName", "ingressClassName", "default", "example",
    ]
    private static let numbersWithoutZero: Set = [
        "hostPort", "nodePort", "healthCheckNodePort", "initialDelaySeconds", "timeoutSeconds", "periodSeconds",
        "successThreshold", "failureThreshold", "generation", "observedGeneration", "minReadySeconds",
    ]
    private static let flagsWithoutFalse: Set = [
        "hostNetwork", "hostPID", "hostIPC", "stdin", "stdinOnce", "tty", "readOnly", "publishNotReadyAddresses",
        "unschedulable", "paused",
    ]

    private func mismatch(_ field: MessageTable.Field, _ message: String) -> ProtobufError {
        ProtobufError("invalid protobuf: \(message).\(field.name) is no \(field.type)")
    }

    private mutating func append(
        _ value: WireReader.Value, of field: MessageTable.Field, in message: String, to result: inout JSONObject
    ) throws(ProtobufError) {
        var list = result.removeValue(forKey: field.name)?.array ?? []
        if case .bytes(let packed) = value, ["int32", "int64", "bool"].contains(field.type) {
            var reader = WireReader(packed)
            while !reader.isAtEnd { list.append(try self.value(.varint(try reader.varint()), of: field, in: message)) }
        } else {
            list.append(try self.value(value, of: field, in: message))
        }
        result[field.name] = .array(list)
    }

    private mutating func mapEntry(
        _ entry: ArraySlice<UInt8>, of field: MessageTable.Field, in message: String
    ) throws(ProtobufError) -> (String, JSON) {
        var reader = WireReader(entry)
        var key = ""
        var member: JSON?
        while let (number, value) = try reader.field() {
            if number == 1, case .bytes(let text) = value { key = try WireReader.text(text) }
            if number == 2 { member = try self.value(value, of: field, in: message) }
        }
        if let member { return (key, member) }
        let empty: JSON =
            switch field.type {
            case "string", "bytes": ""
            default: try decode([], as: field.type)
            }
        return (key, empty)
    }

    private mutating func value(
        _ value: WireReader.Value, of field: MessageTable.Field, in message: String
    ) throws(ProtobufError) -> JSON {
        switch (field.type, value) {
        case ("string", .bytes(let bytes)): return .string(try WireReader.text(bytes))
        case ("bytes", .bytes(let bytes)): return .string(Base64.text(bytes))
        case ("bool", .varint(let number)): return .bool(number != 0)
        case ("int32", .varint(let number)): return .int(Int64(Int32(truncatingIfNeeded: number)))
        case ("int64", .varint(let number)): return .int(Int64(bitPattern: number))
        case ("uint64", .varint(let number)), ("uint32", .varint(let number)): return .int(Int64(clamping: number))
        case ("double", .fixed64(let bits)):
            let number = Double(bitPattern: bits)
            guard number.isFinite else { throw ProtobufError("\(message).\(field.name) is not a finite number") }
            return .double(number)
        case (_, .bytes(let bytes)): return try decode(bytes, as: field.type)
        default: throw mismatch(field, message)
        }
    }

    // MARK: Messages that JSON writes as something other than an object

    private mutating func scalarMessage(_ bytes: ArraySlice<UInt8>, _ message: String) throws(ProtobufError) -> JSON? {
        switch message.split(separator: ".").last ?? "" {
        case "Quantity":
            return .string(try text(bytes, field: 1))
        case "IntOrString":
            return try intOrString(bytes)
        case "Time", "MicroTime":
            return try time(bytes, isMicro: message.hasSuffix("MicroTime"))
        case "FieldsV1", "RawExtension", "JSON":
            return try raw(bytes)
        case "Verbs", "ExtraValue":
            var items: [JSON] = []
            var reader = WireReader(bytes)
            while let (number, value) = try reader.field() {
                if number == 1, case .bytes(let text) = value { items.append(.string(try WireReader.text(text))) }
            }
            return .array(items)
        case "JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrStringArray":
            return try schemaOr(bytes, message)
        default: return nil
        }
    }

    private func text(_ bytes: ArraySlice<UInt8>, field wanted: Int) throws(ProtobufError) -> String {
        var result = ""
        var reader = WireReader(bytes)
        while let (number, value) = try reader.field() {
            if number == wanted, case .bytes(let text) = value { result = try WireReader.text(text) }
        }
        return result
    }

    private func intOrString(_ bytes: ArraySlice<UInt8>) throws(ProtobufError) -> JSON {
        var isText = false
        var number: Int64 = 0
        var text = ""
        var reader = WireReader(bytes)
        while let (field, value) = try reader.field() {
            switch (field, value) {
            case (1, .varint(let type)): isText = type == 1
            case (2, .varint(let value)): number = Int64(Int32(truncatingIfNeeded: value))
            case (3, .bytes(let value)): text = try WireReader.text(value)
            default: break
            }
        }
        return isText ? .string(text) : .int(number)
    }

    /// Null for the zero time, which JSON writes so.
    private func time(_ bytes: ArraySlice<UInt8>, isMicro: Bool) throws(ProtobufError) -> JSON {
        var seconds: Int64 = 0
        var nanoseconds: Int32 = 0
        var reader = WireReader(bytes)
        while let (field, value) = try reader.field() {
            guard case .varint(let number) = value else { continue }
            if field == 1 { seconds = Int64(bitPattern: number) }
            if field == 2 { nanoseconds = Int32(truncatingIfNeeded: number) }
        }
        // Years 1 to 9999 are what RFC 3339 can write; the first second of year 1 is Go's zero.
        guard !bytes.isEmpty, (-62_135_596_799...253_402_300_799).contains(seconds) else { return .null }
        let time = Timestamp(seconds: seconds, nanoseconds: nanoseconds)
        return .string(isMicro ? time.micro : time.description)
    }

    private func raw(_ bytes: ArraySlice<UInt8>) throws(ProtobufError) -> JSON {
        var reader = WireReader(bytes)
        while let (number, value) = try reader.field() {
            guard number == 1, case .bytes(let text) = value, !text.isEmpty else { continue }
            do { return try JSON(parsing: text) } catch {
                throw ProtobufError("a raw member of the message is not JSON: \(error)")
            }
        }
        return .null
    }

    private mutating func schemaOr(_ bytes: ArraySlice<UInt8>, _ message: String) throws(ProtobufError) -> JSON {
        let properties = (message.split(separator: ".").dropLast() + ["JSONSchemaProps"]).joined(separator: ".")
        var reader = WireReader(bytes)
        var list: [JSON] = []
        var schema: JSON?
        var allows: Bool?
        while let (number, value) = try reader.field() {
            switch (number, value) {
            case (1, .varint(let flag)): allows = flag != 0
            case (1, .bytes(let inner)): schema = try decode(inner, as: properties)
            case (2, .bytes(let inner)):
                if message.hasSuffix("StringArray") {
                    list.append(.string(try WireReader.text(inner)))
                } else if message.hasSuffix("Bool") {
                    schema = try decode(inner, as: properties)
                } else {
                    list.append(try decode(inner, as: properties))
                }
            default: break
            }
        }
        if let schema { return schema }
        return message.hasSuffix("Bool") ? .bool(allows ?? false) : .array(list)
    }
}
