// SPDX-License-Identifier: Apache-2.0

import Values

/// Writes an OpenAPI 2 document as the protobuf message that gnostic defines for it (`openapi.v2.Document`).
///
/// Only the members that Catbird's documents have are known; the numbers are those of gnostic's OpenAPIv2.proto.
enum GnosticWriter {
    static func document(_ document: JSON) -> [UInt8] {
        var writer = WireWriter()
        writer.text(1, document["swagger"].string)
        writer.message(2) { info in
            info.text(1, document["info"]["title"].string)
            info.text(2, document["info"]["version"].string)
        }
        writer.message(8) { paths in
            for (path, item) in document["paths"].object ?? [:] {
                paths.message(2) { entry in
                    entry.text(1, path)
                    entry.message(2) { pathItem(&$0, item) }
                }
            }
        }
        writer.message(9) { definitions in
            for (name, definition) in document["definitions"].object ?? [:] {
                definitions.message(1) { named(&$0, name, definition) }
            }
        }
        return writer.bytes
    }

    private static let methods = ["get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8]

    private static func pathItem(_ writer: inout WireWriter, _ item: JSON) {
        for (method, operation) in item.object ?? [:] {
            guard let number = methods[method] else { continue }
            writer.message(number) { writer in
                for type in operation["produces"].array ?? [] { writer.text(6, type.string) }
                for type in operation["consumes"].array ?? [] { writer.text(7, type.string) }
                for parameter in operation["parameters"].array ?? [] {
                    // Item, parameter, not a body, in the query.
                    writer.message(8) { $0.message(1) { $0.message(2) { $0.message(3) { query(&$0, parameter) } } } }
                }
                writer.message(9) { responses in
                    for (code, response) in operation["responses"].object ?? [:] {
                        responses.message(1) { entry in
                            entry.text(1, code)
                            entry.message(2) { $0.message(1) { $0.text(1, response["description"].string) } }
                        }
                    }
                }
                extensions(&writer, 13, operation)
            }
        }
    }

    private static func query(_ writer: inout WireWriter, _ parameter: JSON) {
        writer.text(2, parameter["in"].string)
        writer.text(4, parameter["name"].string)
        writer.text(6, parameter["type"].string)
        writer.flag(20, parameter["uniqueItems"].bool)
    }

    private static func named(_ writer: inout WireWriter, _ name: String, _ value: JSON) {
        writer.text(1, name)
        writer.message(2) { schema(&$0, value) }
    }

    private static func schema(_ writer: inout WireWriter, _ schema: JSON) {
        writer.text(1, schema["$ref"].string)
        writer.text(2, schema["format"].string)
        writer.any(5, schema["default"])
        writer.number(7, schema["maximum"].double)
        writer.flag(8, schema["exclusiveMaximum"].bool)
        writer.number(9, schema["minimum"].double)
        writer.flag(10, schema["exclusiveMinimum"].bool)
        writer.integer(11, schema["maxLength"].int)
        writer.integer(12, schema["minLength"].int)
        writer.text(13, schema["pattern"].string)
        writer.integer(14, schema["maxItems"].int)
        writer.integer(15, schema["minItems"].int)
        for name in schema["required"].array ?? [] { writer.text(19, name.string) }
        for value in schema["enum"].array ?? [] { writer.any(20, value) }
        if let values = schema["additionalProperties"] {
            writer.message(21) { item in
                if let flag = values.bool { item.flag(2, flag) } else { item.message(1) { self.schema(&$0, values) } }
            }
        }
        if let type = schema["type"].string { writer.message(22) { $0.text(1, type) } }
        if let items = schema["items"] { writer.message(23) { $0.message(1) { self.schema(&$0, items) } } }
        if let members = schema["properties"].object {
            writer.message(25) { properties in
                for (name, member) in members { properties.message(1) { named(&$0, name, member) } }
            }
        }
        extensions(&writer, 31, schema)
    }

    private static func extensions(_ writer: inout WireWriter, _ number: Int, _ value: JSON) {
        for (name, member) in value.object ?? [:] where name.hasPrefix("x-") {
            writer.message(number) { entry in
                entry.text(1, name)
                entry.any(2, member)
            }
        }
    }
}

/// Appends protobuf fields to a buffer. Members that are nil, empty or zero are left out, as the format does.
struct WireWriter {
    private(set) var bytes: [UInt8] = []

    mutating func varint(_ number: UInt64) {
        var rest = number
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }

    private mutating func key(_ number: Int, _ type: UInt64) { varint(UInt64(number) << 3 | type) }

    mutating func text(_ number: Int, _ text: String?) {
        guard let text, !text.isEmpty else { return }
        data(number, Array(text.utf8))
    }

    mutating func data(_ number: Int, _ data: [UInt8]) {
        key(number, 2)
        varint(UInt64(data.count))
        bytes += data
    }

    mutating func flag(_ number: Int, _ flag: Bool?) {
        guard flag == true else { return }
        key(number, 0)
        varint(1)
    }

    mutating func integer(_ number: Int, _ value: Int?) {
        guard let value, value != 0 else { return }
        key(number, 0)
        varint(UInt64(bitPattern: Int64(value)))
    }

    mutating func number(_ number: Int, _ value: Double?) {
        guard let value, value != 0 else { return }
        key(number, 1)
        bytes.appendLittleEndian(value.bitPattern)
    }

    mutating func message(_ number: Int, _ body: (inout WireWriter) -> Void) {
        var inner = WireWriter()
        body(&inner)
        data(number, inner.bytes)
    }

    /// gnostic keeps values of any kind as YAML, of which JSON is a part.
    mutating func any(_ number: Int, _ value: JSON?) {
        guard let value else { return }
        message(number) { $0.text(2, value.text()) }
    }
}
