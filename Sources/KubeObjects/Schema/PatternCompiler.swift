// SPDX-License-Identifier: Apache-2.0

/// Turns the text of a regular expression into instructions for `Pattern`.
struct PatternCompiler {
    private typealias Instruction = Pattern.Instruction

    /// Repetitions copy what they repeat, so the size of a program is bounded.
    private static let maximumSize = 20_000
    private static let maximumDepth = 100

    private let text: [UInt32]
    private var offset = 0
    private var foldsCase = false
    private var depth = 0

    init(_ source: String) { text = source.unicodeScalars.map(\.value) }

    /// Nil when the text is not an expression of the syntax known here.
    mutating func compile() -> [Pattern.Instruction]? {
        guard let body = alternatives(), offset == text.count else { return nil }
        return body + [.match]
    }

    private var current: UInt32? { offset < text.count ? text[offset] : nil }

    private mutating func take(_ character: Character) -> Bool {
        guard current == character.unicodeScalars.first?.value else { return false }
        offset += 1
        return true
    }

    private mutating func alternatives() -> [Instruction]? {
        depth += 1
        defer { depth -= 1 }
        guard depth < Self.maximumDepth, var left = sequence() else { return nil }
        while take("|") {
            guard let right = sequence() else { return nil }
            left =
                [.split(1, left.count + 2)] + Self.shifted(left, 1)
                + [.jump(left.count + 2 + right.count)] + Self.shifted(right, left.count + 2)
        }
        return left.count > Self.maximumSize ? nil : left
    }

    private mutating func sequence() -> [Instruction]? {
        var result: [Instruction] = []
        while let next = current, next != 0x7C, next != 0x29 {
            guard let atom = atom(), let piece = repeated(atom) else { return nil }
            result += Self.shifted(piece, result.count)
            guard result.count <= Self.maximumSize else { return nil }
        }
        return result
    }

    private mutating func repeated(_ atom: [Instruction]) -> [Instruction]? {
        var piece = atom
        while let (least, most) = quantifier() {
            _ = take("?")
            guard least <= 1000, (most ?? 0) <= 1000, least <= (most ?? least) else { return nil }
            var result: [Instruction] = []
            for _ in 0..<least { result += Self.shifted(piece, result.count) }
            if let most {
                for _ in least..<max(most, least) {
                    let start = result.count
                    result.append(.split(start + 1, start + 1 + piece.count))
                    result += Self.shifted(piece, start + 1)
                }
            } else {
                let start = result.count
                result.append(.split(start + 1, start + 2 + piece.count))
                result += Self.shifted(piece, start + 1)
                result.append(.jump(start))
            }
            guard result.count <= Self.maximumSize else { return nil }
            piece = result
        }
        return piece
    }

    private mutating func quantifier() -> (least: Int, most: Int?)? {
        if take("*") { return (0, nil) }
        if take("+") { return (1, nil) }
        if take("?") { return (0, 1) }
        let start = offset
        guard take("{"), let least = number() else {
            offset = start
            return nil
        }
        if take("}") { return (least, least) }
        guard take(",") else {
            offset = start
            return nil
        }
        let most = number()
        guard take("}") else {
            offset = start
            return nil
        }
        return (least, most)
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let digit = current, (0x30...0x39).contains(digit), (value ?? 0) < 100_000 {
            value = (value ?? 0) * 10 + Int(digit - 0x30)
            offset += 1
        }
        return value
    }

    private mutating func atom() -> [Instruction]? {
        guard let next = current else { return nil }
        offset += 1
        switch next {
        case 0x28: return group()
        case 0x5B: return bracket()
        case 0x2E: return [.any]
        case 0x5E: return [.start]
        case 0x24: return [.end]
        case 0x2A, 0x2B, 0x3F: return nil
        case 0x5C: return escape().map { [.set($0.ranges, negated: $0.negated, foldsCase: foldsCase)] }
        default: return [.character(next...next, foldsCase: foldsCase)]
        }
    }

    private mutating func group() -> [Instruction]? {
        let outer = foldsCase
        if take("?") {
            if take("P") || current == 0x3C {
                while let next = current, next != 0x3E { _ = next; offset += 1 }
                guard take(">") else { return nil }
            } else {
                var on = true
                while let next = current, next != 0x3A, next != 0x29 {
                    switch next {
                    case 0x69: foldsCase = on
                    case 0x2D: on = false
                    case 0x73, 0x6D, 0x55: break
                    default: return nil
                    }
                    offset += 1
                }
                // Flags without a body hold to the end of the enclosing group.
                if take(")") { return [] }
                guard take(":") else { return nil }
            }
        }
        guard let body = alternatives(), take(")") else { return nil }
        foldsCase = outer
        return body
    }

    private mutating func bracket() -> [Instruction]? {
        let negated = take("^")
        var ranges: [ClosedRange<UInt32>] = []
        var isFirst = true
        while let next = current {
            offset += 1
            if next == 0x5D, !isFirst {
                return [.set(ranges, negated: negated, foldsCase: foldsCase)]
            }
            isFirst = false
            var low = next
            if next == 0x5C {
                guard let escaped = escape(), !escaped.negated else { return nil }
                guard escaped.ranges.count == 1, escaped.ranges[0].count == 1 else {
                    ranges += escaped.ranges
                    continue
                }
                low = escaped.ranges[0].lowerBound
            }
            var high = low
            if current == 0x2D, offset + 1 < text.count, text[offset + 1] != 0x5D {
                offset += 1
                high = text[offset]
                offset += 1
                if high == 0x5C {
                    guard let escaped = escape(), escaped.ranges.count == 1 else { return nil }
                    high = escaped.ranges[0].lowerBound
                }
            }
            guard low <= high else { return nil }
            ranges.append(low...high)
        }
        return nil
    }

    private mutating func escape() -> (ranges: [ClosedRange<UInt32>], negated: Bool)? {
        guard let next = current else { return nil }
        offset += 1
        let digits: [ClosedRange<UInt32>] = [0x30...0x39]
        let words: [ClosedRange<UInt32>] = [0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A]
        let spaces: [ClosedRange<UInt32>] = [0x09...0x0A, 0x0C...0x0D, 0x20...0x20]
        switch Character(Unicode.Scalar(next) ?? " ") {
        case "d": return (digits, false)
        case "D": return (digits, true)
        case "w": return (words, false)
        case "W": return (words, true)
        case "s": return (spaces, false)
        case "S": return (spaces, true)
        case "n": return ([0x0A...0x0A], false)
        case "t": return ([0x09...0x09], false)
        case "r": return ([0x0D...0x0D], false)
        case "a"..."z", "A"..."Z", "0"..."9": return nil
        default: return ([next...next], false)
        }
    }

    private static func shifted(_ program: [Instruction], _ distance: Int) -> [Instruction] {
        program.map {
            switch $0 {
            case .split(let first, let second): .split(first + distance, second + distance)
            case .jump(let target): .jump(target + distance)
            default: $0
            }
        }
    }
}
