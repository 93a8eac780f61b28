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

/// One direction of header compression: zlib with the dictionary of SPDY/3, flushed after each block, never ended.
/// The state of zlib points at its stream, which therefore has a fixed address.
package final class SPDYHeaderCompressor {
    private let stream: UnsafeMutablePointer<z_stream>

    package init() {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        deflateInit_(stream, Z_BEST_COMPRESSION, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        SPDYDictionary.bytes.withUnsafeBufferPointer {
            _ = deflateSetDictionary(stream, $0.baseAddress, uInt($0.count))
        }
    }

    deinit {
        deflateEnd(stream)
        stream.deinitialize(count: 1)
        stream.deallocate()
    }

    package func compress(_ block: [UInt8]) throws(SPDYError) -> [UInt8] {
        var input = block
        var output: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1024)
        let failed = input.withUnsafeMutableBufferPointer { source -> Int32? in
            stream.pointee.next_in = source.baseAddress
            stream.pointee.avail_in = uInt(source.count)
            repeat {
                let status = chunk.withUnsafeMutableBufferPointer { target in
                    stream.pointee.next_out = target.baseAddress
                    stream.pointee.avail_out = uInt(target.count)
                    return deflate(stream, Z_SYNC_FLUSH)
                }
                guard status == Z_OK || status == Z_BUF_ERROR else { return status }
                output += chunk[..<(chunk.count - Int(stream.pointee.avail_out))]
            } while stream.pointee.avail_out == 0
            return nil
        }
        if let failed { throw SPDYError("zlib cannot compress headers (\(failed))") }
        return output
    }
}

/// The other direction.
package final class SPDYHeaderDecompressor {
    private let stream: UnsafeMutablePointer<z_stream>

    package init() {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        inflateInit_(stream, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    }

    deinit {
        inflateEnd(stream)
        stream.deinitialize(count: 1)
        stream.deallocate()
    }

    package func decompress(_ compressed: [UInt8]) throws(SPDYError) -> [UInt8] {
        var input = compressed
        var output: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        let failure = input.withUnsafeMutableBufferPointer { source -> String? in
            stream.pointee.next_in = source.baseAddress
            stream.pointee.avail_in = uInt(source.count)
            repeat {
                var status = inflateInto(&chunk)
                if status == Z_NEED_DICT {
                    let accepted = SPDYDictionary.bytes.withUnsafeBufferPointer {
                        inflateSetDictionary(stream, $0.baseAddress, uInt($0.count))
                    }
                    guard accepted == Z_OK else { return "headers use another dictionary than SPDY/3's" }
                    status = inflateInto(&chunk)
                }
                guard status == Z_OK || status == Z_BUF_ERROR else { return "zlib cannot read headers (\(status))" }
                output += chunk[..<(chunk.count - Int(stream.pointee.avail_out))]
                guard output.count <= SPDYHeaderBlock.maximumSize else { return "headers are too large" }
            } while stream.pointee.avail_out == 0 || (stream.pointee.avail_in > 0 && stream.pointee.avail_out < 4096)
            return nil
        }
        if let failure { throw SPDYError(failure) }
        return output
    }

    private func inflateInto(_ chunk: inout [UInt8]) -> Int32 {
        chunk.withUnsafeMutableBufferPointer { target in
            stream.pointee.next_out = target.baseAddress
            stream.pointee.avail_out = uInt(target.count)
            return inflate(stream, Z_SYNC_FLUSH)
        }
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
