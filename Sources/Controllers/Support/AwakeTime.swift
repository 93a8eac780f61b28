// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Values

/// Since when this process has run without standing still: from its start, or from the end of the last gap, in which the
/// machine slept or the process was stopped.
///
/// Over a gap nothing could be heard of anybody. Whoever judges others by their silence counts from here, so that a
/// laptop that wakes up finds its nodes and pods as it left them.
final class AwakeTime: Sendable {
    struct Moment: Sendable, Equatable {
        var instant: ContinuousClock.Instant
        var time: Timestamp

        static var now: Moment { Moment(instant: .now, time: .now) }
    }

    private struct State {
        var awakeSince: Moment
        var lastLook: ContinuousClock.Instant
    }

    private let state: Mutex<State>
    /// How often somebody looks. When nobody did for three times as long, nobody could.
    private let interval: Duration

    init(interval: Duration, now: Moment = .now) {
        self.interval = interval
        state = Mutex(State(awakeSince: now, lastLook: now.instant))
    }

    /// Looks at the clock, and says since when the process is awake.
    func since(now: Moment = .now) -> Moment {
        state.withLock { state in
            if now.instant - state.lastLook > interval * 3 { state.awakeSince = now }
            state.lastLook = max(state.lastLook, now.instant)
            return state.awakeSince
        }
    }

    /// Looks at the clock until cancelled. A timer, because a gap is known by nothing but the look that did not come.
    func run() async { while (try? await Task.sleep(for: interval)) != nil { _ = since() } }
}
