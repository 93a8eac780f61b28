// SPDX-License-Identifier: Apache-2.0

import Values

/// An answer from upstream, kept as bytes: only identifiers and times to live are looked at.
package struct ForwardedResponse: Sendable {
    private(set) var bytes: [UInt8]
    private let ttlOffsets: [Int]
    /// Where the data of address records begins, for each name and type of them.
    private let addressOffsets: [[Int]]
    /// Aliases and addresses of the answer, in the order they came.
    package let answers: [Record]
    /// The smallest time to live of its records, in seconds; nil when it has none.
    package let shortestTTL: UInt32?
    let code: UInt8
    let isTruncated: Bool

    /// - Throws: `DNSFormatError` for bytes that are not an answer to `question`.
    package init(_ bytes: [UInt8], to question: Question) throws(DNSFormatError) {
        var reader = ByteReader(bytes)
        var offsets: [Int] = []
        var groups: [AddressGroup: [Int]] = [:]
        var records: [Record] = []
        var shortest: UInt32?
        var borrowed: [Range<Int>] = []
        do {
            try reader.skip(2)
            let flags: UInt16 = try reader.bigEndian()
            let questions: UInt16 = try reader.bigEndian()
            let counts: [UInt16] = [try reader.bigEndian(), try reader.bigEndian(), try reader.bigEndian()]
            guard flags & 0x8000 != 0 else { throw DNSFormatError("a question where an answer is expected") }
            guard questions == 1, try reader.name().lowercased == question.name.lowercased,
                try reader.bigEndian(UInt16.self) == question.type
            else { throw DNSFormatError("an answer to another question") }
            let endOfQuestion = reader.offset
            let borrow = { (range: Range<Int>) in
                // Nearly all point to the question's name, of which nothing changes.
                if range.lowerBound < 12 || range.upperBound > endOfQuestion { borrowed.append(range) }
            }
            try reader.skip(2)
            code = UInt8(truncatingIfNeeded: flags & 15)
            isTruncated = flags & 0x0200 != 0
            for index in 0..<counts.reduce(0, { $0 + Int($1) }) where !(isTruncated && reader.isAtEnd) {
                let name = try reader.name(onBorrowed: borrow)
                let type: UInt16 = try reader.bigEndian()
                try reader.skip(2)
                let offset = reader.offset
                let ttl: UInt32 = try reader.bigEndian()
                if type != RecordType.opt {
                    offsets.append(offset)
                    shortest = min(shortest ?? .max, ttl)
                }
                let length: UInt16 = try reader.bigEndian()
                let start = reader.offset
                if index < Int(counts[0]) {
                    switch (type, length) {
                    case (RecordType.a, 4), (RecordType.aaaa, 16):
                        if let address = IPAddress(bytes: try reader.read(Int(length))) {
                            records.append(Record(name, ttl: ttl, .address(address)))
                            groups[AddressGroup(name: name.lowercased, type: type), default: []].append(start)
                        }
                    case (RecordType.cname, _):
                        records.append(Record(name, ttl: ttl, .name(.cname, try reader.name(onBorrowed: borrow))))
                    default: break
                    }
                }
                guard reader.offset <= start + Int(length) else { throw DNSFormatError("a record longer than it says") }
                try reader.skip(start + Int(length) - reader.offset)
            }
        } catch let error as DNSFormatError { throw error } catch { throw DNSFormatError("an answer cut short") }
        try Self.check(borrowed, bytes.count, ttls: offsets, addresses: groups)
        self.bytes = bytes
        ttlOffsets = offsets
        addressOffsets = groups.values.filter { $0.count > 1 }
        answers = records
        shortestTTL = shortest
    }

    /// What changes from one asker to the next, the identifier, times to live and addresses that change places, is no
    /// part of a name: such a name would be another one afterwards, or none.
    private static func check(
        _ borrowed: [Range<Int>], _ count: Int, ttls: [Int], addresses: [AddressGroup: [Int]]
    ) throws(DNSFormatError) {
        guard !borrowed.isEmpty else { return }
        var changes = [Bool](repeating: false, count: count + 66)
        changes[0] = true
        changes[1] = true
        for offset in ttls { for index in offset..<offset + 4 { changes[index] = true } }
        for (group, offsets) in addresses {
            for offset in offsets {
                for index in offset..<offset + (group.type == RecordType.a ? 4 : 16) { changes[index] = true }
            }
        }
        guard !borrowed.contains(where: { changes[$0].contains(true) }) else {
            throw DNSFormatError("a name that is no name's bytes")
        }
    }

    private struct AddressGroup: Hashable {
        let name: [String]
        let type: UInt16
    }

    /// The answer for another asker of the same question, `age` seconds later.
    ///
    /// - Parameter shuffled: whether the addresses of each name change places (`loadbalance`).
    package func reply(id: UInt16, age: UInt32, shuffled: Bool = false) -> [UInt8] {
        var copy = bytes
        copy[0] = UInt8(id >> 8)
        copy[1] = UInt8(id & 255)
        if shuffled {
            for offsets in addressOffsets { Self.shuffle(offsets, in: &copy) }
        }
        guard age > 0 else { return copy }
        for offset in ttlOffsets {
            let ttl = (0..<4).reduce(UInt32(0)) { $0 << 8 | UInt32(copy[offset + $1]) }
            let rest = ttl > age ? ttl - age : 0
            for index in 0..<4 { copy[offset + index] = UInt8(truncatingIfNeeded: rest >> UInt32(24 - 8 * index)) }
        }
        return copy
    }

    private static func shuffle(_ offsets: [Int], in bytes: inout [UInt8]) {
        let lengths = offsets.map { Int(bytes[$0 - 2]) << 8 | Int(bytes[$0 - 1]) }
        let data = zip(offsets, lengths).map { Array(bytes[$0..<$0 + $1]) }.shuffled()
        for (offset, address) in zip(offsets, data) {
            bytes.replaceSubrange(offset..<offset + address.count, with: address)
        }
    }
}
