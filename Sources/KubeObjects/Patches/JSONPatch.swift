// SPDX-License-Identifier: Apache-2.0

public import Values

/// JSON Patch (RFC 6902): a list of operations at JSON pointers (RFC 6901).
public enum JSONPatch {
    /// Operations beyond this many are refused, as Kubernetes does.
    public static let maximumOperations = 10_000

    /// The bytes that copy operations may add together, as Kubernetes bounds them: copies of copies would double for ever.
    public static let maximumCopiedBytes = 3 << 20

    /// All operations or none.
    public static func apply(_ patch: JSON, to target: JSON) throws(PatchError) -> JSON {
        guard let operations = patch.array else {
            throw PatchError(.malformed, "a JSON patch must be an array of operations, not a JSON \(patch.typeName)")
        }
        guard operations.count <= maximumOperations else {
            throw PatchError(
                .tooLarge,
                "The allowed maximum operations in a JSON patch is \(maximumOperations), got \(operations.count)")
        }
        var result = target
        var copied = 0
        for operation in operations { try apply(operation: operation, to: &result, copied: &copied) }
        return result
    }

    private static func apply(operation: JSON, to target: inout JSON, copied: inout Int) throws(PatchError) {
        guard let name = operation["op"].string, let path = operation["path"].string else {
            throw PatchError(.malformed, "an operation of a JSON patch needs op and path: \(operation)")
        }
        let pointer = try Pointer(path)
        // Clients written in Go leave out a value that is null.
        let value = operation["value"] ?? .null
        switch name {
        case "add": try pointer.add(value, to: &target)
        case "remove": try pointer.remove(from: &target)
        case "replace": try pointer.replace(with: value, in: &target)
        case "test":
            // A missing member passes for null.
            guard (pointer.value(in: target) ?? .null) == value else {
                throw PatchError(.doesNotApply, "testing path \"\(path)\": value is not \(value)")
            }
        case "move", "copy":
            guard let from = operation["from"].string else {
                throw PatchError(.malformed, "operation \(name) at \"\(path)\" needs from")
            }
            let source = try Pointer(from)
            guard let moved = source.value(in: target) else {
                throw PatchError(.doesNotApply, "\(name) operation does not apply: \"\(from)\" does not exist")
            }
            if name == "copy" {
                copied += moved.serialized().count
                guard copied <= maximumCopiedBytes else {
                    throw PatchError(
                        .doesNotApply,
                        "Unable to complete the copy, the accumulated size increase of copy is \(copied), exceeding the "
                            + "limit \(maximumCopiedBytes)")
                }
                return try pointer.add(moved, to: &target)
            }
            guard source.steps == pointer.steps || !pointer.steps.starts(with: source.steps) else {
                throw PatchError(.doesNotApply, "cannot move \"\(from)\" into its own child \"\(path)\"")
            }
            try source.remove(from: &target)
            try pointer.add(moved, to: &target)
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

        /// Follows the steps to the container of the last one, which `change` changes where it stands: a patch of many
        /// operations must not copy the object for each.
        private func change(
            _ target: inout JSON, _ verb: String, from depth: Int = 0,
            _ change: (inout JSON, String) throws(PatchError) -> Void
        ) throws(PatchError) {
            let step = steps[depth]
            if depth == steps.count - 1 { return try change(&target, step) }
            switch target {
            case .object(var object):
                guard var child = object[step] else { throw missing(verb) }
                target = .null
                object[step] = .null
                try self.change(&child, verb, from: depth + 1, change)
                object[step] = child
                target = .object(object)
            case .array(var elements):
                guard let index = Self.index(step, upTo: elements.count) else { throw missing(verb) }
                target = .null
                try self.change(&elements[index], verb, from: depth + 1, change)
                target = .array(elements)
            default: throw missing(verb)
            }
        }

        /// What is added must not stand deeper than can be written and read again.
        private func requireDepth(_ value: JSON) throws(PatchError) {
            guard steps.count <= JSON.maximumDepth, steps.count + value.depth <= JSON.maximumDepth else {
                throw PatchError(.doesNotApply, "the object would be nested deeper than \(JSON.maximumDepth) levels")
            }
        }

        func add(_ value: JSON, to target: inout JSON) throws(PatchError) {
            try requireDepth(value)
            if steps.isEmpty {
                target = value
                return
            }
            try change(&target, "add") { container, step throws(PatchError) in
                switch container {
                case .object(var object):
                    container = .null
                    object[step] = value
                    container = .object(object)
                case .array(var elements):
                    guard let index = step == "-" ? elements.count : Self.index(step, upTo: elements.count + 1) else {
                        throw missing("add")
                    }
                    container = .null
                    elements.insert(value, at: index)
                    container = .array(elements)
                default: throw missing("add")
                }
            }
        }

        func replace(with value: JSON, in target: inout JSON) throws(PatchError) {
            try requireDepth(value)
            if steps.isEmpty {
                target = value
                return
            }
            try change(&target, "replace") { container, step throws(PatchError) in
                switch container {
                case .object(var object) where object[step] != nil:
                    container = .null
                    object[step] = value
                    container = .object(object)
                case .array(var elements):
                    guard let index = Self.index(step, upTo: elements.count) else { throw missing("replace") }
                    container = .null
                    elements[index] = value
                    container = .array(elements)
                default: throw missing("replace")
                }
            }
        }

        func remove(from target: inout JSON) throws(PatchError) {
            if steps.isEmpty {
                target = .null
                return
            }
            try change(&target, "remove") { container, step throws(PatchError) in
                switch container {
                case .object(var object) where object[step] != nil:
                    container = .null
                    object[step] = nil
                    container = .object(object)
                case .array(var elements):
                    guard let index = Self.index(step, upTo: elements.count) else { throw missing("remove") }
                    container = .null
                    elements.remove(at: index)
                    container = .array(elements)
                default: throw missing("remove")
                }
            }
        }
    }
}
