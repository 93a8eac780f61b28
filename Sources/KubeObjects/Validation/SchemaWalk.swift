// SPDX-License-Identifier: Apache-2.0

import Values

/// What decoding an object by its schema says about it.
public struct Decoded: Sendable {
    /// The object without fields that its schema does not know and without nulls.
    public var object: KubeObject
    /// Paths of the fields that were dropped, such as `spec.template.spec.contianers`.
    public var unknownFields: [String]
    /// The first value of a type that its field cannot have: a request with one is refused.
    public var typeError: String?
}

extension ResourceRegistry {
    /// Reads an object as its type does. Unknown fields are left out and named; values of a wrong type are reported.
    public func decode(_ object: KubeObject, as type: ResourceType) -> Decoded {
        guard let schema = schema(of: type) else { return Decoded(object: object, unknownFields: []) }
        return decode(object, schema: schema, typeName: type.typeName, isCustom: type.isCustom)
    }

    /// The same for a body of another kind, such as `autoscaling/v1, Scale`.
    public func decode(_ object: KubeObject, asKind kind: GroupVersionKind) -> Decoded {
        if let type = resource(forKind: kind) { return decode(object, as: type) }
        guard let schema = schema(forKind: kind) else { return Decoded(object: object, unknownFields: []) }
        return decode(object, schema: schema, typeName: Self.otherKinds[kind] ?? kind.kind, isCustom: false)
    }

    func decode(_ object: KubeObject, schema: Schema, typeName: String, isCustom: Bool) -> Decoded {
        var walk = DecodingWalk(registry: self, isCustom: isCustom)
        let json = walk.decoded(object.json, schema, typeName: typeName) ?? object.json
        return Decoded(object: KubeObject(json), unknownFields: walk.unknown, typeError: walk.typeError)
    }

    /// The message of the 400 that refuses unknown or duplicate fields under `fieldValidation=Strict`.
    public static func strictDecodingError(_ type: ResourceType, unknown: [String], duplicates: [String]) -> StatusError
    {
        let texts = unknown.map { "unknown field \"\($0)\"" } + duplicates.map { "duplicate field \"\($0)\"" }
        let list = texts.joined(separator: ", ")
        return .badRequest(
            "\(type.kind) in version \"\(type.version)\" cannot be handled as a \(type.kind): "
                + "strict decoding error: \(list)")
    }

    /// The message of the 400 that refuses a value of a wrong type.
    public static func typeError(_ type: ResourceType, _ problem: String) -> StatusError {
        .badRequest("\(type.kind) in version \"\(type.version)\" cannot be handled as a \(type.kind): \(problem)")
    }
}

private struct DecodingWalk {
    let registry: ResourceRegistry
    /// Values of wrong types are left to the schema's own rules. Metadata is Kubernetes' own in every object.
    private var isLenient: Bool
    var unknown: [String] = []
    var typeError: String?
    private var path: [String] = []
    private var goType = ""

    init(registry: ResourceRegistry, isCustom: Bool) {
        self.registry = registry
        isLenient = isCustom
    }

