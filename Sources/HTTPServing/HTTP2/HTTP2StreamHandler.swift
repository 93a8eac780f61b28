// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHPACK
import NIOHTTP1
import NIOHTTP2

/// The only handler of a stream: what arrives becomes parts of a request in a queue, and parts of an answer become
/// frames.
///
/// It does what codec and `InboundHandler` do for HTTP/1.1, in one step a frame, and puts the end of an answer on its
/// last frame, so that a short answer is two frames.
final class HTTP2StreamHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTP2Frame.FramePayload

    private let queue: InboundQueue<HTTPServerRequestPart>
    private let maximumHeaderSize: Int
    private var hasHead = false
    private var hasRequestEnded = false
    private var hasAnswerEnded = false
    /// Kept back until it is known whether it is the last.
    private var held: (payload: HTTP2Frame.FramePayload, promise: EventLoopPromise<Void>?)?

    init(_ queue: InboundQueue<HTTPServerRequestPart>, maximumHeaderSize: Int) {
        self.queue = queue
        self.maximumHeaderSize = maximumHeaderSize
    }

    // MARK: - The request

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        queue.setOnDrained { channel.read() }
    }

    func read(context: ChannelHandlerContext) {
        // The client's window grows with what is read, and only then.
        if queue.shouldRead() { context.read() }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .headers(let frame):
            if frame.endStream { hasRequestEnded = true }
            guard !hasHead else {
                // Trailers: nobody asks for them.
                if frame.endStream { queue.push(.end(nil)) } else { reset(context, .protocolError) }
                return
            }
            hasHead = true
            do throws(HTTP2Refusal) {
                let head = try HTTPRequestHead(
                    frame.headers, hasBody: !frame.endStream, limit: maximumHeaderSize)
                queue.push(.head(head))
                if frame.endStream { queue.push(.end(nil)) }
            } catch {
                refuse(context, error, isHead: frame.headers.first(name: ":method") == "HEAD")
            }
        case .data(let frame):
            if case .byteBuffer(let bytes) = frame.data, bytes.readableBytes > 0 { queue.push(.body(bytes)) }
            if frame.endStream {
                hasRequestEnded = true
                queue.push(.end(nil))
            }
        case .alternativeService, .goAway, .origin, .ping, .priority, .pushPromise, .rstStream, .settings,
            .windowUpdate:
            break
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        queue.finish(throwing: error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        dropHeld(ChannelError.eof)
        queue.finish(ending: .full)
        context.fireChannelInactive()
    }

    private func refuse(_ context: ChannelHandlerContext, _ refusal: HTTP2Refusal, isHead: Bool) {
        switch refusal {
        case .malformed: reset(context, .protocolError)
        case .answered(let status, let text):
            let headers: HTTPHeaders = [
                "content-type": "text/plain; charset=utf-8", "content-length": String(text.utf8.count),
            ]
            send(context, .headers(.init(headers: headers.http2Fields(status: status), endStream: isHead)))
            if !isHead { send(context, .data(.init(data: .byteBuffer(ByteBuffer(string: text)), endStream: true))) }
            hasAnswerEnded = true
            context.flush()
        }
        // Who waits for a request hears that there is none, and closes.
        queue.finish()
    }

    // MARK: - The answer

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(let head):
            sendHeld(context)
            let fields = head.headers.http2Fields(status: Int(head.status.code))
            held = (.headers(.init(headers: fields)), promise)
        case .body(let data):
            sendHeld(context)
            held = (.data(.init(data: data)), promise)
        case .end: sendEnd(context, promise)
        }
    }

    func flush(context: ChannelHandlerContext) {
        sendHeld(context)
        context.flush()
    }

    /// An answer that is not complete is given up as a failure; a request that is not is no longer needed (RFC 9113,
    /// section 8.1).
    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        dropHeld(ChannelError.ioOnClosedChannel)
        if context.channel.isActive, !(hasAnswerEnded && hasRequestEnded) {
            reset(context, hasAnswerEnded ? .noError : .internalError)
        }
        context.close(mode: mode, promise: promise)
    }

    private func sendEnd(_ context: ChannelHandlerContext, _ promise: EventLoopPromise<Void>?) {
        hasAnswerEnded = true
        guard let last = held.take() else {
            return send(context, .data(.init(data: .byteBuffer(ByteBuffer()), endStream: true)), promise)
        }
        var both = last.promise
        both.setOrCascade(to: promise)
        switch last.payload {
        case .headers(var frame):
            frame.endStream = true
            send(context, .headers(frame), both)
        case .data(var frame):
            frame.endStream = true
            send(context, .data(frame), both)
        default: send(context, last.payload, both)
        }
    }

    private func sendHeld(_ context: ChannelHandlerContext) {
        guard let last = held.take() else { return }
        send(context, last.payload, last.promise)
    }

    private func dropHeld(_ error: any Error) { held.take()?.promise?.fail(error) }

    private func reset(_ context: ChannelHandlerContext, _ code: HTTP2ErrorCode) {
        // Once is enough.
        hasRequestEnded = true
        hasAnswerEnded = true
        send(context, .rstStream(code))
        context.flush()
    }

    private func send(
        _ context: ChannelHandlerContext, _ payload: HTTP2Frame.FramePayload, _ promise: EventLoopPromise<Void>? = nil
    ) {
        context.write(wrapOutboundOut(payload), promise: promise)
    }
}
