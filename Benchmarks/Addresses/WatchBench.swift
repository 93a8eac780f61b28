// SPDX-License-Identifier: Apache-2.0

import Glibc
import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix
import NIOSSL
import Synchronization

/// Many watches of one object, which is changed again and again: how long a change takes from being sent to the last
/// watcher. A client that costs little itself, because client and server share the machine.
///
///     TOKEN=... catbird-bench watch HOST:PORT WATCHERS ROUNDS [h2]
///
/// `h2`: twenty watches share an HTTP/2 connection, as the informers of one operator do. Otherwise each has a connection
/// of its own. It prints the median and the 99th percentile in milliseconds.
enum WatchBench {
    private static let path = "/api/v1/namespaces/default/endpoints"

    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    static func run(_ arguments: [String]) async throws {
        let place = arguments.first?.split(separator: ":") ?? []
        guard (3...4).contains(arguments.count), place.count == 2, let port = Int(place[1]),
            let watchers = Int(arguments[1]),
            let rounds = Int(arguments[2]), let token = getenv("TOKEN").map({ String(cString: $0) })
        else { throw Failure(description: "usage: TOKEN=... catbird-bench watch HOST:PORT WATCHERS ROUNDS [h2]") }
        let sharesConnections = arguments.dropFirst(3).first == "h2"
        let client = try Client(host: String(place[0]), port: port, token: token)
        let name = "watched-\(watchers)-\(sharesConnections ? "h2" : "h1")"
        let writer = try await client.connect()
        let made = try await writer.call(
            client.request(
                "POST", path, #"{"apiVersion":"v1","kind":"Endpoints","metadata":{"name":"\#(name)"}}"#,
                "application/json"))
        guard let version = made.split(separator: "\"resourceVersion\":\"").dropFirst().first?.prefix(while: \.isNumber)
        else { throw Failure(description: "the object could not be made: \(made)") }
        let counter = RoundCounter(watchers: watchers)
        let target = "\(path)?watch=1&resourceVersion=\(version)&fieldSelector=metadata.name=\(name)"
        var shared: SharedConnection?
        for number in 0..<watchers {
            if sharesConnections {
                if number % SharedConnection.streams == 0 { shared = try await client.share() }
                try await shared?.watch(target, counter)
            } else {
                let watch = try await client.connect(counting: counter)
                try await watch.begin(client.request("GET", target))
            }
        }
        var milliseconds: [Double] = []
        for round in 0..<rounds {
            let change = client.request(
                "PATCH", "\(path)/\(name)", #"{"metadata":{"labels":{"round":"\#(round)"}}}"#,
                "application/merge-patch+json")
            let start = ContinuousClock.now
            async let answer = writer.call(change)
            let end = await counter.end(of: round)
            _ = try await answer
            milliseconds.append((end - start) / .milliseconds(1))
        }
        print(Measure.text(Measure.quantile(milliseconds, 0.5)), Measure.text(Measure.quantile(milliseconds, 0.99)))
    }
}

/// How many watchers have seen each round.
private final class RoundCounter: Sendable {
    private struct State {
        var seen: [Int: Int] = [:]
        var ends: [Int: ContinuousClock.Instant] = [:]
        var waiting: (round: Int, continuation: CheckedContinuation<ContinuousClock.Instant, Never>)?
    }

    private let state = Mutex(State())
    private let watchers: Int

    init(watchers: Int) { self.watchers = watchers }

    func saw(_ round: Int) {
        let woken: (CheckedContinuation<ContinuousClock.Instant, Never>, ContinuousClock.Instant)? = state.withLock {
            state in
            state.seen[round, default: 0] += 1
            guard state.seen[round] == watchers else { return nil }
            let now = ContinuousClock.now
            state.ends[round] = now
            guard let waiting = state.waiting, waiting.round == round else { return nil }
            state.waiting = nil
            return (waiting.continuation, now)
        }
        if let woken { woken.0.resume(returning: woken.1) }
    }

