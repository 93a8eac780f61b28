// SPDX-License-Identifier: Apache-2.0

import Values

/// The types of the registry as OpenAPI schemas.
struct OpenAPISchemas {
    let registry: ResourceRegistry
    /// Where definitions stand: `#/definitions/` or `#/components/schemas/`.
    let prefix: String

    private let descriptions = Descriptions.shared
    private var isVersion3: Bool { prefix.contains("components") }

    /// Kinds whose schemas are those of custom resources, by the names of the schemas.
    private let customs: [String: ResourceType]

    init(registry: ResourceRegistry, prefix: String) {
        self.registry = registry
        self.prefix = prefix
        customs = Dictionary(
            registry.resources.lazy.filter(\.isCustom).map { ($0.typeName, $0) },
            uniquingKeysWith: { first, _ in first })
    }

    /// The schema of a type by its name; nil for a name that no type has.
    func definition(_ name: String) -> JSON? {
        guard let schema = registry.schema(named: name) else { return listDefinition(name) }
        if let custom = registry.customTypeEntry(name) { return customDefinition(custom, name, schema) }
        let kinds = kinds(of: name, schema)
        var definition = body(schema) { field in descriptions.text(name, [field], isKind: !kinds.isEmpty) }
        if case .any = schema.shape, let type = registry.typeEntry(name)["type"].string, type != "any" {
            definition["type"] = JSON(type)
        }
        if let text = descriptions.text(name) { definition["description"] = JSON(text) }
        if !kinds.isEmpty { definition["x-kubernetes-group-version-kind"] = .array(kinds) }
        return definition
    }

    /// The list of a custom kind, which has no schema of its own.
    private func listDefinition(_ name: String) -> JSON? {
        guard name.hasSuffix("List") else { return nil }
        let element = String(name.dropLast(4))
        guard let type = customs[element] else { return nil }
        func text(_ field: String) -> JSON? { descriptions.text(name, [field], isKind: true).map { JSON($0) } }
        var properties: JSON = [
            "apiVersion": ["type": "string"], "items": ["type": "array", "items": ["$ref": JSON(prefix + element)]],
            "kind": ["type": "string"],
        ]
        for field in ["apiVersion", "items", "kind"] { properties[field]["description"] = text(field) }
        properties["metadata"] = reference(
            ["description": JSON(descriptions.text(Self.listMeta) ?? "")], to: Self.listMeta)
        return [
            "description": JSON("List of \(type.kind) objects."), "type": "object", "required": ["items"],
            "properties": properties,
            "x-kubernetes-group-version-kind": [
                ["group": JSON(type.group), "kind": JSON(type.listKind), "version": JSON(type.version)]
            ],
        ]
    }

    private static let listMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"

    /// What a field of a type or its elements are.
    ///
    /// - Parameter describe: the words for a field of the object.
    private func body(_ schema: Schema, describe: (String) -> String? = { _ in nil }) -> JSON {
        var result: JSON
        switch schema.shape {
        case .any: result = [:]
        case .string: result = ["type": "string"]
        case .integer: result = ["type": "integer"]
        case .number: result = ["type": "number"]
        case .boolean: result = ["type": "boolean"]
        case .intOrString:
            result = isVersion3 ? ["oneOf": [["type": "integer"], ["type": "string"]]] : ["type": "string"]
        case .reference: result = [:]
        case .list(let element): result = ["type": "array", "items": self.element(element)]
        case .map(let element): result = ["type": "object", "additionalProperties": self.element(element)]
        case .object(let fields):
            result = ["type": "object"]
            if !fields.isEmpty {
                result["properties"] = .object(
                    JSONObject(
                        fields.map { field in
                            var member = body(field.schema)
                            if let text = describe(field.name) { member["description"] = JSON(text) }
                            addDefault(to: &member, of: field, isRequired: schema.required.contains(field.name))
                            return (field.name, wrapped(member, field.schema))
                        }))
            }
        }
        if let format = schema.format { result["format"] = JSON(format) }
        if !schema.required.isEmpty { result["required"] = JSON(schema.required) }
        if let rules = schema.list {
            if let type = rules.type { result["x-kubernetes-list-type"] = JSON(type) }
            if !rules.mapKeys.isEmpty { result["x-kubernetes-list-map-keys"] = JSON(rules.mapKeys) }
            if let key = rules.mergeKey { result["x-kubernetes-patch-merge-key"] = JSON(key) }
            if let strategy = rules.patchStrategy { result["x-kubernetes-patch-strategy"] = JSON(strategy) }
        }
        if let type = schema.mapType { result["x-kubernetes-map-type"] = JSON(type) }
        return result
    }

    /// What the elements of a list or the values of a map are. In version 3 Go's zero values stand as their defaults.
    private func element(_ schema: Schema) -> JSON {
        var result = body(schema)
        if isVersion3 { result["default"] = Self.zero(schema) }
        return wrapped(result, schema)
    }

    /// What is published as the default of a field: its own, or in version 3 Go's zero value where Go cannot leave it out.
    private func addDefault(to member: inout JSON, of field: Schema.Field, isRequired: Bool) {
        if let standard = field.schema.defaultValue {
            member["default"] = standard
        } else if isVersion3, isRequired || ["metadata", "spec", "status"].contains(field.name) {
            member["default"] = Self.zero(field.schema)
        }
    }

