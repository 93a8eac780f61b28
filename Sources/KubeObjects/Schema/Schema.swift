// SPDX-License-Identifier: Apache-2.0

public import Values

/// What a value may be: a type of Kubernetes' API or a part of a custom resource's structural schema.
///
/// References to named types stay references and are followed through the registry that made the schema.
public final class Schema: Sendable {
    public enum Shape: Sendable {
        /// Any JSON, kept as it is.
        case any
        case string, integer, number, boolean
        /// A number or a string, such as a port or a percentage.
        case intOrString
        /// A named type of the registry.
        case reference(String)
        /// Known fields, in the order in which they are shown.
        case object([Field])
        /// Any keys, values of one schema.
        case map(Schema)
        case list(Schema)
    }

    public struct Field: Sendable {
        public let name: String
        public let schema: Schema
    }

    /// How the elements of a list relate: what patches and server-side apply merge by.
    public struct ListRules: Sendable {
        /// `atomic`, `set` or `map`.
        public var type: String?
        public var mapKeys: [String] = []
        /// The key of strategic merge patches.
        public var mergeKey: String?
        /// `merge`, `replace`, `retainKeys` or a comma-separated combination.
        public var patchStrategy: String?

        public var strategies: [Substring] { patchStrategy?.split(separator: ",") ?? [] }
    }

    /// Limits that schemas of custom resources set.
    public struct Limits: Sendable {
        public var pattern: Pattern?
        public var enumeration: [JSON] = []
        public var minimum: Double?
        public var maximum: Double?
        public var exclusiveMinimum = false
        public var exclusiveMaximum = false
        public var minLength: Int?
        public var maxLength: Int?
        public var minItems: Int?
        public var maxItems: Int?
        public var minProperties: Int?
        public var maxProperties: Int?
        public var multipleOf: Double?
    }

    public let shape: Shape
    public let format: String?
    public let required: [String]
    public let list: ListRules?
    /// `atomic` or `granular`.
    public let mapType: String?
    public let limits: Limits?
    public let defaultValue: JSON?
    public let isNullable: Bool
    /// Members that no field names are kept.
    public let preservesUnknownFields: Bool
    /// The kinds that objects of this type have, for types that are kinds.
    let kinds: [GroupVersionKind]
    /// An object with its own apiVersion, kind and metadata.
    public let isEmbeddedResource: Bool
    /// Whether the schema only adds to what another says: then a value of another type passes.
    let isValueRule: Bool
    let rules: ValueRules?
    private let index: [String: Schema]

    init(
        _ shape: Shape, format: String? = nil, required: [String] = [], list: ListRules? = nil, mapType: String? = nil,
        limits: Limits? = nil, defaultValue: JSON? = nil, isNullable: Bool = false,
        preservesUnknownFields: Bool = false, isEmbeddedResource: Bool = false, isValueRule: Bool = false,
        rules: ValueRules? = nil, kinds: [GroupVersionKind] = []
    ) {
        self.shape = shape
        self.format = format
        self.required = required
        self.list = list
        self.mapType = mapType
        self.limits = limits
        self.defaultValue = defaultValue
        self.isNullable = isNullable
        self.preservesUnknownFields = preservesUnknownFields
        self.isEmbeddedResource = isEmbeddedResource
        self.isValueRule = isValueRule
        self.rules = rules
        self.kinds = kinds
        var index: [String: Schema] = [:]
        if case .object(let fields) = shape { for field in fields { index[field.name] = field.schema } }
        self.index = index
    }

    /// The schema of a known field of an object.
    public func field(_ name: String) -> Schema? { index[name] }

    /// The known fields of an object; empty for anything else.
    public var fields: [Field] { if case .object(let fields) = shape { fields } else { [] } }
}
