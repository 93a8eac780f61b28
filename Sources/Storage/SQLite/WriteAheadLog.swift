// SPDX-License-Identifier: Apache-2.0

/// What SQLite will find in a write-ahead log (`-wal`), and what it will pass over without a word.
///
/// SQLite reads such a log up to the first frame whose checksum is wrong: that is how it finds the end of what was
/// written when the machine lost its power. A frame that was damaged later looks the same, and takes all commits
/// behind it along, also those whose writers were told that they are safe. What is behind tells the two apart.
public struct WriteAheadLog: Sendable, Hashable {
    /// Transactions that SQLite will find.
    public private(set) var commits = 0
    /// Transactions in or behind the first damaged frame: of this generation of the log, and lost to SQLite.
    public private(set) var commitsBehindDamage = 0
    /// Where the damage is, from the beginning of the file.
    public private(set) var damageOffset: Int?

    /// Whether acknowledged writes are lost. One transaction, the last, may be one that was under way when the power
    /// went; of several all but the last were committed, and told so, before the next began.
    public var losesAcknowledged: Bool { commitsBehindDamage > 1 }
    /// Whether the last transaction was not written whole: it may have been acknowledged, or not.
    public var isTorn: Bool { commitsBehindDamage == 1 }

    private static let headerSize = 32
    private static let frameHeaderSize = 24

    /// - Parameter pageSize: the database's, in case that the log's own header is damaged.
    public init(_ bytes: [UInt8], pageSize: Int) {
        bytes.withUnsafeBytes { scan($0, databasePageSize: pageSize) }
    }

    private mutating func scan(_ bytes: UnsafeRawBufferPointer, databasePageSize: Int) {
        func word(_ offset: Int) -> UInt32 {
            UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
        guard bytes.count >= Self.headerSize + Self.frameHeaderSize else { return }
        let magic = word(0)
        let isBigEndian = magic == 0x377F_0683
        var sum = Checksum(isBigEndian: isBigEndian)
        sum.add(bytes[0..<24])
        var isIntact =
            (isBigEndian || magic == 0x377F_0682) && sum.first == word(24) && sum.second == word(28)
        let pageSize = isIntact ? Int(word(8)) : databasePageSize
        guard (512...65536).contains(pageSize) else { return }
        if !isIntact { damageOffset = 0 }
        // Each generation of the log has salts of its own: frames of an older one may lie behind, and mean nothing.
        let salts =
            isIntact ? (word(16), word(20)) : (word(Self.headerSize + 8), word(Self.headerSize + 12))
        var offset = Self.headerSize
        while offset + Self.frameHeaderSize + pageSize <= bytes.count {
            let isOfThisGeneration = word(offset + 8) == salts.0 && word(offset + 12) == salts.1
            if isIntact {
                var next = sum
                next.add(bytes[offset..<offset + 8])
                let page = offset + Self.frameHeaderSize
                next.add(bytes[page..<page + pageSize])
                if isOfThisGeneration, next.first == word(offset + 16), next.second == word(offset + 20) {
                    sum = next
                } else {
                    isIntact = false
                    damageOffset = offset
                }
            }
            // The frame that ends a transaction tells the size of the database after it.
            let isCommit = word(offset + 4) != 0
            if isCommit, isIntact { commits += 1 }
            if isCommit, !isIntact, isOfThisGeneration { commitsBehindDamage += 1 }
            offset += Self.frameHeaderSize + pageSize
        }
        if commitsBehindDamage == 0 { damageOffset = nil }
    }

    /// SQLite's: two sums that each go into the other.
    private struct Checksum {
        let isBigEndian: Bool
        var first: UInt32 = 0
        var second: UInt32 = 0

        init(isBigEndian: Bool) { self.isBigEndian = isBigEndian }

        mutating func add(_ bytes: Slice<UnsafeRawBufferPointer>) {
            var offset = bytes.startIndex
            while offset + 8 <= bytes.endIndex {
                first &+= word(bytes.base, offset) &+ second
                second &+= word(bytes.base, offset + 4) &+ first
                offset += 8
            }
        }

        private func word(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt32 {
            let value = bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
            return isBigEndian ? UInt32(bigEndian: value) : UInt32(littleEndian: value)
        }
    }
}