    /// Nil where Go's zero value is nothing at all.
    private static func zero(_ schema: Schema) -> JSON? {
        switch schema.shape {
        case .string: ""
        case .integer, .number: 0
        case .boolean: false
        case .reference(let name):
            ["Time", "Quantity", "IntOrString"].contains { name.hasSuffix(".\($0)") } ? nil : [:]
        default: nil
        }
    }

    /// Puts in the reference of a schema that is one.
    private func wrapped(_ member: JSON, _ schema: Schema) -> JSON {
        if case .reference(let name) = schema.shape { reference(member, to: name) } else { member }
    }

    /// Version 3.0 ignores what stands beside a reference, so there it is wrapped.
    private func reference(_ member: JSON, to name: String) -> JSON {
        var result = member
        if isVersion3, !(member.object?.isEmpty ?? true) {
            result["allOf"] = .array([["$ref": JSON(prefix + name)]])
        } else {
            result["$ref"] = JSON(prefix + name)
        }
        return result
    }

    private func customDefinition(_ openAPI: JSON, _ name: String, _ schema: Schema) -> JSON {
        // Clients that read version 2 would take the few fields that are known for all there may be.
        if !isVersion3, openAPI["x-kubernetes-preserve-unknown-fields"].bool ?? false {
            return ["type": "object", "x-kubernetes-group-version-kind": .array(kinds(of: name, schema))]
        }
        // The rules are expressions in a language that clients do not evaluate.
        var definition = Self.withoutRules(openAPI)
        if registry.isCarried(name) { definition = described(definition, name, []) }
        for field in ["apiVersion", "kind"] {
            definition["properties"][field] = ["type": "string"]
            definition["properties"][field]["description"] = descriptions.text(name, [field], isKind: true).map {
                JSON($0)
            }
        }
        definition["properties"]["metadata"] = reference(
            descriptions.text(name, ["metadata"], isKind: true).map { ["description": JSON($0)] } ?? [:],
            to: ResourceRegistry.objectMetaType)
        if !isVersion3 { definition = Self.version2(definition) }
        definition["x-kubernetes-group-version-kind"] = .array(kinds(of: name, schema))
        return definition
    }

    /// The schema with the words for it and its fields, where it has none of its own.
    private func described(_ schema: JSON, _ name: String, _ path: [String]) -> JSON {
        var result = schema
        if result["description"] == nil, let text = descriptions.text(name, path) { result["description"] = JSON(text) }
        for key in ["items", "additionalProperties"] {
            if let inner = result[key], inner.object != nil {
                var inner = described(inner, name, path)
                // The words for a list stand at the list.
                inner["description"] = schema[key]["description"]
                result[key] = inner
            }
        }
        if let properties = result["properties"].object {
            result["properties"] = .object(
                JSONObject(properties.map { ($0.key, described($0.value, name, path + [$0.key])) }))
        }
        return result
    }

    /// Version 2 has no words for alternatives and for null; what may be anything has no type there.
    private static func version2(_ schema: JSON) -> JSON {
        guard var members = schema.object else { return schema }
        for key in ["allOf", "anyOf", "oneOf", "not"] { members.removeValue(forKey: key) }
        let isNullable = members.removeValue(forKey: "nullable").bool ?? false
        if isNullable || schema["x-kubernetes-preserve-unknown-fields"].bool ?? false {
            for key in ["type", "items", "properties"]
            where !(key == "properties" && schema["properties"]["apiVersion"] != nil) {
                members.removeValue(forKey: key)
            }
        }
        for key in ["items", "additionalProperties"] {
            if let inner = members[key], inner.object != nil { members[key] = version2(inner) }
        }
        if let properties = members["properties"].object {
            members["properties"] = .object(JSONObject(properties.map { ($0.key, version2($0.value)) }))
        }
        return .object(members)
    }

    private static func withoutRules(_ schema: JSON) -> JSON {
        switch schema {
        case .object(let members):
            .object(
                JSONObject(
                    members.filter { $0.key != "rules" || $0.value.array == nil }.map {
                        ($0.key, withoutRules($0.value))
                    }))
        case .array(let elements): .array(elements.map(withoutRules))
        default: schema
        }
    }

    /// The kinds that objects of a type have, as clients look types up.
    private func kinds(of name: String, _ schema: Schema) -> [JSON] {
        let kinds = customs[name].map { [$0.groupVersionKind] } ?? schema.kinds
        return kinds.map { ["group": JSON($0.group), "kind": JSON($0.kind), "version": JSON($0.version)] }
    }

    /// The types that definitions lead to, themselves among them, by name.
    func closure(of roots: [String]) -> [JSONObject.Member] {
        var found: [String: JSON] = [:]
        var todo = roots
        while let name = todo.popLast() {
            guard found[name] == nil, let definition = definition(name) else { continue }
            found[name] = definition
            Self.references(definition, prefix, &todo)
        }
        return found.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    private static func references(_ value: JSON, _ prefix: String, _ found: inout [String]) {
        switch value {
        case .object(let members):
            for (key, member) in members {
                if key == "$ref", let text = member.string, text.hasPrefix(prefix) {
                    found.append(String(text.dropFirst(prefix.count)))
                } else {
                    references(member, prefix, &found)
                }
            }
        case .array(let elements): for element in elements { references(element, prefix, &found) }
        default: break
        }
    }
}