    /// When the last watcher saw the round.
    func end(of round: Int) async -> ContinuousClock.Instant {
        await withCheckedContinuation { continuation in
            let end = state.withLock { state in
                if let end = state.ends[round] { return Optional(end) }
                state.waiting = (round, continuation)
                return nil
            }
            if let end { continuation.resume(returning: end) }
        }
    }
}

private struct Client: Sendable {
    private let host: String
    private let port: Int
    private let head: String
    private let token: String
    private let tls: NIOSSLContext
    private let group = MultiThreadedEventLoopGroup.singleton

    init(host: String, port: Int, token: String) throws {
        self.host = host
        self.port = port
        self.token = token
        head = "Host: \(host)\r\nAuthorization: Bearer \(token)\r\nAccept: application/json\r\n"
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.certificateVerification = .none
        tls = try NIOSSLContext(configuration: configuration)
    }

    func request(_ method: String, _ target: String, _ body: String = "", _ type: String = "") -> String {
        let content = body.isEmpty ? "" : "Content-Type: \(type)\r\nContent-Length: \(body.utf8.count)\r\n"
        return "\(method) \(target) HTTP/1.1\r\n\(head)\(content)\r\n\(body)"
    }

    /// A connection for several watches.
    func share() async throws -> SharedConnection {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.certificateVerification = .none
        configuration.applicationProtocols = ["h2"]
        let tls = try NIOSSLContext(configuration: configuration)
        let streams = try await bootstrap.connect(host: host, port: port) { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: tls, serverHostname: nil))
                return try channel.pipeline.syncOperations.configureAsyncHTTP2Pipeline(mode: .client) { stream in
                    stream.eventLoop.makeSucceededVoidFuture()
                }
            }
        }
        let headers: HPACKHeaders = [
            ":method": "GET", ":scheme": "https", ":authority": host, "authorization": "Bearer \(token)",
            "accept": "application/json",
        ]
        return SharedConnection(streams: streams, headers: headers)
    }

    private var bootstrap: ClientBootstrap {
        ClientBootstrap(group: group.next())
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            // What has come is read once; to ask again whether more came costs a call for each event.
            .channelOption(.maxMessagesPerRead, value: 1)
    }

    func connect(counting counter: RoundCounter? = nil) async throws -> Connection {
        let reader = AnswerReader(counter)
        let tls = tls
        let channel =
            try await bootstrap
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers([
                        NIOSSLClientHandler(context: tls, serverHostname: nil), reader,
                    ])
                }
            }.connect(host: host, port: port).get()
        return Connection(channel: channel, reader: reader)
    }
}

/// An HTTP/2 connection whose streams are watches.
private struct SharedConnection: Sendable {
    static let streams = 20

    let streams: NIOHTTP2Handler.AsyncStreamMultiplexer<Void>
    let headers: HPACKHeaders

    /// Begins a watch; returns when its answer has begun.
    func watch(_ target: String, _ counter: RoundCounter) async throws {
        let reader = AnswerReader(counter)
        var headers = headers
        headers.add(name: ":path", value: target)
        let head = HTTP2Frame.FramePayload.headers(.init(headers: headers.pseudoFirst, endStream: true))
        let channel = try await streams.openStream { stream in
            stream.eventLoop.makeCompletedFuture {
                try stream.pipeline.syncOperations.addHandlers([FrameReader(), reader])
                return stream
            }
        }
        try await channel.writeAndFlush(head)
        try await reader.beginning()
    }
}

extension HPACKHeaders {
    fileprivate var pseudoFirst: HPACKHeaders {
        HPACKHeaders(
            filter { $0.name.hasPrefix(":") }.map { ($0.name, $0.value) }
                + filter { !$0.name.hasPrefix(":") }.map { ($0.name, $0.value) })
    }
}

