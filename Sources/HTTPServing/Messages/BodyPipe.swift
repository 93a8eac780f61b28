// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Hands pieces from a writer to a reader, one at a time: the writer goes on when its piece was taken.
final class BodyPipe: Sendable {
    private struct State {
        var piece: [UInt8]?
        var writer: CheckedContinuation<Void, any Error>?
        var hasEnded = false
    }

    private let state = Mutex(State())
    private let queue = InboundQueue<[UInt8]>(highWatermark: 1, weight: { _ in 1 })

    /// Suspends until the reader has taken the piece, or is gone.
    func send(_ piece: [UInt8]) async throws {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                let isCancelled = state.withLock { state in
                    if state.hasEnded || Task.isCancelled { return true }
                    state.writer = continuation
                    return false
                }
                if isCancelled { return continuation.resume(throwing: CancellationError()) }
                queue.push(piece)
            }
        } onCancel: {
            state.withLock { $0.writer.take() }?.resume(throwing: CancellationError())
        }
    }

    func next() async throws -> [UInt8]? {
        let piece = try await queue.next()
        state.withLock { $0.writer.take() }?.resume()
        return piece
    }

    func finish(throwing error: (any Error)? = nil) { queue.finish(throwing: error) }

    /// The reader is gone.
    func cancel() {
        state.withLock { state in
            state.hasEnded = true
            return state.writer.take()
        }?.resume(throwing: CancellationError())
    }
}

/// The reader's end: when it goes, the writer's task is cancelled.
final class PipeReader: Sendable {
    private let pipe: BodyPipe
    private let writer: Task<Void, Never>

    init(pipe: BodyPipe, writer: Task<Void, Never>) {
        self.pipe = pipe
        self.writer = writer
    }

    func next() async throws -> [UInt8]? { try await pipe.next() }

    deinit {
        writer.cancel()
        pipe.cancel()
    }
}
