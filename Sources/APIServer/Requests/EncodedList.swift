// SPDX-License-Identifier: Apache-2.0

import Values

/// A long list on its way to a client: the stored encodings one after the other, a piece at a time.
///
/// A list of thousands of objects never lies in memory as a whole, however slowly its reader takes it.
struct EncodedList: Sendable {
    /// Everything before the first object.
    let head: [UInt8]
    let objects: [StoredObject]
    /// The header under which the objects are sent; nil where they are not sent as they are stored.
    let header: ObjectHeader?
    let append: @Sendable (StoredObject, inout [UInt8]) -> Void
    /// For a reader that takes gzip: each object keeps what it comes to.
    var isPacked = false

    static let tail = Array("]}".utf8)
    static let separator = UInt8(ascii: ",")

    /// Shorter lists are sent in one piece.
    static let streamedFrom = 256 << 10
    /// So much is gathered before it is written.
    private static let pieceSize = 128 << 10

    /// The whole list, for readers of the same process.
    func bytes() -> [UInt8] {
        var bytes = head
        bytes.reserveCapacity(objects.reduce(head.count + 64) { $0 + $1.value.count + 96 })
        for (index, object) in objects.enumerated() {
            if index > 0 { bytes.append(Self.separator) }
            append(object, &bytes)
        }
        bytes += Self.tail
        return bytes
    }

    func write(to sink: any ByteSink) async throws {
        if isPacked, let packer = SegmentPacker() { return try await writePacked(to: sink, packer) }
        var piece = head
        for (index, object) in objects.enumerated() {
            if index > 0 { piece.append(Self.separator) }
            append(object, &piece)
            try await flush(&piece, to: sink)
        }
        piece += Self.tail
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
        let separator = PackedSegment(stored: [Self.separator])
        var plain: [UInt8] = []
        for (index, object) in objects.enumerated() {
            if index > 0 { put(separator) }
            let segment = object.packed(header) {
                plain.removeAll(keepingCapacity: true)
                append(object, &plain)
                return packer.pack(plain)
            }
            put(segment)
            try await flush(&piece, to: sink)
        }
        put(PackedSegment(stored: Self.tail, isLast: true))
        piece += sum.trailer
        try await sink.write(piece)
    }

    private func flush(_ piece: inout [UInt8], to sink: any ByteSink) async throws {
        guard piece.count >= Self.pieceSize else { return }
        try await sink.write(piece)
        piece.removeAll(keepingCapacity: true)
    }
}
