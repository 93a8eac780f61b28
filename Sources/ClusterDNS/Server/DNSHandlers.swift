// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// One datagram, one question.
final class DatagramHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    typealias OutboundOut = AddressedEnvelope<ByteBuffer>

    private let resolver: Resolver

    init(resolver: Resolver) { self.resolver = resolver }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = unwrapInboundIn(data)
        let client = envelope.remoteAddress
        switch resolver.answer(Array(buffer: envelope.data), overTCP: false) {
        case .nothing: return
        case .now(let bytes):
            context.write(
                wrapOutboundOut(AddressedEnvelope(remoteAddress: client, data: ByteBuffer(bytes: bytes))), promise: nil)
        case .later(let work):
            let channel = context.channel
            Task {
                let bytes = await work()
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
final class StreamHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let resolver: Resolver
    private var pending = ByteBuffer()

    init(resolver: Resolver) { self.resolver = resolver }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        pending.writeBuffer(&buffer)
        while let length = pending.getInteger(at: pending.readerIndex, as: UInt16.self),
            pending.readableBytes >= Int(length) + 2
        {
            pending.moveReaderIndex(forwardBy: 2)
            let message = pending.readBytes(length: Int(length)) ?? []
            let channel = context.channel
            switch resolver.answer(message, overTCP: true) {
            case .nothing: context.close(promise: nil)
            case .now(let bytes): context.writeAndFlush(wrapOutboundOut(Self.framed(bytes)), promise: nil)
            case .later(let work):
                Self.send(work, on: channel)
            }
        }
        pending.discardReadBytes()
    }

    private static func send(_ work: @escaping @Sendable () async -> [UInt8], on channel: any Channel) {
        Task {
            let bytes = await work()
            channel.writeAndFlush(framed(bytes), promise: nil)
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