    /// Nil for what is left out.
    mutating func decoded(_ value: JSON, _ schema: Schema, typeName: String? = nil) -> JSON? {
        if value.isNull { return schema.isNullable ? value : Optional.none }
        switch schema.shape {
        case .any: return value
        case .reference(let name) where name.hasSuffix(".resource.Quantity"): return quantity(value)
        case .reference(let name):
            let outer = goType
            let wasLenient = isLenient
            goType = String(name.split(separator: ".").last ?? "")
            isLenient = false
            defer {
                goType = outer
                isLenient = wasLenient
            }
            return decoded(value, registry.resolve(schema))
        case .string:
            guard let text = value.string else {
                mismatch(value, "string")
                break
            }
            switch schema.format {
            case "byte" where Base64.bytes(text) == nil: refuse("illegal base64 data in \(path.joined())")
            case "date-time" where Timestamp(text) == nil:
                refuse("parsing time \(value) in \(path.joined()): expected a time such as 2006-01-02T15:04:05Z")
            default: break
            }
        case .boolean:
            if value.bool == nil { mismatch(value, "bool") }
        case .integer:
            if case .int(let number) = value {
                if schema.format == "int32", Int32(exactly: number) == nil { mismatch(value, "int32") }
            } else {
                // JSON writes 1.0 and 1 for the same number.
                if let whole = value.int { return .int(Int64(whole)) }
                mismatch(value, schema.format ?? "int64")
            }
        case .number:
            if value.double == nil { mismatch(value, "float64") }
        case .intOrString:
            // Upstream keeps the number in 32 bits.
            if value.string == nil, value.int.flatMap({ Int32(exactly: $0) }) == nil {
                mismatch(value, "intstr.IntOrString")
            }
        case .object:
            guard case .object(let members) = value else {
                mismatch(value, "v1.\(goType.isEmpty ? "Object" : goType)")
                return value
            }
            if let typeName { goType = String(typeName.split(separator: ".").last ?? "") }
            return .object(object(members, schema))
        case .map(let element):
            guard case .object(let members) = value else {
                mismatch(value, "map[string]\(Self.goName(element))")
                return value
            }
            var result: [JSONObject.Member] = []
            for (key, member) in members {
                path.append(path.isEmpty ? key : ".\(key)")
                // Go reads null as the element's zero.
                if member.isNull, case .string = element.shape {
                    result.append((key, ""))
                } else if let member = decoded(member, element) {
                    result.append((key, member))
                }
                path.removeLast()
            }
            return .object(JSONObject(result))
        case .list(let element):
            guard case .array(let elements) = value else {
                mismatch(value, "[]\(Self.goName(element))")
                return value
            }
            var result: [JSON] = []
            result.reserveCapacity(elements.count)
            for (index, member) in elements.enumerated() {
                path.append("[\(index)]")
                if let member = decoded(member, element) { result.append(member) }
                path.removeLast()
            }
            return .array(result)
        }
        return value
    }

    private mutating func object(_ members: JSONObject, _ schema: Schema) -> JSONObject {
        var result: [JSONObject.Member] = []
        result.reserveCapacity(members.count)
        for (key, member) in members {
            path.append(path.isEmpty ? key : ".\(key)")
            defer { path.removeLast() }
            if let field = schema.field(key) {
                if let member = decoded(member, field) { result.append((key, member)) }
            } else if schema.preservesUnknownFields {
                result.append((key, member))
            } else {
                unknown.append(path.joined())
            }
        }
        return JSONObject(result)
    }

    /// Amounts are written canonically: 0.5 as 500m, 1024Mi as 1Gi.
    private mutating func quantity(_ value: JSON) -> JSON {
        let text: String? =
            switch value {
            case .string(let text): text
            case .int, .double: value.text()
            default: nil
            }
        guard let quantity = text.flatMap({ Quantity($0) }) else {
            refuse(
                "\(path.joined()): \(value) is no quantity: quantities must match the regular expression "
                    + "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
            return value
        }
        return .string(quantity.description)
    }

    private mutating func refuse(_ problem: String) {
        if typeError == nil, !isLenient { typeError = problem }
    }

    private mutating func mismatch(_ value: JSON, _ wanted: String) {
        guard typeError == nil, !isLenient else { return }
        let where_ = path.joined()
        let found =
            switch value {
            case .bool: "bool"
            case .int, .double: wanted.hasPrefix("int") ? "number \(value)" : "number"
            default: value.typeName
            }
        typeError = "json: cannot unmarshal \(found) into Go struct field \(goType).\(where_) of type \(wanted)"
    }

    private static func goName(_ schema: Schema) -> String {
        switch schema.shape {
        case .string: "string"
        case .boolean: "bool"
        case .integer: schema.format ?? "int64"
        case .number: "float64"
        case .reference(let name): "v1.\(name.split(separator: ".").last ?? "")"
        case .list(let element): "[]\(goName(element))"
        default: "interface {}"
        }
    }
}
