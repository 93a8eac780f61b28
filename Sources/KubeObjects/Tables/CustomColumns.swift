// SPDX-License-Identifier: Apache-2.0

import Values

/// Columns of kinds that describe none: those that the definition of a custom resource asks for, or the age.
enum CustomColumns {
    static func columns(of type: ResourceType) -> [TableColumn] {
        if type.columns.isEmpty { return [.objectName, .age] }
        return [.objectName] + type.columns.map(column)
    }

    private static func column(_ definition: ResourceType.PrinterColumn) -> TableColumn {
        let path = JSONPath(definition.jsonPath)
        let isDate = definition.type == "date"
        return TableColumn(
            definition.name, type: isDate ? "string" : definition.type, wide: definition.priority > 0
        ) { object, now in
            let found = path.values(in: object.json)
            guard let first = found.first else { return isDate ? "<unknown>" : .null }
            if isDate { return JSON(HumanDuration.age(since: first.string.flatMap { Timestamp($0) }, now: now)) }
            switch (definition.type, first) {
            case ("string", .string), ("integer", .int), ("number", _), ("boolean", .bool): return first
            case ("string", _): return JSON(first.text())
            default: return first
            }
        }
    }
}

/// The part of JSONPath that printer columns use: members, indices, `*` and comparisons such as
/// `.status.conditions[?(@.type=='Ready')].status`.
struct JSONPath: Sendable {
    private enum Step: Sendable {
        case member(String)
        case index(Int)
        case every
        case filter(path: [String], value: String)
        /// Something not understood finds nothing.
        case nothing
    }

    private let steps: [Step]

    init(_ text: String) {
        var steps: [Step] = []
        var rest = text[...]
        while let first = rest.first {
            if first == "." {
                rest = rest.dropFirst()
                continue
            }
            guard first == "[" else {
                let name = rest.prefix { $0 != "." && $0 != "[" }
                rest = rest.dropFirst(name.count)
                steps.append(name == "*" ? .every : .member(String(name)))
                continue
            }
            guard let end = Self.closing(rest) else {
                steps.append(.nothing)
                break
            }
            steps.append(Self.bracket(rest[rest.index(after: rest.startIndex)..<end]))
            rest = rest[rest.index(after: end)...]
        }
        self.steps = steps
    }

    func values(in object: JSON) -> [JSON] {
        steps.reduce([object]) { found, step in found.flatMap { Self.take(step, $0) } }
    }

    private static func take(_ step: Step, _ value: JSON) -> [JSON] {
        switch step {
        case .member(let name): value[name].map { [$0] } ?? []
        case .index(let index): value[index].map { [$0] } ?? []
        case .every: value.array ?? value.object?.map(\.value) ?? []
        case .filter(let path, let wanted):
            (value.array ?? []).filter { element in
                let found = path.reduce(Optional(element)) { $0[$1] }
                return found.string == wanted || found.map { $0.text() == wanted } ?? false
            }
        case .nothing: []
        }
    }

    private static func closing(_ text: Substring) -> Substring.Index? {
        var quote: Character?
        for index in text.indices {
            let character = text[index]
            if let open = quote {
                if character == open { quote = nil }
            } else if character == "'" || character == "\"" {
                quote = character
            } else if character == "]" {
                return index
            }
        }
        return nil
    }

    private static func bracket(_ text: Substring) -> Step {
        if text == "*" { return .every }
        if let index = Int(text) { return .index(index) }
        if let name = unquoted(text) { return .member(name) }
        guard text.hasPrefix("?(@."), text.hasSuffix(")") else { return .nothing }
        let parts = text.dropFirst(4).dropLast().split(separator: "==", maxSplits: 1)
        guard parts.count == 2 else { return .nothing }
        let value = parts[1].drop { $0 == " " }
        let path = parts[0].split(separator: ".").map { $0.filter { $0 != " " } }
        return .filter(path: path, value: unquoted(value) ?? String(value))
    }

    private static func unquoted(_ text: Substring) -> String? {
        guard text.count >= 2, let first = text.first, first == "'" || first == "\"", text.last == first else {
            return nil
        }
        return String(text.dropFirst().dropLast())
    }
}
