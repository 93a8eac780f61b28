// SPDX-License-Identifier: Apache-2.0

import Glibc
public import NIOCore
public import NIOHTTP1
import NIOPosix
import NIOSSL
import Values

/// Why a request got no answer.
public struct HTTPExchangeError: Error, Sendable, CustomStringConvertible {
    public enum Kind: Sendable {
        /// Nobody could be reached.
        case connect
        /// The connection ended, or nothing that is HTTP came over it.
        case noAnswer
        case cancelled
    }

    public let kind: Kind
    /// In the words of Go's clients, because Kubernetes' users know them: `dial tcp 10.0.0.1:80: connect: connection
    /// refused`.
    public let description: String
}

/// A request of ours on a connection of its own, and the answer as it comes: both bodies are streamed, and an upgrade
/// leaves the raw connection.
///
/// The connection is closed with the last reference.
public final class HTTPExchange: Sendable {
    /// What is sent, and to whom.
    public struct Request: Sendable {
        public var host: String
        public var port: Int
        public var tls: HTTPClientTLS?
        public var method: String
        /// Path and query, escaped.
        public var target: String
        /// `Host`, and `Connection: Upgrade` when there is an `Upgrade`, are added if missing.
        public var headers: HTTPHeaders
        /// Sent while the answer is awaited and read; in chunks unless the headers have a length.
        public var body: HTTPRequestBody?
        public var connectTimeout: TimeAmount = .seconds(30)
        /// For the head of the answer; nil waits as long as the connection lasts.
        public var answerTimeout: TimeAmount?

        var asksForUpgrade: Bool { headers.contains(name: "upgrade") }

        public init(
            host: String, port: Int, tls: HTTPClientTLS? = nil, method: String, target: String,
            headers: HTTPHeaders = [:], body: HTTPRequestBody? = nil
        ) {
            self.host = host
            self.port = port
            self.tls = tls
            self.method = method
            self.target = target
            self.headers = headers
            self.body = body
        }

        /// Host and port as a URL has them.
        var place: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
    }

    public let status: Int
    public let headers: HTTPHeaders
    /// There when the status is 101. Whoever takes it closes it.
    public let connection: UpgradedConnection?
    private let guardian: ConnectionGuard
    private let queue: InboundQueue<HTTPClientResponsePart>
    private let sender: Task<Void, Never>?
    private let method: String

    private init(
        _ answer: HTTPResponseHead, _ connection: UpgradedConnection?, _ guardian: ConnectionGuard,
        _ queue: InboundQueue<HTTPClientResponsePart>, _ sender: Task<Void, Never>?, method: String
    ) {
        status = Int(answer.status.code)
        headers = answer.headers
        self.connection = connection
        self.guardian = guardian
        self.queue = queue
        self.sender = sender
        self.method = method
    }

    deinit { sender?.cancel() }

    /// Connects, sends, and returns with the head of the answer.
    public static func start(_ request: Request) async throws(HTTPExchangeError) -> HTTPExchange {
        let queue = InboundQueue<HTTPClientResponsePart>(highWatermark: 256 << 10) { part in
            if case .body(let buffer) = part { buffer.readableBytes + 64 } else { 1024 }
        }
        let raw = RawBytes.makeQueue()
        let channel = try await connect(request, queue, raw)
        let guardian = ConnectionGuard(channel)
        do {
            return try await withTaskCancellationHandler {
                try await exchange(request, guardian, queue, raw)
            } onCancel: {
                channel.startClosing()
            }
        } catch {
            await channel.closeFully()
            if Task.isCancelled { throw HTTPExchangeError(kind: .cancelled, description: "context canceled") }
            throw HTTPExchangeError(kind: .noAnswer, description: describe(error))
        }
    }

    /// The next piece of the body; nil at its end. Throws when the connection broke off within it.
    public func next() async throws -> ByteBuffer? {
        while let part = try await queue.next() {
            switch part {
            case .head: continue
            case .body(let buffer): return buffer
            case .end: return nil
            }
        }
        let hasLength = headers.contains(name: "content-length") || headers.contains(name: "transfer-encoding")
        guard method == "HEAD" || !hasLength else {
            throw HTTPExchangeError(kind: .noAnswer, description: "unexpected EOF")
        }
        return nil
    }

    /// The body up to `limit` bytes of it.
    public func collect(upTo limit: Int) async throws -> [UInt8] {
        var all: [UInt8] = []
        while all.count < limit, let piece = try await next() { all += piece.readableBytesView }
        return all
    }

    /// Stops sending, and closes the connection. After that nobody reads the request's body any more.
    public func close() async {
        await Self.stop(sender, guardian.channel)
    }

    /// Closes first: a sender may be waiting for the other side to take its bytes.
    private static func stop(_ sender: Task<Void, Never>?, _ channel: any Channel) async {
        sender?.cancel()
        await channel.closeFully()
        await sender?.value
    }

    // MARK: - Connecting

