// SPDX-License-Identifier: Apache-2.0

public import Values

extension Schema {
    /// A structural schema as a CustomResourceDefinition carries it (`openAPIV3Schema`).
    ///
    /// `isRoot` gives an object its apiVersion, kind and full metadata, whatever the schema says of them.
    public convenience init(openAPI schema: JSON, isRoot: Bool = false) {
        let preserves = schema["x-kubernetes-preserve-unknown-fields"].bool ?? false
        let embedded = schema["x-kubernetes-embedded-resource"].bool ?? false
        let list: ListRules? =
            if schema["type"].string == "array" {
                ListRules(
                    type: schema["x-kubernetes-list-type"].string,
                    mapKeys: schema["x-kubernetes-list-map-keys"].array?.compactMap(\.string) ?? [])
            } else {
                nil
            }
        self.init(
            Self.shape(schema, isObjectOfItsOwn: isRoot || embedded, preserves: preserves),
            format: schema["format"].string,
            required: schema["required"].array?.compactMap(\.string) ?? [], list: list,
            mapType: schema["x-kubernetes-map-type"].string, limits: Limits(openAPI: schema),
            defaultValue: schema["default"], isNullable: schema["nullable"].bool ?? false,
            preservesUnknownFields: preserves, isEmbeddedResource: embedded, rules: ValueRules(openAPI: schema))
    }

    private static func shape(_ schema: JSON, isObjectOfItsOwn: Bool, preserves: Bool) -> Shape {
        if schema["x-kubernetes-int-or-string"].bool == true { return .intOrString }
        switch schema["type"].string {
        case "string": return .string
        case "integer": return .integer
        case "number": return .number
        case "boolean": return .boolean
        case "array": return .list(schema["items"].map { Schema(openAPI: $0) } ?? Schema(.any))
        case "object":
            var fields = schema["properties"].object?.map { Field(name: $0.key, schema: Schema(openAPI: $0.value)) }
            if isObjectOfItsOwn {
                fields?.removeAll { ["apiVersion", "kind", "metadata"].contains($0.name) }
                let own = [
                    Field(name: "apiVersion", schema: Schema(.string)), Field(name: "kind", schema: Schema(.string)),
                    Field(name: "metadata", schema: Schema(.reference(ResourceRegistry.objectMetaType))),
                ]
                return .object(own + (fields ?? []))
            }
            if let fields { return .object(fields) }
            if let values = schema["additionalProperties"], values.object != nil {
                return .map(Schema(openAPI: values))
            }
            return preserves || schema["additionalProperties"].bool == true ? .any : .object([])
        default: return .any
        }
    }
}

extension Schema.Limits {
    /// Nil when the schema sets none.
    init?(openAPI schema: JSON) {
        pattern = schema["pattern"].string.map { Pattern($0) }
        enumeration = schema["enum"].array ?? []
        minimum = schema["minimum"].double
        maximum = schema["maximum"].double
        exclusiveMinimum = schema["exclusiveMinimum"].bool ?? false
        exclusiveMaximum = schema["exclusiveMaximum"].bool ?? false
        minLength = schema["minLength"].int
        maxLength = schema["maxLength"].int
        minItems = schema["minItems"].int
        maxItems = schema["maxItems"].int
        minProperties = schema["minProperties"].int
        maxProperties = schema["maxProperties"].int
        multipleOf = schema["multipleOf"].double
        let numbers: [Double?] = [minimum, maximum, multipleOf]
        let counts: [Int?] = [minLength, maxLength, minItems, maxItems, minProperties, maxProperties]
        if pattern == nil, enumeration.isEmpty, numbers.allSatisfy({ $0 == nil }), counts.allSatisfy({ $0 == nil }) {
            return nil
        }
    }
}
