// SPDX-License-Identifier: Apache-2.0

import Values

/// Writes an OpenAPI 3.0 document as the protobuf message that gnostic defines for it (`openapi.v3.Document`).
///
/// Only the members that Catbird's documents have are known; the numbers are those of gnostic's OpenAPIv3.proto.
enum GnosticWriter3 {
    static func document(_ document: JSON) -> [UInt8] {
        var writer = WireWriter()
        writer.text(1, document["openapi"].string)
        writer.message(2) { info in
            info.text(1, document["info"]["title"].string)
            info.text(6, document["info"]["version"].string)
        }
        writer.message(4) { paths in
            paths.entries(1, document["paths"]) { $0.numbered($1, methods, operation) }
        }
        writer.message(5) { $0.message(1) { $0.entries(1, document["components"]["schemas"], reference) } }
        return writer.bytes
    }

    private static let methods = ["get": 4, "put": 5, "post": 6, "delete": 7, "patch": 10]

    private static func operation(_ writer: inout WireWriter, _ operation: JSON) {
        for tag in operation["tags"].array ?? [] { writer.text(1, tag.string) }
        writer.text(5, operation["operationId"].string)
        for parameter in operation["parameters"].array ?? [] {
            writer.message(6) { either in
                either.message(1) { writer in
                    writer.text(1, parameter["name"].string)
                    writer.text(2, parameter["in"].string)
                    writer.flag(4, parameter["required"].bool)
                    writer.message(10) { reference(&$0, parameter["schema"] ?? .null) }
                }
            }
        }
        if let body = operation["requestBody"] {
            writer.message(7) { either in
                either.message(1) { writer in
                    writer.message(2) { content(&$0, body["content"]) }
                    writer.flag(3, body["required"].bool)
                }
            }
        }
        writer.message(8) { responses in
            responses.entries(2, operation["responses"]) { either, response in
                either.message(1) { writer in
                    writer.text(1, response["description"].string)
                    writer.message(3) { content(&$0, response["content"]) }
                }
            }
        }
        writer.extensions(13, operation)
    }

    private static func content(_ writer: inout WireWriter, _ content: JSON?) {
        writer.entries(1, content) { mediaType, value in
            mediaType.message(1) { reference(&$0, value["schema"] ?? .null) }
        }
    }

    /// A schema, or a reference to one: two messages in the place of one.
    private static func reference(_ writer: inout WireWriter, _ value: JSON) {
        if let reference = value["$ref"].string {
            writer.message(2) { $0.text(1, reference) }
        } else {
            writer.message(1) { schema(&$0, value) }
        }
    }

    private static func schema(_ writer: inout WireWriter, _ schema: JSON) {
        writer.flag(1, schema["nullable"].bool)
        writer.constraints(from: 10, schema)
        writer.text(25, schema["type"].string)
        for (number, name) in [(26, "allOf"), (27, "oneOf"), (28, "anyOf")] {
            for value in schema[name].array ?? [] { writer.message(number) { reference(&$0, value) } }
        }
        if let forbidden = schema["not"] { writer.message(29) { self.schema(&$0, forbidden) } }
        if let items = schema["items"] { writer.message(30) { $0.message(1) { reference(&$0, items) } } }
        if schema["properties"] != nil { writer.message(31) { $0.entries(1, schema["properties"], reference) } }
        if let values = schema["additionalProperties"] {
            writer.message(32) { item in
                if let flag = values.bool { item.flag(2, flag) } else { item.message(1) { reference(&$0, values) } }
            }
        }
        standard(&writer, schema["default"])
        writer.text(34, schema["description"].string)
        writer.text(35, schema["format"].string)
        writer.extensions(36, schema)
    }

    /// Defaults can only be numbers, flags and text there.
    private static func standard(_ writer: inout WireWriter, _ value: JSON?) {
        switch value {
        case .string(let text)?: writer.message(33) { $0.data(3, Array(text.utf8)) }
        case .bool(let flag)?: writer.message(33) { $0.flag(2, flag) }
        case .int?, .double?: writer.message(33) { $0.number(1, value.double) }
        default: break
        }
    }
}
