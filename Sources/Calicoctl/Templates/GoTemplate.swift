// SPDX-License-Identifier: Apache-2.0

import Sessions
import Values

/// The part of Go's `text/template` that `get -o go-template=` is used with: fields, variables, pipelines, `if`,
/// `range`, `with`, and the functions of ``GoTemplateFunctions``. What is not understood is named.
struct GoTemplate: Sendable {
    indirect enum Node: Sendable {
        case text(String)
        case value(Pipeline)
        case branch(Branch)
    }

    struct Branch: Sendable {
        enum Kind: String, Sendable { case `if`, range, with }
        let kind: Kind
        let condition: Pipeline
        let body: [Node]
        let otherwise: [Node]
    }

    /// Commands joined by `|`, and the variables that take the result.
    struct Pipeline: Sendable {
        var variables: [String] = []
        var commands: [[Term]]
    }

    indirect enum Term: Sendable {
        case literal(JSON)
        case field([String])
        case variable(String, [String])
        case function(String)
        case pipeline(Pipeline, [String])
    }

    private let nodes: [Node]

    /// - Throws: `Failure` that quotes what is not understood.
    init(_ text: String) throws {
        var parser = GoTemplateParser(try GoTemplateParser.pieces(text))
        nodes = try parser.nodes()
        try parser.expectEnd()
    }

    func rendered(_ data: JSON) throws -> String {
        var output = ""
        var scope: [(name: String, value: JSON)] = [("", data)]
        try render(nodes, data, &scope, &output)
        return output
    }

    private typealias Scope = [(name: String, value: JSON)]

    private func render(_ nodes: [Node], _ dot: JSON, _ scope: inout Scope, _ output: inout String) throws {
        for node in nodes {
            switch node {
            case .text(let text): output += text
            case .value(let pipeline):
                let value = try evaluate(pipeline, dot, &scope)
                if pipeline.variables.isEmpty { output += GoTemplateFunctions.text(value) }
            case .branch(let branch):
                let depth = scope.count
                try render(branch, dot, &scope, &output)
                scope.removeLast(scope.count - depth)
            }
        }
    }

    private func render(_ branch: Branch, _ dot: JSON, _ scope: inout Scope, _ output: inout String) throws {
        let names = branch.condition.variables
        var condition = branch.condition
        if branch.kind == .range { condition.variables = [] }
        let value = try evaluate(condition, dot, &scope)
        guard GoTemplateFunctions.isTrue(value) else { return try render(branch.otherwise, dot, &scope, &output) }
        guard branch.kind == .range else {
            return try render(branch.body, branch.kind == .with ? value : dot, &scope, &output)
        }
        let items: [(key: JSON, value: JSON)]
        switch value {
        case .array(let list): items = list.enumerated().map { (JSON($0.offset), $0.element) }
        case .object(let object): items = object.sorted { $0.key < $1.key }.map { (JSON($0.0), $0.1) }
        default: throw Failure("go-template: range can't iterate over \(value.text())")
        }
        for (key, item) in items {
            let depth = scope.count
            if names.count == 2 { scope.append((names[0], key)) }
            if let last = names.last { scope.append((last, item)) }
            try render(branch.body, item, &scope, &output)
            scope.removeLast(scope.count - depth)
        }
    }

    private func evaluate(_ pipeline: Pipeline, _ dot: JSON, _ scope: inout Scope) throws -> JSON {
        var result: JSON?
        for command in pipeline.commands {
            guard let head = command.first else { throw Failure("go-template: empty command") }
            var arguments: [JSON] = []
            for term in command.dropFirst() { arguments.append(try self.value(term, dot, &scope)) }
            if let result { arguments.append(result) }
            if case .function(let name) = head {
                result = try GoTemplateFunctions.call(name, arguments)
            } else {
                guard arguments.isEmpty else { throw Failure("go-template: a field cannot be given arguments") }
                result = try self.value(head, dot, &scope)
            }
        }
        let value = result ?? .null
        if let name = pipeline.variables.last { scope.append((name, value)) }
        return value
    }

    private func value(_ term: Term, _ dot: JSON, _ scope: inout Scope) throws -> JSON {
        switch term {
        case .literal(let value): return value
        case .field(let path): return Self.member(dot, path)
        case .variable(let name, let path):
            guard let found = scope.last(where: { $0.name == name }) else {
                throw Failure("go-template: undefined variable \"$\(name)\"")
            }
            return Self.member(found.value, path)
        case .function(let name): return try GoTemplateFunctions.call(name, [])
        case .pipeline(let pipeline, let path): return Self.member(try evaluate(pipeline, dot, &scope), path)
        }
    }

