// SPDX-License-Identifier: Apache-2.0

import Values

/// What keeps a schema of a CustomResourceDefinition from being structural.
///
/// Source: Kubernetes' documentation, "Specifying a structural schema".
struct StructuralSchemaRules {
    private(set) var errors: [FieldError] = []

    private enum Place {
        case root, field, item, additional

        var missingType: String {
            switch self {
            case .root: "must not be empty at the root"
            case .field: "must not be empty for specified object fields"
            case .item: "must not be empty for specified array items"
            case .additional: "must not be empty for specified object fields"
            }
        }
    }

    private static let types = ["array", "boolean", "integer", "number", "object", "string"]
    private static let unsupported = [
        "$ref", "$schema", "definitions", "dependencies", "id", "patternProperties", "additionalItems",
    ]
    /// What only the structure itself may say, not the value rules under `allOf` and its like.
    private static let structural = [
        "description", "type", "default", "additionalProperties", "nullable", "title",
        "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string",
        "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type",
    ]

    mutating func inspectRoot(_ schema: JSON, _ path: String) { inspect(schema, path, .root) }

    private mutating func inspect(_ schema: JSON, _ path: String, _ place: Place) {
        guard schema.object != nil else {
            errors.append(.invalid(path, schema, "must be a schema object"))
            return
        }
        let isIntOrString = schema["x-kubernetes-int-or-string"].bool ?? false
        let preserves = schema["x-kubernetes-preserve-unknown-fields"].bool ?? false
        checkType(schema, path, place, mayBeMissing: isIntOrString || preserves)
        for key in Self.unsupported where schema[key] != nil {
            errors.append(.forbidden("\(path).\(key)", "\(key) is not supported"))
        }
        if schema["uniqueItems"].bool == true {
            errors.append(
                .forbidden(
                    "\(path).uniqueItems",
                    "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"))
        }
        if schema["x-kubernetes-preserve-unknown-fields"].bool == false {
            errors.append(
                .invalid("\(path).x-kubernetes-preserve-unknown-fields", false, "must be true or undefined"))
        }
        checkEmbedded(schema, path)
        checkList(schema, path)
        checkMembers(schema, path)
        checkDefault(schema, path)
        if place == .root, let metadata = schema["properties"]["metadata"]["properties"].object,
            metadata.contains(where: { !["name", "generateName"].contains($0.key) })
        {
            errors.append(
                .forbidden(
                    "\(path).properties[metadata]",
                    "must not specify anything other than name and generateName, but metadata is implicitly specified"))
        }
        for (key, value) in schema["properties"].object ?? [:] {
            inspect(value, "\(path).properties[\(key)]", .field)
        }
        for list in ["allOf", "anyOf", "oneOf"] {
            for (index, rule) in (schema[list].array ?? []).enumerated() {
                inspectRule(rule, "\(path).\(list)[\(index)]", schema, typeIsFree: isIntOrString)
            }
        }
        if let rule = schema["not"] { inspectRule(rule, "\(path).not", schema, typeIsFree: false) }
    }

    private mutating func checkType(_ schema: JSON, _ path: String, _ place: Place, mayBeMissing: Bool) {
        let type = schema["type"].string ?? ""
        if type.isEmpty {
            if !mayBeMissing || place == .root { errors.append(.required("\(path).type", place.missingType)) }
        } else if place == .root, type != "object" {
            errors.append(.invalid("\(path).type", JSON(type), "must be object at the root"))
        } else if !Self.types.contains(type) {
            errors.append(.notSupported("\(path).type", JSON(type), Self.types))
        } else if schema["x-kubernetes-int-or-string"].bool == true {
            errors.append(
                .invalid("\(path).type", JSON(type), "must be empty if x-kubernetes-int-or-string is true"))
        }
    }

    private mutating func checkEmbedded(_ schema: JSON, _ path: String) {
        guard schema["x-kubernetes-embedded-resource"].bool == true else { return }
        if schema["type"].string != "object" {
            errors.append(
                .invalid(
                    "\(path).type", schema["type"] ?? "", "must be object if x-kubernetes-embedded-resource is true"))
        }
        if schema["properties"].object?.isEmpty ?? true, schema["x-kubernetes-preserve-unknown-fields"].bool != true {
            errors.append(
                .required(
                    "\(path).properties",
                    "must not be empty if x-kubernetes-embedded-resource is true without "
                        + "x-kubernetes-preserve-unknown-fields"))
        }
    }

