// SPDX-License-Identifier: Apache-2.0

/// A pattern for interface names: literals, `.`, sets in brackets, each with `*`, `+` or `?`, and alternatives with `|`.
/// It matches a whole name. What regular expressions can beyond that, names of at most 15 bytes do not need.
public struct NamePattern: Sendable, Hashable {
    private enum Atom: Sendable, Hashable {
        case literal(UInt8)
        case any
        case set([ClosedRange<UInt8>], isNegated: Bool)

        func matches(_ byte: UInt8) -> Bool {
            switch self {
            case .literal(let wanted): byte == wanted
            case .any: true
            case .set(let ranges, let isNegated): ranges.contains { $0.contains(byte) } != isNegated
            }
        }
    }

    private struct Step: Sendable, Hashable {
        let atom: Atom
        let isOptional: Bool
        let repeats: Bool
    }

    private let alternatives: [[Step]]

    /// Nil when the text is empty or is no such pattern.
    public init?(_ text: String) {
        guard !text.isEmpty else { return nil }
        var alternatives: [[Step]] = []
        for part in text.split(separator: "|", omittingEmptySubsequences: false) {
            guard let steps = Self.steps(Array(part.utf8)) else { return nil }
            alternatives.append(steps)
        }
        self.alternatives = alternatives
    }

    private static func steps(_ bytes: [UInt8]) -> [Step]? {
        var rest = bytes[...]
        if rest.first == UInt8(ascii: "^") { rest = rest.dropFirst() }
        if rest.last == UInt8(ascii: "$") { rest = rest.dropLast() }
        var steps: [Step] = []
        while let byte = rest.popFirst() {
            let atom: Atom
            switch byte {
            case UInt8(ascii: "."): atom = .any
            case UInt8(ascii: "\\"):
                guard let escaped = rest.popFirst() else { return nil }
                atom = .literal(escaped)
            case UInt8(ascii: "["):
                guard let set = set(&rest) else { return nil }
                atom = set
            case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"), UInt8(ascii: "("), UInt8(ascii: ")"),
                UInt8(ascii: "{"), UInt8(ascii: "]"), UInt8(ascii: "$"), UInt8(ascii: "^"):
                return nil
            default: atom = .literal(byte)
            }
            let sign = rest.first
            let isCounted = sign.map { "*+?".utf8.contains($0) } ?? false
            if isCounted { rest = rest.dropFirst() }
            steps.append(
                Step(
                    atom: atom, isOptional: isCounted && sign != UInt8(ascii: "+"),
                    repeats: isCounted && sign != UInt8(ascii: "?")))
        }
        return steps
    }

    private static func set(_ rest: inout ArraySlice<UInt8>) -> Atom? {
        var ranges: [ClosedRange<UInt8>] = []
        let isNegated = rest.first == UInt8(ascii: "^")
        if isNegated { rest = rest.dropFirst() }
        while let low = rest.popFirst(), low != UInt8(ascii: "]") {
            if rest.first == UInt8(ascii: "-"), let high = rest.dropFirst().first, high != UInt8(ascii: "]") {
                guard low <= high else { return nil }
                ranges.append(low...high)
                rest = rest.dropFirst(2)
            } else {
                ranges.append(low...low)
            }
            if rest.isEmpty { return nil }
        }
        return ranges.isEmpty ? nil : .set(ranges, isNegated: isNegated)
    }

    public func matches(_ name: String) -> Bool {
        let name = Array(name.utf8)
        return alternatives.contains { Self.matches(name, $0) }
    }

    /// The places in the pattern that can be reached after each byte; quick whatever the pattern.
    private static func matches(_ name: [UInt8], _ steps: [Step]) -> Bool {
        func skipping(_ places: Set<Int>) -> Set<Int> {
            var result = places
            for place in places {
                var next = place
                while next < steps.count, steps[next].isOptional {
                    next += 1
                    result.insert(next)
                }
            }
            return result
        }
        var places = skipping([0])
        for byte in name {
            var next: Set<Int> = []
            for place in places where place < steps.count && steps[place].atom.matches(byte) {
                next.insert(place + 1)
                if steps[place].repeats { next.insert(place) }
            }
            places = skipping(next)
        }
        return places.contains(steps.count)
    }
}