    private static func connect(
        _ request: Request, _ queue: InboundQueue<HTTPClientResponsePart>, _ raw: InboundQueue<ByteBuffer>
    ) async throws(HTTPExchangeError) -> any Channel {
        let place = request.place
        do {
            let context = try request.tls?.context()
            // An address is never a name to ask for: the certificate is then checked against the address itself.
            let name = request.tls?.serverName ?? request.host
            let serverName = IPAddress(name) == nil ? name : nil
            let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(request.connectTimeout)
                .channelOption(.allowRemoteHalfClosure, value: true)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelOption(.socketOption(.so_keepalive), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let pipeline = channel.pipeline.syncOperations
                        if let context {
                            try pipeline.addHandler(NIOSSLClientHandler(context: context, serverHostname: serverName))
                        }
                        if request.asksForUpgrade { try pipeline.addHandler(UpgradeSplitter(raw)) }
                        try pipeline.addHandler(HTTPRequestEncoder(), name: HandlerName.encoder)
                        let decoder = HTTPResponseDecoder(leftOverBytesStrategy: .forwardBytes)
                        try pipeline.addHandler(ByteToMessageHandler(decoder), name: HandlerName.decoder)
                        try pipeline.addHandler(InboundHandler(queue), name: HandlerName.bridge)
                    }
                }
            guard IPAddress(request.host) != nil else {
                return try await bootstrap.connect(host: request.host, port: request.port).get()
            }
            return try await bootstrap.connect(to: SocketAddress(ipAddress: request.host, port: request.port)).get()
        } catch {
            throw HTTPExchangeError(kind: .connect, description: "dial tcp \(place): \(describe(error, "connect: "))")
        }
    }

    private static func describe(_ error: any Error, _ call: String = "") -> String {
        switch error {
        case let error as IOError:
            let text = String(cString: strerror(error.errnoCode))
            return call + text.prefix(1).lowercased() + text.dropFirst()
        case ChannelError.connectTimeout: return "i/o timeout"
        case let error as HTTPExchangeError: return error.description
        default: return "\(error)"
        }
    }

    // MARK: - The exchange

    private static func exchange(
        _ request: Request, _ guardian: ConnectionGuard, _ queue: InboundQueue<HTTPClientResponsePart>,
        _ raw: InboundQueue<ByteBuffer>
    ) async throws -> HTTPExchange {
        let channel = guardian.channel
        let timer = request.answerTimeout.map { timeout in
            channel.eventLoop.scheduleTask(in: timeout) {
                queue.finish(
                    throwing: HTTPServingError(
                        "no answer to the request within \(timeout.nanoseconds / 1_000_000_000) s"))
            }
        }
        defer { timer?.cancel() }
        let sender = try await send(request, channel, queue)
        do {
            guard case .head(let answer)? = try await queue.next() else {
                throw HTTPExchangeError(kind: .noAnswer, description: "EOF")
            }
            var connection: UpgradedConnection?
            if answer.status == .switchingProtocols {
                guard request.asksForUpgrade else {
                    throw HTTPExchangeError(kind: .noAnswer, description: "101 where no upgrade was asked for")
                }
                // The decoder leaves the pipeline a turn of the event loop later, and takes what is written until then
                // for its own; nobody has the connection before.
                try await channel.eventLoop.submit {}.get()
                connection = UpgradedConnection(channel: channel, queue: raw, guardian: guardian)
            }
            return HTTPExchange(answer, connection, guardian, queue, sender, method: request.method)
        } catch {
            await stop(sender, channel)
            throw error
        }
    }

    /// Sends the head, and begins with the body.
    private static func send(
        _ request: Request, _ channel: any Channel, _ queue: InboundQueue<HTTPClientResponsePart>
    ) async throws -> Task<Void, Never>? {
        let head = head(of: request)
        guard let body = request.body else {
            channel.write(HTTPClientRequestPart.head(head), promise: nil)
            try await channel.writeAndFlush(HTTPClientRequestPart.end(nil)).get()
            return nil
        }
        try await channel.writeAndFlush(HTTPClientRequestPart.head(head)).get()
        // Not structured: it goes on while whoever asked reads the answer, and ends with the exchange.
        return Task {
            do {
                for try await piece in body {
                    do {
                        try await channel.writeAndFlush(HTTPClientRequestPart.body(.byteBuffer(piece))).get()
                    } catch {
                        // The other side reads no more. Its answer, or the end of the connection, says why.
                        return
                    }
                }
                try await channel.writeAndFlush(HTTPClientRequestPart.end(nil)).get()
            } catch {
                // Half a body must not pass for a whole one.
                queue.finish(throwing: error)
                channel.startClosing()
            }
        }
    }

    private static func head(of request: Request) -> HTTPRequestHead {
        var headers = request.headers
        if !headers.contains(name: "host") { headers.add(name: "Host", value: request.place) }
        if headers.contains(name: "upgrade"), !headers.contains(name: "connection") {
            headers.add(name: "Connection", value: "Upgrade")
        }
        if request.body == nil {
            headers.remove(name: "Transfer-Encoding")
            headers.remove(name: "Content-Length")
            // Such a request says that it has no body, where a server would otherwise wait for one.
            if ["POST", "PUT", "PATCH"].contains(request.method) { headers.add(name: "Content-Length", value: "0") }
        } else if !headers.contains(name: "content-length") {
            headers.replaceOrAdd(name: "Transfer-Encoding", value: "chunked")
        }
        return HTTPRequestHead(
            version: .http1_1, method: HTTPMethod(rawValue: request.method), uri: request.target, headers: headers)
    }
}

/// Closes a connection when nobody refers to it any more: an answer that is never read must not keep it.
final class ConnectionGuard: Sendable {
    let channel: any Channel

    init(_ channel: any Channel) { self.channel = channel }

    deinit { channel.startClosing() }
}
