// SPDX-License-Identifier: Apache-2.0

import Values

/// A long list on its way to a client: the encodings of its objects one after the other, a piece at a time.
///
/// A list of thousands of objects never lies in memory as a whole, however slowly its reader takes it.
struct EncodedList: Sendable {
    /// Everything before the first object.
    let head: [UInt8]
    let objects: [StoredObject]
    /// Everything behind the last object.
    let tail: [UInt8]
    /// What stands between two objects.
    let separator: [UInt8]
    /// The header under which the objects are sent; nil where they are not sent as they are stored.
    let header: ObjectHeader?
    /// Writes the object of that place.
    let append: @Sendable (Int, inout [UInt8]) -> Void
    /// For a reader that takes gzip: each object keeps what it comes to.
    var isPacked = false

    /// Shorter lists are sent in one piece.
    static let streamedFrom = 256 << 10
    /// So much is gathered before it is written.
    private static let pieceSize = 128 << 10

    /// The whole list, for readers of the same process.
    func bytes() -> [UInt8] {
        var bytes = head
        bytes.reserveCapacity(objects.reduce(head.count + 64) { $0 + $1.value.count + 96 })
        for index in objects.indices {
            if index > 0 { bytes += separator }
            append(index, &bytes)
        }
        bytes += tail
        return bytes
    }

    func write(to sink: any ByteSink) async throws {
        if isPacked, let packer = SegmentPacker() { return try await writePacked(to: sink, packer) }
        var piece = head
        for index in objects.indices {
            if index > 0 { piece += separator }
            append(index, &piece)
            try await flush(&piece, to: sink)
        }
        piece += tail
        try await sink.write(piece)
    }

    /// One gzip member (RFC 1952) of blocks that were packed each for itself.
    private func writePacked(to sink: any ByteSink, _ packer: SegmentPacker) async throws {
        var sum = GzipSum()
        var piece = GzipSum.header
        func put(_ segment: PackedSegment) {
            piece += segment.bytes
            sum.add(segment)
        }
        put(packer.pack(head))
        let separator = separator.isEmpty ? nil : PackedSegment(stored: separator)
        var plain: [UInt8] = []
        for (index, object) in objects.enumerated() {
            if index > 0, let separator { put(separator) }
            let segment = object.packed(header) {
                plain.removeAll(keepingCapacity: true)
                append(index, &plain)
                return packer.pack(plain)
            }
            put(segment)
            try await flush(&piece, to: sink)
        }
        put(PackedSegment(stored: tail, isLast: true))
        piece += sum.trailer
        try await sink.write(piece)
    }

    private func flush(_ piece: inout [UInt8], to sink: any ByteSink) async throws {
        guard piece.count >= Self.pieceSize else { return }
        try await sink.write(piece)
        piece.removeAll(keepingCapacity: true)
    }
}
