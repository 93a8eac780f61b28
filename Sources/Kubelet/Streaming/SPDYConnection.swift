// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// A SPDY session over any transport: `feed` takes what arrives, `outbound` holds what has to be written.
package final class SPDYConnection: Sendable {
    package let outbound = ByteQueue()
    /// Streams that the other side opened, in order.
    package let accepted: AsyncStream<SPDYStream>
    private let offer: AsyncStream<SPDYStream>.Continuation

    private struct State: ~Copyable {
        var session: SPDYSession
        var streams: [UInt32: SPDYStream] = [:]
        /// Senders that wait for the other side's window.
        var waiting: [CheckedContinuation<Void, Never>] = []
        var isFinished = false
    }
    /// A sender waits while so many of its bytes wait for the other side's window.
    private static let pendingLimit = 256 << 10
    private let state: Mutex<State>

    package init(role: SPDYSession.Role = .server) {
        state = Mutex(State(session: SPDYSession(role: role)))
        (accepted, offer) = AsyncStream.makeStream()
    }

    /// Runs `body` on the session; what it wants to say is queued under the same lock, for the compression of
    /// headers depends on the order of frames.
    private func withSession<T: Sendable>(_ body: (inout State) throws -> T) rethrows -> T {
        try state.withLock { state in
            defer {
                let bytes = state.session.takeOutput()
                outbound.append(bytes)
            }
            return try body(&state)
        }
    }

    /// Takes bytes from the transport. Waits while a stream's reader is a megabyte behind.
    package func feed(_ bytes: [UInt8]) async throws {
        let (events, opened) = try withSession { state -> ([SPDYEvent], [UInt32: SPDYStream]) in
            let events = try state.session.receive(bytes)
            for event in events {
                guard case .opened(let id, let headers) = event else { continue }
                state.streams[id] = SPDYStream(id: id, headers: headers, connection: self)
                try state.session.reply(id)
            }
            return (events, state.streams)
        }
        for event in events {
            switch event {
            case .opened(let id, _): if let stream = opened[id] { offer.yield(stream) }
            case .data(let id, let bytes):
                if let stream = opened[id] {
                    await stream.inbound.push(bytes)
                    withSession { $0.session.consumed(bytes.count, on: id) }
                }
            case .finished(let id):
                opened[id]?.inbound.finish()
                forgetIfClosed(id)
            case .reset(let id, _):
                opened[id]?.inbound.finish()
                forgetIfClosed(id)
            case .goAway: offer.finish()
            case .replied, .writable: break
            }
        }
        wakeSenders()
        await outbound.room()
    }

    private func wakeSenders() {
        let waiting = state.withLock { state in
            defer { state.waiting = [] }
            return state.waiting
        }
        for sender in waiting { sender.resume() }
    }

    /// The transport ended: nothing more will arrive on any stream.
    package func finish() {
        let streams = state.withLock { state in
            state.isFinished = true
            return Array(state.streams.values)
        }
        wakeSenders()
        for stream in streams { stream.inbound.finish() }
        offer.finish()
        outbound.finish()
    }

    private func forgetIfClosed(_ id: UInt32) {
        state.withLock { if !$0.session.isOpen(id) { $0.streams[id] = nil } }
    }

    func send(_ id: UInt32, _ bytes: [UInt8], end: Bool) async {
        withSession { $0.session.send(id, bytes, end: end) }
        if end { forgetIfClosed(id) }
        await outbound.room()
        while isBehind(id) {
            await withCheckedContinuation { continuation in
                let wakeNow = state.withLock { state in
                    guard !state.isFinished, state.session.pending(on: id) > Self.pendingLimit else { return true }
                    state.waiting.append(continuation)
                    return false
                }
                if wakeNow { continuation.resume() }
            }
        }
    }

    private func isBehind(_ id: UInt32) -> Bool {
        state.withLock { !$0.isFinished && $0.session.pending(on: id) > Self.pendingLimit }
    }

    func reset(_ id: UInt32) {
        withSession { $0.session.reset(id) }
        forgetIfClosed(id)
    }

    package func goAway() { withSession { $0.session.goAway() } }
}

/// One stream of a SPDY session.
package final class SPDYStream: Sendable {
    package let id: UInt32
    package let headers: [String: String]
    package let inbound = ByteQueue()
    /// Weak, for the connection holds its streams: clients end a session without closing each of them, and those would
    /// hold the connection, its buffers and its compressor for ever. Who serves a stream holds the connection.
    private weak let connection: SPDYConnection?

    init(id: UInt32, headers: [String: String], connection: SPDYConnection) {
        self.id = id
        self.headers = headers
        self.connection = connection
    }

    package func write(_ bytes: [UInt8]) async { await connection?.send(id, bytes, end: false) }
    /// Sends no more on this stream.
    package func finish() async { await connection?.send(id, [], end: true) }
    package func reset() { connection?.reset(id) }
}
