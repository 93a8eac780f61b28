// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP2
import Synchronization

/// What a connection's streams come to: whether there are any, whether there have been none for too long, and how the
/// connection ends.
final class HTTP2Session: NIOHTTP2StreamDelegate, NIOHTTP2FrameDelegate, Sendable {
    private let channel: any Channel
    private let firstRequestTimeout: TimeAmount
    private let keepAliveTimeout: TimeAmount
    private let open = Mutex(0)
    private let farewell: HTTP2Farewell
    /// Runs while there is no stream.
    private let silence: SilenceTimer

    init(_ channel: any Channel, _ configuration: HTTPServerConfiguration) {
        self.channel = channel
        firstRequestTimeout = configuration.firstRequestTimeout
        keepAliveTimeout = configuration.keepAliveTimeout
        let farewell = HTTP2Farewell(channel)
        self.farewell = farewell
        silence = SilenceTimer(channel.eventLoop) { _ in farewell.say(within: .seconds(1)) }
    }

    /// Begins to watch for silence.
    func start() {
        silence.start(firstRequestTimeout)
        channel.closeFuture.whenComplete { _ in self.silence.stop() }
    }

    /// Says goodbye and closes at once.
    func end(_ code: HTTP2ErrorCode = .noError) { farewell.say(code) }

    // MARK: - What the event loop tells

    func streamCreated(_ id: HTTP2StreamID, channel: any Channel) {
        open.withLock { $0 += 1 }
        silence.pause()
        farewell.serves(id)
    }

    func streamClosed(_ id: HTTP2StreamID, channel: any Channel) {
        let left = open.withLock { open in
            open -= 1
            return open
        }
        if left == 0 { silence.start(keepAliveTimeout) }
    }

    func wroteFrame(_ frame: HTTP2Frame) {
        // NIO says that the connection has failed, and leaves it open.
        guard case .goAway(_, let code, _) = frame.payload, code != .noError else { return }
        farewell.wasSaid()
        channel.eventLoop.execute { self.channel.startClosing() }
    }
}

/// The end of a connection, which is announced once.
private final class HTTP2Farewell: Sendable {
    private struct State {
        var last = HTTP2StreamID.rootStream
        var isSaid = false
    }

    private let channel: any Channel
    private let state = Mutex(State())

    init(_ channel: any Channel) { self.channel = channel }

    func serves(_ id: HTTP2StreamID) { state.withLock { $0.last = max($0.last, id) } }

    /// Somebody else has said it.
    func wasSaid() { state.withLock { $0.isSaid = true } }

    /// Says goodbye and closes: at once, or when the client has had a moment to hear it.
    ///
    /// Streams above the last that is named were not served, and the client may ask again elsewhere.
    func say(_ code: HTTP2ErrorCode = .noError, within grace: TimeAmount = .zero) {
        channel.eventLoop.execute {
            let (last, isFirst) = self.state.withLock { state in
                defer { state.isSaid = true }
                return (state.last, !state.isSaid)
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
}
