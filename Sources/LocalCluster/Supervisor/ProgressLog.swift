// SPDX-License-Identifier: Apache-2.0

import Synchronization
public import Values

/// What the supervisor tells of itself: every event so far, and those to come.
public final class ProgressLog: Sendable {
    private struct State {
        var events: [JSON] = []
        var listeners: [Int: AsyncStream<JSON>.Continuation] = [:]
        var next = 0
    }

    private let state = Mutex(State())
    /// Older events are dropped: a cluster may run for months.
    private static let limit = 1000

    public init() {}

    /// Notes a step; `fields` are added to the event.
    public func note(_ step: String, _ message: String, _ fields: JSON = [:]) {
        var event: JSON = ["time": JSON(Timestamp.now.micro), "step": JSON(step), "message": JSON(message)]
        for (key, value) in fields.object ?? [:] { event[key] = value }
        let listeners = state.withLock { state in
            state.events.append(event)
            if state.events.count > Self.limit { state.events.removeFirst(state.events.count - Self.limit) }
            return Array(state.listeners.values)
        }
        for listener in listeners { listener.yield(event) }
    }

    /// What happened so far, then what happens until the reader stops.
    public func events() -> AsyncStream<JSON> {
        AsyncStream(bufferingPolicy: .bufferingNewest(Self.limit)) { continuation in
            let (number, past) = state.withLock { state in
                state.next += 1
                state.listeners[state.next] = continuation
                return (state.next, state.events)
            }
            for event in past { continuation.yield(event) }
            continuation.onTermination = { [weak self] _ in
                _ = self?.state.withLock { $0.listeners.removeValue(forKey: number) }
            }
        }
    }
}
