// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// How much of something each client may have at once, and all of them together: no client can leave nothing to the
/// others.
final class ClientLimits: Sendable {
    private struct State {
        var total = 0
        var counts: [String: Int] = [:]
    }

    private let state = Mutex(State())
    private let each: Int
    private let all: Int

    init(each: Int, all: Int) {
        self.each = each
        self.all = all
    }

    /// - Returns: false when there is no more for this client.
    func enter(_ client: String) -> Bool {
        state.withLock { state in
            guard state.total < all, state.counts[client, default: 0] < each else { return false }
            state.total += 1
            state.counts[client, default: 0] += 1
            return true
        }
    }

    func leave(_ client: String) {
        state.withLock { state in
            guard let count = state.counts[client] else { return }
            state.total -= 1
            state.counts[client] = count > 1 ? count - 1 : nil
        }
    }
}
