// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization

/// Says when a client has been silent for too long.
///
/// A busy connection waits for its client thousands of times a second, and nearly never for long. So the event loop is
/// not told of each wait: its timer runs on, and sees when it fires whether somebody waits, and since when.
final class SilenceTimer: Sendable {
    private struct State {
        /// When the wait that is under way has lasted too long; nil while nobody waits.
        var deadline: NIODeadline?
        var timeout = TimeAmount.zero
        /// When the event loop's timer fires.
        var firing: (at: NIODeadline, timer: Scheduled<Void>)?
        var hasStopped = false
    }

    private let loop: any EventLoop
    private let onSilence: @Sendable (TimeAmount) -> Void
    private let state = Mutex(State())

    init(_ loop: any EventLoop, onSilence: @escaping @Sendable (TimeAmount) -> Void) {
        self.loop = loop
        self.onSilence = onSilence
    }

    /// A wait begins.
    func start(_ timeout: TimeAmount) {
        let deadline = NIODeadline.now() + timeout
        state.withLock { state in
            guard !state.hasStopped else { return }
            state.deadline = deadline
            state.timeout = timeout
            if let firing = state.firing {
                if firing.at <= deadline { return }
                firing.timer.cancel()
            }
            schedule(&state, deadline)
        }
    }

    /// The wait is over.
    func pause() { state.withLock { $0.deadline = nil } }

    /// Nobody will wait any more.
    func stop() {
        state.withLock { state in
            state.hasStopped = true
            state.deadline = nil
            return state.firing.take()
        }?.timer.cancel()
    }

    private func schedule(_ state: inout State, _ deadline: NIODeadline) {
        state.firing = (deadline, loop.scheduleTask(deadline: deadline) { self.fire() })
    }

    private func fire() {
        let elapsed: TimeAmount? = state.withLock { state in
            state.firing = nil
            guard let deadline = state.deadline, !state.hasStopped else { return nil }
            guard deadline <= .now() else {
                schedule(&state, deadline)
                return nil
            }
            state.deadline = nil
            return state.timeout
        }
        if let elapsed { onSilence(elapsed) }
    }
}
