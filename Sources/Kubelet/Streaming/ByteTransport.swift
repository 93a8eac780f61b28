// SPDX-License-Identifier: Apache-2.0

/// A connection that was upgraded, as bytes.
package struct ByteTransport: Sendable {
    /// The next bytes; nil when the other side is done or gone.
    package let read: @Sendable () async -> [UInt8]?
    package let write: @Sendable ([UInt8]) async throws -> Void

    package init(
        read: @escaping @Sendable () async -> [UInt8]?, write: @escaping @Sendable ([UInt8]) async throws -> Void
    ) {
        self.read = read
        self.write = write
    }

    /// Writes what `outbound` holds, until it ends or the other side is gone.
    func drain(_ outbound: ByteQueue) async {
        while let bytes = await outbound.next() {
            do { try await write(bytes) } catch {
                outbound.finish()
                return
            }
        }
    }
}

/// Runs the three parts of a session: what comes in, what goes out, and the work between them.
///
/// The work decides when the session ends: what it has queued is still written. When the other side goes first the work
/// is cancelled.
func runSession(
    _ transport: ByteTransport, outbound: ByteQueue, receive: @escaping @Sendable () async -> Void,
    work: @escaping @Sendable () async -> Void
) async {
    enum Part { case received, sent, worked }
    await withTaskGroup(of: Part.self) { group in
        group.addTask {
            await receive()
            return .received
        }
        group.addTask {
            await transport.drain(outbound)
            return .sent
        }
        group.addTask {
            await work()
            outbound.finish()
            return .worked
        }
        var worked = false
        var sent = false
        while let part = await group.next() {
            switch part {
            case .worked: worked = true
            case .sent: sent = true
            case .received: break
            }
            if worked, sent { break }
            // Whoever would have listened is gone.
            if !worked, part != .worked { group.cancelAll() }
        }
        group.cancelAll()
    }
}
