// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Synchronization

/// One reader of an informer: what it has been told, and what it has still to hear.
///
/// Changes wait as one entry an object, from what the reader knows to what is true now. So a slow reader holds no more
/// than one entry an object, gets everything that happened meanwhile in one batch, and never misses the last state.
final class InformerSubscriber: Sendable {
    private let pending = Mutex(PendingChanges())
    private let wake: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init() {
        // One element is enough: it says "look", and looking takes everything.
        (wake, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    func note(_ changes: [(old: KubeObject?, new: KubeObject?)]) {
        pending.withLock { pending in
            for change in changes { pending.note(old: change.old, new: change.new) }
        }
        continuation.yield()
    }

    /// What there is at this moment.
    func take() -> [InformerEvent] { pending.withLock { $0.take() } }

    func finish() { continuation.finish() }

    /// The next batch; nil when the informer is gone or the reader cancelled.
    func next() async -> [InformerEvent]? {
        while true {
            let batch = pending.withLock { $0.take() }
            if !batch.isEmpty { return batch }
            var iterator = wake.makeAsyncIterator()
            if await iterator.next() == nil { return nil }
        }
    }
}

/// Changes in the order in which their objects first changed, at most one an object.
struct PendingChanges {
    private var order: [ObjectKey] = []
    private var changes: [ObjectKey: (known: KubeObject?, now: KubeObject?)] = [:]

    mutating func note(old: KubeObject?, new: KubeObject?) {
        guard let key = (new ?? old)?.key else { return }
        if let known = changes[key]?.known {
            changes[key] = (known, new)
        } else if changes[key] != nil {
            changes[key] = (nil, new)
        } else {
            order.append(key)
            changes[key] = (old, new)
        }
    }

    /// Empties itself. An object replaced by another of its name is a deletion and an addition.
    mutating func take() -> [InformerEvent] {
        var events: [InformerEvent] = []
        events.reserveCapacity(order.count)
        for key in order {
            switch changes[key] {
            case (nil, let now?)?: events.append(.added(now))
            case (let known?, nil)?: events.append(.deleted(known))
            case (let known?, let now?)? where known.uid != now.uid:
                events.append(.deleted(known))
                events.append(.added(now))
            case (let known?, let now?)? where known != now: events.append(.updated(old: known, new: now))
            default: break
            }
        }
        order.removeAll(keepingCapacity: true)
        changes.removeAll(keepingCapacity: true)
        return events
    }
}