/// The frames of an answer as the bytes that HTTP/1.1 would have.
private final class FrameReader: ChannelInboundHandler, Sendable {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias InboundOut = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .headers(let frame):
            let status = frame.headers.first(name: ":status") ?? ""
            context.fireChannelRead(wrapInboundOut(ByteBuffer(string: "HTTP/1.1 \(status)\r\n")))
        case .data(let frame):
            if case .byteBuffer(let bytes) = frame.data { context.fireChannelRead(wrapInboundOut(bytes)) }
        default: break
        }
    }
}

private struct Connection: Sendable {
    let channel: any Channel
    let reader: AnswerReader

    /// Sends a request and returns its whole answer.
    func call(_ request: String) async throws -> String {
        try await channel.writeAndFlush(ByteBuffer(string: request))
        return try await reader.answer()
    }

    /// Sends a request and returns when its answer has begun.
    func begin(_ request: String) async throws {
        try await channel.writeAndFlush(ByteBuffer(string: request))
        try await reader.beginning()
    }
}

/// Reads answers with a length, or counts the changes in one without an end.
private final class AnswerReader: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    private struct State {
        var bytes: [UInt8] = []
        var rounds = 0
        /// How much of the marker the last bytes are.
        var matched = 0
        var hasBegun = false
        var reads = 0
        var isOver = false
        var waiting: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())
    private let counter: RoundCounter?
    private static let marker = Array(#"{"type":"MODIFIED""#.utf8)

    init(_ counter: RoundCounter?) { self.counter = counter }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = unwrapInboundIn(data)
        var rounds: Range<Int> = 0..<0
        let waiting = state.withLock { state in
            if counter == nil || !state.hasBegun { state.bytes += buffer.readableBytesView }
            state.hasBegun = true
            state.reads += 1
            let first = state.rounds
            if counter != nil {
                for byte in buffer.readableBytesView {
                    state.matched =
                        byte == Self.marker[state.matched] ? state.matched + 1 : byte == Self.marker[0] ? 1 : 0
                    guard state.matched == Self.marker.count else { continue }
                    state.matched = 0
                    state.rounds += 1
                }
            }
            rounds = first..<state.rounds
            defer { state.waiting = nil }
            return state.waiting
        }
        for round in rounds { counter?.saw(round) }
        waiting?.resume()
    }

    func channelInactive(context: ChannelHandlerContext) {
        let waiting = state.withLock { state in
            state.isOver = true
            defer { state.waiting = nil }
            return state.waiting
        }
        waiting?.resume()
    }

    /// Returns when something has come since `reads` was read.
    private func next(after reads: Int) async {
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state in
                let isThere = state.isOver || state.reads != reads
                if !isThere { state.waiting = continuation }
                return isThere
            }
            if isThere { continuation.resume() }
        }
    }

    func beginning() async throws {
        await next(after: 0)
        let text = state.withLock { String(decoding: $0.bytes, as: UTF8.self) }
        guard text.hasPrefix("HTTP/1.1 200") else { throw WatchBench.Failure(description: text) }
    }

    func answer() async throws -> String {
        while true {
            let reads = state.withLock { $0.reads }
            let text: String? = try state.withLock { state in
                let text = String(decoding: state.bytes, as: UTF8.self)
                guard let end = text.firstRange(of: "\r\n\r\n") else {
                    if state.isOver { throw WatchBench.Failure(description: "no answer") }
                    return nil
                }
                let head = text[..<end.lowerBound].lowercased()
                let length = head.split(separator: "content-length: ").dropFirst().first.flatMap {
                    Int($0.prefix(while: \.isNumber))
                }
                guard let length, text[end.upperBound...].utf8.count >= length else { return nil }
                guard head.hasPrefix("http/1.1 2") else { throw WatchBench.Failure(description: text) }
                state.bytes = []
                return String(text[end.upperBound...])
            }
            if let text { return text }
            await next(after: reads)
        }
    }
}
