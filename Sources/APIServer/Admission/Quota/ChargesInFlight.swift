// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The writes that have been charged to a quota and are not done yet.
final class ChargesInFlight: Sendable {
    private struct Waiter {
        var pending: Set<Int>
        let continuation: CheckedContinuation<Void, Never>
    }

    private struct State {
        var next = 0
        var flying: [String: Set<Int>] = [:]
        var waiters: [String: [Waiter]] = [:]
    }

    private let state = Mutex(State())

    func depart(_ namespace: String) -> Int {
        state.withLock { state in
            state.next &+= 1
            state.flying[namespace, default: []].insert(state.next)
            return state.next
        }
    }

    /// Saying it twice does no harm.
    func land(_ id: Int, _ namespace: String) {
        let ready = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            state.flying[namespace]?.remove(id)
            if state.flying[namespace]?.isEmpty == true { state.flying[namespace] = nil }
            guard var waiters = state.waiters[namespace] else { return [] }
            for index in waiters.indices { waiters[index].pending.remove(id) }
            let ready = waiters.filter(\.pending.isEmpty).map(\.continuation)
            waiters.removeAll(where: \.pending.isEmpty)
            state.waiters[namespace] = waiters.isEmpty ? nil : waiters
            return ready
        }
        for continuation in ready { continuation.resume() }
    }

    /// Returns when all that are under way now have landed.
    func landed(_ namespace: String) async {
        await withCheckedContinuation { continuation in
            let isQuiet = state.withLock { state in
                guard let flying = state.flying[namespace] else { return true }
                state.waiters[namespace, default: []].append(Waiter(pending: flying, continuation: continuation))
                return false
            }
            if isQuiet { continuation.resume() }
        }
    }
}
