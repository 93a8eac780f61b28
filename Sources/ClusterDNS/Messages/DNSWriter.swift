// SPDX-License-Identifier: Apache-2.0

import Values

/// Writes an answer, with names compressed (RFC 1035 section 4.1.4).
struct DNSWriter {
    private(set) var bytes: [UInt8] = []
    /// Where each suffix that was written starts.
    private var offsets: [[[UInt8]]: Int] = [:]

    /// The whole message. One that does not fit `limit` bytes loses records and says so (TC).
    static func message(_ answer: Answer, to query: Query, limit: Int) -> [UInt8] {
        var writer = DNSWriter()
        let reserved = query.hasEDNS ? 11 : 0
        writer.header(answer, query)
        writer.name(query.question.name)
        writer.bytes.appendBigEndian(query.question.type)
        writer.bytes.appendBigEndian(query.question.recordClass)
        var counts: [UInt16] = [0, 0, 0]
        var truncated = false
        for (section, records) in [answer.answers, answer.authority, answer.additional].enumerated() {
            for record in records where !truncated {
                let mark = writer
                writer.record(record)
                if writer.bytes.count + reserved > limit {
                    writer = mark
                    // What is additional may be left out without a word.
                    truncated = true
                    if section < 2 { writer.bytes[2] |= 0x02 }
                } else {
                    counts[section] += 1
                }
            }
        }
        if query.hasEDNS {
            writer.bytes += [0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]
            counts[2] += 1
        }
        for (index, count) in counts.enumerated() {
            writer.bytes[6 + 2 * index] = UInt8(count >> 8)
            writer.bytes[7 + 2 * index] = UInt8(count & 255)
        }
        return writer.bytes
    }

    /// A question of the server's own, with room for a large answer.
    static func query(_ question: Question) -> [UInt8] {
        var writer = DNSWriter()
        writer.bytes += [0, 0, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1]
        writer.name(question.name)
        writer.bytes.appendBigEndian(question.type)
        writer.bytes.appendBigEndian(question.recordClass)
        writer.bytes += [0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]
        return writer.bytes
    }

    /// An answer without a question to repeat: to a datagram that could not be read.
    static func formatError(id: UInt16) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBigEndian(id)
        bytes += [0x80, ResponseCode.formatError.rawValue, 0, 0, 0, 0, 0, 0, 0, 0]
        return bytes
    }

    private mutating func header(_ answer: Answer, _ query: Query) {
        bytes.appendBigEndian(query.id)
        var flags: UInt16 = 0x8000 | query.flags & 0x7900 | 0x0080 | UInt16(answer.code.rawValue)
        if answer.isAuthoritative { flags |= 0x0400 }
        bytes.appendBigEndian(flags)
        bytes.appendBigEndian(UInt16(1))
        bytes += [0, 0, 0, 0, 0, 0]
    }

    private mutating func record(_ record: Record) {
        name(record.name)
        bytes.appendBigEndian(record.data.type)
        bytes.appendBigEndian(UInt16(1))
        bytes.appendBigEndian(record.ttl)
        let lengthAt = bytes.count
        bytes += [0, 0]
        switch record.data {
        case .address(let address): bytes += address.bytes
        case .name(_, let target): name(target)
        case .service(let priority, let weight, let port, let target):
            for number in [priority, weight, port] { bytes.appendBigEndian(number) }
            // Targets are not compressed (RFC 2782).
            name(target, compressed: false)
        case .text(let strings):
            for string in strings {
                let part = Array(string.utf8.prefix(255))
                bytes.append(UInt8(part.count))
                bytes += part
            }
        case .authority(let primary, let mailbox, let serial, let minimum):
            name(primary)
            name(mailbox)
            for number in [serial, 7200, 1800, 86400, minimum] { bytes.appendBigEndian(number) }
        }
        let length = bytes.count - lengthAt - 2
        bytes[lengthAt] = UInt8(truncatingIfNeeded: length >> 8)
        bytes[lengthAt + 1] = UInt8(truncatingIfNeeded: length)
    }

    private mutating func name(_ name: DNSName, compressed: Bool = true) {
        var rest = name.labels[...]
        while let label = rest.first {
            let key = Array(rest)
            if compressed, let offset = offsets[key] {
                bytes.appendBigEndian(UInt16(0xC000 | offset))
                return
            }
            if bytes.count < 0x3FFF { offsets[key] = bytes.count }
            bytes.append(UInt8(truncatingIfNeeded: label.count))
            bytes += label
            rest = rest.dropFirst()
        }
        bytes.append(0)
    }
}
