// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Answers from upstream, each until its shortest time to live is over; the oldest go when there are too many.
final class ResponseCache: Sendable {
    struct Key: Hashable, Sendable {
        let name: [String]
        let type: UInt16
        let recordClass: UInt16
        let wantsEDNS: Bool

        init(_ question: Question, wantsEDNS: Bool) {
            name = question.name.lowercased
            type = question.type
            recordClass = question.recordClass
            self.wantsEDNS = wantsEDNS
        }
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

    var count: Int { state.withLock { $0.entries.count } }

    /// What is kept, and how old it is in seconds.
    func entry(_ key: Key, now: ContinuousClock.Instant = .now) -> (response: ForwardedResponse, age: UInt32)? {
        state.withLock { state in
            guard let entry = state.entries[key] else { return nil }
            guard entry.expires > now else {
                state.entries[key] = nil
                return nil
            }
            return (entry.response, UInt32(clamping: (now - entry.stored).components.seconds))
        }
    }

    func reply(_ key: Key, id: UInt16, shuffled: Bool = false, now: ContinuousClock.Instant = .now) -> [UInt8]? {
        entry(key, now: now).map { $0.response.reply(id: id, age: $0.age, shuffled: shuffled) }
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
