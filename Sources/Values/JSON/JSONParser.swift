// SPDX-License-Identifier: Apache-2.0

/// Why bytes are not JSON, and where.
public struct JSONParseError: Error, Hashable, Sendable, CustomStringConvertible {
    public let reason: String
    /// Bytes from the start of the text.
    public let offset: Int

    public var description: String { "invalid JSON at byte \(offset): \(reason)" }
}

extension JSON {
    /// Nesting deeper than this is refused, so that no input can exhaust the stack.
    public static let maximumDepth = 256

    /// Parses one JSON text; only white space may follow it.
    ///
    /// Where an object names a key twice the last one counts, and `onDuplicate` is told the path of the key
    /// (`spec.containers[0].image`), as Kubernetes' strict field validation reports it. Nesting deeper than `depth`,
    /// which is at most ``maximumDepth``, is refused.
    public init(
        parsing bytes: some Collection<UInt8>, depth: Int = JSON.maximumDepth, onDuplicate: ((String) -> Void)? = nil
    ) throws(JSONParseError) {
        let result: Result<JSON, JSONParseError>?
        result = bytes.withContiguousStorageIfAvailable { Self.parse(UnsafeRawBufferPointer($0), depth, onDuplicate) }
        self = try (result ?? Array(bytes).withUnsafeBytes { Self.parse($0, depth, onDuplicate) }).get()
    }

    /// Parses one JSON text that this program wrote, without the members of members that are left out: those are passed
    /// over faster than they could be read, and are not checked.
    ///
    /// - Parameter isLeftOut: is told the names of an inner member and of the member of the outermost object around it.
    public init(
        parsing bytes: [UInt8], leavingOut isLeftOut: (_ outer: String, _ inner: String) -> Bool
    ) throws(JSONParseError) {
        let result: Result<JSON, JSONParseError> = bytes.withUnsafeBytes { bytes in
            withoutActuallyEscaping(isLeftOut) { isLeftOut in
                Result { () throws(JSONParseError) in
                    var parser = JSONParser(bytes: bytes, onDuplicate: nil, isLeftOut: isLeftOut)
                    return try parser.document()
                }
            }
        }
        self = try result.get()
    }

    public init(parsing text: String, onDuplicate: ((String) -> Void)? = nil) throws(JSONParseError) {
        try self.init(parsing: text.utf8, onDuplicate: onDuplicate)
    }

    private static func parse(
        _ bytes: UnsafeRawBufferPointer, _ depth: Int, _ onDuplicate: ((String) -> Void)?
    ) -> Result<JSON, JSONParseError> {
        Result { () throws(JSONParseError) in
            var parser = JSONParser(
                bytes: bytes, maximumDepth: min(depth, JSON.maximumDepth), onDuplicate: onDuplicate)
            return try parser.document()
        }
    }
}

/// A recursive-descent parser over bytes that outlive it.
struct JSONParser {
    private let bytes: UnsafeRawBufferPointer
    private let onDuplicate: ((String) -> Void)?
    private let maximumDepth: Int
    private var offset = 0
    private var depth = 0
    /// Kept only when somebody wants to hear of duplicates.
    private var path: [String] = []
    /// The member of the outermost object that is being read.
    private var outermost = ""
    private let isLeftOut: ((_ outer: String, _ inner: String) -> Bool)?

    init(
        bytes: UnsafeRawBufferPointer, maximumDepth: Int = JSON.maximumDepth, onDuplicate: ((String) -> Void)?,
        isLeftOut: ((_ outer: String, _ inner: String) -> Bool)? = nil
    ) {
        self.bytes = bytes
        self.maximumDepth = maximumDepth
        self.onDuplicate = onDuplicate
        self.isLeftOut = isLeftOut
    }

    mutating func document() throws(JSONParseError) -> JSON {
        let value = try value()
        skipWhitespace()
        guard offset == bytes.count else { throw failure("text after the value") }
        return value
    }

    private func failure(_ reason: String) -> JSONParseError { JSONParseError(reason: reason, offset: offset) }

    private var current: UInt8? { offset < bytes.count ? bytes[offset] : nil }

    private mutating func skipWhitespace() {
        while let byte = current, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { offset += 1 }
    }

    private mutating func value() throws(JSONParseError) -> JSON {
        skipWhitespace()
        guard let byte = current else { throw failure("unexpected end") }
        switch byte {
        case UInt8(ascii: "{"): return .object(try object())
        case UInt8(ascii: "["): return .array(try array())
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw failure("unexpected byte 0x\(String(byte, radix: 16))")
        }
    }

