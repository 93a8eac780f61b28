// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP1

/// Writes answers as RFC 9112 says, and all that is written between two flushes as one buffer: a small answer, or one
/// event of a watch, is then one TLS record and one write(2), not one for the head, one for each end of a chunk and one
/// for what lies between.
final class ResponseEncoder: ChannelOutboundHandler, RemovableChannelHandler {
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = IOData

    /// Larger pieces of a body are not copied behind what is written already.
    private static let copiedSize = 32 << 10

    private var pending: ByteBuffer?
    private var pendingPromise: EventLoopPromise<Void>?
    private var isChunked = false

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(let head):
            append(context, 512) { write(head, to: &$0) }
        case .body(.byteBuffer(let piece)):
            body(piece, context)
        case .body(let region):
            // Files are read before they come here: nobody writes one as a region of the kernel's.
            emit(context)
            return context.write(wrapOutboundOut(region), promise: promise)
        case .end:
            if isChunked { append(context, 8) { $0.writeStaticString("0\r\n\r\n") } }
        }
        guard pending == nil else { return pendingPromise.setOrCascade(to: promise) }
        // Nothing of its own to be sent: done when what went before is.
        if let promise { context.write(wrapOutboundOut(.byteBuffer(ByteBuffer())), promise: promise) }
    }

    func flush(context: ChannelHandlerContext) {
        emit(context)
        context.flush()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        pending = nil
        pendingPromise?.fail(ChannelError.ioOnClosedChannel)
        pendingPromise = nil
    }

    func removeHandler(context: ChannelHandlerContext, removalToken: ChannelHandlerContext.RemovalToken) {
        emit(context)
        context.leavePipeline(removalToken: removalToken)
    }

    private func append(_ context: ChannelHandlerContext, _ room: Int, _ body: (inout ByteBuffer) -> Void) {
        // Out of the property while it is written to, so that it is not copied.
        var buffer = pending.take() ?? context.channel.allocator.buffer(capacity: room)
        body(&buffer)
        pending = buffer
    }

    private func emit(_ context: ChannelHandlerContext) {
        guard let buffer = pending.take() else { return }
        context.write(wrapOutboundOut(.byteBuffer(buffer)), promise: pendingPromise.take())
    }

    private func body(_ piece: ByteBuffer, _ context: ChannelHandlerContext) {
        let count = piece.readableBytes
        // An empty chunk would end the body.
        guard count > 0 else { return }
        if isChunked {
            append(context, min(count, Self.copiedSize) + 16) {
                $0.writeString(String(count, radix: 16))
                $0.writeStaticString("\r\n")
            }
        }
        if count <= Self.copiedSize {
            append(context, count) { $0.writeImmutableBuffer(piece) }
        } else {
            emit(context)
            context.write(wrapOutboundOut(.byteBuffer(piece)), promise: nil)
        }
        if isChunked { append(context, 2) { $0.writeStaticString("\r\n") } }
    }

    /// The head, with the framing of the body that follows it: by its length if the head says it, else in chunks. A
    /// client of HTTP/1.0 takes all until the connection ends.
    private func write(_ head: HTTPResponseHead, to buffer: inout ByteBuffer) {
        let hasBody = head.status.mayHaveResponseBody
        let hasLength = hasBody && head.headers.contains(name: "content-length")
        isChunked = hasBody && !hasLength && head.version == .http1_1
        buffer.writeString("HTTP/\(head.version.major).\(head.version.minor) \(head.status.code) ")
        buffer.writeString(head.status.reasonPhrase)
        buffer.writeStaticString("\r\n")
        for (name, value) in head.headers {
            let isFraming = name.utf8.count == 14 || name.utf8.count == 17
            if isFraming {
                let lowered = name.lowercased()
                if lowered == "transfer-encoding" || lowered == "content-length" && !hasLength { continue }
            }
            buffer.writeString(name)
            buffer.writeStaticString(": ")
            buffer.writeString(value)
            buffer.writeStaticString("\r\n")
        }
        if isChunked { buffer.writeStaticString("Transfer-Encoding: chunked\r\n") }
        buffer.writeStaticString("\r\n")
    }
}
