// SPDX-License-Identifier: Apache-2.0

import Glibc
import HTTPServing
import NIOCore
import NIOPosix
import Testing

/// Runs a server on a port of loopback for the length of `body`.
func withServer<Result: Sendable>(
    security: HTTPServerConfiguration.Security = .plain,
    adjust: (inout HTTPServerConfiguration) -> Void = { _ in },
    handler: @escaping @Sendable (HTTPRequest) async -> HTTPResponse,
    _ body: @Sendable @escaping (Int) async throws -> Result
) async throws -> Result {
    var configuration = HTTPServerConfiguration(.address(host: "127.0.0.1", port: 0), security: security)
    adjust(&configuration)
    let server = HTTPServer(configuration, handler: handler)
    let (bound, continuation) = AsyncStream<Int>.makeStream()
    return try await withThrowingTaskGroup(of: Result?.self) { group in
        group.addTask {
            defer { continuation.finish() }
            try await server.run { continuation.yield($0.port ?? 0) }
            return nil
        }
        group.addTask {
            for await port in bound { return try await body(port) }
            return nil
        }
        while let result = try await group.next() {
            guard let result else { continue }
            group.cancelAll()
            return result
        }
        throw HTTPServingError("the server ended before the test")
    }
}

/// A connection on which a test writes and reads what it likes.
final class RawClient {
    private var iterator: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    private var text = ""

    private init(
        _ iterator: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) {
        self.iterator = iterator
        self.outbound = outbound
    }

    /// With `resets`, the connection is torn down at the end instead of closed.
    static func with(
        port: Int, resets: Bool = false, _ body: @Sendable @escaping (RawClient) async throws -> Void
    ) async throws {
        try await connect(to: SocketAddress(ipAddress: "127.0.0.1", port: port), resets: resets, body)
    }

    static func connect(
        to address: SocketAddress, resets: Bool = false,
        _ body: @Sendable @escaping (RawClient) async throws -> Void
    ) async throws {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(to: address) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                        wrappingChannelSynchronously: channel,
                        configuration: .init(isOutboundHalfClosureEnabled: true))
                }
            }
        if resets, let options = channel.channel as? any SocketOptionProvider {
            try await options.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
        }
        try await channel.executeThenClose { inbound, outbound in
            try await body(RawClient(inbound.makeAsyncIterator(), outbound))
        }
    }

    func send(_ text: String) async throws { try await outbound.write(ByteBuffer(string: text)) }
    func finish() { outbound.finish() }

    /// What came up to and with `marker`; the rest is kept.
    func read(through marker: String) async throws -> String {
        while true {
            if let range = text.firstRange(of: marker) {
                defer { text = String(text[range.upperBound...]) }
                return String(text[..<range.upperBound])
            }
            guard let buffer = try await iterator.next() else {
                throw HTTPServingError("the connection ended before '\(marker)'; there was '\(text)'")
            }
            text += String(buffer: buffer)
        }
    }

    /// The next `count` bytes of ASCII.
    func read(count: Int) async throws -> String {
        while text.utf8.count < count {
            guard let buffer = try await iterator.next() else {
                throw HTTPServingError("the connection ended \(count - text.utf8.count) bytes too early")
            }
            text += String(buffer: buffer)
        }
        defer { text = String(text.dropFirst(count)) }
        return String(text.prefix(count))
    }

    /// Everything until the server ends the connection.
    func readToEnd() async throws -> String {
        while let buffer = try await iterator.next() { text += String(buffer: buffer) }
        defer { text = "" }
        return text
    }
}

/// Opened once; whoever waits goes on then.
final class Gate: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init() { (stream, continuation) = AsyncStream.makeStream() }
    func open() { continuation.finish() }
    func wait() async { for await _ in stream {} }
}
