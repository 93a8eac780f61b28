// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

/// Whatever a kind's schema allows comes back from the wire as it was.
@Suite struct ProtobufRoundTripTests {
    static let types = ResourceRegistry.shared.resources.filter { !$0.isCustom }

    /// Objects made up after their schema: all fields, or those that are drawn.
    private struct Maker {
        let registry = ResourceRegistry.shared
        var state: UInt64
        let hasAll: Bool

        init(seed: UInt64) {
            hasAll = seed == 0
            state = (seed &+ 1) &* 0x9E37_79B9_7F4A_7C15
        }

        mutating func below(_ bound: Int) -> Int {
            state ^= state >> 12
            state ^= state << 25
            state ^= state >> 27
            return Int((state &* 0x2545_F491_4F6C_DD1D) >> 33) % bound
        }

        mutating func text() -> JSON {
            JSON(["a", "Zoë", "x\ny", String(repeating: "long ", count: 30)][below(4)] + "\(below(1000))")
        }

        /// Nil where a schema would go on for ever.
        mutating func value(_ schema: Schema, _ depth: Int) -> JSON? {
            switch schema.shape {
            case .string:
                return switch schema.format {
                case "byte": JSON(Base64.text((0...below(4)).map { UInt8($0) }))
                default: text()
                }
            case .integer: return JSON([1, 80, 300, 2_000_000_000, -5][below(5)])
            case .number: return .double([1.5, -0.25, 1e300][below(3)])
            case .boolean: return true
            case .intOrString: return below(2) == 0 ? JSON(below(65536)) : "50%"
            case .any: return ["any": [1, "x", nil]]
            case .list(let element): return some(2) { $0.value(element, depth + 1) }.map { .array($0) }
            case .map(let value):
                return some(2) { $0.value(value, depth + 1) }.map { values in
                    .object(JSONObject(values.enumerated().map { ("key-\($0)", $1) }))
                }
            case .object(let fields): return object(fields, depth)
            case .reference(let name): return named(name, schema, depth)
            }
        }

        private mutating func some(_ count: Int, _ make: (inout Maker) -> JSON?) -> [JSON]? {
            let made = (0...below(count)).compactMap { _ in make(&self) }
            return made.isEmpty ? nil : made
        }

        private mutating func object(_ fields: [Schema.Field], _ depth: Int) -> JSON? {
            guard depth < 14 else { return nil }
            var object = JSONObject()
            for field in fields where hasAll || below(3) > 0 { object[field.name] = value(field.schema, depth + 1) }
            return .object(object)
        }

        private mutating func named(_ name: String, _ schema: Schema, _ depth: Int) -> JSON? {
            switch name.split(separator: ".").last ?? "" {
            case "Quantity": return JSON("\(below(1000))Mi")
            case "Time": return JSON(Timestamp(seconds: Int64(below(2_000_000_000))).description)
            case "MicroTime":
                return JSON(Timestamp(seconds: 1, nanoseconds: Int32(below(1_000_000)) * 1000).micro)
            case "FieldsV1", "RawExtension": return ["f:a": [".": [:]]]
            case "JSON": return [JSON.null, "x", 7, [1, nil], ["a": false], "", 0, false][below(8)]
            case "JSONSchemaPropsOrBool": return below(2) == 0 ? JSON(below(2) == 0) : ["type": "string"]
            case "JSONSchemaPropsOrArray": return below(2) == 0 ? [["type": "string"], [:]] : ["type": "string"]
            case "JSONSchemaPropsOrStringArray": return below(2) == 0 ? ["a", "b"] : ["type": "string"]
            case "JSONSchemaProps" where depth > 9: return nil
            case "CustomResourceSubresourceStatus": return [:]
            case "PersistentVolumeClaim", "DeleteOptions":
                // Within another message nothing names version and kind.
                var object = value(registry.resolve(schema), depth)
                if depth > 0 { for field in ["apiVersion", "kind"] { object[field] = nil } }
                return object
            default: return value(registry.resolve(schema), depth)
            }
        }

        mutating func make(_ kind: GroupVersionKind, _ schema: Schema) -> JSON {
            var json = value(schema, 0) ?? [:]
            json["apiVersion"] = JSON(kind.apiVersion)
            json["kind"] = JSON(kind.kind)
            return json
        }
    }

    /// Without members that are null, which is what the wire makes of them.
    private func withoutNulls(_ json: JSON) -> JSON {
        switch json {
        case .object(let object):
            .object(JSONObject(object.members.filter { !$0.value.isNull }.map { ($0.key, withoutNulls($0.value)) }))
        case .array(let elements): .array(elements.map(withoutNulls))
        default: json
        }
    }

    private func check(_ kind: GroupVersionKind, _ schema: Schema, seeds: ClosedRange<UInt64>) throws {
        for seed in seeds {
            var maker = Maker(seed: seed)
            let object = maker.make(kind, schema)
            let bytes = try #require(Protobuf.encode(object))
            let decoded = try Protobuf.decode(bytes).json
            #expect(
                withoutNulls(decoded) == withoutNulls(object),
                "seed \(seed): \(difference(withoutNulls(object), withoutNulls(decoded)))")
            // Equal objects have equal bytes, in whatever order their members stand.
            #expect(Protobuf.encode(decoded) == bytes, "seed \(seed)")
        }
    }

    /// The first place in which two values differ.
    private func difference(_ left: JSON?, _ right: JSON?, _ path: String = "") -> String {
        if let one = left.object, let other = right.object {
            for key in one.keys + other.keys where one[key] != other[key] {
                return difference(one[key], other[key], "\(path).\(key)")
            }
        }
        if let one = left.array, let other = right.array, one.count == other.count {
            for index in one.indices where one[index] != other[index] {
                return difference(one[index], other[index], "\(path)[\(index)]")
            }
        }
        return "\(path): \(left?.text() ?? "nothing") became \(right?.text() ?? "nothing")"
    }

    @Test(arguments: types) func everyKind(_ type: ResourceType) throws {
        let schema = try #require(ResourceRegistry.shared.schema(of: type))
        try check(type.groupVersionKind, schema, seeds: 0...12)
    }

    @Test(arguments: [
        GroupVersionKind("autoscaling", "v1", "Scale"), GroupVersionKind("", "v1", "Status"),
        GroupVersionKind("authentication.k8s.io", "v1", "TokenRequest"), GroupVersionKind("policy", "v1", "Eviction"),
    ]) func kindsThatAreNotStored(_ kind: GroupVersionKind) throws {
        try check(kind, try #require(ResourceRegistry.shared.schema(forKind: kind)), seeds: 0...12)
    }

    @Test func metadataAlone() throws {
        let object: JSON = [
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": ["name": "a", "labels": ["b": "c"], "resourceVersion": "7"],
        ]
        #expect(try Protobuf.decode(try #require(Protobuf.encode(object))).json == object)
    }
}
