// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Logging
import Values

/// Deletes events that are older than their time to live.
///
/// By the clock, because age is what it looks for, and by listing, because holding every event in memory to delete it
/// an hour later would be a waste.
struct EventExpiry: Controller {
    let context: ControllerContext

    init(_ context: ControllerContext) { self.context = context }

    func register() {}

    func run() async {
        let ttl = context.configuration.eventTTL
        let period = max(Duration.milliseconds(50), min(ttl / 4, .seconds(300)))
        while (try? await Task.sleep(for: period)) != nil {
            do {
                try await sweep(ttl)
            } catch {
                context.log.debug("sweeping events: \(error)")
            }
        }
    }

    private func sweep(_ ttl: Duration) async throws {
        let limit = Timestamp.now.adding(seconds: -Double(ttl.components.seconds))
        for event in try await context.client.list(.events).items {
            guard let last = Self.lastSeen(event), last < limit else { continue }
            do {
                try await context.client.delete(.events, event.name, in: event.namespace, uid: event.uid)
            } catch let error as APIError where error.isNotFound || error.isConflict {
                // Gone, or replaced by a new one.
            }
        }
    }

    static func lastSeen(_ event: KubeObject) -> Timestamp? {
        let times = [
            event["series"]["lastObservedTime"], event["lastTimestamp"], event["eventTime"],
            event.metadata["creationTimestamp"],
        ]
        return times.compactMap { $0.string.flatMap { Timestamp($0) } }.max()
    }
}
