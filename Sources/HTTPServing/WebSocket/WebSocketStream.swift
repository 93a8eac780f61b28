// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// A stream that only goes out, over a connection that has become a WebSocket: watches and logs.
package enum WebSocketStream {
    /// Sends a frame of the encoder's.
    package typealias Send = @Sendable (_ frame: [UInt8]) async throws -> Void

    /// Runs `produce` until it ends or the client goes, and closes the connection. Messages of the client are ignored;
    /// its pings are answered.
    package static func run(
        _ connection: UpgradedConnection, _ produce: @escaping @Sendable (@escaping Send) async throws -> Void
    ) async {
        let send: Send = { try await connection.write(ByteBuffer(bytes: $0)) }
        let reason = await withTaskGroup(of: Ending.self) { group in
            group.addTask { await receive(connection, send) }
            group.addTask {
                do { try await produce(send) } catch { return .ours(1011) }
                return .ours(1000)
            }
            let first = await group.next() ?? .gone
            group.cancelAll()
            return first
        }
        switch reason {
        case .ours(let code):
            try? await send(WebSocketEncoder.close(code))
            await connection.closeInOrder()
        case .theirs(let code):
            try? await send(WebSocketEncoder.close(code))
            await connection.finish()
            await connection.close()
        case .gone: await connection.close()
        }
    }

    private enum Ending: Sendable {
        case ours(UInt16)
        /// The client said goodbye, or broke the rules: the code to answer with.
        case theirs(UInt16?)
        case gone
    }

    private static func receive(_ connection: UpgradedConnection, _ send: Send) async -> Ending {
        var decoder = WebSocketDecoder(maximumMessage: 64 << 10)
        do {
            for try await buffer in connection.inbound {
                let events: [WebSocketEvent]
                do throws(WebSocketViolation) {
                    events = try decoder.feed(buffer.readableBytesView)
                } catch {
                    return .theirs(error.code)
                }
                for event in events {
                    switch event {
                    case .ping(let payload): try await send(WebSocketEncoder.pong(payload))
                    case .close(let code, _): return .theirs(code)
                    case .text, .binary, .pong: break
                    }
                }
            }
        } catch {
            return .gone
        }
        return .gone
    }
}
