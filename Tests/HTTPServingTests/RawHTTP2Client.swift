// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import NIOCore
import NIOHPACK
import NIOPosix
import NIOSSL

/// A TLS connection on which a test writes what bytes it likes, and reads frames.
final class RawHTTP2Client {
    struct Frame: Sendable {
        var type: UInt8
        var flags: UInt8
        var stream: UInt32
        var payload: [UInt8]
    }

    static let data: UInt8 = 0
    static let headers: UInt8 = 1
    static let reset: UInt8 = 3
    static let settings: UInt8 = 4
    static let ping: UInt8 = 6
    static let goAway: UInt8 = 7
    static let windowUpdate: UInt8 = 8
    static let continuation: UInt8 = 9

    private var iterator: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    private var bytes = ByteBuffer()
    private var decoder = HPACKDecoder(allocator: ByteBufferAllocator())

    private init(
        _ iterator: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) {
        self.iterator = iterator
        self.outbound = outbound
    }

    static func with(
        port: Int, _ tls: TestTLS, protocols: [String] = ["h2"],
        _ body: @Sendable @escaping (RawHTTP2Client) async throws -> Void
    ) async throws {
        let context = try tls.client(protocols)
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = try NIOSSLClientHandler(context: context, serverHostname: nil)
                    try channel.pipeline.syncOperations.addHandler(handler)
                    return try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        try await channel.executeThenClose { inbound, outbound in
            try await body(RawHTTP2Client(inbound.makeAsyncIterator(), outbound))
        }
    }

    func send(_ bytes: [UInt8]) async throws { try await outbound.write(ByteBuffer(bytes: bytes)) }

    /// The preface, and settings that change nothing; the server's are taken for granted.
    func begin() async throws {
        let settings = Self.frame(Self.settings, flags: 0, stream: 0, [])
        try await send(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + settings)
        _ = try await next { $0.type == Self.settings && $0.flags == 0 }
        try await send(Self.frame(Self.settings, flags: 1, stream: 0, []))
    }

    /// A head and its answer without a body.
    func status(stream: UInt32, _ fields: HPACKHeaders) async throws -> (status: String, body: String) {
        try await sendHead(stream: stream, fields, endStream: true)
        var status = ""
        var body: [UInt8] = []
        while let frame = try await next({ $0.stream == stream }) {
            switch frame.type {
            case Self.headers:
                var block = ByteBuffer(bytes: frame.payload)
                status = try decoder.decodeHeaders(from: &block).first(name: ":status") ?? ""
            case Self.data: body += frame.payload
            default: return ("", "")
            }
            if frame.flags & 1 != 0 { break }
        }
        return (status, String(decoding: body, as: UTF8.self))
    }

    static func frame(_ type: UInt8, flags: UInt8, stream: UInt32, _ payload: [UInt8]) -> [UInt8] {
        func big(_ value: UInt32) -> [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) } }
        return big(UInt32(payload.count)).dropFirst() + [type, flags] + big(stream) + payload
    }

    static func head(stream: UInt32, _ fields: HPACKHeaders, endStream: Bool) throws -> [UInt8] {
        var encoder = HPACKEncoder(allocator: ByteBufferAllocator(), useHuffmanEncoding: false, maxDynamicTableSize: 0)
        var block = ByteBuffer()
        try encoder.encode(headers: fields, to: &block)
        return frame(headers, flags: endStream ? 5 : 4, stream: stream, Array(block.readableBytesView))
    }

    func sendHead(stream: UInt32, _ fields: HPACKHeaders, endStream: Bool) async throws {
        try await send(try Self.head(stream: stream, fields, endStream: endStream))
    }

    /// Opens that many streams and resets each at once.
    func resetRapidly(_ count: Int) async throws {
        let fields: HPACKHeaders = [":method": "GET", ":scheme": "https", ":path": "/", ":authority": "x"]
        var batch: [UInt8] = []
        for index in 0..<count {
            let stream = UInt32(2 * index + 1)
            batch += try Self.head(stream: stream, fields, endStream: true)
            batch += Self.frame(Self.reset, flags: 0, stream: stream, [0, 0, 0, 8])
            if batch.count > 8000 {
                try await send(batch)
                batch = []
            }
        }
        try await send(batch)
    }

    /// Sends as much of a body as the server's windows have room for, and says how much that was.
    func fillWindow(stream: UInt32) async throws -> Int {
        var windows = [0: 65535, stream: 256 << 10]
        var sent = 0
        var quiet = 0
        while quiet < 3 {
            quiet += 1
            while let room = windows.values.min(), room > 0 {
                let count = min(room, 16 << 10)
                try await send(Self.frame(Self.data, flags: 0, stream: stream, [UInt8](repeating: 0x78, count: count)))
                for key in windows.keys { windows[key, default: 0] -= count }
                sent += count
                quiet = 0
            }
            // What the server had to say to that comes before this is answered.
            try await Task.sleep(for: .milliseconds(50))
            try await send(Self.frame(Self.ping, flags: 0, stream: 0, [UInt8](repeating: 0, count: 8)))
            while let frame = try await next({ $0.type == Self.windowUpdate || $0.type == Self.ping }),
                frame.type == Self.windowUpdate
            {
                windows[frame.stream, default: 0] += frame.payload.reduce(0) { $0 << 8 | Int($1) }
            }
        }
        return sent
    }

    /// The next frame that is looked for; nil when the connection ends before.
    func next(_ isWanted: (Frame) -> Bool) async throws -> Frame? {
        while true {
            while let frame = take() {
                if isWanted(frame) { return frame }
            }
            guard let more = try await iterator.next() else { return nil }
            bytes.writeImmutableBuffer(more)
        }
    }

    private func take() -> Frame? {
        guard bytes.readableBytes >= 9,
            let length = bytes.getBytes(at: bytes.readerIndex, length: 3).map({ $0.reduce(0) { $0 << 8 | Int($1) } }),
            bytes.readableBytes >= 9 + length
        else { return nil }
        bytes.moveReaderIndex(forwardBy: 3)
        guard let type: UInt8 = bytes.readInteger(), let flags: UInt8 = bytes.readInteger(),
            let stream: UInt32 = bytes.readInteger(), let payload = bytes.readBytes(length: length)
        else { return nil }
        return Frame(type: type, flags: flags, stream: stream & 0x7FFF_FFFF, payload: payload)
    }

    /// Everything until the server ends the connection.
    func readToEnd() async throws -> [UInt8] {
        do {
            while let more = try await iterator.next() { bytes.writeImmutableBuffer(more) }
        } catch is NIOSSLError {
            // Not every end is said in TLS.
        }
        return bytes.readBytes(length: bytes.readableBytes) ?? []
    }
}
