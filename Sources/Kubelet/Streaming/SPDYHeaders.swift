// SPDX-License-Identifier: Apache-2.0

import CZlib
import Values

/// Why a SPDY session must end.
package struct SPDYError: Error, Hashable, Sendable, CustomStringConvertible {
    package let reason: String
    package init(_ reason: String) { self.reason = reason }
    package var description: String { "SPDY protocol error: \(reason)" }
}

/// The name and value block of SPDY/3: lower-case names, each with values joined by NUL.
package enum SPDYHeaderBlock {
    /// A block that unpacks to more than this is refused.
    static let maximumSize = 64 << 10

    package static func encode(_ headers: [(String, String)]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBigEndian(UInt32(headers.count))
        for (name, value) in headers {
            bytes.appendBigEndian(UInt32(name.utf8.count))
            bytes += name.lowercased().utf8
            bytes.appendBigEndian(UInt32(value.utf8.count))
            bytes += value.utf8
        }
        return bytes
    }

    package static func decode(_ bytes: [UInt8]) throws(SPDYError) -> [(String, String)] {
        var reader = ByteReader(bytes)
        var headers: [(String, String)] = []
        do throws(OutOfBytes) {
            let count = try reader.bigEndian(UInt32.self)
            for _ in 0..<min(count, 1024) {
                let name = try reader.read(Int(try reader.bigEndian(UInt32.self)))
                let value = try reader.read(Int(try reader.bigEndian(UInt32.self)))
                headers.append((String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self)))
            }
        } catch {
            throw SPDYError("a header block is cut short: \(error)")
        }
        return headers
    }
}

/// A zlib stream, which must stay where it is.
private final class ZlibStream {
    let pointer: UnsafeMutablePointer<z_stream>
    private let end: (UnsafeMutablePointer<z_stream>) -> Int32

    init(
        _ begin: (UnsafeMutablePointer<z_stream>) -> Int32, end: @escaping (UnsafeMutablePointer<z_stream>) -> Int32
    ) {
        pointer = .allocate(capacity: 1)
        pointer.initialize(to: z_stream())
        self.end = end
        _ = begin(pointer)
    }

    deinit {
        _ = end(pointer)
        pointer.deinitialize(count: 1)
        pointer.deallocate()
    }

    /// Puts `bytes` through `step`, until all are taken and all that comes of them is out, or it is more than `limit`.
    /// The status is zlib's for what it could not do, else Z_OK.
    func run(
        _ bytes: [UInt8], chunkSize: Int, limit: Int, step: (UnsafeMutablePointer<z_stream>) -> Int32
    ) -> (output: [UInt8], status: Int32) {
        var input = bytes
        var output: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: chunkSize)
        let status = input.withUnsafeMutableBufferPointer { source -> Int32 in
            pointer.pointee.next_in = source.baseAddress
            pointer.pointee.avail_in = uInt(source.count)
            repeat {
                let status = chunk.withUnsafeMutableBufferPointer { target in
                    pointer.pointee.next_out = target.baseAddress
                    pointer.pointee.avail_out = uInt(target.count)
                    return step(pointer)
                }
                guard status == Z_OK || status == Z_BUF_ERROR else { return status }
                output += chunk[..<(chunkSize - Int(pointer.pointee.avail_out))]
            } while output.count <= limit
                && (pointer.pointee.avail_out == 0
                    || (pointer.pointee.avail_in > 0 && Int(pointer.pointee.avail_out) < chunkSize))
            return Z_OK
        }
        return (output, status)
    }
}

/// One direction of header compression: zlib with the dictionary of SPDY/3, flushed after each block, never ended.
/// The state of zlib points at its stream, which therefore has a fixed address.
package final class SPDYHeaderCompressor {
    private let stream = ZlibStream(
        {
            deflateInit_($0, Z_BEST_COMPRESSION, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
            return SPDYDictionary.bytes.withUnsafeBufferPointer { [stream = $0] words in
                deflateSetDictionary(stream, words.baseAddress, uInt(words.count))
            }
        }, end: deflateEnd)

    package init() {}

    package func compress(_ block: [UInt8]) throws(SPDYError) -> [UInt8] {
        let (output, status) = stream.run(block, chunkSize: 1024, limit: .max) { deflate($0, Z_SYNC_FLUSH) }
        guard status == Z_OK else { throw SPDYError("zlib cannot compress headers (\(status))") }
        return output
    }
}

/// The other direction.
package final class SPDYHeaderDecompressor {
    private let stream = ZlibStream(
        { inflateInit_($0, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) }, end: inflateEnd)

    package init() {}

    package func decompress(_ compressed: [UInt8]) throws(SPDYError) -> [UInt8] {
        let (output, status) = stream.run(compressed, chunkSize: 4096, limit: SPDYHeaderBlock.maximumSize) { stream in
            let status = inflate(stream, Z_SYNC_FLUSH)
            guard status == Z_NEED_DICT else { return status }
            let accepted = SPDYDictionary.bytes.withUnsafeBufferPointer {
                inflateSetDictionary(stream, $0.baseAddress, uInt($0.count))
            }
            return accepted == Z_OK ? inflate(stream, Z_SYNC_FLUSH) : Z_NEED_DICT
        }
        guard status != Z_NEED_DICT else { throw SPDYError("headers use another dictionary than SPDY/3's") }
        guard status == Z_OK else { throw SPDYError("zlib cannot read headers (\(status))") }
        guard output.count <= SPDYHeaderBlock.maximumSize else { throw SPDYError("headers are too large") }
        return output
    }
}

/// The words that both sides start from (SPDY/3, section 2.6.10.1).
package enum SPDYDictionary {
    package static let bytes: [UInt8] = {
        let words: [String] =
            """
            options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges \
            age allow authorization cache-control connection content-base content-encoding content-language \
            content-length content-location content-md5 content-range content-type date etag expect expires from host \
            if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards \
            pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer \
            transfer-encoding upgrade user-agent vary via warning www-authenticate method get status
            """.split(separator: " ").map(String.init)
            + ["200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"]
        let codes =
            "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
            + "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
            + "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
            + "503 Service Unavailable"
        let rest =
            "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
            + "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
            + "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
        var bytes: [UInt8] = []
        for word in words {
            bytes.appendBigEndian(UInt32(word.utf8.count))
            bytes += word.utf8
        }
        return bytes + codes.utf8 + rest.utf8
    }()
}
