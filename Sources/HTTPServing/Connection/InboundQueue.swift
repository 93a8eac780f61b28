// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// What arrived and was not read yet: filled by an event loop, emptied by one task.
///
/// Above `highWatermark` the event loop stops reading from its socket, so that a slow reader slows the sender; below
/// half of it reading goes on.
final class InboundQueue<Element: Sendable>: Sendable {
    /// How an arrival ended.
    enum Ending: Sendable {
        /// The peer sends no more; it may still read.
        case half
        /// The connection is gone.
        case full
    }

    private struct State {
        var elements: [Element?] = []
        var head = 0
        var weight = 0
        var waiter: CheckedContinuation<Element?, any Error>?
        var ending: Result<Void, any Error>?
        var isGone = false
        var isReadHeld = false
        var onEnding: (@Sendable (Ending) -> Void)?
        var onDrained: (@Sendable () -> Void)?

        mutating func pop(weighing weight: (Element) -> Int) -> Element? {
            guard head < elements.count, let element = elements[head] else { return nil }
            elements[head] = nil
            head += 1
            if head == elements.count {
                elements.removeAll(keepingCapacity: true)
                head = 0
            } else if head > 256 {
                elements.removeFirst(head)
                head = 0
            }
            self.weight -= weight(element)
            return element
        }
    }

    private let state = Mutex(State())
    private let highWatermark: Int
    private let weight: @Sendable (Element) -> Int

    init(highWatermark: Int, weight: @escaping @Sendable (Element) -> Int) {
        self.highWatermark = highWatermark
        self.weight = weight
    }

    // MARK: - The event loop's side

    func push(_ element: Element) {
        let waiter = state.withLock { state -> CheckedContinuation<Element?, any Error>? in
            guard state.ending == nil else { return nil }
            if let waiter = state.waiter.take() { return waiter }
            state.elements.append(element)
            state.weight += weight(element)
            return nil
        }
        waiter?.resume(returning: element)
    }

    /// Whether to read from the socket now. If not, `onDrained` is called when it is time.
    func shouldRead() -> Bool {
        state.withLock { state in
            state.isReadHeld = state.weight >= highWatermark
            return !state.isReadHeld
        }
    }

    func setOnDrained(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.onDrained = body } }

    /// Nothing more comes. What is queued can still be read; the first ending counts.
    func finish(throwing error: (any Error)? = nil, ending: Ending = .half) {
        let (waiter, onEnding) = state.withLock { state in
            if state.ending == nil { state.ending = error.map { .failure($0) } ?? .success(()) }
            if ending == .full { state.isGone = true }
            return (state.waiter.take(), state.onEnding)
        }
        if let error { waiter?.resume(throwing: error) } else { waiter?.resume(returning: nil) }
        onEnding?(ending)
    }

    // MARK: - The reader's side

    /// Calls `body` at each ending from now on; at once when there was one.
    func setOnEnding(_ body: (@Sendable (Ending) -> Void)?) {
        let ending: Ending? = state.withLock { state in
            state.onEnding = body
            return state.ending == nil ? nil : state.isGone ? .full : .half
        }
        if let ending { body?(ending) }
    }

    /// How it ended; nil while more may come.
    var ending: Ending? {
        state.withLock { $0.ending == nil ? nil : $0.isGone ? .full : .half }
    }

    /// The next element; nil at the end. For one reader at a time.
    func next() async throws -> Element? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Element?, any Error>) in
                take(continuation)
            }
        } onCancel: {
            state.withLock { $0.waiter.take() }?.resume(throwing: CancellationError())
        }
    }

    /// The next element if it has come already.
    func nextIfThere() -> Element? {
        let (element, drained): (Element?, (@Sendable () -> Void)?) = state.withLock { state in
            guard let element = state.pop(weighing: weight) else { return (nil, nil) }
            return (element, release(&state))
        }
        drained?()
        return element
    }

    private enum Step: Sendable {
        case wait
        case give(Element, drained: (@Sendable () -> Void)?)
        case end(Result<Void, any Error>)
    }

    private func take(_ continuation: CheckedContinuation<Element?, any Error>) {
        switch state.withLock({ step(&$0, continuation) }) {
        case .wait: break
        case .give(let element, let drained):
            drained?()
            continuation.resume(returning: element)
        case .end(.success): continuation.resume(returning: nil)
        case .end(.failure(let error)): continuation.resume(throwing: error)
        }
    }

    private func step(_ state: inout State, _ continuation: CheckedContinuation<Element?, any Error>) -> Step {
        if let element = state.pop(weighing: weight) {
            return .give(element, drained: release(&state))
        }
        if let ending = state.ending { return .end(ending) }
        // Cancelled before the waiter was there to be resumed.
        if Task.isCancelled { return .end(.failure(CancellationError())) }
        state.waiter = continuation
        return .wait
    }

    /// What is called when reads that were held go on; nil when they were not, or are held on.
    private func release(_ state: inout State) -> (@Sendable () -> Void)? {
        guard state.isReadHeld, state.weight <= highWatermark / 2 else { return nil }
        state.isReadHeld = false
        return state.onDrained
    }
}
