// SPDX-License-Identifier: Apache-2.0

package import HTTPServing
import NIOCore

/// Between the HTTP server and a session.
package enum UpgradedSession {
    /// Gives a session the bytes of a connection; closes it when the session ends.
    package static func carry(
        _ connection: UpgradedConnection, _ body: @escaping @Sendable (ByteTransport) async -> Void
    ) async {
        let incoming = ByteQueue()
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                do {
                    for try await buffer in connection.inbound { await incoming.push(Array(buffer.readableBytesView)) }
                } catch {
                    // The connection broke: for the session that is its end.
                }
                incoming.finish()
            }
            await body(
                ByteTransport(
                    read: { await incoming.next() }, write: { try await connection.write(ByteBuffer(bytes: $0)) }))
            // Nobody reads what waits here, so that nobody may wait to put more.
            incoming.finish()
            group.cancelAll()
        }
        await connection.closeInOrder()
    }
}
