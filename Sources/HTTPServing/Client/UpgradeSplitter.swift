// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// Parts the head of an answer from what follows it, at the client's end of the pipeline.
///
/// A server that agrees to an upgrade may say all that it has to say, and close, before anybody has read its head. The
/// HTTP decoder drops what follows a head once it has seen the end of the bytes; so nothing after the head of a 101
/// reaches it: that goes to the raw queue, in the order in which it comes.
final class UpgradeSplitter: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    /// A head that is longer is left to the decoder, which refuses it.
    private static let longestHead = 128 << 10

    private let raw: InboundQueue<ByteBuffer>
    private var head = ByteBuffer()

    init(_ raw: InboundQueue<ByteBuffer>) { self.raw = raw }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        // The end of the head may have begun in what came before.
        let searched = max(head.readableBytes - 3, 0)
        head.writeBuffer(&buffer)
        let bytes = head.readableBytesView
        let marker: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A]
        guard let end = bytes.dropFirst(searched).firstRange(of: marker)?.upperBound else {
            if head.readableBytes > Self.longestHead { handOn(context) }
            return
        }
        // HTTP/1.1 101 ...
        guard bytes[..<end].split(separator: 0x20, maxSplits: 2).dropFirst().first?.elementsEqual("101".utf8) == true
        else { return handOn(context) }
        switchOver(context, headLength: end - bytes.startIndex)
    }

    private func switchOver(_ context: ChannelHandlerContext, headLength: Int) {
        let channel = context.channel
        let pipeline = context.pipeline.syncOperations
        let answer = head.readSlice(length: headLength) ?? ByteBuffer()
        context.fireChannelRead(wrapInboundOut(answer))
        if head.readableBytes > 0 { raw.push(head) }
        head = ByteBuffer()
        do { try pipeline.becomeRaw(raw, after: self) } catch { raw.finish(throwing: error) }
        pipeline.removeHandler(context: context, promise: nil)
        channel.read()
    }

    /// What was held back is the decoder's, like all that comes.
    private func handOn(_ context: ChannelHandlerContext) {
        let held = head
        head = ByteBuffer()
        if held.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(held)) }
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent, head.readableBytes > 0 {
            context.fireChannelRead(wrapInboundOut(head))
            head = ByteBuffer()
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if head.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(head)) }
        head = ByteBuffer()
        context.fireChannelInactive()
    }
}
