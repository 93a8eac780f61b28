// SPDX-License-Identifier: Apache-2.0

/// Changes the links in a page of HTML that comes piece by piece. Everything else stays as it is, byte for byte.
///
/// It knows as much of HTML as it takes to tell tags from text: comments, and elements whose content is no HTML
/// (HTML Living Standard, section 13.2.5).
struct HTMLLinkRewriter {
    private enum Place: Equatable {
        case text
        case comment
        /// Within an element whose content ends at its end tag only.
        case raw(String)
    }

    /// A longer tag is passed on unread.
    static let maximumTag = 64 << 10

    /// Where each element holds addresses.
    private static let addresses: [String: Set<String>] = [
        "a": ["href"], "applet": ["codebase"], "area": ["href"], "audio": ["src"], "base": ["href"],
        "blockquote": ["cite"], "body": ["background"], "button": ["formaction"], "command": ["icon"],
        "del": ["cite"], "embed": ["src"], "form": ["action"], "frame": ["longdesc", "src"], "head": ["profile"],
        "html": ["manifest"], "iframe": ["longdesc", "src"], "img": ["longdesc", "src", "usemap"],
        "input": ["formaction", "src", "usemap"], "ins": ["cite"], "link": ["href"],
        "object": ["classid", "codebase", "data", "usemap"], "q": ["cite"], "script": ["src"], "source": ["src"],
        "video": ["poster", "src"],
    ]
    private static let rawElements: Set<String> = [
        "iframe", "noembed", "noframes", "noscript", "plaintext", "script", "style", "textarea", "title", "xmp",
    ]

    private let rewrite: (String) -> String
    private var pending: [UInt8] = []
    private var place = Place.text

    init(_ rewrite: @escaping (String) -> String) { self.rewrite = rewrite }

    /// Takes the next bytes, and returns what can be sent.
    mutating func feed(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        pending += bytes
        var output: [UInt8] = []
        var offset = 0
        while let next = step(offset, &output) { offset = next }
        if offset > 0 { pending.removeFirst(offset) }
        return output
    }

    /// What is left at the end of the page.
    mutating func finish() -> [UInt8] {
        defer { pending = [] }
        return pending
    }

    /// Handles what begins at an offset; nil when more has to come first.
    private mutating func step(_ offset: Int, _ output: inout [UInt8]) -> Int? {
        guard offset < pending.count else { return nil }
        switch place {
        case .text:
            guard let start = pending[offset...].firstIndex(of: UInt8(ascii: "<")) else {
                output += pending[offset...]
                return pending.count
            }
            output += pending[offset..<start]
            return tag(start, &output) ?? (start == offset ? nil : start)
        case .comment: return skip(to: Array("-->".utf8), offset, &output)
        case .raw(let name): return skip(to: Array("</\(name)".utf8), offset, &output)
        }
    }

    private mutating func tag(_ start: Int, _ output: inout [UInt8]) -> Int? {
        guard start + 1 < pending.count else { return nil }
        if pending[start + 1] == UInt8(ascii: "!") {
            let opening = Array("<!--".utf8)
            let there = pending[start..<min(start + 4, pending.count)]
            if there.elementsEqual(opening.prefix(there.count)) {
                guard there.count == 4 else { return nil }
                output += there
                place = .comment
                return start + 4
            }
        }
        guard Self.isLetter(pending[start + 1]) else {
            output.append(pending[start])
            return start + 1
        }
        guard let tag = HTMLTag(pending, from: start) else {
            guard pending.count - start > Self.maximumTag else { return nil }
            output.append(pending[start])
            return start + 1
        }
        var copied = start
        let names = Self.addresses[tag.name] ?? []
        for attribute in tag.attributes where names.contains(attribute.name) {
            output += pending[copied..<attribute.value.lowerBound]
            output += rewrite(String(decoding: pending[attribute.value], as: UTF8.self)).utf8
            copied = attribute.value.upperBound
        }
        output += pending[copied..<tag.end]
        if Self.rawElements.contains(tag.name) { place = .raw(tag.name) }
        return tag.end
    }

    /// Passes on what comes before a word, in whatever case it is written; what might be the beginning of it waits.
    private mutating func skip(to word: [UInt8], _ offset: Int, _ output: inout [UInt8]) -> Int? {
        var index = offset
        while index + word.count <= pending.count {
            if pending[index..<index + word.count].lazy.map(Self.lower).elementsEqual(word) {
                // An end tag is then passed on as any tag that is none of ours.
                let end = place == .comment ? index + word.count : index
                output += pending[offset..<end]
                place = .text
                return end
            }
            index += 1
        }
        output += pending[offset..<index]
        return index == offset ? nil : index
    }

    static func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(lower(byte)) }
    static func lower(_ byte: UInt8) -> UInt8 { (0x41...0x5A).contains(byte) ? byte | 0x20 : byte }
}

/// A start tag, and where in it the values of its attributes stand.
struct HTMLTag {
    let name: String
    private(set) var attributes: [(name: String, value: Range<Int>)] = []
    /// Behind its `>`.
    private(set) var end = 0

    /// Nil when the tag is not complete. `start` is that of its `<`.
    init?(_ bytes: [UInt8], from start: Int) {
        var index = start + 1
        func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
        let (slash, close, equals) = (UInt8(ascii: "/"), UInt8(ascii: ">"), UInt8(ascii: "="))
        func word(_ isEnd: (UInt8) -> Bool) -> String? {
            let begin = index
            while index < bytes.count, !isEnd(bytes[index]) { index += 1 }
            guard index < bytes.count else { return nil }
            return String(decoding: bytes[begin..<index].map(HTMLLinkRewriter.lower), as: UTF8.self)
        }
        func skipSpaces() -> Bool {
            while index < bytes.count, isSpace(bytes[index]) { index += 1 }
            return index < bytes.count
        }
        guard let name = word({ isSpace($0) || $0 == slash || $0 == close }) else { return nil }
        self.name = name
        while true {
            while index < bytes.count, isSpace(bytes[index]) || bytes[index] == slash { index += 1 }
            guard index < bytes.count else { return nil }
            if bytes[index] == close {
                end = index + 1
                return
            }
            // An equals sign at the beginning is part of a name.
            let first = index
            let attribute = word { isSpace($0) || $0 == slash || $0 == close || ($0 == equals && index > first) }
            guard let attribute, skipSpaces() else { return nil }
            guard bytes[index] == equals else { continue }
            index += 1
            guard skipSpaces() else { return nil }
            let quote = bytes[index]
            if quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") {
                index += 1
                let begin = index
                guard word({ $0 == quote }) != nil else { return nil }
                attributes.append((attribute, begin..<index))
                index += 1
            } else {
                let begin = index
                guard word({ isSpace($0) || $0 == close }) != nil else { return nil }
                attributes.append((attribute, begin..<index))
            }
        }
    }
}
