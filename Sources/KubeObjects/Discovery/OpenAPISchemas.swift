// SPDX-License-Identifier: Apache-2.0

import Values

/// The types of the registry as OpenAPI schemas.
struct OpenAPISchemas {
    let registry: ResourceRegistry
    /// Where definitions stand: `#/definitions/` or `#/components/schemas/`.
    let prefix: String

    /// The schema of a type by its name; nil for a name that no type has.
    func definition(_ name: String) -> JSON? {
        guard let schema = registry.schema(named: name) else { return nil }
        if let custom = registry.customTypeEntry(name) { return customDefinition(custom, name) }
        var definition = body(schema)
        if case .any = schema.shape, let type = registry.typeEntry(name)["type"].string, type != "any" {
            definition["type"] = JSON(type)
        }
        let kinds = Self.kinds(of: name, registry)
        if !kinds.isEmpty { definition["x-kubernetes-group-version-kind"] = .array(kinds) }
        return definition
    }

    /// What a field of a type or its elements are.
    private func body(_ schema: Schema) -> JSON {
        var result: JSON
        switch schema.shape {
        case .any: result = [:]
        case .string: result = ["type": "string"]
        case .integer: result = ["type": "integer"]
        case .number: result = ["type": "number"]
        case .boolean: result = ["type": "boolean"]
        case .intOrString:
            result =
                prefix.contains("components")
                ? ["oneOf": [["type": "integer"], ["type": "string"]]] : ["type": "string"]
        case .reference(let name):
            result = ["$ref": JSON(prefix + name)]
        case .list(let element): result = ["type": "array", "items": body(element)]
        case .map(let element): result = ["type": "object", "additionalProperties": body(element)]
        case .object(let fields):
            result = ["type": "object"]
            if !fields.isEmpty {
                result["properties"] = .object(JSONObject(fields.map { ($0.name, body($0.schema)) }))
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
        // Version 3.0 ignores what stands beside a reference, so there it is wrapped.
        if case .reference(let name) = schema.shape, prefix.contains("components"), (result.object?.count ?? 0) > 1 {
            result["$ref"] = nil
            result["allOf"] = .array([["$ref": JSON(prefix + name)]])
        }
        return result
    }

    private func customDefinition(_ openAPI: JSON, _ name: String) -> JSON {
        var definition = openAPI
        definition["properties"]["apiVersion"] = ["type": "string"]
        definition["properties"]["kind"] = ["type": "string"]
        definition["properties"]["metadata"] = ["$ref": JSON(prefix + ResourceRegistry.objectMetaType)]
        // The rules are expressions in a language that clients do not evaluate.
        definition = Self.withoutRules(definition)
        if !prefix.contains("components") { definition = Self.version2(definition) }
        definition["x-kubernetes-group-version-kind"] = .array(Self.kinds(of: name, registry))
        return definition
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

    private static func kinds(of name: String, _ registry: ResourceRegistry) -> [JSON] {
        func json(_ kind: GroupVersionKind) -> JSON {
            ["group": JSON(kind.group), "kind": JSON(kind.kind), "version": JSON(kind.version)]
        }
        if let type = registry.resources.first(where: { $0.typeName == name }) { return [json(type.groupVersionKind)] }
        return registry.typeEntry(name)["gvk"].array ?? []
    }

    /// The names of the types that a definition leads to, itself among them.
    func closure(of roots: [String]) -> [String] {
        var seen = Set<String>()
        var todo = roots
        while let name = todo.popLast() {
            guard seen.insert(name).inserted, let definition = definition(name) else { continue }
            Self.references(definition, prefix, &todo)
        }
        return seen.sorted()
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
