// SPDX-License-Identifier: Apache-2.0

@testable import HTTPServing
import NIOCore
import NIOEmbedded
import NIOHPACK
import NIOHTTP1
import NIOHTTP2
import Synchronization
import Testing

@Suite struct OutboundGathererTests {
    /// Stands where TLS does.
    private final class Counter: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        var writes = 0
        var flushes = 0

        func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
            writes += 1
            context.write(data, promise: promise)
        }

        func flush(context: ChannelHandlerContext) {
            flushes += 1
            context.flush()
        }
    }

    @Test func whatIsWrittenInOneTurnLeavesAtOnceAndInOrder() throws {
        let channel = EmbeddedChannel()
        let counter = Counter()
        try channel.pipeline.syncOperations.addHandlers([counter, OutboundGatherer()])
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/x")).wait()
        let done = Mutex(0)
        for index in 0..<200 {
            channel.writeAndFlush(IOData.byteBuffer(ByteBuffer(string: "\(index) "))).whenSuccess {
                done.withLock { $0 += 1 }
            }
        }
        #expect(counter.writes == 0 && counter.flushes == 0)
        channel.embeddedEventLoop.run()
        #expect(counter.writes == 1 && counter.flushes == 1)
        #expect(done.withLock { $0 } == 200)
        let bytes = try #require(try channel.readOutbound(as: ByteBuffer.self))
        #expect(String(buffer: bytes) == (0..<200).map { "\($0) " }.joined())

        // Much is not gathered into one.
        channel.writeAndFlush(IOData.byteBuffer(ByteBuffer(repeating: 0x61, count: 200 << 10)), promise: nil)
        channel.writeAndFlush(IOData.byteBuffer(ByteBuffer(repeating: 0x62, count: 10)), promise: nil)
        channel.embeddedEventLoop.run()
        #expect(counter.writes == 3 && counter.flushes == 2)
        #expect(try channel.readOutbound(as: ByteBuffer.self)?.readableBytes == 200 << 10)

        // What is due leaves before the end.
        channel.writeAndFlush(IOData.byteBuffer(ByteBuffer(string: "bye")), promise: nil)
        channel.close(promise: nil)
        _ = try channel.readOutbound(as: ByteBuffer.self)
        #expect(try channel.readOutbound(as: ByteBuffer.self).map { String(buffer: $0) } == "bye")
        _ = try? channel.finish()
    }

    @Test func eventsOfManyStreamsAreOneWrite() throws {
        // 200 watchers of one connection, and one event for all of them.
        let count = 200
        let channel = EmbeddedChannel()
        let counter = Counter()
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandlers([counter, OutboundGatherer()])
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/x")).wait()
        var configuration = HTTPServerConfiguration(.address(host: "", port: 0))
        configuration.maximumStreams = count
        let watchers = Mutex<[any Channel]>([])
        _ = try pipeline.configureAsyncHTTP2Pipeline(
            mode: .server, streamDelegate: nil, configuration: configuration.http2
        ) { stream in
            watchers.withLock { $0.append(stream) }
            return stream.eventLoop.makeCompletedFuture {
                let handler = HTTP2StreamHandler(HTTPConnection.makeQueue(), maximumHeaderSize: 1000)
                try stream.pipeline.syncOperations.addHandler(handler)
            }
        }
        var bytes = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
        bytes += RawHTTP2Client.frame(RawHTTP2Client.settings, flags: 0, stream: 0, [])
        // The server's settings hold once they are acknowledged.
        bytes += RawHTTP2Client.frame(RawHTTP2Client.settings, flags: 1, stream: 0, [])
        for index in 0..<count {
            bytes += try RawHTTP2Client.head(
                stream: UInt32(2 * index + 1), HTTP2Client.fields("GET", "/watch"), endStream: true)
        }
        try channel.writeInbound(ByteBuffer(bytes: bytes))
        channel.embeddedEventLoop.run()
        let streams = watchers.withLock { $0 }
        #expect(streams.count == count)
        for stream in streams {
            stream.writeAndFlush(HTTPServerResponsePart.head(.init(version: .http2, status: .ok)), promise: nil)
        }
        channel.embeddedEventLoop.run()

        let before = (counter.writes, counter.flushes)
        for stream in streams {
            let event = HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(string: #"{"type":"ADDED"}"#)))
            stream.eventLoop.execute { stream.writeAndFlush(event, promise: nil) }
        }
        channel.embeddedEventLoop.run()
        #expect(counter.writes - before.0 == 1)
        #expect(counter.flushes - before.1 == 1)
        _ = try? channel.finish()
    }
}