    private static func member(_ value: JSON, _ path: [String]) -> JSON {
        path.reduce(value) { $0[$1] ?? .null }
    }
}

enum GoTemplateFunctions {
    static let names: Set<String> = [
        "printf", "print", "println", "index", "len", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not",
    ]

    static func text(_ value: JSON) -> String {
        switch value {
        case .null: "<no value>"
        case .string(let text): text
        case .array(let list): "[" + list.map(text).joined(separator: " ") + "]"
        case .object(let object):
            "map[" + object.sorted { $0.key < $1.key }.map { "\($0.0):\(text($0.1))" }.joined(separator: " ") + "]"
        default: value.text()
        }
    }

    static func isTrue(_ value: JSON) -> Bool {
        switch value {
        case .null: false
        case .bool(let flag): flag
        case .int(let number): number != 0
        case .double(let number): number != 0
        case .string(let text): !text.isEmpty
        case .array(let list): !list.isEmpty
        case .object(let object): !object.isEmpty
        }
    }

    static func call(_ name: String, _ arguments: [JSON]) throws -> JSON {
        func need(_ count: Int) throws {
            guard arguments.count >= count else {
                throw Failure("go-template: wrong number of args for \(name): want \(count) got \(arguments.count)")
            }
        }
        switch name {
        case "print": return JSON(arguments.map(text).joined(separator: " "))
        case "println": return JSON(arguments.map(text).joined(separator: " ") + "\n")
        case "printf":
            try need(1)
            return JSON(try formatted(text(arguments[0]), Array(arguments.dropFirst())))
        case "len":
            try need(1)
            return JSON(arguments[0].string?.utf8.count ?? arguments[0].array?.count ?? arguments[0].object?.count ?? 0)
        case "index":
            try need(1)
            return try arguments.dropFirst().reduce(arguments[0]) { value, key in
                if let number = key.int {
                    guard let list = value.array, list.indices.contains(number) else {
                        throw Failure("go-template: error calling index: index out of range: \(number)")
                    }
                    return list[number]
                }
                return value[key.string ?? ""] ?? .null
            }
        case "not":
            try need(1)
            return JSON(!isTrue(arguments[0]))
        case "and":
            try need(1)
            return arguments.first { !isTrue($0) } ?? arguments[arguments.count - 1]
        case "or":
            try need(1)
            return arguments.first(where: isTrue) ?? arguments[arguments.count - 1]
        case "eq":
            try need(2)
            return JSON(arguments.dropFirst().contains(arguments[0]))
        case "ne":
            try need(2)
            return JSON(arguments[0] != arguments[1])
        case "lt", "le", "gt", "ge":
            try need(2)
            return JSON(try compared(name, arguments[0], arguments[1]))
        default:
            throw Failure(
                "go-template: function \"\(name)\" not defined; there are \(names.sorted().joined(separator: ", "))")
        }
    }

    private static func compared(_ name: String, _ left: JSON, _ right: JSON) throws -> Bool {
        let isLess: Bool
        if let left = left.string, let right = right.string {
            isLess = left < right
        } else if let left = left.int, let right = right.int {
            isLess = left < right
        } else {
            throw Failure("go-template: error calling \(name): incompatible types for comparison")
        }
        switch name {
        case "lt": return isLess
        case "le": return isLess || left == right
        case "gt": return !isLess && left != right
        default: return !isLess
        }
    }

    /// `%s %v %d %q %t %%`, with a width such as `%-20s`.
    private static func formatted(_ format: String, _ arguments: [JSON]) throws -> String {
        var result = ""
        var rest = arguments[...]
        var index = format.startIndex
        while index < format.endIndex {
            let character = format[index]
            index = format.index(after: index)
            guard character == "%" else {
                result.append(character)
                continue
            }
            var width = ""
            while index < format.endIndex, format[index] == "-" || format[index].isNumber {
                width.append(format[index])
                index = format.index(after: index)
            }
            guard index < format.endIndex else { throw Failure("go-template: printf: \"%\" at the end of the format") }
            let verb = format[index]
            index = format.index(after: index)
            if verb == "%" {
                result += "%"
                continue
            }
            guard "svdqt".contains(verb) else {
                throw Failure("go-template: printf: %\(verb) is not understood: %s, %v, %d, %q and %t are")
            }
            guard let value = rest.popFirst() else {
                result += "%!\(verb)(MISSING)"
                continue
            }
            let text = verb == "q" ? JSON(Self.text(value)).text() : Self.text(value)
            let space = String(repeating: " ", count: max(0, min(1000, abs(Int(width) ?? 0)) - text.count))
            result += width.hasPrefix("-") ? text + space : space + text
        }
        return result
    }
}
