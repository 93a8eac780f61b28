// SPDX-License-Identifier: Apache-2.0

extension LabelSelector {
    /// Reads the text of a query; empty text selects everything.
    public init(_ text: String) throws(ParseError) {
        var parser = LabelSelectorParser(text)
        self.init(try parser.requirements())
    }
}

private struct LabelSelectorParser {
    private enum Token: Hashable {
        case word(String)
        case symbol(String)
        case end

        var text: String {
            switch self {
            case .word(let text), .symbol(let text): text
            case .end: ""
            }
        }
    }

    private var tokens: [Token] = []
    private var position = 0

    init(_ text: String) {
        let special = Set("=!<>(),".utf8)
        let bytes = Array(text.utf8)
        var offset = 0
        while offset < bytes.count {
            let byte = bytes[offset]
            if byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D {
                offset += 1
            } else if special.contains(byte) {
                let two = bytes[offset..<min(offset + 2, bytes.count)]
                if two.elementsEqual("==".utf8) || two.elementsEqual("!=".utf8) {
                    tokens.append(.symbol(String(decoding: two, as: UTF8.self)))
                    offset += 2
                } else {
                    tokens.append(.symbol(String(decoding: [byte], as: UTF8.self)))
                    offset += 1
                }
            } else {
                let start = offset
                while offset < bytes.count, !special.contains(bytes[offset]), bytes[offset] > 0x20 { offset += 1 }
                // A control character ends no word and starts none: it is passed over as part of one.
                if offset == start { offset += 1 }
                tokens.append(.word(String(decoding: bytes[start..<offset], as: UTF8.self)))
            }
        }
    }

    private var current: Token { position < tokens.count ? tokens[position] : .end }

    private mutating func next() -> Token {
        defer { position += 1 }
        return current
    }

    private func failure(_ found: Token, _ expected: String) -> LabelSelector.ParseError {
        LabelSelector.ParseError(
            description: "unable to parse requirement: found '\(found.text)', expected: \(expected)")
    }

    mutating func requirements() throws(LabelSelector.ParseError) -> [LabelSelector.Requirement] {
        var result: [LabelSelector.Requirement] = []
        guard current != .end else { return [] }
        while true {
            result.append(try requirement())
            switch next() {
            case .end: return result.sorted { $0.key < $1.key }
            case .symbol(","):
                guard case .end = current else { continue }
                throw failure(current, "identifier after ','")
            case let other: throw failure(other, "',' or 'end of string'")
            }
        }
    }

    private mutating func requirement() throws(LabelSelector.ParseError) -> LabelSelector.Requirement {
        if current == .symbol("!") {
            position += 1
            return LabelSelector.Requirement(try key(), .doesNotExist)
        }
        let key = try key()
        switch current {
        case .end, .symbol(","): return LabelSelector.Requirement(key, .exists)
        default: break
        }
        let found = next()
        switch found {
        case .symbol("="), .symbol("=="): return LabelSelector.Requirement(key, .equals, [try value(key)])
        case .symbol("!="): return LabelSelector.Requirement(key, .notEquals, [try value(key)])
        case .symbol(">"): return LabelSelector.Requirement(key, .greaterThan, [try number(key)])
        case .symbol("<"): return LabelSelector.Requirement(key, .lessThan, [try number(key)])
        case .word("in"): return LabelSelector.Requirement(key, .isIn, try values(key))
        case .word("notin"): return LabelSelector.Requirement(key, .notIn, try values(key))
        default: throw failure(found, "in, notin, =, ==, !=, gt, lt")
        }
    }

    private mutating func key() throws(LabelSelector.ParseError) -> String {
        let token = next()
        guard case .word(let key) = token else { throw failure(token, "!, identifier, or 'end of string'") }
        if let problem = Names.qualifiedNameProblems(key).first {
            throw LabelSelector.ParseError(
                description: "unable to parse requirement: <nil>: Invalid value: \(quoted(key)): \(problem)")
        }
        return key
    }

    private mutating func value(_ key: String) throws(LabelSelector.ParseError) -> String {
        switch current {
        case .word(let value):
            position += 1
            return try checked(value, key)
        case .end, .symbol(","): return ""
        case let other: throw failure(other, "identifier")
        }
    }

    private mutating func number(_ key: String) throws(LabelSelector.ParseError) -> String {
        let value = try value(key)
        guard Int64(value) != nil else {
            throw LabelSelector.ParseError(
                description: "unable to parse requirement: values[0][\(key)]: Invalid value: \(quoted(value)): "
                    + "for 'Gt', 'Lt' operators, the value must be an integer")
        }
        return value
    }

    private mutating func values(_ key: String) throws(LabelSelector.ParseError) -> [String] {
        let open = next()
        guard open == .symbol("(") else { throw failure(open, "'('") }
        var result = Set<String>()
        while true {
            switch next() {
            case .word(let value):
                result.insert(try checked(value, key))
                switch next() {
                case .symbol(","):
                    if current == .symbol(")") || current == .symbol(",") { result.insert("") }
                case .symbol(")"): return result.sorted()
                case let other: throw failure(other, "',' or ')'")
                }
            case .symbol(","): result.insert("")
            case .symbol(")"):
                result.insert("")
                return result.sorted()
            case let other: throw failure(other, "',', ')' or identifier")
            }
        }
    }

    private func checked(_ value: String, _ key: String) throws(LabelSelector.ParseError) -> String {
        if let problem = Names.labelValueProblems(value).first {
            throw LabelSelector.ParseError(
                description:
                    "unable to parse requirement: values[0][\(key)]: Invalid value: \(quoted(value)): \(problem)")
        }
        return value
    }

    private func quoted(_ text: String) -> String { "\"\(text)\"" }
}
