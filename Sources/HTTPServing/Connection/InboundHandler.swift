// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOSSL

/// The last handler of a pipeline: moves what arrives into a queue, and holds reads while the queue is full.
final class InboundHandler<Element: Sendable>: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = Element
    typealias OutboundIn = NIOAny

    private let queue: InboundQueue<Element>

    init(_ queue: InboundQueue<Element>) { self.queue = queue }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        queue.setOnDrained { channel.read() }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { queue.push(unwrapInboundIn(data)) }

    func read(context: ChannelHandlerContext) {
        if queue.shouldRead() { context.read() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent { queue.finish() }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if case .uncleanShutdown? = error as? NIOSSLError {
            // The peer closed without saying so in TLS: many clients do. The end of the bytes is what counts.
            queue.finish()
        } else {
            queue.finish(throwing: error)
        }
        // A parse failure is still to be answered; everything else ends the connection.
        if !HTTPConnection.isAnswerable(error) { context.close(promise: nil) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        queue.finish(ending: .full)
        context.fireChannelInactive()
    }
}
