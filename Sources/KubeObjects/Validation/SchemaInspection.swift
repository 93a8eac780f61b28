// SPDX-License-Identifier: Apache-2.0

import Values

/// Checks a value against a schema: types and limits of custom resources, required members of all.
struct SchemaInspection {
    let registry: ResourceRegistry
    /// Custom resources are checked in full; Kubernetes' own kinds have rules of their own for most of it.
    let isCustom: Bool
    private(set) var errors: [FieldError] = []

    init(registry: ResourceRegistry, isCustom: Bool) {
        self.registry = registry
        self.isCustom = isCustom
    }

    mutating func inspect(_ value: JSON, _ schema: Schema, at path: String) {
        let schema = registry.resolve(schema)
        if value.isNull, schema.isNullable { return }
        switch schema.shape {
        case .any: break
        case .reference: break
        case .string: checkType(value, value.string != nil, "string", path)
        case .boolean: checkType(value, value.bool != nil, "boolean", path)
        case .integer: checkType(value, value.int != nil, "integer", path)
        case .number: checkType(value, value.double != nil, "number", path)
        case .intOrString: checkType(value, value.string != nil || value.int != nil, "integer,string", path)
        case .object:
            if !schema.isValueRule { checkType(value, value.object != nil, "object", path) }
            guard let members = value.object else { break }
            checkRequired(members, schema, path)
            for (key, member) in members {
                // Who writes a status is a controller: its own code is what vouches for it.
                if path.isEmpty, key == "metadata" || key == "status" && !isCustom { continue }
                if let field = schema.field(key) { inspect(member, field, at: path.isEmpty ? key : "\(path).\(key)") }
            }
        case .map(let element):
            checkType(value, value.object != nil, "object", path)
            for (key, member) in value.object ?? [:] { inspect(member, element, at: "\(path)[\(key)]") }
        case .list(let element):
            if !schema.isValueRule { checkType(value, value.array != nil, "array", path) }
            guard let elements = value.array else { break }
            for (index, member) in elements.enumerated() { inspect(member, element, at: "\(path)[\(index)]") }
            checkUniqueness(elements, schema, path)
        }
        if let limits = schema.limits { check(value, limits, path) }
        if let rules = schema.rules { inspect(value, rules: rules, at: path) }
        if isCustom, let format = schema.format { check(value, format: format, path) }
    }

    mutating func report(_ error: FieldError) { errors.append(error) }

    private mutating func checkType(_ value: JSON, _ fits: Bool, _ wanted: String, _ path: String) {
        guard isCustom, !fits else { return }
        errors.append(
            FieldError(
                .typeInvalid, path, value: JSON(value.typeName),
                detail: "\(path) in body must be of type \(wanted): \"\(value.typeName)\""))
    }

    private mutating func checkRequired(_ members: JSONObject, _ schema: Schema, _ path: String) {
        for name in schema.required
        where members[name] == nil && name != "metadata" && !(path.isEmpty && name == "status") {
            if !isCustom {
                // In Go a missing number, flag or list is its zero, which the kind's rules judge.
                guard let field = schema.field(name) else { continue }
                let resolved = registry.resolve(field)
                switch resolved.shape {
                case .string: break
                case .object where !resolved.required.isEmpty: break
                default: continue
                }
            }
            errors.append(.required(path.isEmpty ? name : "\(path).\(name)"))
        }
    }

    private mutating func checkUniqueness(_ elements: [JSON], _ schema: Schema, _ path: String) {
        guard isCustom, let rules = schema.list else { return }
        var seen = Set<JSON>()
        for (index, element) in elements.enumerated() {
            switch rules.type {
            case "set":
                if !seen.insert(element).inserted { errors.append(.duplicate("\(path)[\(index)]", element)) }
            case "map":
                let key = JSON.object(JSONObject(rules.mapKeys.compactMap { key in element[key].map { (key, $0) } }))
                if !seen.insert(key).inserted { errors.append(.duplicate("\(path)[\(index)]", key)) }
            default: return
            }
        }
    }

