// SPDX-License-Identifier: Apache-2.0

import CZlib

/// Unpacks what was packed with gzip (RFC 1952), piece by piece. For one task.
final class Gunzip {
    struct Broken: Error, CustomStringConvertible {
        let status: CInt
        var description: String { "zlib cannot unpack the body (\(status))" }
    }

    /// The state of zlib points at its stream, which therefore has a fixed address.
    private let stream: UnsafeMutablePointer<z_stream>
    private var isAtEnd = false

    init() throws(Broken) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // 15 bits of window, and 16 for the header of gzip.
        let status = inflateInit2_(stream, 15 + 16, ZLIB_VERSION, CInt(MemoryLayout<z_stream>.size))
        guard status == Z_OK else { throw Broken(status: status) }
    }

    deinit {
        inflateEnd(stream)
        stream.deinitialize(count: 1)
        stream.deallocate()
    }

    /// Unpacks a piece, and hands on what comes of it in pieces of at most 64 KiB: a small body may unpack to a huge
    /// one.
    func feed(_ bytes: [UInt8], _ emit: ([UInt8]) async throws -> Void) async throws {
        var rest = bytes[...]
        while !isAtEnd {
            let (output, taken) = try step(rest)
            rest = rest.dropFirst(taken)
            if !output.isEmpty { try await emit(output) }
            if output.isEmpty, rest.isEmpty || taken == 0 { return }
        }
    }

    private func step(_ bytes: ArraySlice<UInt8>) throws(Broken) -> (output: [UInt8], taken: Int) {
        var status = Z_OK
        var left = 0
        let output = bytes.withUnsafeBufferPointer { source in
            [UInt8](unsafeUninitializedCapacity: 64 << 10) { target, written in
                // zlib reads from a pointer that its header declares to be writable.
                stream.pointee.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
                stream.pointee.avail_in = UInt32(clamping: source.count)
                stream.pointee.next_out = target.baseAddress
                stream.pointee.avail_out = UInt32(target.count)
                status = inflate(stream, Z_NO_FLUSH)
                written = target.count - Int(stream.pointee.avail_out)
                left = Int(stream.pointee.avail_in)
            }
        }
        switch status {
        case Z_OK, Z_BUF_ERROR: break
        case Z_STREAM_END: isAtEnd = true
        default: throw Broken(status: status)
        }
        return (output, bytes.count - left)
    }
}
