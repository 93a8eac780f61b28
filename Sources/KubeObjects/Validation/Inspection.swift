// SPDX-License-Identifier: Apache-2.0

public import Values

/// A walk over an object that collects what is wrong with it.
public struct Inspection {
    /// The object, with its defaults filled in.
    public let object: JSON
    /// What the object was before; nil when it is being created.
    public let old: JSON?
    /// The path below the object that is being written, such as `status`; nil for the object itself.
    public let subresource: String?
    public private(set) var errors: [FieldError] = []
    /// Fields that were judged under another path, of which the schema has nothing to say any more.
    private(set) var judged = Set<String>()

    public init(_ object: JSON, old: JSON? = nil, subresource: String? = nil) {
        self.object = object
        self.old = old
        self.subresource = subresource
    }

    public mutating func report(_ error: FieldError) { errors.append(error) }

    mutating func judge(_ field: String) { judged.insert(field) }

    /// Reports each problem as an invalid value.
    public mutating func invalid(_ field: String, _ value: JSON?, _ problems: [String]) {
        for problem in problems { report(.invalid(field, value ?? .string(""), problem)) }
    }

    /// Whether the text member is there and not empty; reports its absence.
    @discardableResult
    public mutating func requireText(_ value: JSON?, _ field: String, _ detail: String = "") -> String? {
        guard let text = value.string, !text.isEmpty else {
            report(.required(field, detail))
            return nil
        }
        return text
    }

    /// What is said of a choice that is not made.
    public enum Missing: Sendable {
        /// Nothing.
        case passes
        /// That the field is required.
        case required
        /// That nothing is no choice.
        case notSupported
    }

    /// Reports a text member that is not one of `supported`, which are named in this order.
    public mutating func oneOf(
        _ value: JSON?, _ field: String, _ supported: [String], missing: Missing = .passes
    ) {
        let text = value.string ?? ""
        if !text.isEmpty {
            if !supported.contains(text) { report(.notSupported(field, JSON(text), supported)) }
            return
        }
        switch missing {
        case .passes: break
        case .required: report(.required(field))
        case .notSupported: report(.notSupported(field, "", supported))
        }
    }

    /// Reports a number below zero; a missing one passes.
    public mutating func notNegative(_ value: JSON?, _ field: String) {
        guard let value, let number = value.int, number < 0 else { return }
        report(.invalid(field, value, "must be greater than or equal to 0"))
    }
}
