// SPDX-License-Identifier: Apache-2.0

/// A JSON value (RFC 8259).
///
/// Kubernetes objects are kept as such values with thin typed views over them. Integers that fit `Int64` keep all
/// their digits; every other number is a `Double`. Two objects are equal when they hold the same members, in any order.
public enum JSON: Sendable, Hashable {
    case null
    case bool(Bool)
    case int(Int64)
    case double(Double)
    case string(String)
    case array([JSON])
    case object(JSONObject)
}

extension JSON {
    /// The member `key` of an object; nil for any other kind of value. Assigning to a value that is not an object
    /// makes it one; assigning nil removes the member.
    @inlinable
    public subscript(key: String) -> JSON? {
        get {
            if case .object(let object) = self { object[key] } else { nil }
        }
        set {
            var object = JSONObject()
            if case .object(let existing) = self {
                object = existing
                self = .null
            } else if newValue == nil {
                return
            }
            object[key] = newValue
            self = .object(object)
        }
    }

    /// The element at `index` of an array; nil when there is none.
    public subscript(index: Int) -> JSON? {
        if case .array(let elements) = self, elements.indices.contains(index) { elements[index] } else { nil }
    }

    public var isNull: Bool { self == .null }
    public var string: String? { if case .string(let value) = self { value } else { nil } }
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    public var array: [JSON]? { if case .array(let value) = self { value } else { nil } }
    public var object: JSONObject? { if case .object(let value) = self { value } else { nil } }

    /// A whole number; a double counts when it is one and fits.
    public var int: Int? {
        switch self {
        case .int(let value): Int(value)
        case .double(let value): Int(exactly: value)
        default: nil
        }
    }

    public var double: Double? {
        switch self {
        case .int(let value): Double(value)
        case .double(let value): value
        default: nil
        }
    }

    /// How deep arrays and objects stand in each other: 0 for anything else.
    public var depth: Int {
        switch self {
        case .array(let elements): 1 + (elements.lazy.map(\.depth).max() ?? 0)
        case .object(let object): 1 + (object.members.lazy.map(\.value.depth).max() ?? 0)
        default: 0
        }
    }

    /// What kind of value this is, in the words of JSON Schema: for messages.
    public var typeName: String {
        switch self {
        case .null: "null"
        case .bool: "boolean"
        case .int: "integer"
        case .double: "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }
}

/// Reading and writing through missing members: `pod["spec"]["nodeName"].string`, `pod["status"]["phase"] = "Running"`.
extension Optional where Wrapped == JSON {
    @inlinable
    public subscript(key: String) -> JSON? {
        get { self?[key] }
        set {
            if self == nil, newValue == nil { return }
            var value = self ?? .object([:])
            self = nil
            value[key] = newValue
            self = value
        }
    }

    public subscript(index: Int) -> JSON? { self?[index] }
    public var string: String? { self?.string }
    public var int: Int? { self?.int }
    public var bool: Bool? { self?.bool }
    public var double: Double? { self?.double }
    public var array: [JSON]? { self?.array }
    public var object: JSONObject? { self?.object }
}

extension JSON: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral, ExpressibleByStringInterpolation, ExpressibleByArrayLiteral,
    ExpressibleByDictionaryLiteral
{
    public init(nilLiteral: ()) { self = .null }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(integerLiteral value: Int64) { self = .int(value) }
    public init(floatLiteral value: Double) { self = .double(value) }
    public init(stringLiteral value: String) { self = .string(value) }
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSON)...) {
        var object = JSONObject()
        for (key, value) in elements { object[key] = value }
        self = .object(object)
    }

    public init(_ value: Int) { self = .int(Int64(value)) }
    public init(_ value: Bool) { self = .bool(value) }
    public init(_ value: String) { self = .string(value) }
    public init(_ strings: some Sequence<String>) { self = .array(strings.map(JSON.string)) }
    public init(_ members: [String: String]) {
        self = .object(JSONObject(members.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) }))
    }
}