    private mutating func literal(_ word: StaticString, _ value: JSON) throws(JSONParseError) -> JSON {
        let length = word.utf8CodeUnitCount
        guard bytes.count - offset >= length else { throw failure("unexpected end") }
        for index in 0..<length where bytes[offset + index] != word.utf8Start[index] {
            throw failure("expected \(word)")
        }
        offset += length
        return value
    }

    private mutating func enter() throws(JSONParseError) {
        depth += 1
        guard depth <= maximumDepth else { throw failure("nested deeper than \(maximumDepth) levels") }
        offset += 1
        skipWhitespace()
    }

    private mutating func object() throws(JSONParseError) -> JSONObject {
        try enter()
        defer { depth -= 1 }
        var object = JSONObject()
        if current == UInt8(ascii: "}") {
            offset += 1
            return object
        }
        while true {
            skipWhitespace()
            guard current == UInt8(ascii: "\"") else { throw failure("expected a string as key") }
            let key = try string()
            skipWhitespace()
            guard current == UInt8(ascii: ":") else { throw failure("expected ':'") }
            offset += 1
            if let isLeftOut {
                if depth == 1 { outermost = key }
                if depth == 2, isLeftOut(outermost, key) {
                    try skipValue()
                    if try endsObject() { return object }
                    continue
                }
            }
            if onDuplicate != nil { path.append(path.isEmpty ? key : ".\(key)") }
            let value = try value()
            if object.index(of: key) != nil {
                onDuplicate?(path.joined())
                object[key] = value
            } else {
                object.append(key, value)
            }
            if onDuplicate != nil { path.removeLast() }
            if try endsObject() { return object }
        }
    }

    /// Behind a member: whether it was the last one.
    private mutating func endsObject() throws(JSONParseError) -> Bool {
        skipWhitespace()
        switch current {
        case UInt8(ascii: ","):
            offset += 1
            return false
        case UInt8(ascii: "}"):
            offset += 1
            return true
        default: throw failure("expected ',' or '}'")
        }
    }

    /// Passes over a value, looking only for its end.
    private mutating func skipValue() throws(JSONParseError) {
        skipWhitespace()
        var open = 0
        repeat {
            guard let byte = current else { throw failure("unexpected end") }
            offset += 1
            switch byte {
            case UInt8(ascii: "\""):
                while true {
                    _ = skipPlain()
                    guard let end = current else { throw failure("unterminated string") }
                    offset += end == UInt8(ascii: "\\") ? 2 : 1
                    if end == UInt8(ascii: "\"") { break }
                }
            case UInt8(ascii: "{"), UInt8(ascii: "["): open += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"): open -= 1
            default:
                // A number or a word, or what stands between values inside of another one.
                guard open == 0 else { continue }
                while let next = current, next > 0x20, ![0x2C, 0x5D, 0x7D].contains(next) { offset += 1 }
            }
        } while open > 0
    }

    private mutating func array() throws(JSONParseError) -> [JSON] {
        try enter()
        defer { depth -= 1 }
        var elements: [JSON] = []
        if current == UInt8(ascii: "]") {
            offset += 1
            return elements
        }
        while true {
            if onDuplicate != nil { path.append("[\(elements.count)]") }
            elements.append(try value())
            if onDuplicate != nil { path.removeLast() }
            skipWhitespace()
            switch current {
            case UInt8(ascii: ","): offset += 1
            case UInt8(ascii: "]"):
                offset += 1
                return elements
            default: throw failure("expected ',' or ']'")
            }
        }
    }

    private mutating func number() throws(JSONParseError) -> JSON {
        let start = offset
        let negative = current == UInt8(ascii: "-")
        if negative { offset += 1 }
        var magnitude: Int64? = 0
        let digitsStart = offset
        while let byte = current, (0x30...0x39).contains(byte) {
            magnitude = magnitude.flatMap {
                let (product, overflow) = $0.multipliedReportingOverflow(by: 10)
                let (difference, underflow) = product.subtractingReportingOverflow(Int64(byte - 0x30))
                return overflow || underflow ? nil : difference
            }
            offset += 1
        }
        let digits = offset - digitsStart
        guard digits > 0 else { throw failure("expected a digit") }
        guard digits == 1 || bytes[digitsStart] != 0x30 else { throw failure("a number starts with 0") }
        var whole = true
        if current == UInt8(ascii: ".") {
            whole = false
            offset += 1
            try digitsRequired()
        }
        if let byte = current, byte | 0x20 == UInt8(ascii: "e") {
            whole = false
            offset += 1
            if let sign = current, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { offset += 1 }
            try digitsRequired()
        }
        // The digits are summed up as a negative number, whose range is the larger by one.
        if whole, let magnitude {
            if negative { return .int(magnitude) }
            if magnitude != .min { return .int(-magnitude) }
        }
        let text = String(decoding: UnsafeRawBufferPointer(rebasing: bytes[start..<offset]), as: UTF8.self)
        guard let double = Double(text), double.isFinite else { throw failure("number out of range") }
        return .double(double)
    }

