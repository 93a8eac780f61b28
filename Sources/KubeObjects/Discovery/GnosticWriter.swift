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
            paths.entries(2, document["paths"]) { $0.numbered($1, methods, operation) }
        }
        writer.message(9) { $0.entries(1, document["definitions"], schema) }
        return writer.bytes
    }

    private static let methods = ["get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8]

    private static func operation(_ writer: inout WireWriter, _ operation: JSON) {
        for tag in operation["tags"].array ?? [] { writer.text(1, tag.string) }
        writer.text(5, operation["operationId"].string)
        for type in operation["produces"].array ?? [] { writer.text(6, type.string) }
        for type in operation["consumes"].array ?? [] { writer.text(7, type.string) }
        for parameter in operation["parameters"].array ?? [] {
            writer.message(8) { $0.message(1) { self.parameter(&$0, parameter) } }
        }
        writer.message(9) { responses in
            responses.entries(1, operation["responses"]) { either, response in
                either.message(1) { writer in
                    writer.text(1, response["description"].string)
                    if let answer = response["schema"] {
                        writer.message(2) { $0.message(1) { schema(&$0, answer) } }
                    }
                }
            }
        }
        writer.extensions(13, operation)
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

    private static func schema(_ writer: inout WireWriter, _ schema: JSON) {
        writer.text(1, schema["$ref"].string)
        writer.text(2, schema["format"].string)
        writer.text(4, schema["description"].string)
        writer.any(5, schema["default"])
        writer.constraints(from: 6, schema)
        if let values = schema["additionalProperties"] {
            writer.message(21) { item in
                if let flag = values.bool { item.flag(2, flag) } else { item.message(1) { self.schema(&$0, values) } }
            }
        }
        if let type = schema["type"].string { writer.message(22) { $0.text(1, type) } }
        if let items = schema["items"] { writer.message(23) { $0.message(1) { self.schema(&$0, items) } } }
        if schema["properties"].object != nil {
            writer.message(25) { $0.entries(1, schema["properties"], self.schema) }
        }
        writer.extensions(31, schema)
    }
}
