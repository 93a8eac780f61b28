// SPDX-License-Identifier: Apache-2.0

/// A recursive-descent parser of Calico's selector language; the nesting it follows is bounded.
struct SelectorParser {
    static let maximumDepth = 64
    static let maximumLabelLength = 512

    private let text: String
    private let bytes: [UInt8]
    private var offset = 0
    private var depth = 0

    init(_ text: String) {
        self.text = text
        bytes = Array(text.utf8)
    }

    mutating func parse() throws(SelectorError) -> Selector.Node {
        skipSpace()
        if atEnd { return .all }
        let node = try disjunction()
        guard atEnd else { throw failure("expected && or || or the end") }
        return node
    }

    private var atEnd: Bool { offset == bytes.count }

    private func failure(_ reason: String) -> SelectorError {
        SelectorError(text: text, reason: reason, offset: offset)
    }

    private mutating func skipSpace() {
        while offset < bytes.count, bytes[offset] == 0x20 || bytes[offset] == 0x09 { offset += 1 }
    }

    /// Takes `token` and the space after it, if it stands here.
    private mutating func take(_ token: StaticString) -> Bool {
        let length = token.utf8CodeUnitCount
        guard bytes.count - offset >= length else { return false }
        for index in 0..<length where bytes[offset + index] != token.utf8Start[index] { return false }
        offset += length
        skipSpace()
        return true
    }

    private mutating func disjunction() throws(SelectorError) -> Selector.Node {
        var nodes = [try conjunction()]
        while take("||") { nodes.append(try conjunction()) }
        return nodes.count == 1 ? nodes[0] : .or(nodes)
    }

    private mutating func conjunction() throws(SelectorError) -> Selector.Node {
        var nodes = [try operation()]
        while take("&&") { nodes.append(try operation()) }
        return nodes.count == 1 ? nodes[0] : .and(nodes)
    }

    private mutating func operation() throws(SelectorError) -> Selector.Node {
        var negated = false
        while take("!") { negated.toggle() }
        let node = try term()
        return negated ? .not(node) : node
    }

    private mutating func term() throws(SelectorError) -> Selector.Node {
        if take("(") {
            depth += 1
            defer { depth -= 1 }
            guard depth <= Self.maximumDepth else {
                throw failure("parentheses nested deeper than \(Self.maximumDepth) levels")
            }
            let node = try disjunction()
            guard take(")") else { throw failure("expected )") }
            return node
        }
        if let node = try function() { return node }
        let label = try label()
        if take("==") { return .equals(label, try string()) }
        if take("!=") { return .differs(label, try string()) }
        if take("=") {
            offset = bytes[..<offset].lastIndex(of: UInt8(ascii: "=")) ?? offset
            throw failure("expected == and found a single =")
        }
        if word("contains") { return .contains(label, try string()) }
        if word("starts") { return .startsWith(label, try after("with", orJoined: "starts")) }
        if word("startswith") { return .startsWith(label, try string()) }
        if word("ends") { return .endsWith(label, try after("with", orJoined: "ends")) }
        if word("endswith") { return .endsWith(label, try string()) }
        if word("in") { return .isIn(label, try set()) }
        if word("notin") { return .isNotIn(label, try set()) }
        if word("not") {
            guard word("in") else { throw failure("expected \"in\" after \"not\"") }
            return .isNotIn(label, try set())
        }
        throw failure("expected an operator (==, !=, contains, starts with, ends with, in, not in) after \(label)")
    }

    /// `has(label)`, `all()` and `global()`, whose parenthesis follows at once.
    private mutating func function() throws(SelectorError) -> Selector.Node? {
        if take("has(") {
            let label = try label()
            guard take(")") else { throw failure("expected ) after has(\(label)") }
            return .has(label)
        }
        if take("all(") {
            guard take(")") else { throw failure("expected ) after all(") }
            return .all
        }
        if take("global(") {
            guard take(")") else { throw failure("expected ) after global(") }
            return .global
        }
        return nil
    }

    private static func isLabelByte(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
            || byte == UInt8(ascii: "_") || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "/")
            || byte == UInt8(ascii: "-")
    }

    private mutating func label() throws(SelectorError) -> String {
        let start = offset
        while offset < bytes.count, Self.isLabelByte(bytes[offset]) { offset += 1 }
        guard offset > start else {
            throw failure(atEnd ? "unexpected end, expected a label" : "expected a label")
        }
        guard offset - start <= Self.maximumLabelLength else {
            throw failure("a label longer than \(Self.maximumLabelLength) characters")
        }
        let label = String(decoding: bytes[start..<offset], as: UTF8.self)
        skipSpace()
        return label
    }

    /// Takes `token` where it is a whole word.
    private mutating func word(_ token: StaticString) -> Bool {
        let end = offset + token.utf8CodeUnitCount
        if end < bytes.count, Self.isLabelByte(bytes[end]) { return false }
        return take(token)
    }

    private mutating func after(_ second: StaticString, orJoined first: String) throws(SelectorError) -> String {
        guard word(second) else { throw failure("expected \"\(second)\" after \"\(first)\"") }
        return try string()
    }

    private mutating func string() throws(SelectorError) -> String {
        guard offset < bytes.count else { throw failure("unexpected end, expected string") }
        let quote = bytes[offset]
        guard quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") else {
            throw failure("expected string in quotes")
        }
        guard let end = bytes[(offset + 1)...].firstIndex(of: quote) else {
            throw failure("the string has no closing quote")
        }
        let value = String(decoding: bytes[offset + 1..<end], as: UTF8.self)
        offset = end + 1
        skipSpace()
        return value
    }

    private mutating func set() throws(SelectorError) -> [String] {
        guard take("{") else { throw failure("expected {") }
        var values: [String] = []
        while !take("}") {
            values.append(try string())
            if take("}") { break }
            guard take(",") else { throw failure("expected , or }") }
        }
        return values
    }
}
