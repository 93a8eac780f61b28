// SPDX-License-Identifier: Apache-2.0

import NIOCore

extension DNSMetrics.Asker {
    init(_ address: SocketAddress?, overTCP: Bool) {
        let text = address?.ipAddress ?? ""
        self.init(address: text, overTCP: overTCP, isV6: text.contains(":"))
    }
}

/// One datagram, one question.
final class DatagramHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    typealias OutboundOut = AddressedEnvelope<ByteBuffer>

    private let resolver: Resolver

    init(resolver: Resolver) { self.resolver = resolver }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = unwrapInboundIn(data)
        let client = envelope.remoteAddress
        switch resolver.answer(Array(buffer: envelope.data), from: .init(client, overTCP: false)) {
        case .nothing: return
        case .now(let bytes):
            // A datagram may be lost; what the socket does not take is not kept.
            guard context.channel.isWritable else { return }
            context.write(
                wrapOutboundOut(AddressedEnvelope(remoteAddress: client, data: ByteBuffer(bytes: bytes))), promise: nil)
        case .later(let work):
            let channel = context.channel
            // Not structured: a handler cannot wait. How many there are is limited by client and in all.
            Task {
                let bytes = await work()
                guard channel.isWritable else { return }
                let reply = AddressedEnvelope(remoteAddress: client, data: ByteBuffer(bytes: bytes))
                channel.writeAndFlush(reply, promise: nil)
            }
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) { context.flush() }

    /// A client that went away answers with ICMP; that is no reason to stop serving the others.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {}
}

/// Questions on a connection, each behind its length (RFC 7766).
///
/// What a client does not read stays with it: while its answers wait, or too many of its questions are on their way
/// upstream, no more of what it sends is read.
final class StreamHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Bytes of answers that may wait for a client to read them.
    static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(low: 16 << 10, high: 64 << 10)
    /// Questions of one connection that may be on their way upstream.
    private static let mostOnTheWay = 32

    private let resolver: Resolver
    private let connections: ClientLimits
    private var asker = DNSMetrics.Asker(nil, overTCP: true)
    private var isAdmitted = false
    private var pending = ByteBuffer()
    private var onTheWay = 0
    private var isReading = true

    /// - Parameter connections: what a client may have of them.
    init(resolver: Resolver, connections: ClientLimits) {
        self.resolver = resolver
        self.connections = connections
    }

    func channelActive(context: ChannelHandlerContext) {
        asker = DNSMetrics.Asker(context.channel.remoteAddress, overTCP: true)
        isAdmitted = connections.enter(asker.address)
        if !isAdmitted { context.close(promise: nil) }
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        if isAdmitted { connections.leave(asker.address) }
        isAdmitted = false
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard isAdmitted else { return }
        var buffer = unwrapInboundIn(data)
        pending.writeBuffer(&buffer)
        work(context)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        work(context)
        context.fireChannelWritabilityChanged()
    }

    private func canTakeMore(_ context: ChannelHandlerContext) -> Bool {
        context.channel.isWritable && onTheWay < Self.mostOnTheWay
    }

    /// Answers what has come, as far as there is room for answers.
    private func work(_ context: ChannelHandlerContext) {
        while canTakeMore(context), let length = pending.getInteger(at: pending.readerIndex, as: UInt16.self),
            pending.readableBytes >= Int(length) + 2
        {
            pending.moveReaderIndex(forwardBy: 2)
            let message = pending.readBytes(length: Int(length)) ?? []
            switch resolver.answer(message, from: asker) {
            case .nothing:
                context.close(promise: nil)
                return
            case .now(let bytes): context.writeAndFlush(wrapOutboundOut(Self.framed(bytes)), promise: nil)
            case .later(let work): send(work, context)
            }
        }
        pending.discardReadBytes()
        let shouldRead = canTakeMore(context)
        guard shouldRead != isReading else { return }
        isReading = shouldRead
        context.channel.setOption(.autoRead, value: shouldRead).whenFailure { _ in }
    }

    private func send(_ work: @escaping @Sendable () async -> [UInt8], _ context: ChannelHandlerContext) {
        onTheWay += 1
        let promise = context.eventLoop.makePromise(of: [UInt8].self)
        promise.completeWithTask { await work() }
        let bound = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
        promise.futureResult.whenSuccess { bytes in
            let (handler, context) = bound.value
            handler.onTheWay -= 1
            guard context.channel.isActive else { return }
            context.writeAndFlush(handler.wrapOutboundOut(Self.framed(bytes)), promise: nil)
            handler.work(context)
        }
    }

    private static func framed(_ bytes: [UInt8]) -> ByteBuffer {
        var buffer = ByteBuffer(integer: UInt16(clamping: bytes.count))
        buffer.writeBytes(bytes.prefix(65_535))
        return buffer
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent {
            context.close(promise: nil)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
