// SPDX-License-Identifier: Apache-2.0

import Values

extension Schema {
    /// A type of `types.tsv`.
    convenience init(typeEntry entry: JSON) {
        if let fields = entry["fields"].object {
            self.init(
                .object(fields.map { Field(name: $0.key, schema: Schema(node: $0.value)) }),
                required: entry["required"].array?.compactMap(\.string) ?? [],
                mapType: entry["mapType"].string,
                kinds: (entry["gvk"].array ?? []).map {
                    GroupVersionKind($0["group"].string ?? "", $0["version"].string ?? "", $0["kind"].string ?? "")
                })
        } else {
            self.init(Self.scalar(entry), format: entry["format"].string, preservesUnknownFields: true)
        }
    }

    /// A field of such a type.
    private convenience init(node: JSON) {
        let shape: Shape
        var rules: ListRules?
        if let element = node["list"] {
            shape = .list(Schema(node: element))
            rules = ListRules(
                type: node["listType"].string, mapKeys: node["mapKeys"].array?.compactMap(\.string) ?? [],
                mergeKey: node["mergeKey"].string, patchStrategy: node["patchStrategy"].string)
        } else if let value = node["map"] {
            shape = .map(Schema(node: value))
        } else if let name = node["ref"].string {
            shape = .reference(name)
            if let strategy = node["patchStrategy"].string { rules = ListRules(patchStrategy: strategy) }
        } else {
            shape = Self.scalar(node)
        }
        self.init(
            shape, format: node["format"].string, list: rules, mapType: node["mapType"].string,
            defaultValue: node["default"])
    }

    private static func scalar(_ entry: JSON) -> Shape {
        if entry["format"].string == "int-or-string" { return .intOrString }
        return switch entry["type"].string {
        case "string": .string
        case "integer": .integer
        case "number": .number
        case "boolean": .boolean
        default: .any
        }
    }
}
