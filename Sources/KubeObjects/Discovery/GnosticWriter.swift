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
            writer.message(number) { Self.operation(&$0, operation) }
        }
    }

    private static func operation(_ writer: inout WireWriter, _ operation: JSON) {
        for tag in operation["tags"].array ?? [] { writer.text(1, tag.string) }
        writer.text(5, operation["operationId"].string)
        for type in operation["produces"].array ?? [] { writer.text(6, type.string) }
        for type in operation["consumes"].array ?? [] { writer.text(7, type.string) }
        for parameter in operation["parameters"].array ?? [] {
            writer.message(8) { $0.message(1) { self.parameter(&$0, parameter) } }
        }
        writer.message(9) { responses in
            for (code, response) in operation["responses"].object ?? [:] {
                responses.message(1) { entry in
                    entry.text(1, code)
                    entry.message(2) { value in
                        value.message(1) { writer in
                            writer.text(1, response["description"].string)
                            if let answer = response["schema"] {
                                writer.message(2) { $0.message(1) { schema(&$0, answer) } }
                            }
                        }
                    }
                }
            }
        }
        extensions(&writer, 13, operation)
    }

    /// A body, or else a parameter in the query or the path, which differ in one number.
    private static func parameter(_ writer: inout WireWriter, _ parameter: JSON) {
        if let body = parameter["schema"] {
            writer.message(1) { writer in
                writer.text(2, parameter["name"].string)
                writer.text(3, parameter["in"].string)
                writer.flag(4, parameter["required"].bool)
                writer.message(5) { schema(&$0, body) }
            }
            return
        }
        let isInPath = parameter["in"].string == "path"
        writer.message(2) { other in
            other.message(isInPath ? 4 : 3) { writer in
                writer.flag(1, parameter["required"].bool)
                writer.text(2, parameter["in"].string)
                writer.text(4, parameter["name"].string)
                writer.text(isInPath ? 5 : 6, parameter["type"].string)
                writer.flag(isInPath ? 19 : 20, parameter["uniqueItems"].bool)
            }
        }
    }

    private static func named(_ writer: inout WireWriter, _ name: String, _ value: JSON) {
        writer.text(1, name)
        writer.message(2) { schema(&$0, value) }
    }

    private static func schema(_ writer: inout WireWriter, _ schema: JSON) {
        writer.text(1, schema["$ref"].string)
        writer.text(2, schema["format"].string)
        writer.text(4, schema["description"].string)
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

    static func extensions(_ writer: inout WireWriter, _ number: Int, _ value: JSON) {
        for (name, member) in value.object ?? [:] where name.hasPrefix("x-") {
            writer.message(number) { entry in
                entry.text(1, name)
                entry.any(2, member)
            }
        }
    }
}