    private mutating func checkList(_ schema: JSON, _ path: String) {
        let isArray = schema["type"].string == "array"
        if let items = schema["items"] {
            if items.array != nil {
                errors.append(.forbidden("\(path).items", "items must be a schema object and not an array"))
            } else {
                inspect(items, "\(path).items", .item)
            }
        } else if isArray {
            errors.append(.required("\(path).items", "must be specified"))
        }
        guard let listType = schema["x-kubernetes-list-type"].string else { return }
        let field = "\(path).x-kubernetes-list-type"
        guard ["atomic", "set", "map"].contains(listType) else {
            errors.append(.notSupported(field, JSON(listType), ["atomic", "map", "set"]))
            return
        }
        if !isArray {
            errors.append(
                .invalid("\(path).type", schema["type"] ?? "", "must be array if x-kubernetes-list-type is specified"))
        }
        guard listType == "map" else { return }
        let keys = schema["x-kubernetes-list-map-keys"].array?.compactMap(\.string) ?? []
        let keysField = "\(path).x-kubernetes-list-map-keys"
        if keys.isEmpty {
            errors.append(.required(keysField, "must not be empty if x-kubernetes-list-type is map"))
        }
        let required = schema["items"]["required"].array?.compactMap(\.string) ?? []
        for (index, key) in keys.enumerated() {
            guard let property = schema["items"]["properties"][key] else {
                errors.append(
                    .invalid("\(keysField)[\(index)]", JSON(key), "entries must all be names of item properties"))
                continue
            }
            if ["object", "array"].contains(property["type"].string) {
                errors.append(
                    .invalid(
                        "\(path).items.properties[\(key)].type", property["type"] ?? "",
                        "must be a scalar type if parent array's x-kubernetes-list-type is map"))
            }
            if !required.contains(key), property["default"] == nil {
                errors.append(
                    .required(
                        "\(path).items.properties[\(key)].default",
                        "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
                    ))
            }
        }
    }

    private mutating func checkMembers(_ schema: JSON, _ path: String) {
        guard let additional = schema["additionalProperties"] else { return }
        if additional.bool == false {
            errors.append(
                .forbidden("\(path).additionalProperties", "additionalProperties cannot be set to false"))
        }
        if !(schema["properties"].object?.isEmpty ?? true) {
            errors.append(
                .forbidden("\(path).additionalProperties", "additionalProperties and properties are mutual exclusive"))
        }
        if additional.object != nil { inspect(additional, "\(path).additionalProperties", .additional) }
    }

    /// A default must be a value that the schema itself takes.
    private mutating func checkDefault(_ schema: JSON, _ path: String) {
        guard let value = schema["default"], errors.isEmpty else { return }
        let parsed = Schema(openAPI: schema)
        if value.isNull, !parsed.isNullable {
            errors.append(.invalid("\(path).default", value, "must not be null unless nullable is true"))
            return
        }
        var inspection = SchemaInspection(registry: .shared, isCustom: true)
        inspection.inspect(value, parsed, at: "\(path).default")
        errors += inspection.errors
        let pruned = ResourceRegistry.shared.decode(
            KubeObject(["value": value]), schema: Schema(.object([.init(name: "value", schema: parsed)])),
            typeName: "", isCustom: true)
        if let unknown = pruned.unknownFields.first {
            errors.append(
                .invalid(
                    "\(path).default", value, "must not have unknown fields: \(unknown.dropFirst("value.".count))"))
        }
    }

    private mutating func inspectRule(_ rule: JSON, _ path: String, _ structure: JSON?, typeIsFree: Bool) {
        for key in Self.structural where rule[key] != nil && !(key == "type" && typeIsFree) {
            errors.append(.forbidden("\(path).\(key)", "must be empty to be structural"))
        }
        for (key, member) in rule["properties"].object ?? [:] {
            let field = "\(path).properties[\(key)]"
            if structure?["properties"][key] == nil, structure?["additionalProperties"] == nil {
                errors.append(
                    .required(field, "because it is defined in the value rules, it must be in the structure too"))
            }
            inspectRule(member, field, structure?["properties"][key], typeIsFree: false)
        }
        if let items = rule["items"], items.object != nil {
            inspectRule(items, "\(path).items", structure?["items"], typeIsFree: false)
        }
        for list in ["allOf", "anyOf", "oneOf"] {
            for (index, inner) in (rule[list].array ?? []).enumerated() {
                inspectRule(inner, "\(path).\(list)[\(index)]", structure, typeIsFree: typeIsFree)
            }
        }
        if let inner = rule["not"] { inspectRule(inner, "\(path).not", structure, typeIsFree: false) }
    }
}
