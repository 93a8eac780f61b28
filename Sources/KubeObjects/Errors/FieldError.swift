// SPDX-License-Identifier: Apache-2.0

public import Values

/// What is wrong with one field of an object, in Kubernetes' words.
public struct FieldError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Kind: String, Sendable, Hashable {
        case required = "Required value"
        case invalid = "Invalid value"
        case notSupported = "Unsupported value"
        case duplicate = "Duplicate value"
        case notFound = "Not found"
        case forbidden = "Forbidden"
        case tooLong = "Too long"
        case tooShort = "Too short"
        case tooMany = "Too many"
        case tooFew = "Too few"
        case typeInvalid = "Invalid value "
        case internalError = "Internal error"

        /// The reason of a Status cause.
        public var reason: String {
            switch self {
            case .required: "FieldValueRequired"
            case .invalid: "FieldValueInvalid"
            case .notSupported: "FieldValueNotSupported"
            case .duplicate: "FieldValueDuplicate"
            case .notFound: "FieldValueNotFound"
            case .forbidden: "FieldValueForbidden"
            case .tooLong: "FieldValueTooLong"
            case .tooShort: "FieldValueTooShort"
            case .tooMany: "FieldValueTooMany"
            case .tooFew: "FieldValueTooFew"
            case .typeInvalid: "FieldValueTypeInvalid"
            case .internalError: "InternalError"
            }
        }
    }

    public var type: Kind
    /// `spec.containers[0].name`
    public var field: String
    public var value: JSON?
    public var detail: String
    /// The values that would do, for `.notSupported`.
    public var supported: [String]

    public init(_ type: Kind, _ field: String, value: JSON? = nil, detail: String = "", supported: [String] = []) {
        self.type = type
        self.field = field
        self.value = value
        self.detail = detail
        self.supported = supported
    }

    public static func required(_ field: String, _ detail: String = "") -> FieldError {
        FieldError(.required, field, detail: detail)
    }

    public static func invalid(_ field: String, _ value: JSON, _ detail: String) -> FieldError {
        FieldError(.invalid, field, value: value, detail: detail)
    }

    public static func notSupported(_ field: String, _ value: JSON, _ supported: [String]) -> FieldError {
        FieldError(.notSupported, field, value: value, supported: supported)
    }

    public static func duplicate(_ field: String, _ value: JSON) -> FieldError {
        FieldError(.duplicate, field, value: value)
    }

    public static func notFound(_ field: String, _ value: JSON) -> FieldError {
        FieldError(.notFound, field, value: value)
    }

    public static func forbidden(_ field: String, _ detail: String) -> FieldError {
        FieldError(.forbidden, field, detail: detail)
    }

    /// What follows the field's name.
    public var body: String {
        var text = type.rawValue.hasSuffix(" ") ? String(type.rawValue.dropLast()) : type.rawValue
        switch type {
        case .required, .forbidden, .tooLong, .tooShort, .internalError: break
        case .tooMany, .tooFew: if let value { text += ": \(Self.quoted(value))" }
        default: text += ": \(Self.quoted(value ?? .string("")))"
        }
        if type == .notSupported, !supported.isEmpty {
            text += ": supported values: " + supported.map { Self.quoted(.string($0)) }.joined(separator: ", ")
        }
        if !detail.isEmpty { text += ": \(detail)" }
        return text
    }

    public var description: String { "\(field): \(body)" }

    /// An entry of `details.causes` of a Status.
    public var cause: JSON {
        ["reason": JSON(type.reason), "message": JSON(body), "field": JSON(field)]
    }

    private static func quoted(_ value: JSON) -> String { value.isNull ? "null" : value.text() }
}
