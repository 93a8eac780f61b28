// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Answers from upstream, each until its shortest time to live is over; the oldest go when there are too many.
package final class ResponseCache: Sendable {
    package struct Key: Hashable, Sendable {
        let name: [String]
        let type: UInt16
        let recordClass: UInt16
        let wantsEDNS: Bool

        package init(_ question: Question, wantsEDNS: Bool) {
            name = question.name.lowercased
            type = question.type
            recordClass = question.recordClass
            self.wantsEDNS = wantsEDNS
        }
    }

    private struct Entry {
        let response: ForwardedResponse
        let stored: ContinuousClock.Instant
        /// Its place in the order: a question that was asked again has a later one.
        let number: Int
        let expires: ContinuousClock.Instant
    }

    private struct State {
        var entries: [Key: Entry] = [:]
        /// The oldest first, from `first` on; places of what is gone are passed over.
        var order: [(key: Key, number: Int)] = []
        var first = 0
        var next = 0
    }

    private let state = Mutex(State())
    /// Seconds; CoreDNS' `cache` argument.
    private let maximumTTL: UInt32
    private let capacity: Int

    package init(maximumTTL: UInt32, capacity: Int = 9984) {
        self.maximumTTL = maximumTTL
        self.capacity = capacity
    }

    package var count: Int { state.withLock { $0.entries.count } }

    /// What is kept, and how old it is in seconds.
    package func entry(_ key: Key, now: ContinuousClock.Instant = .now) -> (response: ForwardedResponse, age: UInt32)? {
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

    package func store(_ key: Key, _ response: ForwardedResponse, now: ContinuousClock.Instant = .now) {
        // Failures and truncated answers are not worth keeping (RFC 2308 section 7 lets a failure be kept briefly).
        guard maximumTTL > 0, !response.isTruncated, response.code == 0 || response.code == 3,
            let ttl = response.shortestTTL.map({ min($0, maximumTTL) }), ttl > 0
        else { return }
        state.withLock { state in
            state.next += 1
            state.order.append((key, state.next))
            state.entries[key] = Entry(
                response: response, stored: now, number: state.next, expires: now + .seconds(Int(ttl)))
            forgetOldest(&state)
        }
    }

    private func forgetOldest(_ state: inout State) {
        while state.entries.count > capacity, state.first < state.order.count {
            let (key, number) = state.order[state.first]
            state.first += 1
            if state.entries[key]?.number == number { state.entries[key] = nil }
        }
        // Half of the places are of what is gone: then the others move up, which costs each store two moves.
        guard state.order.count > 2 * capacity + 16 else { return }
        let entries = state.entries
        state.order = state.order[state.first...].filter { entries[$0.key]?.number == $0.number }
        state.first = 0
    }
}
