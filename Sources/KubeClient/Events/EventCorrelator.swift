// SPDX-License-Identifier: Apache-2.0

import Values

/// Decides what becomes of a report, as client-go does: many similar ones become one event, and who reports without end
/// about one object is not heard for a while.
struct EventCorrelator {
    struct Verdict {
        var report: EventReport
        /// Reports of the same identity raise the count of one event.
        var identity: [String]
        /// Whether it is written; otherwise it is only counted.
        var isWritten: Bool
    }

    /// Different messages of one kind about one object, from which on they are combined.
    private static let similar = 10
    /// Seconds of silence after which they are told apart again.
    private static let silence = 600.0
    /// Reports about one object that are written at once; then one every `pause` seconds.
    private static let burst = 25.0
    private static let pause = 300.0

    private struct Similar {
        var messages: Set<String> = []
        var last: Timestamp
    }

    private struct Allowance {
        var left: Double
        var last: Timestamp
    }

    private var groups = BoundedMap<[String], Similar>(capacity: 4096)
    private var allowances = BoundedMap<[String], Allowance>(capacity: 4096)

    mutating func judge(_ report: EventReport) -> Verdict {
        let isCombined = isCombined(report)
        var combined = report
        if isCombined {
            combined.message = EventReport.shortened("(combined from similar events): " + report.message)
        }
        return Verdict(
            report: combined, identity: isCombined ? report.group : report.identity, isWritten: isAllowed(report))
    }

    private mutating func isCombined(_ report: EventReport) -> Bool {
        var group = groups[report.group] ?? Similar(last: report.time)
        if report.time.seconds(since: group.last) > Self.silence { group.messages = [] }
        group.messages.insert(report.message)
        group.last = report.time
        let isCombined = group.messages.count >= Self.similar
        // Any of them may go: the set only tells that there are many.
        if isCombined, let first = group.messages.first { group.messages.remove(first) }
        groups[report.group] = group
        return isCombined
    }

    private mutating func isAllowed(_ report: EventReport) -> Bool {
        var allowance = allowances[report.object] ?? Allowance(left: Self.burst, last: report.time)
        let gained = max(0, report.time.seconds(since: allowance.last)) / Self.pause
        allowance.left = min(Self.burst, allowance.left + gained)
        allowance.last = report.time
        let isAllowed = allowance.left >= 1
        if isAllowed { allowance.left -= 1 }
        allowances[report.object] = allowance
        return isAllowed
    }
}

/// A dictionary that never holds more than its capacity: half of it, the half not used for longest, goes at once.
struct BoundedMap<Key: Hashable, Value> {
    private let capacity: Int
    private var entries: [Key: (value: Value, lastUse: Int)] = [:]
    private var uses = 0

    init(capacity: Int) { self.capacity = max(2, capacity) }

    subscript(key: Key) -> Value? {
        get { entries[key]?.value }
        set {
            guard let newValue else {
                entries[key] = nil
                return
            }
            uses &+= 1
            if entries[key] == nil, entries.count >= capacity {
                let middle = entries.values.map(\.lastUse).sorted()[entries.count / 2]
                entries = entries.filter { $0.value.lastUse > middle }
            }
            entries[key] = (newValue, uses)
        }
    }
}
