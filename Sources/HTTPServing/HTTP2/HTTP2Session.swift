// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP2
import Synchronization

/// What a connection's streams come to: whether there are any, since when there are none, and how the connection ends.
final class HTTP2Session: NIOHTTP2StreamDelegate, NIOHTTP2FrameDelegate, Sendable {
    private struct State {
        var open = 0
        var last = HTTP2StreamID.rootStream
        /// Since when there is no stream; nil while there are some.
        var idleSince: NIODeadline?
        var hasServed = false
        var isEnding = false
        var timer: Scheduled<Void>?
    }

    private let channel: any Channel
    private let firstRequestTimeout: TimeAmount
    private let keepAliveTimeout: TimeAmount
    private let state = Mutex(State())

    init(_ channel: any Channel, _ configuration: HTTPServerConfiguration) {
        self.channel = channel
        firstRequestTimeout = configuration.firstRequestTimeout
        keepAliveTimeout = configuration.keepAliveTimeout
    }

    /// Begins to watch for silence.
    func start() {
        state.withLock { $0.idleSince = .now() }
        check(in: min(firstRequestTimeout, keepAliveTimeout))
        channel.closeFuture.whenComplete { _ in
            self.state.withLock { state in
                state.isEnding = true
                return state.timer.take()
            }?.cancel()
        }
    }

    /// Says goodbye and closes: at once, or when the client has had a moment to hear it.
    ///
    /// Streams above the last that is named were not served, and the client may ask again elsewhere.
    func end(_ code: HTTP2ErrorCode = .noError, within grace: TimeAmount = .zero) {
        channel.eventLoop.execute {
            let (last, isFirst) = self.state.withLock { state in
                defer { state.isEnding = true }
                return (state.last, !state.isEnding)
            }
            guard self.channel.isActive else { return }
            if isFirst {
                let goodbye = HTTP2Frame.FramePayload.goAway(lastStreamID: last, errorCode: code, opaqueData: nil)
                self.channel.writeAndFlush(HTTP2Frame(streamID: .rootStream, payload: goodbye), promise: nil)
            }
            guard grace > .zero else { return self.channel.startClosing() }
            self.channel.eventLoop.scheduleTask(in: grace) { self.channel.startClosing() }
        }
    }

    // MARK: - What the event loop tells

    func streamCreated(_ id: HTTP2StreamID, channel: any Channel) {
        state.withLock { state in
            state.open += 1
            state.idleSince = nil
            state.hasServed = true
            if id > state.last { state.last = id }
        }
    }

    func streamClosed(_ id: HTTP2StreamID, channel: any Channel) {
        state.withLock { state in
            state.open -= 1
            if state.open == 0 { state.idleSince = .now() }
        }
    }

    func wroteFrame(_ frame: HTTP2Frame) {
        // NIO says that the connection has failed, and leaves it open.
        guard case .goAway(_, let code, _) = frame.payload, code != .noError else { return }
        state.withLock { $0.isEnding = true }
        channel.eventLoop.execute { self.channel.startClosing() }
    }

    // MARK: - Silence

    /// One timer goes round: a request only notes the time, which is cheaper than a timer each.
    private func check(in delay: TimeAmount) {
        let timer = channel.eventLoop.scheduleTask(in: delay) { self.check() }
        let isOver = state.withLock { state in
            if !state.isEnding { state.timer = timer }
            return state.isEnding
        }
        if isOver { timer.cancel() }
    }

    private func check() {
        let (idleSince, hasServed) = state.withLock { ($0.idleSince, $0.hasServed) }
        guard let idleSince else { return check(in: keepAliveTimeout) }
        let left = idleSince + (hasServed ? keepAliveTimeout : firstRequestTimeout) - .now()
        if left > .zero { return check(in: left) }
        end(within: .seconds(1))
    }
}
