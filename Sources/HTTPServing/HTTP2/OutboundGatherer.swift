// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// Sends what the streams of one connection write in the same turn of the event loop as one piece.
///
/// A change that 200 watchers hear of is 200 small frames, and each stream flushes its own. Without this each would be a
/// TLS record, or two, and a system call. Between TLS and HTTP/2 there is one order of bytes, so they are put one behind
/// the other, and the first flush of a turn asks for one at the end of it.
final class OutboundGatherer: ChannelOutboundHandler {
    typealias OutboundIn = IOData
    typealias OutboundOut = ByteBuffer

    /// Bytes in one write: a few full TLS records. More is not gained by gathering more.
    private static let limit = 64 << 10

    private var gathered = ByteBuffer()
    private var promises: [EventLoopPromise<Void>] = []
    private var isFlushDue = false

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .byteBuffer(var bytes) = unwrapOutboundIn(data) else {
            promise?.fail(ChannelError.operationUnsupported)
            return
        }
        if gathered.readableBytes + bytes.readableBytes > Self.limit { pass(context) }
        if let promise { promises.append(promise) }
        if gathered.readableBytes == 0, bytes.readableBytes >= Self.limit {
            gathered = bytes
        } else {
            gathered.writeBuffer(&bytes)
        }
    }

    func flush(context: ChannelHandlerContext) {
        guard !isFlushDue else { return }
        isFlushDue = true
        context.eventLoop.assumeIsolated().execute {
            guard self.isFlushDue else { return }
            self.flushNow(context)
        }
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        // What was to leave at the end of this turn, a GOAWAY for instance, leaves before the connection does.
        if isFlushDue { flushNow(context) }
        context.close(mode: mode, promise: promise)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        isFlushDue = false
        gathered = ByteBuffer()
        let promises = promises
        self.promises = []
        for promise in promises { promise.fail(ChannelError.ioOnClosedChannel) }
    }

    private func flushNow(_ context: ChannelHandlerContext) {
        isFlushDue = false
        pass(context)
        context.flush()
    }

    /// Hands on what is gathered.
    private func pass(_ context: ChannelHandlerContext) {
        guard gathered.readableBytes > 0 || !promises.isEmpty else { return }
        let bytes = gathered
        let promises = promises
        gathered = ByteBuffer()
        self.promises = []
        guard promises.count > 1 else {
            context.write(wrapOutboundOut(bytes), promise: promises.first)
            return
        }
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.whenComplete { result in
            for waiting in promises { waiting.completeWith(result) }
        }
        context.write(wrapOutboundOut(bytes), promise: promise)
    }
}