    private mutating func check(_ value: JSON, _ limits: Schema.Limits, _ path: String) {
        if !limits.enumeration.isEmpty, !limits.enumeration.contains(value) {
            errors.append(.notSupported(path, value, limits.enumeration.map { $0.string ?? $0.text() }))
        }
        if let text = value.string {
            let length = text.unicodeScalars.count
            if let most = limits.maxLength, length > most {
                errors.append(FieldError(.tooLong, path, value: value, detail: "may not be more than \(most) bytes"))
            }
            if let least = limits.minLength, length < least {
                errors.append(
                    .invalid(path, value, "\(path) in body should be at least \(least) chars long"))
            }
            if let pattern = limits.pattern, !pattern.matches(text) {
                errors.append(.invalid(path, value, "\(path) in body should match '\(pattern.source)'"))
            }
        }
        if let number = value.double, value.bool == nil {
            if let most = limits.maximum, limits.exclusiveMaximum ? number >= most : number > most {
                let relation = limits.exclusiveMaximum ? "less than" : "less than or equal to"
                errors.append(.invalid(path, value, "\(path) in body should be \(relation) \(JSON.double(most))"))
            }
            if let least = limits.minimum, limits.exclusiveMinimum ? number <= least : number < least {
                let relation = limits.exclusiveMinimum ? "greater than" : "greater than or equal to"
                errors.append(.invalid(path, value, "\(path) in body should be \(relation) \(JSON.double(least))"))
            }
        }
        if let number = value.double, value.bool == nil, let step = limits.multipleOf, step > 0 {
            let quotient = number / step
            if abs(quotient - quotient.rounded()) > 1e-9 {
                errors.append(.invalid(path, value, "\(path) in body should be a multiple of \(JSON.double(step))"))
            }
        }
        if let elements = value.array {
            if let most = limits.maxItems, elements.count > most {
                errors.append(
                    FieldError(.tooMany, path, value: JSON(elements.count), detail: "must have at most \(most) items"))
            }
            if let least = limits.minItems, elements.count < least {
                errors.append(.invalid(path, value, "\(path) in body should have at least \(least) items"))
            }
        }
        if let members = value.object {
            if let most = limits.maxProperties, members.count > most {
                errors.append(
                    FieldError(.tooMany, path, value: JSON(members.count), detail: "must have at most \(most) items"))
            }
            if let least = limits.minProperties, members.count < least {
                errors.append(.invalid(path, value, "\(path) in body should have at least \(least) properties"))
            }
        }
    }

    private mutating func check(_ value: JSON, format: String, _ path: String) {
        if case .int(let number) = value {
            guard format == "int32", Int32(exactly: number) == nil else { return }
            errors.append(
                .invalid(path, value, "Checked value must be of type integer with format int32 in \(path)"))
            return
        }
        guard let text = value.string, let fits = Self.formats[format], !fits(text) else { return }
        errors.append(.invalid(path, value, "\(path) in body must be of type \(format): \(value)"))
    }

    /// The formats of text that are judged; Kubernetes passes over those it does not know.
    private static let formats: [String: @Sendable (String) -> Bool] = [
        "cidr": { CIDR($0) != nil },
        "date-time": { Timestamp($0) != nil },
        "date": { $0.utf8.count == 10 && Timestamp("\($0)T00:00:00Z") != nil },
        "byte": { Base64.bytes($0) != nil },
        "ipv4": { IPAddress($0)?.family == .v4 },
        "ipv6": { IPAddress($0)?.family == .v6 },
        "ip": { IPAddress($0) != nil },
        "mac": { MACAddress($0) != nil },
        "uuid": { text in
            let groups = text.split(separator: "-", omittingEmptySubsequences: false)
            return groups.map(\.count) == [8, 4, 4, 4, 12]
                && groups.allSatisfy {
                    $0.utf8.allSatisfy { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 || 0x61...0x66 ~= $0 | 0x20 }
                }
        },
    ]
}
