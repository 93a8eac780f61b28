// SPDX-License-Identifier: Apache-2.0

import CZlib

/// Large answers, packed for those who ask (RFC 9110, section 12.5.3).
extension Reply {
    /// Below this packing costs more than it saves; the bound is upstream's.
    private static let packedFrom = 128 << 10

    func packed(for request: IncomingRequest) -> Reply {
        guard Gzip.isAccepted(by: request),
            !headers.contains(where: { $0.name.lowercased() == "content-encoding" })
        else { return self }
        var reply = self
        switch body {
        case .bytes(let bytes):
            guard bytes.count >= Self.packedFrom, let packed = Gzip.pack(bytes) else { return self }
            reply.body = .bytes(packed)
        case .list(var list):
            list.isPacked = true
            reply.body = .list(list)
        default: return self
        }
        reply.headers += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
        return reply
    }
}

enum Gzip {
    static func isAccepted(by request: IncomingRequest) -> Bool {
        (request.header("accept-encoding") ?? "").split(separator: ",").contains { entry in
            let parts = entry.split(separator: ";").map { $0.filter { $0 != " " } }
            return parts.first == "gzip" && !parts.dropFirst().contains { $0 == "q=0" || $0 == "q=0.0" }
        }
    }

    /// Nil when zlib cannot.
    static func pack(_ bytes: [UInt8]) -> [UInt8]? {
        var stream = z_stream()
        // 15 bits of window, and 16 for the header of gzip instead of that of zlib; quickest, because the network is near.
        guard
            deflateInit2_(
                &stream, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
                CInt(MemoryLayout<z_stream>.size)) == Z_OK
        else { return nil }
        defer { deflateEnd(&stream) }
        guard let count = UInt32(exactly: bytes.count), let bound = UInt32(exactly: deflateBound(&stream, UInt(count)))
        else { return nil }
        return bytes.withUnsafeBufferPointer { source in
            var isDone = false
            let packed = [UInt8](unsafeUninitializedCapacity: Int(bound)) { target, written in
                // zlib reads from a pointer that its header declares to be writable.
                stream.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
                stream.avail_in = count
                stream.next_out = target.baseAddress
                stream.avail_out = bound
                isDone = deflate(&stream, Z_FINISH) == Z_STREAM_END
                written = Int(stream.total_out)
            }
            return isDone ? packed : nil
        }
    }
}
