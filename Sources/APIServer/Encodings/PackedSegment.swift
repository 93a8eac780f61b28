// SPDX-License-Identifier: Apache-2.0

import CZlib

/// A part of a gzip stream that refers to nothing before it and ends at a byte: parts can be joined in any order.
final class PackedSegment: Sendable {
    /// Blocks of deflate (RFC 1951).
    let bytes: [UInt8]
    /// Of the bytes before they were packed.
    let checksum: UInt
    let plainCount: Int

    init(bytes: [UInt8], checksum: UInt, plainCount: Int) {
        self.bytes = bytes
        self.checksum = checksum
        self.plainCount = plainCount
    }

    /// One stored block of at most 65,535 bytes (RFC 1951, section 3.2.4).
    init(stored plain: [UInt8], isLast: Bool = false) {
        let length = UInt16(truncatingIfNeeded: plain.count)
        bytes =
            [isLast ? 1 : 0, UInt8(truncatingIfNeeded: length), UInt8(length >> 8)]
            + [UInt8(truncatingIfNeeded: ~length), UInt8(~length >> 8)] + plain
        checksum = Self.checksum(plain)
        plainCount = plain.count
    }

    static func checksum(_ plain: [UInt8]) -> UInt {
        plain.withUnsafeBufferPointer { crc32(0, $0.baseAddress, UInt32(truncatingIfNeeded: $0.count)) }
    }
}

/// The sums at the end of a gzip member, over joined segments.
struct GzipSum {
    private var checksum: UInt = 0
    private var count: UInt32 = 0

    /// A member that tells nothing but that it is packed by deflate (RFC 1952, section 2.3).
    static let header: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF]

    mutating func add(_ segment: PackedSegment) {
        checksum = crc32_combine(checksum, segment.checksum, segment.plainCount)
        count &+= UInt32(truncatingIfNeeded: segment.plainCount)
    }

    /// CRC-32 and the length modulo 2^32, least significant byte first.
    var trailer: [UInt8] {
        [UInt32(truncatingIfNeeded: checksum), count].flatMap { number in
            (0..<4).map { UInt8(truncatingIfNeeded: number >> (8 * UInt32($0))) }
        }
    }
}

/// Packs segments. For one task at a time.
final class SegmentPacker {
    /// zlib keeps a pointer back to it, so it must not move.
    private let stream: UnsafeMutablePointer<z_stream>

    /// Nil when zlib cannot.
    init?() {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // Without a header, which belongs to the whole; quickest, because the network is near.
        let status = deflateInit2_(
            stream, Z_BEST_SPEED, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
            CInt(MemoryLayout<z_stream>.size))
        guard status == Z_OK else {
            stream.deallocate()
            return nil
        }
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
    }

    func pack(_ plain: [UInt8]) -> PackedSegment {
        // Flushing adds a few bytes to what zlib promises.
        let room = Int(deflateBound(stream, UInt(plain.count))) + 64
        guard let count = UInt32(exactly: plain.count), let bound = UInt32(exactly: room) else {
            return Self.unpacked(plain)
        }
        var isDone = false
        let bytes = plain.withUnsafeBufferPointer { source in
            [UInt8](unsafeUninitializedCapacity: room) { target, written in
                // zlib reads from a pointer that its header declares to be writable.
                stream.pointee.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
                stream.pointee.avail_in = count
                stream.pointee.next_out = target.baseAddress
                stream.pointee.avail_out = bound
                // Nothing that comes later refers to what came before.
                isDone = deflate(stream, Z_FULL_FLUSH) == Z_OK && stream.pointee.avail_in == 0
                written = room - Int(stream.pointee.avail_out)
            }
        }
        guard isDone, stream.pointee.avail_out > 0 else { return Self.unpacked(plain) }
        // What is kept with an object should not hold the room that was made for it.
        return PackedSegment(
            bytes: Array(bytes[...]), checksum: PackedSegment.checksum(plain), plainCount: plain.count)
    }

    /// As stored blocks, which need nothing of zlib.
    private static func unpacked(_ plain: [UInt8]) -> PackedSegment {
        var bytes: [UInt8] = []
        for start in stride(from: 0, to: plain.count, by: 0xFFFF) {
            bytes += PackedSegment(stored: Array(plain[start..<min(start + 0xFFFF, plain.count)])).bytes
        }
        return PackedSegment(bytes: bytes, checksum: PackedSegment.checksum(plain), plainCount: plain.count)
    }
}
