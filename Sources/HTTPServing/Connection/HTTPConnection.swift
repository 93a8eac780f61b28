// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import NIOHTTP1
import NIOSSL
import Synchronization

/// One client's connection: reads requests one after the other and answers them.
final class HTTPConnection: Sendable {
    let configuration: HTTPServerConfiguration
    private let channel: any Channel
    private let queue: InboundQueue<HTTPServerRequestPart>
    private let silence: SilenceTimer
    private let logger: Logger
    /// Of a stream of HTTP/2: it carries one request, and the connection around it goes on.
    private let http2: HTTP2Peer?

    init(
        _ channel: any Channel, _ queue: InboundQueue<HTTPServerRequestPart>, _ configuration: HTTPServerConfiguration,
        _ logger: Logger, http2: HTTP2Peer? = nil
    ) {
        self.channel = channel
        self.http2 = http2
        self.queue = queue
        self.configuration = configuration
        self.logger = logger
        silence = SilenceTimer(channel.eventLoop) { timeout in
            queue.finish(
                throwing: HTTPServingError("the client sent nothing for \(timeout.nanoseconds / 1_000_000_000) s"))
        }
    }

    /// Bytes of requests kept before the client is made to wait.
    static func makeQueue() -> InboundQueue<HTTPServerRequestPart> {
        InboundQueue(highWatermark: 256 << 10) { part in
            if case .body(let buffer) = part { buffer.readableBytes + 64 } else { 1024 }
        }
    }

    /// Whether the client can still be told: it sent something that is not HTTP, or too much of it.
    static func isAnswerable(_ error: any Error) -> Bool { error is HTTPParserError }

    /// Serves until either side is done. Nothing that goes wrong here concerns another connection.
    func run(_ handler: @escaping @Sendable (HTTPRequest) async -> HTTPResponse) async {
        defer { silence.stop() }
        await withTaskCancellationHandler {
            do {
                try await serve(handler)
            } catch let error as HTTPParserError {
                try? await refuse(error)
            } catch is CancellationError {
            } catch {
                logger.debug("connection from \(remoteAddress) ended: \(error)")
            }
            await channel.closeFully()
        } onCancel: {
            channel.startClosing()
        }
    }

    private func serve(_ handler: @escaping @Sendable (HTTPRequest) async -> HTTPResponse) async throws {
        var certificate = http2?.client
        var isFirst = true
        let remoteAddress = remoteAddress
        while true {
            // A client that connects and stays silent, or keeps an idle connection for ever, holds memory.
            let timeout = isFirst ? configuration.firstRequestTimeout : configuration.keepAliveTimeout
            guard case .head(let head)? = try await nextPart(within: timeout) else { return }
            if isFirst, http2 == nil, configuration.security.isTLS {
                certificate = try await channel.nioSSL_peerCertificate().get().flatMap {
                    ClientCertificate(der: try $0.toDERBytes())
                }
            }
            isFirst = false
            let body = IncomingBody(
                self, expectsContinue: head.version != .http1_0 && head.expectsContinue,
                announced: head.headers.first(name: "content-length").flatMap { Int($0) },
                limit: configuration.maximumBodySize)
            // RFC 9112, section 3.2.
            guard head.version != .http1_1 || head.headers.contains(name: "host") else {
                let refusal = HTTPResponse(status: 400, text: "the request has no Host header\n")
                return try await send(refusal, to: head, keepAlive: false)
            }
            guard
                let request = HTTPRequest(
                    method: head.method.rawValue, target: head.uri, headers: head.headers, client: certificate,
                    remoteAddress: remoteAddress, body: HTTPRequestBody(body))
            else {
                try await send(
                    HTTPResponse(status: 400, text: "the request's target has a broken escape\n"), to: head,
                    keepAlive: false)
                return
            }
            let goesOn = try await exchange(request, head, body, handler)
            body.end()
            guard goesOn else { return }
        }
    }

    /// Has the request answered; whether another may follow.
    private func exchange(
        _ request: HTTPRequest, _ head: HTTPRequestHead, _ body: IncomingBody,
        _ handler: @escaping @Sendable (HTTPRequest) async -> HTTPResponse
    ) async throws -> Bool {
        let exchange = Exchange()
        let task = Task { try await answer(request, head, body, exchange, handler) }
        queue.setOnEnding { ending in
            // A client may end its own sending and wait for an answer (as `nc` does), but not for an endless one.
            if ending == .full || exchange.isStreaming { task.cancel() }
        }
        defer { queue.setOnEnding(nil) }
        return try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
    }

