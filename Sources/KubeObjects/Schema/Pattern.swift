// SPDX-License-Identifier: Apache-2.0

/// A regular expression in the syntax of RE2, as schemas of custom resources use it.
///
/// It is matched by following all threads at once, so the time is linear in the text whatever the expression. An
/// expression that is not understood matches everything: a schema must not refuse what it cannot judge.
public struct Pattern: Sendable {
    public let source: String
    private let program: [Instruction]

    enum Instruction: Sendable {
        case character(ClosedRange<UInt32>, foldsCase: Bool)
        case set([ClosedRange<UInt32>], negated: Bool, foldsCase: Bool)
        case any
        case start, end
        case split(Int, Int)
        case jump(Int)
        case match
    }

    public init(_ source: String) {
        self.source = source
        var compiler = PatternCompiler(source)
        program = compiler.compile() ?? [.match]
    }

    /// Whether the expression matches anywhere in the text.
    public func matches(_ text: String) -> Bool {
        let scalars = text.unicodeScalars.map(\.value)
        var current = ThreadList(program.count)
        var next = ThreadList(program.count)
        for position in 0...scalars.count {
            // A match may start anywhere.
            if add(0, position, scalars.count, &current) { return true }
            guard position < scalars.count else { break }
            let scalar = scalars[position]
            next.removeAll()
            for thread in current.threads where accepts(program[thread], scalar) {
                if add(thread + 1, position + 1, scalars.count, &next) { return true }
            }
            swap(&current, &next)
        }
        return false
    }

    private struct ThreadList {
        private(set) var threads: [Int] = []
        private var seen: [Bool]

        init(_ count: Int) { seen = Array(repeating: false, count: count) }

        mutating func insert(_ thread: Int) -> Bool {
            guard !seen[thread] else { return false }
            seen[thread] = true
            threads.append(thread)
            return true
        }

        mutating func removeAll() {
            for thread in threads { seen[thread] = false }
            threads.removeAll(keepingCapacity: true)
        }
    }

    /// Follows the instructions that take no character; true when the expression has matched.
    private func add(_ thread: Int, _ position: Int, _ end: Int, _ list: inout ThreadList) -> Bool {
        var todo = [thread]
        while let thread = todo.popLast() {
            guard list.insert(thread) else { continue }
            switch program[thread] {
            case .match: return true
            case .jump(let target): todo.append(target)
            case .split(let first, let second): todo += [second, first]
            case .start: if position == 0 { todo.append(thread + 1) }
            case .end: if position == end { todo.append(thread + 1) }
            case .character, .set, .any: break
            }
        }
        return false
    }

    private func accepts(_ instruction: Instruction, _ scalar: UInt32) -> Bool {
        switch instruction {
        case .character(let range, let folds): Self.contains([range], scalar, folds)
        case .set(let ranges, let negated, let folds): Self.contains(ranges, scalar, folds) != negated
        case .any: scalar != 0x0A
        default: false
        }
    }

    private static func contains(_ ranges: [ClosedRange<UInt32>], _ scalar: UInt32, _ foldsCase: Bool) -> Bool {
        if ranges.contains(where: { $0.contains(scalar) }) { return true }
        guard foldsCase, (0x41...0x5A).contains(scalar & ~0x20) else { return false }
        return ranges.contains { $0.contains(scalar ^ 0x20) }
    }
}
