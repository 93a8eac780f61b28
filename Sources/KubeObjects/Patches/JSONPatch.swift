// SPDX-License-Identifier: Apache-2.0

public import Values

/// JSON Patch (RFC 6902): a list of operations at JSON pointers (RFC 6901).
public enum JSONPatch {
    /// Operations beyond this many are refused, as Kubernetes does.
    public static let maximumOperations = 10_000

    /// All operations or none.
    public static func apply(_ patch: JSON, to target: JSON) throws(PatchError) -> JSON {
        guard let operations = patch.array else {
            throw PatchError(.malformed, "a JSON patch must be an array of operations, not a JSON \(patch.typeName)")
        }
        guard operations.count <= maximumOperations else {
            throw PatchError(
                .malformed,
                "The allowed maximum operations in a JSON patch is \(maximumOperations), got \(operations.count)")
        }
        var result = target
        for operation in operations { result = try apply(operation: operation, to: result) }
        return result
    }

    private static func apply(operation: JSON, to target: JSON) throws(PatchError) -> JSON {
        guard let name = operation["op"].string, let path = operation["path"].string else {
            throw PatchError(.malformed, "an operation of a JSON patch needs op and path: \(operation)")
        }
        let pointer = try Pointer(path)
        func value() throws(PatchError) -> JSON {
            guard let value = operation["value"] else {
                throw PatchError(.malformed, "operation \(name) at \"\(path)\" needs a value")
            }
            return value
        }
        switch name {
        case "add": return try pointer.adding(try value(), to: target)
        case "remove": return try pointer.removing(from: target)
        case "replace": return try pointer.replacing(with: try value(), in: target)
        case "test":
            let expected = try value()
            // A missing member passes for null.
            guard (pointer.value(in: target) ?? .null) == expected else {
                throw PatchError(.doesNotApply, "testing path \"\(path)\": value is not \(expected)")
            }
            return target
        case "move", "copy":
            guard let from = operation["from"].string else {
                throw PatchError(.malformed, "operation \(name) at \"\(path)\" needs from")
            }
            let source = try Pointer(from)
            guard let moved = source.value(in: target) else {
                throw PatchError(.doesNotApply, "\(name) operation does not apply: \"\(from)\" does not exist")
            }
            if name == "copy" { return try pointer.adding(moved, to: target) }
            guard source.steps == pointer.steps || !pointer.steps.starts(with: source.steps) else {
                throw PatchError(.doesNotApply, "cannot move \"\(from)\" into its own child \"\(path)\"")
            }
            return try pointer.adding(moved, to: try source.removing(from: target))
        default: throw PatchError(.malformed, "unexpected operation of a JSON patch: \"\(name)\"")
        }
    }

    private struct Pointer {
        let steps: [String]

        init(_ text: String) throws(PatchError) {
            if text.isEmpty {
                steps = []
                return
            }
            guard text.hasPrefix("/") else {
                throw PatchError(.malformed, "a path of a JSON patch must start with '/': \"\(text)\"")
            }
            steps = text.dropFirst().split(separator: "/", omittingEmptySubsequences: false).map(Self.unescaped)
        }

        private static func unescaped(_ step: Substring) -> String {
            var result = ""
            var escaped = false
            for character in step {
                if escaped {
                    result += character == "1" ? "/" : character == "0" ? "~" : "~\(character)"
                    escaped = false
                } else if character == "~" {
                    escaped = true
                } else {
                    result.append(character)
                }
            }
            return escaped ? result + "~" : result
        }

        func value(in target: JSON) -> JSON? {
            var value: JSON? = target
            for step in steps {
                switch value {
                case .object(let object)?: value = object[step]
                case .array(let elements)?: value = Self.index(step, upTo: elements.count).map { elements[$0] }
                default: return nil
                }
            }
            return value
        }

        /// An element's index; nil unless it is a plain number below `count`.
        private static func index(_ step: String, upTo count: Int) -> Int? {
            guard step == "0" || !step.hasPrefix("0"), step.utf8.allSatisfy(Names.isDigit), let index = Int(step),
                index < count
            else { return nil }
            return index
        }

        private func missing(_ verb: String) -> PatchError {
            PatchError(
                .doesNotApply, "\(verb) operation does not apply: \"/\(steps.joined(separator: "/"))\" does not exist")
        }

        /// Rebuilds the containers on the way to the last step, which `change` changes.
        private func changed(
            _ target: JSON, _ verb: String, from depth: Int = 0,
            _ change: (JSON, String) throws(PatchError) -> JSON
        ) throws(PatchError) -> JSON {
            let step = steps[depth]
            if depth == steps.count - 1 { return try change(target, step) }
            switch target {
            case .object(var object):
                guard let child = object[step] else { throw missing(verb) }
                object[step] = try changed(child, verb, from: depth + 1, change)
                return .object(object)
            case .array(var elements):
                guard let index = Self.index(step, upTo: elements.count) else { throw missing(verb) }
                elements[index] = try changed(elements[index], verb, from: depth + 1, change)
                return .array(elements)
            default: throw missing(verb)
            }
        }

        func adding(_ value: JSON, to target: JSON) throws(PatchError) -> JSON {
            if steps.isEmpty { return value }
            return try changed(target, "add") { container, step throws(PatchError) in
                switch container {
                case .object(var object):
                    object[step] = value
                    return .object(object)
                case .array(var elements):
                    guard let index = step == "-" ? elements.count : Self.index(step, upTo: elements.count + 1) else {
                        throw missing("add")
                    }
                    elements.insert(value, at: index)
                    return .array(elements)
                default: throw missing("add")
                }
            }
        }

        func replacing(with value: JSON, in target: JSON) throws(PatchError) -> JSON {
            if steps.isEmpty { return value }
            return try changed(target, "replace") { container, step throws(PatchError) in
                switch container {
                case .object(var object) where object[step] != nil:
                    object[step] = value
                    return .object(object)
                case .array(var elements):
                    guard let index = Self.index(step, upTo: elements.count) else { throw missing("replace") }
                    elements[index] = value
                    return .array(elements)
                default: throw missing("replace")
                }
            }
        }

        func removing(from target: JSON) throws(PatchError) -> JSON {
            if steps.isEmpty { return .null }
            return try changed(target, "remove") { container, step throws(PatchError) in
                switch container {
                case .object(var object) where object[step] != nil:
                    object[step] = nil
                    return .object(object)
                case .array(var elements):
                    guard let index = Self.index(step, upTo: elements.count) else { throw missing("remove") }
                    elements.remove(at: index)
                    return .array(elements)
                default: throw missing("remove")
                }
            }
        }
    }
}
