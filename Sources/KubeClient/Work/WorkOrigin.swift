// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Which work a write was made for: a key of a queue, from its first attempt until it is in order.
///
/// What a worker writes comes back to it by watch, as does everything else. That must not count as a reason to try
/// again at once what has just failed: a status that tells of the failure would wake its own writer for ever. So the
/// cache that made the write tells the handlers of its echo as what it is, and a queue leaves such a key to its delay.
public struct WorkOrigin: Sendable, Hashable {
    private static let last = Atomic<Int>(0)
    private let number: Int

    init() { number = Self.last.wrappingAdd(1, ordering: .relaxed).newValue }

    /// The work that the present task does; nil outside of queues.
    @TaskLocal public static var current: WorkOrigin?
    /// Whose own write the handlers are being told of.
    @TaskLocal static var echoed: Set<WorkOrigin> = []

    /// Calls `body`, in which everything that is added to a queue is a consequence of a write of `origins`.
    public static func echoing(_ origins: Set<WorkOrigin>, _ body: () -> Void) {
        $echoed.withValue(origins, operation: body)
    }
}
