// SPDX-License-Identifier: Apache-2.0

public import NIOCore
import NIOHTTP1

/// The raw bytes of a connection that left HTTP behind.
public struct UpgradedConnection: Sendable {
    /// What the peer sends; ends when the peer is done sending. For one reader.
    public let inbound: Inbound
    private let channel: any Channel
    /// Of a connection that we made: closes it with the last copy.
    private let guardian: ConnectionGuard?

    init(channel: any Channel, queue: InboundQueue<ByteBuffer>, guardian: ConnectionGuard? = nil) {
        self.channel = channel
        self.guardian = guardian
        inbound = Inbound(queue: queue)
    }

    /// The bytes that arrive, pulled: a slow reader slows its peer.
    public struct Inbound: AsyncSequence, Sendable {
        public typealias Element = ByteBuffer
        let queue: InboundQueue<ByteBuffer>

        public func makeAsyncIterator() -> Iterator { Iterator(queue: queue) }

        public struct Iterator: AsyncIteratorProtocol {
            let queue: InboundQueue<ByteBuffer>
            public mutating func next() async throws -> ByteBuffer? { try await queue.next() }
        }
    }

    /// Sends the bytes; returns when they left the process, so a slow peer slows its writer.
    public func write(_ buffer: ByteBuffer) async throws {
        try await channel.writeAndFlush(buffer).get()
    }

    /// Says that nothing more will be sent; the peer may go on sending.
    public func finish() async { try? await channel.close(mode: .output).get() }

    /// Ends both directions.
    public func close() async { await channel.closeFully() }

    /// Ends our direction, waits for the peer to end its own, and closes. Nobody may be reading any more.
    ///
    /// A connection that is closed with bytes unread is reset, and the peer then loses what it has not taken yet. So what
    /// still comes is thrown away, for two seconds at most: some peers wait for us to close, and send no sign.
    public func closeInOrder() async {
        await finish()
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                do { for try await _ in inbound {} } catch { return }
            }
            group.addTask { try? await Task.sleep(for: .seconds(2)) }
            await group.next()
            group.cancelAll()
        }
        await close()
    }

    /// Carries bytes both ways until both have ended, or one has failed; then both connections are closed.
    public static func splice(_ left: UpgradedConnection, _ right: UpgradedConnection) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await left.pump(into: right) }
            group.addTask { await right.pump(into: left) }
        }
        await withTaskGroup(of: Void.self) { group in
            for connection in [left, right] { group.addTask { await connection.closeInOrder() } }
        }
    }

    private func pump(into other: UpgradedConnection) async {
        var buffers = inbound.makeAsyncIterator()
        while true {
            let buffer: ByteBuffer?
            do { buffer = try await buffers.next() } catch {
                // Whoever broke hears nothing any more either.
                await close()
                await other.close()
                return
            }
            guard let buffer else { return await other.finish() }
            do { try await other.write(buffer) } catch {
                // The other side is gone, but what it sent before may still be on its way here: the way back ends by
                // itself when that is through.
                return await other.close()
            }
        }
    }
}

/// The names under which handlers are found again at an upgrade.
enum HandlerName {
    static let encoder = "catbird.http.encoder"
    static let decoder = "catbird.http.decoder"
    static let bridge = "catbird.http.bridge"
}

extension ChannelPipeline.SynchronousOperations {
    /// Turns an HTTP pipeline into one of raw bytes. Without a `place` bytes that came with or after the head are in the
    /// decoder, which hands them on as it goes; so the new last handler is in place before.
    func becomeRaw(_ queue: InboundQueue<ByteBuffer>, after place: (any ChannelHandler)? = nil) throws {
        try addHandler(InboundHandler(queue), position: place.map { .after($0) } ?? .last)
        for name in [HandlerName.bridge, HandlerName.encoder, HandlerName.decoder] {
            removeHandler(name: name).whenFailure { queue.finish(throwing: $0) }
        }
    }
}
