// SPDX-License-Identifier: Apache-2.0

import Values

/// Which fields an object must have: `status.phase!=Failed,metadata.name=web`. All terms must hold.
public struct FieldSelector: Sendable, Hashable {
    public struct Term: Sendable, Hashable {
        public var field: String
        public var isEqual: Bool
        public var value: String
    }

    /// Why text is no field selector.
    public struct ParseError: Error, Hashable, Sendable, CustomStringConvertible {
        public let description: String
    }

    public var terms: [Term]

    public static let everything = FieldSelector(terms: [])

    public init(terms: [Term]) { self.terms = terms }

    public var isEmpty: Bool { terms.isEmpty }

    /// The value that the selector demands of a field, if it does: lets a list go straight to `metadata.name`.
    public func required(_ field: String) -> String? { terms.first { $0.field == field && $0.isEqual }?.value }

    /// Reads the text of a query; `\\`, `\,` and `\=` stand for themselves in values.
    public init(_ text: String) throws(ParseError) {
        terms = []
        for piece in Self.split(text) where !piece.isEmpty {
            guard let term = Self.term(piece) else {
                throw ParseError(description: "invalid selector: '\(piece)'; can't understand '\(piece)'")
            }
            terms.append(term)
        }
    }

    private static func split(_ text: String) -> [String] {
        var pieces: [String] = [""]
        var escaped = false
        for character in text {
            if character == ",", !escaped {
                pieces.append("")
            } else {
                pieces[pieces.count - 1].append(character)
            }
            escaped = character == "\\" && !escaped
        }
        return pieces
    }

    private static func term(_ piece: String) -> Term? {
        let characters = Array(piece)
        for (index, character) in characters.enumerated() {
            let rest = characters[index...]
            let (isEqual, length): (Bool, Int) =
                if rest.starts(with: "!=") { (false, 2) } else if rest.starts(with: "==") {
                    (true, 2)
                } else if character == "=" { (true, 1) } else { (true, 0) }
            guard length > 0 else { continue }
            guard let value = unescaped(characters[(index + length)...]) else { return nil }
            return Term(field: String(characters[..<index]), isEqual: isEqual, value: value)
        }
        return nil
    }

    private static func unescaped(_ characters: ArraySlice<Character>) -> String? {
        var result = ""
        var escaped = false
        for character in characters {
            if escaped {
                guard "\\,=".contains(character) else { return nil }
                result.append(character)
                escaped = false
            } else if character == "\\" {
                escaped = true
            } else if character == "=" {
                return nil
            } else {
                result.append(character)
            }
        }
        return escaped ? nil : result
    }

    /// The first field that objects of the type cannot be selected by, as the message that refuses it.
    public func problem(for type: ResourceType) -> String? {
        let description = KindDescription.of(type)
        for term in terms where !["metadata.name", "metadata.namespace"].contains(term.field) {
            guard description.selectableFields[term.field] == nil else { continue }
            if !type.isCustom, description.selectableFields.isEmpty {
                return "\"\(term.field)\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            }
            return "field label not supported: \(term.field)"
        }
        return nil
    }

    /// Whether an object of the type has the fields. Fields that the type does not offer never match.
    public func matches(_ object: KubeObject, of type: ResourceType) -> Bool {
        if terms.isEmpty { return true }
        let description = KindDescription.of(type)
        return terms.allSatisfy { term in
            let value: String? =
                switch term.field {
                case "metadata.name": object.name
                case "metadata.namespace": object.namespace ?? ""
                default: description.selectableFields[term.field]?.value(of: object.json)
                }
            return value.map { ($0 == term.value) == term.isEqual } ?? false
        }
    }
}
