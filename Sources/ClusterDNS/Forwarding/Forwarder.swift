// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import Synchronization
import Values

/// Asks other name servers, the first first; one that does not answer is passed over.
struct Forwarder: Sendable {
    struct Unanswered: Error {}

    let upstreams: [SocketAddress]
    let group: MultiThreadedEventLoopGroup
    let limit: Int
    let metrics: DNSMetrics
    private let inFlight = InFlight()
    /// How long one server is waited for: a lost datagram looks like a server that is slow.
    private static let patience = TimeAmount.seconds(2)

    private final class InFlight: Sendable {
        let count = Atomic(0)
    }

    init(upstreams: [SocketAddress], group: MultiThreadedEventLoopGroup, limit: Int, metrics: DNSMetrics) {
        self.upstreams = upstreams
        self.group = group
        self.metrics = metrics
        self.limit = limit == 0 ? 10_000 : limit
    }

    /// The answer of the first server that gives one.
    ///
    /// - Throws: `Unanswered` when none does, or when too many questions wait already.
    func ask(_ message: [UInt8], _ question: Question, overTCP: Bool) async throws -> ForwardedResponse {
        guard inFlight.count.add(1, ordering: .relaxed).newValue <= limit else {
            inFlight.count.subtract(1, ordering: .relaxed)
            metrics.rejected()
            throw Unanswered()
        }
        defer { inFlight.count.subtract(1, ordering: .relaxed) }
        var failure: ForwardedResponse?
        for upstream in upstreams {
            let start = ContinuousClock.now
            let response = (try? await exchange(message, upstream, overTCP: overTCP))
                .flatMap { try? ForwardedResponse($0, to: question) }
            metrics.upstreamAnswered(
                "\(upstream.ipAddress ?? ""):\(upstream.port ?? 53)", response?.code, since: start)
            guard let response else { continue }
            // Another server may know what this one failed to find out.
            if response.code == ResponseCode.serverFailure.rawValue || response.code == ResponseCode.refused.rawValue {
                failure = response
                continue
            }
            return response
        }
        guard let failure else { throw Unanswered() }
        return failure
    }

    /// One question on a socket of its own: the port is as hard to guess as the identifier (RFC 5452).
    private func exchange(_ message: [UInt8], _ upstream: SocketAddress, overTCP: Bool) async throws -> [UInt8] {
        let loop = group.next()
        let promise = loop.makePromise(of: [UInt8].self)
        let id = UInt16.random(in: 0...UInt16.max)
        var asked = message
        asked[0] = UInt8(id >> 8)
        asked[1] = UInt8(id & 255)
        let question = asked
        let initializer: @Sendable (any Channel) -> EventLoopFuture<Void> = { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(
                    ExchangeHandler(question: question, id: id, overTCP: overTCP, promise: promise))
            }
        }
        let channel: any Channel
        do {
            if overTCP {
                channel = try await ClientBootstrap(group: loop).connectTimeout(Self.patience)
                    .channelInitializer(initializer).connect(to: upstream).get()
            } else {
                channel = try await DatagramBootstrap(group: loop).channelInitializer(initializer)
                    .connect(to: upstream).get()
            }
        } catch {
            promise.fail(error)
            throw error
        }
        let timeout = loop.scheduleTask(in: Self.patience) { promise.fail(Unanswered()) }
        defer {
            timeout.cancel()
            channel.close(promise: nil)
        }
        return try await promise.futureResult.get()
    }
}

/// Sends one question when the channel is up and hands over the answer to it.
private final class ExchangeHandler: ChannelInboundHandler {
    typealias InboundIn = Any

    private let question: [UInt8]
    private let id: UInt16
    private let overTCP: Bool
    private let promise: EventLoopPromise<[UInt8]>
    private var received: [UInt8] = []

    init(question: [UInt8], id: UInt16, overTCP: Bool, promise: EventLoopPromise<[UInt8]>) {
        self.question = question
        self.id = id
        self.overTCP = overTCP
        self.promise = promise
    }

    func channelActive(context: ChannelHandlerContext) {
        var buffer = context.channel.allocator.buffer(capacity: question.count + 2)
        if overTCP { buffer.writeInteger(UInt16(clamping: question.count)) }
        buffer.writeBytes(question)
        if overTCP {
            context.writeAndFlush(NIOAny(buffer), promise: nil)
        } else if let remote = context.channel.remoteAddress {
            context.writeAndFlush(NIOAny(AddressedEnvelope(remoteAddress: remote, data: buffer)), promise: nil)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if overTCP {
            received += Array(buffer: unwrap(data, as: ByteBuffer.self))
            guard received.count >= 2 else { return }
            let length = Int(received[0]) << 8 | Int(received[1])
            if received.count >= length + 2 { finish(Array(received[2..<length + 2])) }
        } else {
            finish(Array(buffer: unwrap(data, as: AddressedEnvelope<ByteBuffer>.self).data))
        }
    }

    private func unwrap<Value>(_ data: NIOAny, as type: Value.Type) -> Value {
        NIOUnwrapper<Value>().unwrap(data)
    }

    private func finish(_ bytes: [UInt8]) {
        guard bytes.count >= 12, UInt16(bytes[0]) << 8 | UInt16(bytes[1]) == id else { return }
        promise.succeed(bytes)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { promise.fail(error) }
    func channelInactive(context: ChannelHandlerContext) { promise.fail(Forwarder.Unanswered()) }
}

private struct NIOUnwrapper<Value> {
    private final class Handler: ChannelInboundHandler { typealias InboundIn = Value }
    func unwrap(_ data: NIOAny) -> Value { Handler().unwrapInboundIn(data) }
}
