// SPDX-License-Identifier: Apache-2.0

public import Values
import Yams

/// Why a text is not YAML, with the line where known.
public struct YAMLError: Error, Sendable, CustomStringConvertible {
    public let message: String
    public var description: String { message }
}

/// YAML 1.1 as Kubernetes reads it: documents become JSON values.
public enum YAML {
    /// Every document of a stream, in order; empty ones are left out.
    ///
    /// - Throws: `YAMLError` with line and column for bad syntax, an alias loop or a key that is not a scalar.
    public static func documents(_ text: String) throws(YAMLError) -> [JSON] {
        do {
            var result: [JSON] = []
            var nodes = try Yams.compose_all(yaml: text)
            var budget = 2 * text.utf8.count + spareBudget
            while let node = nodes.next() {
                let value = try json(node, depth: 0, &budget)
                if !value.isNull { result.append(value) }
            }
            // The sequence ends at the first mistake and keeps it.
            if let error = nodes.error { throw error }
            return result
        } catch let error as YAMLError {
            throw error
        } catch {
            throw YAMLError(message: "error converting YAML to JSON: yaml: \(error)")
        }
    }

    /// The only document of a text; null when it is empty.
    public static func document(_ text: String) throws(YAMLError) -> JSON {
        let all = try documents(text)
        guard all.count <= 1 else { throw YAMLError(message: "expected one YAML document, found \(all.count)") }
        return all.first ?? .null
    }

    /// One document as block-style text, members in the order they have.
    public static func text(_ value: JSON) -> String {
        (try? Yams.serialize(node: node(value), width: -1, sortKeys: false)) ?? value.text()
    }

    /// Nodes and bytes of scalars together are at most twice the bytes of the text, unless it repeats parts of itself by
    /// aliases of aliases, which can make a short text as large as the world. So much more is let pass.
    private static let spareBudget = 100_000

    private static func json(_ node: Node, depth: Int, _ budget: inout Int) throws(YAMLError) -> JSON {
        budget -= 1
        guard budget > 0 else { throw YAMLError(message: "yaml: document contains excessive aliasing") }
        guard depth <= JSON.maximumDepth else {
            throw YAMLError(message: "yaml: nested deeper than \(JSON.maximumDepth) levels")
        }
        switch node {
        case .scalar(let scalar):
            budget -= scalar.string.utf8.count
            return json(scalar, tag: Tag.Name(rawValue: node.tag.rawValue))
        case .sequence(let sequence):
            var elements: [JSON] = []
            for element in sequence { elements.append(try json(element, depth: depth + 1, &budget)) }
            return .array(elements)
        case .mapping(let mapping):
            var object = JSONObject()
            for (key, value) in mapping {
                guard let name = key.scalar?.string else {
                    throw YAMLError(message: "yaml: line \(key.mark?.line ?? 0): a key must be a scalar")
                }
                budget -= name.utf8.count
                object[name] = try json(value, depth: depth + 1, &budget)
            }
            return .object(object)
        case .alias: throw YAMLError(message: "yaml: unresolved alias")
        }
    }

    private static func json(_ scalar: Node.Scalar, tag: Tag.Name) -> JSON {
        let text = scalar.string
        let plain = scalar.style == .plain || scalar.style == .any
        guard plain || tag != .str else { return .string(text) }
        switch tag {
        case .null: return .null
        case .bool: return Bool.construct(from: scalar).map(JSON.bool) ?? .string(text)
        case .int: return Int64(text).map(JSON.int) ?? Int.construct(from: scalar).map { JSON($0) } ?? .string(text)
        case .float:
            guard let number = Double.construct(from: scalar), number.isFinite else { return .string(text) }
            return .double(number)
        default: return .string(text)
        }
    }

    private static func node(_ value: JSON) -> Node {
        switch value {
        case .null: return Node("null", Tag(.null))
        case .bool(let flag): return Node(flag ? "true" : "false", Tag(.bool))
        case .int(let number): return Node(String(number), Tag(.int))
        case .double: return Node(value.text(), Tag(.float))
        case .string(let text):
            let style: Node.Scalar.Style = text.contains("\n") ? .literal : needsQuotes(text) ? .doubleQuoted : .any
            return .scalar(Node.Scalar(text, Tag(.str), style))
        case .array(let elements): return Node(elements.map(node), Tag(.seq), elements.isEmpty ? .flow : .block)
        case .object(let object):
            return Node(
                object.members.map { (Node($0.key, Tag(.str)), node($0.value)) }, Tag(.map),
                object.isEmpty ? .flow : .block)
        }
    }

    /// Whether a plain scalar of this text would be read as something other than a string.
    private static func needsQuotes(_ text: String) -> Bool {
        guard let first = text.utf8.first else { return true }
        if Tag.Name.str != Resolver.default.resolveTag(of: Node(text)) { return true }
        return "!&*-?|>@%`\"'#{}[],:= ".utf8.contains(first) || text.contains(": ") || text.contains(" #")
            || text.hasSuffix(":") || text.hasSuffix(" ")
    }
}
