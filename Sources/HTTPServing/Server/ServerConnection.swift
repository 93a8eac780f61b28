// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import NIOHTTP1
import NIOSSL

/// What a client's connection turns out to be.
enum ServerConnection: Sendable {
    case http1(HTTPConnection)
    case http2(HTTP2Connection)
    /// The client says which within the TLS handshake.
    case undecided(any Channel, EventLoopFuture<ServerConnection>)

    /// Makes the channel's pipeline; on its event loop.
    init(
        _ channel: any Channel, _ context: NIOSSLContext?, _ configuration: HTTPServerConfiguration, _ logger: Logger
    ) throws {
        guard let context else {
            self = .http1(try HTTPConnection(configuring: channel, configuration, logger))
            return
        }
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(NIOSSLServerHandler(context: context))
        guard configuration.allowsHTTP2 else {
            self = .http1(try HTTPConnection(configuring: channel, configuration, logger))
            return
        }
        let negotiation = ProtocolNegotiation(channel.eventLoop, within: configuration.firstRequestTimeout) {
            choice, left in
            var configuration = configuration
            configuration.firstRequestTimeout = left
            return try choice == ProtocolNegotiation.http2
                ? .http2(HTTP2Connection(channel, configuration, logger))
                : .http1(HTTPConnection(configuring: channel, configuration, logger))
        }
        try pipeline.addHandler(negotiation)
        self = .undecided(channel, negotiation.result)
    }

    /// Serves until either side is done.
    func run(_ handler: @escaping @Sendable (HTTPRequest) async -> HTTPResponse) async {
        switch self {
        case .http1(let connection): await connection.run(handler)
        case .http2(let connection): await connection.run(handler)
        case .undecided(let channel, let choice):
            let connection = await withTaskCancellationHandler {
                try? await choice.get()
            } onCancel: {
                channel.startClosing()
            }
            await connection?.run(handler)
        }
    }
}

extension HTTPConnection {
    /// Makes the channel's pipeline; on its event loop.
    convenience init(
        configuring channel: any Channel, _ configuration: HTTPServerConfiguration, _ logger: Logger
    ) throws {
        let queue = HTTPConnection.makeQueue()
        let pipeline = channel.pipeline.syncOperations
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderListSize = configuration.maximumHeaderSize
        limits.maxHeaderFieldSize = min(limits.maxHeaderFieldSize, configuration.maximumHeaderSize)
        try pipeline.addHandler(ResponseEncoder(), name: HandlerName.encoder)
        let decoder = HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes, limitConfiguration: limits)
        try pipeline.addHandler(ByteToMessageHandler(decoder), name: HandlerName.decoder)
        try pipeline.addHandler(InboundHandler(queue), name: HandlerName.bridge)
        self.init(channel, queue, configuration, logger)
    }
}
