// SPDX-License-Identifier: Apache-2.0

import Sessions
import Values

/// Reads a Go template: text and actions first, then the tree that actions make.
struct GoTemplateParser {
    enum Piece: Sendable, Equatable {
        case text(String)
        case action(String)
    }

    private var pieces: ArraySlice<Piece>

    init(_ pieces: [Piece]) { self.pieces = pieces[...] }

    /// Text between `{{` and `}}`, with the white space that `{{-` and `-}}` take away; comments are left out.
    static func pieces(_ template: String) throws -> [Piece] {
        var result: [Piece] = []
        var rest = Substring(template)
        var trimsNext = false
        func trimmed(_ text: Substring, start: Bool, end: Bool) -> String {
            var text = text
            if start { text = text.drop(while: \.isWhitespace) }
            if end { while text.last?.isWhitespace == true { text.removeLast() } }
            return String(text)
        }
        while let open = rest.range(of: "{{") {
            var inner = rest[open.upperBound...]
            let trimsBefore = inner.hasPrefix("- ") || inner.hasPrefix("-\n")
            if trimsBefore { inner = inner.dropFirst() }
            result.append(.text(trimmed(rest[..<open.lowerBound], start: trimsNext, end: trimsBefore)))
            guard let close = Self.end(of: inner) else {
                throw Failure("go-template: unclosed action: {{\(inner.prefix(40))")
            }
            var action = inner[..<close]
            trimsNext = action.hasSuffix(" -")
            if trimsNext { action = action.dropLast() }
            let text = trimmed(action, start: true, end: true)
            if !text.hasPrefix("/*") { result.append(.action(text)) }
            rest = inner[inner.index(close, offsetBy: 2)...]
        }
        result.append(.text(trimmed(rest, start: trimsNext, end: false)))
        return result.filter { $0 != .text("") }
    }

    /// Where `}}` stands outside of strings.
    private static func end(of text: Substring) -> Substring.Index? {
        var quote: Character?
        var index = text.startIndex
        while index < text.endIndex {
            let character = text[index]
            if let open = quote {
                if character == "\\", open == "\"" {
                    index = text.index(after: index)
                    guard index < text.endIndex else { return nil }
                } else if character == open {
                    quote = nil
                }
            } else if character == "\"" || character == "`" {
                quote = character
            } else if text[index...].hasPrefix("}}") {
                return index
            }
            index = text.index(after: index)
        }
        return nil
    }

    /// Nodes up to `else`, `end` or the end of the template.
    mutating func nodes() throws -> [GoTemplate.Node] {
        var result: [GoTemplate.Node] = []
        while let piece = pieces.first {
            switch piece {
            case .text(let text):
                pieces = pieces.dropFirst()
                result.append(.text(text))
            case .action(let action):
                let word = String(action.prefix(while: \.isLetter))
                if word == "end" || word == "else" { return result }
                pieces = pieces.dropFirst()
                if let kind = GoTemplate.Branch.Kind(rawValue: word) {
                    result.append(.branch(try branch(kind, String(action.dropFirst(word.count)))))
                } else if ["define", "template", "block", "break", "continue"].contains(word) {
                    throw Failure(
                        "go-template: {{\(word)}} is not understood here: if, range, with, variables and functions are")
                } else {
                    result.append(.value(try GoTemplateTerms.pipeline(action)))
                }
            }
        }
        return result
    }

    func expectEnd() throws {
        guard case .action(let word)? = pieces.first else { return }
        throw Failure("go-template: unexpected {{\(word)}}")
    }

    private mutating func branch(_ kind: GoTemplate.Branch.Kind, _ condition: String) throws -> GoTemplate.Branch {
        let pipeline = try GoTemplateTerms.pipeline(condition)
        let body = try nodes()
        guard case .action(let word)? = pieces.popFirst() else {
            throw Failure("go-template: {{\(kind.rawValue)}} without {{end}}")
        }
        var otherwise: [GoTemplate.Node] = []
        if word.hasPrefix("else") {
            let rest = word.dropFirst(4).drop(while: \.isWhitespace)
            if rest.hasPrefix("if") {
                otherwise = [.branch(try branch(.if, String(rest.dropFirst(2))))]
                return GoTemplate.Branch(kind: kind, condition: pipeline, body: body, otherwise: otherwise)
            }
            otherwise = try nodes()
            guard case .action("end")? = pieces.popFirst() else {
                throw Failure("go-template: {{else}} without {{end}}")
            }
        }
        return GoTemplate.Branch(kind: kind, condition: pipeline, body: body, otherwise: otherwise)
    }
}

