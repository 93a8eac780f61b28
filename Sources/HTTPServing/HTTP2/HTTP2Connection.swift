// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import NIOHTTP1
import NIOHTTP2
import NIOSSL
import Synchronization

/// A client's HTTP/2 connection. Each of its streams carries one request, and is served as a connection of its own.
final class HTTP2Connection: Sendable {
    /// A stream that the client has opened.
    private struct Stream: Sendable {
        var channel: any Channel
        var queue: InboundQueue<HTTPServerRequestPart>
    }

    private let channel: any Channel
    private let configuration: HTTPServerConfiguration
    private let logger: Logger
    private let session: HTTP2Session
    private let streams: NIOHTTP2Handler.AsyncStreamMultiplexer<Stream>
    private let running = Atomic(0)

    /// Makes the channel's pipeline; on its event loop.
    init(_ channel: any Channel, _ configuration: HTTPServerConfiguration, _ logger: Logger) throws {
        self.channel = channel
        self.configuration = configuration
        self.logger = logger
        session = HTTP2Session(channel, configuration)
        // A client that ends its side ends all its streams.
        try channel.syncOptions?.setOption(.allowRemoteHalfClosure, value: false)
        try channel.pipeline.syncOperations.addHandler(OutboundGatherer())
        let maximumHeaderSize = configuration.maximumHeaderSize
        streams = try channel.pipeline.syncOperations.configureAsyncHTTP2Pipeline(
            mode: .server, streamDelegate: session, frameDelegate: session, configuration: configuration.http2
        ) { stream in
            stream.eventLoop.makeCompletedFuture {
                let queue = HTTPConnection.makeQueue()
                let handler = HTTP2StreamHandler(queue, maximumHeaderSize: maximumHeaderSize)
                try stream.pipeline.syncOperations.addHandler(handler)
                return Stream(channel: stream, queue: queue)
            }
        }
        session.start()
    }

    /// Serves until either side is done. Nothing that goes wrong here concerns another connection.
    func run(_ handler: @escaping @Sendable (HTTPRequest) async -> HTTPResponse) async {
        await withTaskCancellationHandler {
            do {
                let client = try await channel.nioSSL_peerCertificate().get().flatMap {
                    ClientCertificate(der: try $0.toDERBytes())
                }
                try await serve(HTTP2Peer(client: client), handler)
            } catch is CancellationError {
            } catch {
                logger.debug("HTTP/2 connection from \(channel.remoteAddress?.ipAddress ?? "") ended: \(error)")
            }
            await channel.closeFully()
        } onCancel: {
            session.end()
        }
    }

    private func serve(
        _ peer: HTTP2Peer, _ handler: @escaping @Sendable (HTTPRequest) async -> HTTPResponse
    ) async throws {
        // A stream that is reset makes room for another at once, while its handler may still be at work: that many may
        // be, and a client that goes on beyond is sent away.
        let limit = 2 * configuration.maximumStreams
        try await withThrowingDiscardingTaskGroup { tasks in
            for try await stream in streams.inbound {
                guard running.add(1, ordering: .relaxed).newValue <= limit else {
                    session.end(.enhanceYourCalm)
                    break
                }
                let connection = HTTPConnection(stream.channel, stream.queue, configuration, logger, http2: peer)
                tasks.addTask {
                    await connection.run(handler)
                    self.running.subtract(1, ordering: .relaxed)
                }
            }
            tasks.cancelAll()
        }
    }
}

/// What all streams of a connection have from it.
struct HTTP2Peer: Sendable {
    var client: ClientCertificate?
}

extension HTTPServerConfiguration {
    /// Window and limits as kube-apiserver has them, and bounds for what a client may keep the server busy with.
    var http2: NIOHTTP2Handler.Configuration {
        let window = 256 << 10
        // Between the limit and twice as much there is an answer that says so; beyond, the connection is cut.
        let fieldBytes = min(maximumHeaderSize, 1 << 24) * 2
        var connection = NIOHTTP2Handler.ConnectionConfiguration()
        connection.initialSettings = [
            HTTP2Setting(parameter: .maxConcurrentStreams, value: maximumStreams),
            HTTP2Setting(parameter: .initialWindowSize, value: window),
            HTTP2Setting(parameter: .maxHeaderListSize, value: fieldBytes),
        ]
        connection.targetWindowSize = 25 * window
        // Heads are checked where they are read: what upgrades is answered, not reset.
        connection.headerBlockValidation = .disabled
        connection.maximumSequentialContinuationFrames = fieldBytes / (16 << 10) + 1
        connection.maximumRecentlyResetStreams = 2 * maximumStreams
        // Clients that wait for many objects one after the other end a watch for each, and Go's send a PING with it:
        // what is refused is more than a client can need.
        connection.controlFrameRateLimit.maximumCount = 1000
        connection.controlFrameRateLimit.windowLength = .seconds(2)
        var stream = NIOHTTP2Handler.StreamConfiguration()
        stream.targetWindowSize = window
        stream.outboundBufferSizeHighWatermark = 64 << 10
        stream.outboundBufferSizeLowWatermark = 32 << 10
        stream.streamResetFrameRateLimit.maximumCount = 1000
        stream.streamResetFrameRateLimit.windowLength = .seconds(2)
        return NIOHTTP2Handler.Configuration(connection: connection, stream: stream)
    }
}
