// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Answers from upstream, each until its shortest time to live is over; the oldest go when there are too many.
final class ResponseCache: Sendable {
    struct Key: Hashable, Sendable {
        let name: [String]
        let type: UInt16
        let recordClass: UInt16
        let wantsEDNS: Bool
    }

    private struct Entry {
        let response: ForwardedResponse
        let stored: ContinuousClock.Instant
        let expires: ContinuousClock.Instant
    }

    private struct State {
        var entries: [Key: Entry] = [:]
        var order: [Key] = []
    }

    private let state = Mutex(State())
    /// Seconds; CoreDNS' `cache` argument.
    private let maximumTTL: UInt32
    private let capacity: Int

    init(maximumTTL: UInt32, capacity: Int = 9984) {
        self.maximumTTL = maximumTTL
        self.capacity = capacity
    }

    func reply(_ key: Key, id: UInt16, now: ContinuousClock.Instant = .now) -> [UInt8]? {
        state.withLock { state in
            guard let entry = state.entries[key] else { return nil }
            guard entry.expires > now else {
                state.entries[key] = nil
                return nil
            }
            let age = (now - entry.stored).components.seconds
            return entry.response.reply(id: id, age: UInt32(clamping: age))
        }
    }

    func store(_ key: Key, _ response: ForwardedResponse, now: ContinuousClock.Instant = .now) {
        // Failures and truncated answers are not worth keeping (RFC 2308 section 7 lets a failure be kept briefly).
        guard maximumTTL > 0, !response.isTruncated, response.code == 0 || response.code == 3,
            let ttl = response.shortestTTL.map({ min($0, maximumTTL) }), ttl > 0
        else { return }
        state.withLock { state in
            if state.entries[key] == nil { state.order.append(key) }
            state.entries[key] = Entry(response: response, stored: now, expires: now + .seconds(Int(ttl)))
            if state.order.count > capacity {
                let surplus = state.order.prefix(state.order.count - capacity)
                for old in surplus { state.entries[old] = nil }
                state.order.removeFirst(surplus.count)
            }
        }
    }
}
