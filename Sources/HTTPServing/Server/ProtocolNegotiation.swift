// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOTLS

/// Waits for the end of the TLS handshake, has the pipeline made for what was agreed on, and goes.
///
/// Nothing is decrypted before that, so that nothing has to be kept.
final class ProtocolNegotiation: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny

    static let http2 = "h2"
    static let http1 = "http/1.1"

    private let deadline: NIODeadline
    private let promise: EventLoopPromise<ServerConnection>
    private let decide: (_ choice: String?, _ left: TimeAmount) throws -> ServerConnection
    private var timer: Scheduled<Void>?

    /// `decide` is told what was agreed on, nil when the client offered nothing, and how much of the time is left.
    init(
        _ loop: any EventLoop, within timeout: TimeAmount,
        decide: @escaping (_ choice: String?, _ left: TimeAmount) throws -> ServerConnection
    ) {
        deadline = .now() + timeout
        promise = loop.makePromise()
        self.decide = decide
    }

    /// What the connection turned out to be; fails when it ends before.
    var result: EventLoopFuture<ServerConnection> { promise.futureResult }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        timer = context.eventLoop.scheduleTask(deadline: deadline) { channel.tearDown() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case .handshakeCompleted(let choice)? = event as? TLSUserEvent else {
            return context.fireUserInboundEventTriggered(event)
        }
        timer?.cancel()
        do {
            promise.succeed(try decide(choice, max(deadline - .now(), .milliseconds(1))))
            context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
        } catch {
            promise.fail(error)
            context.close(promise: nil)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        promise.fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        promise.fail(ChannelError.eof)
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        // Not heard when it was kept before.
        promise.fail(ChannelError.eof)
    }
}