    private func answer(
        _ request: HTTPRequest, _ head: HTTPRequestHead, _ body: IncomingBody, _ exchange: Exchange,
        _ handler: @Sendable (HTTPRequest) async -> HTTPResponse
    ) async throws -> Bool {
        let response = await handler(request)
        switch response.body {
        case .empty, .bytes:
            // After a refused upgrade the parser has stopped; after a body that the client was never asked for, or of
            // which much is left, it is cheaper to begin anew.
            let keepAlive = http2 == nil && head.isKeepAlive && !head.asksForUpgrade && !body.awaitsContinue
            let isDrained = keepAlive ? try await drain(body) : false
            try await send(response, to: head, keepAlive: isDrained)
            if !isDrained, !body.isComplete { try await linger() }
            return isDrained
        case .stream(let write):
            let keepAlive = head.isKeepAlive && !head.asksForUpgrade && head.version == .http1_1
            let isDrained = keepAlive && !body.awaitsContinue && !body.isKept ? try await drain(body) : false
            try await stream(response, write, to: head, keepAlive: isDrained, exchange)
            if body.isKept { try await linger() }
            return isDrained
        case .upgrade where http2 != nil:
            let text = "a connection cannot be upgraded over HTTP/2: use HTTP/1.1\n"
            try await send(HTTPResponse(status: 400, text: text), to: head, keepAlive: false)
            return false
        case .upgrade(let body):
            try await upgrade(response, head, body)
            return false
        }
    }

    // MARK: - Sending

    func sendContinue() async throws {
        let head = HTTPResponseHead(version: .http1_1, status: .continue)
        try await channel.writeAndFlush(HTTPServerResponsePart.head(head)).get()
    }

    private func makeHead(_ response: HTTPResponse, to request: HTTPRequestHead, keepAlive: Bool) -> HTTPResponseHead {
        var head = HTTPResponseHead(
            version: request.version, status: HTTPResponseStatus(statusCode: response.status),
            headers: response.headers)
        if !keepAlive {
            head.headers.replaceOrAdd(name: "Connection", value: "close")
        } else if request.version == .http1_0 {
            head.headers.replaceOrAdd(name: "Connection", value: "keep-alive")
        }
        return head
    }

    private func send(_ response: HTTPResponse, to request: HTTPRequestHead, keepAlive: Bool) async throws {
        var head = makeHead(response, to: request, keepAlive: keepAlive)
        var bytes: [UInt8] = []
        if case .bytes(let body) = response.body { bytes = body }
        if !(request.method == .HEAD && head.headers.contains(name: "content-length")) {
            head.headers.replaceOrAdd(name: "Content-Length", value: String(bytes.count))
        }
        let isWithoutBody = request.method == .HEAD || bytes.isEmpty
        let first = HTTPServerResponsePart.head(head)
        // One hop and one flush for the whole answer, if it is not a large one.
        if isWithoutBody || bytes.count <= Self.pieceSize {
            let body = isWithoutBody ? nil : ByteBuffer(bytes: bytes)
            return try await write(within: configuration.sendTimeout) { channel, promise in
                channel.write(first, promise: nil)
                if let body { channel.write(HTTPServerResponsePart.body(.byteBuffer(body)), promise: nil) }
                channel.writeAndFlush(HTTPServerResponsePart.end(nil), promise: promise)
            }
        }
        try await write(first, within: configuration.sendTimeout)
        try await write(bytes[...], within: configuration.sendTimeout)
        try await write(.end(nil), within: configuration.sendTimeout)
    }

    /// So much is handed to the network at a time: whether a client takes anything is seen piece by piece.
    private static let pieceSize = 1 << 20

    private func write(_ bytes: ArraySlice<UInt8>, within timeout: TimeAmount) async throws {
        var rest = bytes
        while !rest.isEmpty {
            let piece = ByteBuffer(bytes: rest.prefix(Self.pieceSize))
            rest = rest.dropFirst(Self.pieceSize)
            try await write(.body(.byteBuffer(piece)), within: timeout)
        }
    }

    private func write(_ part: HTTPServerResponsePart, within timeout: TimeAmount) async throws {
        try await write(within: timeout) { channel, promise in channel.writeAndFlush(part, promise: promise) }
    }

    /// Returns when the bytes are in the kernel's hands. A client that does not take them in time is sent away.
    private func write(
        within timeout: TimeAmount, _ body: @escaping @Sendable (any Channel, EventLoopPromise<Void>) -> Void
    ) async throws {
        let channel = channel
        let isStream = http2 != nil
        let promise = channel.eventLoop.makePromise(of: Void.self)
        channel.eventLoop.execute {
            body(channel, promise)
            // Most writes are done by now, and need no timer.
            let progress = WriteProgress()
            promise.futureResult.assumeIsolated().whenComplete { _ in
                progress.isDone = true
                progress.timer?.cancel()
            }
            let watch = {
                guard !progress.isDone else { return }
                progress.timer = channel.eventLoop.scheduleTask(in: timeout) { channel.tearDown() }
            }
            // What streams of one connection write leaves at the end of this turn.
            if isStream { channel.eventLoop.assumeIsolated().execute(watch) } else { watch() }
        }
        try await promise.futureResult.get()
    }

