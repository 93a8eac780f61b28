// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Takes apart what conmon sends to those who are attached: messages whose first byte names the stream, 2 for standard
/// output, 3 for standard error.
///
/// Whoever waits for one stream reads for both; no more is kept for the other than a slow reader may fall behind.
final class AttachedStreams: Sendable {
    private struct State {
        var queues: [UInt8: [[UInt8]]] = [2: [], 3: []]
        var queuedBytes = 0
        var isReading = false
        var isEnded = false
        var waiting: [UInt8: CheckedContinuation<Void, Never>] = [:]
    }
    private let state = Mutex(State())
    private let reader: DescriptorReader
    private static let limit = 4 << 20

    init(_ reader: DescriptorReader) { self.reader = reader }

    func cancel() { reader.cancel() }

    func stream(_ number: UInt8) -> AsyncStream<[UInt8]> {
        AsyncStream {
            await self.next(number)
        } onCancel: {
            self.wake()
        }
    }

    private enum Step { case give([UInt8]), end, read, wait }

    private func next(_ number: UInt8) async -> [UInt8]? {
        while !Task.isCancelled {
            let step = state.withLock { state -> Step in
                if let first = state.queues[number]?.first {
                    state.queues[number]?.removeFirst()
                    state.queuedBytes -= first.count
                    return .give(first)
                }
                if state.isEnded { return .end }
                if state.isReading { return .wait }
                state.isReading = true
                return .read
            }
            switch step {
            case .give(let bytes): return bytes
            case .end: return nil
            case .read: await read()
            case .wait:
                await withCheckedContinuation { continuation in
                    let isPointless = state.withLock { state in
                        if !state.isReading || state.isEnded || state.queues[number]?.isEmpty == false { return true }
                        state.waiting[number] = continuation
                        return false
                    }
                    if isPointless { continuation.resume() }
                }
            }
        }
        return nil
    }

    private func read() async {
        let message = await reader.next()
        state.withLock { state in
            state.isReading = false
            guard let message, let stream = message.first else {
                // The end, or whoever read was cancelled: that lets go of the container.
                if message == nil { state.isEnded = true }
                return
            }
            guard state.queues[stream] != nil, state.queuedBytes < Self.limit else { return }
            state.queues[stream]?.append(Array(message.dropFirst()))
            state.queuedBytes += message.count - 1
        }
        wake()
    }

    /// Lets those who wait look again.
    private func wake() {
        let waiting = state.withLock { state in
            defer { state.waiting = [:] }
            return Array(state.waiting.values)
        }
        for continuation in waiting { continuation.resume() }
    }
}
