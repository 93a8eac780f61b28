// SPDX-License-Identifier: Apache-2.0

import Values

/// A fully qualified domain name: labels without the root, in the spelling they came in.
public struct DNSName: Sendable, Hashable, CustomStringConvertible {
    /// Labels as bytes; at most 63 each (RFC 1035 section 2.3.4).
    public let labels: [[UInt8]]

    public init(labels: [[UInt8]]) { self.labels = labels }

    /// From `a.b.c` or `a.b.c.`; nil when a label is empty or too long, or the whole is.
    public init?(_ text: some StringProtocol) {
        let trimmed = text.hasSuffix(".") ? text.dropLast() : text[...]
        guard !trimmed.isEmpty else {
            labels = []
            return
        }
        let parts = trimmed.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).map { Array($0) }
        guard parts.allSatisfy({ (1...63).contains($0.count) }), parts.reduce(1, { $0 + $1.count + 1 }) <= 255 else {
            return nil
        }
        labels = parts
    }

    public var description: String {
        labels.map { String(decoding: $0, as: UTF8.self) + "." }.joined().isEmpty
            ? "." : labels.map { String(decoding: $0, as: UTF8.self) + "." }.joined()
    }

    /// The labels in lower case, as text: names are compared without regard to case (RFC 4343).
    public var lowercased: [String] {
        labels.map { label in
            String(decoding: label.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
        }
    }
}

extension ByteReader {
    /// Reads a name, following compression pointers, which may only point backwards (RFC 1035 section 4.1.4).
    ///
    /// - Parameter onBorrowed: is told the bytes that the name reads elsewhere, behind a pointer.
    mutating func name(onBorrowed: ((Range<Int>) -> Void)? = nil) throws(DNSFormatError) -> DNSName {
        var labels: [[UInt8]] = []
        var length = 1
        var resume: Int?
        var limit = offset
        do {
            while true {
                let start = offset
                let isBorrowed = resume != nil
                let count = try byte()
                if isBorrowed { onBorrowed?(start..<start + 2 + (count < 64 ? Int(count) : 0)) }
                switch count {
                case 0:
                    if let resume { try seek(to: resume) }
                    return DNSName(labels: labels)
                case 1...63:
                    let label = Array(try read(Int(count)))
                    length += label.count + 1
                    guard length <= 255 else { throw DNSFormatError("a name longer than 255 bytes") }
                    labels.append(label)
                case 0xC0...0xFF:
                    let target = Int(count & 0x3F) << 8 | Int(try byte())
                    if resume == nil { resume = offset }
                    guard target < limit else { throw DNSFormatError("a compression pointer that points forward") }
                    limit = target
                    try seek(to: target)
                default: throw DNSFormatError("an unknown kind of label")
                }
            }
        } catch let error as DNSFormatError { throw error } catch { throw DNSFormatError("a name cut short") }
    }
}

/// Why a datagram is not a DNS message.
public struct DNSFormatError: Error, Sendable, CustomStringConvertible {
    public let description: String
    init(_ description: String) { self.description = description }
}
