// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// What becomes of a request that a process sends to the store.
enum Fate: Sendable, Hashable, CaseIterable {
    case run
    /// The store answers with an error, and has done nothing, half, or all of it.
    case failBefore, failHalf, failAfter
    /// Somebody else was faster, it says.
    case conflict
    /// The process is killed; the request is lost, carried out, or carried out later.
    case killBefore, killAfter, killLate

    var kills: Bool { [.killBefore, .killAfter, .killLate].contains(self) }
}

/// Lets processes run one at a time: each stops at every request to the store until it is let go.
final class Gate: Sendable {
    private struct State {
        var parked: [Int: CheckedContinuation<Fate, Never>] = [:]
        var running = 0
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    /// The processes that wait, by number.
    var parked: [Int] { state.withLock { $0.parked.keys.sorted() } }

    func start(_ body: @escaping @Sendable () async -> Void) {
        state.withLock { $0.running += 1 }
        Task {
            await body()
            leave { _ in }
        }
    }

    func park(_ id: Int) async -> Fate {
        await withCheckedContinuation { continuation in leave { $0.parked[id] = continuation } }
    }

    private func leave(_ change: (inout State) -> Void) {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            change(&state)
            state.running -= 1
            guard state.running == 0 else { return nil }
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    /// Returns when every process waits at the gate or has finished.
    func settle() async {
        await withCheckedContinuation { continuation in
            let isDone = state.withLock { state in
                if state.running > 0 { state.waiter = continuation }
                return state.running == 0
            }
            if isDone { continuation.resume() }
        }
    }

    func letGo(_ id: Int, _ fate: Fate) async {
        let continuation = state.withLock { state in
            state.running += 1
            return state.parked.removeValue(forKey: id)
        }
        continuation?.resume(returning: fate)
        await settle()
    }
}
