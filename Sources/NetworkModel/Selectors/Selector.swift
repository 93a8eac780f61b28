// SPDX-License-Identifier: Apache-2.0

/// A selector in Calico's language: `zone == "east" && has(rack)`.
public struct Selector: Sendable, Hashable, CustomStringConvertible {
    /// As it was written.
    public let text: String
    let root: Node

    indirect enum Node: Sendable, Hashable {
        case all
        case global
        case has(String)
        case equals(String, String)
        case differs(String, String)
        case contains(String, String)
        case startsWith(String, String)
        case endsWith(String, String)
        case isIn(String, [String])
        case isNotIn(String, [String])
        case not(Node)
        case and([Node])
        case or([Node])
    }

    /// An empty text selects everything.
    public init(_ text: String) throws(SelectorError) {
        var parser = SelectorParser(text)
        self.text = text
        root = try parser.parse()
    }

    public static let all = Selector(text: "all()", root: .all)

    private init(text: String, root: Node) {
        self.text = text
        self.root = root
    }

    public var description: String { text.isEmpty ? "all()" : text }

    /// `global()` means objects without a namespace, which a pool's selectors cannot mean.
    public var usesGlobal: Bool { root.usesGlobal }

    /// The labels that it asks about, in the order of their first mention.
    public var labels: [String] {
        var seen: [String] = []
        root.collectLabels(&seen)
        return seen
    }

    public func matches(_ labels: [String: String]) -> Bool { root.matches(labels) }

    /// What the labels say to the selector's questions, for messages: `zone is "west"`, `rack is not set`.
    public func facts(about values: [String: String]) -> String {
        labels.map { label in values[label].map { "\(label) is \"\($0)\"" } ?? "\(label) is not set" }
            .joined(separator: ", ")
    }
}

extension Selector.Node {
    func matches(_ labels: [String: String]) -> Bool {
        switch self {
        case .all, .global: true
        case .has(let label): labels[label] != nil
        case .equals(let label, let value): labels[label] == value
        case .differs(let label, let value): labels[label] != value
        case .contains(let label, let value):
            labels[label].map { value.isEmpty || Self.contains(Array($0.utf8), Array(value.utf8)) } ?? false
        case .startsWith(let label, let value): labels[label]?.utf8.starts(with: value.utf8) ?? false
        case .endsWith(let label, let value):
            labels[label]?.utf8.reversed().starts(with: value.utf8.reversed()) ?? false
        case .isIn(let label, let values): labels[label].map(values.contains) ?? false
        case .isNotIn(let label, let values): !(labels[label].map(values.contains) ?? false)
        case .not(let node): !node.matches(labels)
        case .and(let nodes): nodes.allSatisfy { $0.matches(labels) }
        case .or(let nodes): nodes.contains { $0.matches(labels) }
        }
    }

    private static func contains(_ bytes: [UInt8], _ part: [UInt8]) -> Bool {
        bytes.count >= part.count
            && (0...bytes.count - part.count).contains { bytes[$0...].starts(with: part) }
    }

    var usesGlobal: Bool {
        switch self {
        case .global: true
        case .not(let node): node.usesGlobal
        case .and(let nodes), .or(let nodes): nodes.contains(where: \.usesGlobal)
        default: false
        }
    }

    func collectLabels(_ seen: inout [String]) {
        switch self {
        case .all, .global: break
        case .has(let label), .equals(let label, _), .differs(let label, _), .contains(let label, _),
            .startsWith(let label, _), .endsWith(let label, _), .isIn(let label, _), .isNotIn(let label, _):
            if !seen.contains(label) { seen.append(label) }
        case .not(let node): node.collectLabels(&seen)
        case .and(let nodes), .or(let nodes): for node in nodes { node.collectLabels(&seen) }
        }
    }
}

/// Why a text is not a selector, and where.
public struct SelectorError: Error, Sendable, Hashable, CustomStringConvertible {
    public let text: String
    public let reason: String
    /// Bytes from the start of the text.
    public let offset: Int

    public var description: String { "\(reason) at character \(offset + 1) of \"\(text)\"" }
}