extension Substring {
    fileprivate func range(of text: String) -> Range<Index>? {
        var index = startIndex
        while index < endIndex {
            if self[index...].hasPrefix(text) { return index..<self.index(index, offsetBy: text.count) }
            index = self.index(after: index)
        }
        return nil
    }
}

/// Reads the pipeline of one action.
enum GoTemplateTerms {
    static func pipeline(_ text: String) throws -> GoTemplate.Pipeline {
        var rest = Substring(text)
        let result = try pipeline(&rest, until: nil)
        guard rest.isEmpty else { throw Failure("go-template: \"\(rest)\" is not understood in {{\(text)}}") }
        return result
    }

    private static func pipeline(_ rest: inout Substring, until end: Character?) throws -> GoTemplate.Pipeline {
        var result = GoTemplate.Pipeline(commands: [[]])
        while true {
            rest = rest.drop(while: \.isWhitespace)
            guard let character = rest.first, character != end else { break }
            if character == "|" {
                rest = rest.dropFirst()
                result.commands.append([])
            } else if character == "," || rest.hasPrefix(":=") || (rest.hasPrefix("=") && result.commands.count == 1) {
                guard case .variable(let name, let path)? = result.commands[0].popLast(), path.isEmpty else {
                    throw Failure("go-template: a variable is expected before \"\(rest.prefix(10))\"")
                }
                result.variables.append(name)
                rest = rest.dropFirst(rest.hasPrefix(":=") ? 2 : 1)
            } else {
                result.commands[result.commands.count - 1].append(try term(&rest))
            }
        }
        guard result.commands.allSatisfy({ !$0.isEmpty }) else {
            throw Failure("go-template: missing value for command")
        }
        return result
    }

    private static func term(_ rest: inout Substring) throws -> GoTemplate.Term {
        switch rest.first {
        case "(":
            rest = rest.dropFirst()
            let inner = try pipeline(&rest, until: ")")
            guard rest.first == ")" else { throw Failure("go-template: unclosed left paren") }
            rest = rest.dropFirst()
            return .pipeline(inner, path(&rest))
        case ".": return .field(path(&rest))
        case "$":
            rest = rest.dropFirst()
            let name = word(&rest)
            return .variable(name, path(&rest))
        case "`":
            let text = rest.dropFirst().prefix { $0 != "`" }
            rest = rest.dropFirst(text.count + 2)
            return .literal(JSON(String(text)))
        case "\"": return .literal(JSON(try string(&rest)))
        default: break
        }
        let text = word(&rest)
        if let number = Int(text) { return .literal(JSON(number)) }
        if text == "true" || text == "false" { return .literal(JSON(text == "true")) }
        if text == "nil" { return .literal(.null) }
        guard GoTemplateFunctions.names.contains(text) else {
            throw Failure(
                "go-template: \"\(text.isEmpty ? String(rest.prefix(10)) : text)\" is not understood; functions are \(GoTemplateFunctions.names.sorted().joined(separator: ", "))"
            )
        }
        return .function(text)
    }

    private static func word(_ rest: inout Substring) -> String {
        let text = rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "-" }
        rest = rest.dropFirst(text.count)
        return String(text)
    }

    /// `.metadata.name`; a dot alone is the value itself.
    private static func path(_ rest: inout Substring) -> [String] {
        var result: [String] = []
        while rest.first == "." {
            rest = rest.dropFirst()
            let name = word(&rest)
            if name.isEmpty { break }
            result.append(name)
        }
        return result
    }

    private static func string(_ rest: inout Substring) throws -> String {
        var result = ""
        rest = rest.dropFirst()
        while let character = rest.popFirst() {
            if character == "\"" { return result }
            guard character == "\\" else {
                result.append(character)
                continue
            }
            switch rest.popFirst() {
            case "n": result.append("\n")
            case "t": result.append("\t")
            case let other?: result.append(other)
            case nil: break
            }
        }
        throw Failure("go-template: unterminated quoted string")
    }
}
