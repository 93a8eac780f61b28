// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Bytes on their way from one task to another, in order, with a bound: `push` waits while the queue is full.
package final class ByteQueue: Sendable {
    private struct State {
        var chunks: [[UInt8]] = []
        var head = 0
        var size = 0
        var isFinished = false
        var reader: CheckedContinuation<Void, Never>?
        var writers: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())
    private let limit: Int

    package init(limit: Int = 1 << 20) { self.limit = limit }

    /// Adds bytes without waiting; the order of calls is the order of bytes. Bytes after the end are dropped.
    package func append(_ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        let reader = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard !state.isFinished else { return nil }
            state.chunks.append(bytes)
            state.size += bytes.count
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume()
    }

    /// Waits until there is room below the limit, or until nobody will read any more.
    package func room() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let now = state.withLock { state in
                    if state.size < limit || state.isFinished || Task.isCancelled { return true }
                    state.writers.append(continuation)
                    return false
                }
                if now { continuation.resume() }
            }
        } onCancel: {
            finish()
        }
    }

    package func push(_ bytes: [UInt8]) async {
        append(bytes)
        await room()
    }

    /// The next bytes; nil after the end, or when the task is cancelled. One task reads at a time.
    package func next() async -> [UInt8]? {
        while true {
            let (chunk, ended, writers) = state.withLock {
                state -> ([UInt8]?, Bool, [CheckedContinuation<Void, Never>]) in
                guard state.head < state.chunks.count else { return (nil, state.isFinished, []) }
                let chunk = state.chunks[state.head]
                state.head += 1
                state.size -= chunk.count
                if state.head == state.chunks.count {
                    state.chunks.removeAll(keepingCapacity: true)
                    state.head = 0
                } else if state.head > 64 {
                    state.chunks.removeFirst(state.head)
                    state.head = 0
                }
                guard state.size < limit else { return (chunk, false, []) }
                defer { state.writers = [] }
                return (chunk, false, state.writers)
            }
            for writer in writers { writer.resume() }
            if let chunk { return chunk }
            if ended || Task.isCancelled { return nil }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let previous = state.withLock { state -> CheckedContinuation<Void, Never>? in
                        if state.head < state.chunks.count || state.isFinished || Task.isCancelled {
                            return continuation
                        }
                        defer { state.reader = continuation }
                        return state.reader
                    }
                    previous?.resume()
                }
            } onCancel: {
                let reader = state.withLock { state in
                    defer { state.reader = nil }
                    return state.reader
                }
                reader?.resume()
            }
        }
    }

    /// No more bytes will come; what is queued can still be read.
    package func finish() {
        let waiting = state.withLock { state in
            state.isFinished = true
            defer {
                state.reader = nil
                state.writers = []
            }
            return state.writers + (state.reader.map { [$0] } ?? [])
        }
        for continuation in waiting { continuation.resume() }
    }

    package var isFinished: Bool { state.withLock { $0.isFinished } }
}