    private mutating func digitsRequired() throws(JSONParseError) {
        guard let byte = current, (0x30...0x39).contains(byte) else { throw failure("expected a digit") }
        while let byte = current, (0x30...0x39).contains(byte) { offset += 1 }
    }

    /// Goes on to the next quote, backslash or control character; whether all that was passed is ASCII.
    private mutating func skipPlain() -> Bool {
        let (ones, tops): (UInt64, UInt64) = (0x0101_0101_0101_0101, 0x8080_8080_8080_8080)
        // The top bit of each byte that is zero; a byte above a zero one may be reported too, which costs a look.
        func zeros(_ word: UInt64) -> UInt64 { (word &- ones) & ~word & tops }
        var seen: UInt64 = 0
        while bytes.count - offset >= 8 {
            let word = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            let control = (word &- ones &* 0x20) & ~word & tops
            guard zeros(word ^ ones &* 0x22) | zeros(word ^ ones &* 0x5C) | control == 0 else { break }
            seen |= word
            offset += 8
        }
        while let byte = current, byte >= 0x20, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
            seen |= UInt64(byte)
            offset += 1
        }
        return seen & tops == 0
    }

    private mutating func string() throws(JSONParseError) -> String {
        offset += 1
        let start = offset
        let isASCII = skipPlain()
        while let byte = current {
            switch byte {
            case UInt8(ascii: "\""):
                let raw = UnsafeRawBufferPointer(rebasing: bytes[start..<offset])
                offset += 1
                if isASCII {
                    return String(unsafeUninitializedCapacity: raw.count) { buffer in
                        UnsafeMutableRawBufferPointer(buffer).copyMemory(from: raw)
                        return raw.count
                    }
                }
                guard let text = String(validating: raw, as: UTF8.self) else { throw failure("invalid UTF-8") }
                return text
            case UInt8(ascii: "\\"): return try escapedString(from: start)
            case 0..<0x20: throw failure("control character in a string")
            default: offset += 1
            }
        }
        throw failure("unterminated string")
    }

    private mutating func escapedString(from start: Int) throws(JSONParseError) -> String {
        var buffer = Array(bytes[start..<offset])
        while let byte = current {
            switch byte {
            case UInt8(ascii: "\""):
                guard let text = String(validating: buffer, as: UTF8.self) else { throw failure("invalid UTF-8") }
                offset += 1
                return text
            case UInt8(ascii: "\\"):
                offset += 1
                try escape(into: &buffer)
            case 0..<0x20: throw failure("control character in a string")
            default:
                buffer.append(byte)
                offset += 1
            }
        }
        throw failure("unterminated string")
    }

    private mutating func escape(into buffer: inout [UInt8]) throws(JSONParseError) {
        guard let byte = current else { throw failure("unexpected end") }
        offset += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): buffer.append(byte)
        case UInt8(ascii: "b"): buffer.append(0x08)
        case UInt8(ascii: "f"): buffer.append(0x0C)
        case UInt8(ascii: "n"): buffer.append(0x0A)
        case UInt8(ascii: "r"): buffer.append(0x0D)
        case UInt8(ascii: "t"): buffer.append(0x09)
        case UInt8(ascii: "u"):
            var scalar = UInt32(try hexQuad())
            if (0xD800..<0xDC00).contains(scalar), current == UInt8(ascii: "\\"), offset + 1 < bytes.count,
                bytes[offset + 1] == UInt8(ascii: "u")
            {
                let mark = offset
                offset += 2
                let low = UInt32(try hexQuad())
                if (0xDC00..<0xE000).contains(low) {
                    scalar = 0x10000 + ((scalar - 0xD800) << 10) + (low - 0xDC00)
                } else {
                    offset = mark
                }
            }
            // A lone surrogate becomes U+FFFD, as Go's decoder does.
            let character = Unicode.Scalar(scalar) ?? "\u{FFFD}"
            buffer.append(contentsOf: Array(String(Character(character)).utf8))
        default: throw failure("unknown escape")
        }
    }

    private mutating func hexQuad() throws(JSONParseError) -> UInt16 {
        guard bytes.count - offset >= 4 else { throw failure("unexpected end") }
        var value: UInt16 = 0
        for _ in 0..<4 {
            guard let digit = Character(Unicode.Scalar(bytes[offset])).hexDigitValue else {
                throw failure("expected four hexadecimal digits")
            }
            value = value << 4 | UInt16(digit)
            offset += 1
        }
        return value
    }
}
