// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Who waits for a result: told once, by whoever comes first, the work or the clock.
final class Answer<Value: Sendable>: Sendable {
    private struct State {
        var continuation: CheckedContinuation<Value, any Error>?
        var timer: Task<Void, Never>?
    }

    private let state: Mutex<State>

    init(_ continuation: CheckedContinuation<Value, any Error>) { state = Mutex(State(continuation: continuation)) }

    /// False when nobody waits any more.
    @discardableResult
    func resume(returning value: Value) -> Bool {
        let continuation = take()
        continuation?.resume(returning: value)
        return continuation != nil
    }

    @discardableResult
    func resume(throwing error: any Error) -> Bool {
        let continuation = take()
        continuation?.resume(throwing: error)
        return continuation != nil
    }

    /// Throws when there is no result by then.
    func expire(after deadline: Duration, throwing error: any Error & Sendable) {
        let timer = Task {
            guard (try? await Task.sleep(for: deadline)) != nil else { return }
            resume(throwing: error)
        }
        let isAnswered = state.withLock { state in
            state.timer = timer
            return state.continuation == nil
        }
        if isAnswered { timer.cancel() }
    }

    private func take() -> CheckedContinuation<Value, any Error>? {
        let (continuation, timer) = state.withLock { state in
            defer { state = State() }
            return (state.continuation, state.timer)
        }
        timer?.cancel()
        return continuation
    }
}