    private func stream(
        _ response: HTTPResponse, _ produce: @Sendable (HTTPBodyWriter) async throws -> Void,
        to request: HTTPRequestHead, keepAlive: Bool, _ exchange: Exchange
    ) async throws {
        var head = makeHead(response, to: request, keepAlive: keepAlive)
        if request.method == .HEAD {
            // The encoder would announce chunks, and a HEAD has none.
            head.headers.replaceOrAdd(name: "Content-Length", value: "0")
            try await self.write(.head(head), within: configuration.sendTimeout)
            return try await self.write(.end(nil), within: configuration.sendTimeout)
        }
        let timeout = configuration.streamTimeout
        try await self.write(.head(head), within: timeout)
        exchange.startStreaming()
        if queue.ending != nil { throw CancellationError() }
        let outlet = HTTPOutlet(channel)
        try await produce(
            HTTPBodyWriter(outlet: outlet) { buffer in
                try Task.checkCancellation()
                var rest = buffer
                while let piece = rest.readSlice(length: min(rest.readableBytes, Self.pieceSize)),
                    piece.readableBytes > 0
                {
                    try await self.write(.body(.byteBuffer(piece)), within: timeout)
                }
            })
        // What fails before this ends the connection, and the outlet with it.
        outlet.close()
        exchange.stopStreaming()
        try await self.write(.end(nil), within: timeout)
    }

    private func upgrade(
        _ response: HTTPResponse, _ request: HTTPRequestHead,
        _ body: @escaping @Sendable (UpgradedConnection) async throws -> Void
    ) async throws {
        var head = HTTPResponseHead(
            version: .http1_1, status: HTTPResponseStatus(statusCode: response.status), headers: response.headers)
        if response.status == 101, !head.headers.contains(name: "connection") {
            head.headers.add(name: "Connection", value: "Upgrade")
        }
        let raw = RawBytes.makeQueue()
        let channel = channel
        let part = HTTPServerResponsePart.head(head)
        let old = queue
        try await channel.eventLoop.submit {
            channel.writeAndFlush(part, promise: nil)
            try channel.pipeline.syncOperations.becomeRaw(raw)
            // An end that the old queue heard of is not told again.
            if let ending = old.ending { raw.finish(ending: ending == .full ? .full : .half) }
            channel.read()
        }.get()
        queue.setOnEnding(nil)
        // Bytes end by themselves; only the whole connection's end cancels what is done with them.
        let task = Task { try await body(UpgradedConnection(channel: channel, queue: raw)) }
        raw.setOnEnding { if $0 == .full { task.cancel() } }
        defer { raw.setOnEnding(nil) }
        try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
    }

    // MARK: - Receiving

    private var remoteAddress: String { channel.remoteAddress?.ipAddress ?? "" }

    /// The next part of a request; nil when the client sends no more. Throws when none comes in time.
    func nextPart(within timeout: TimeAmount) async throws -> HTTPServerRequestPart? {
        if let part = queue.nextIfThere() { return part }
        silence.start(timeout)
        defer { silence.pause() }
        return try await queue.next()
    }

    /// Reads what is left of a body, up to a bound; whether all of it is read.
    private func drain(_ body: IncomingBody) async throws -> Bool {
        var left = 256 << 10
        while !body.isComplete {
            let piece: ByteBuffer?
            do {
                piece = try await body.next()
            } catch is HTTPBodyTooLarge {
                return false
            }
            guard let piece else { break }
            left -= piece.readableBytes
            guard left > 0 else { return false }
        }
        return true
    }

    /// Closes in the order that lets the client read the answer although it is still sending: our side first, then
    /// what comes is thrown away for a moment.
    private func linger() async throws {
        // A stream that ends says that the rest is not wanted, behind the answer.
        guard http2 == nil else { return }
        try? await channel.close(mode: .output).get()
        var left = 4 << 20
        let queue = queue
        let timer = channel.eventLoop.scheduleTask(in: .seconds(2)) { queue.finish() }
        defer { timer.cancel() }
        while left > 0, let part = try await queue.next() {
            if case .body(let buffer) = part { left -= buffer.readableBytes }
        }
    }

    private func refuse(_ error: HTTPParserError) async throws {
        let isTooLarge = error == .headerOverflow
        let status = isTooLarge ? 431 : 400
        let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/")
        let text = isTooLarge ? "the request's headers are too large\n" : "this is not an HTTP/1.1 request: \(error)\n"
        try await send(HTTPResponse(status: status, text: text), to: head, keepAlive: false)
        try? await channel.close(mode: .output).get()
    }
}

/// Where a write is, seen on the event loop.
private final class WriteProgress {
    var isDone = false
    var timer: Scheduled<Void>?
}

/// Whether an answer without an end is under way.
private final class Exchange: Sendable {
    private let streaming = Atomic(false)
    var isStreaming: Bool { streaming.load(ordering: .acquiring) }
    func startStreaming() { streaming.store(true, ordering: .releasing) }
    func stopStreaming() { streaming.store(false, ordering: .releasing) }
}

enum RawBytes {
    static func makeQueue() -> InboundQueue<ByteBuffer> {
        InboundQueue(highWatermark: 256 << 10) { $0.readableBytes + 64 }
    }
}

extension HTTPRequestHead {
    var expectsContinue: Bool { headers["expect"].contains { $0.lowercased() == "100-continue" } }
    /// As the parser sees it: it stops at such a request.
    var asksForUpgrade: Bool {
        method == .CONNECT
            || headers.contains(name: "upgrade")
                && headers[canonicalForm: "connection"].contains { $0.lowercased() == "upgrade" }
    }
}
