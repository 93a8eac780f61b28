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
        // The next look is when the oldest event's time is over, but neither all the time nor too late for one that
        // comes with an old date.
        let least = max(Duration.milliseconds(50), ttl / 60)
        let most = max(least, min(ttl / 4, .seconds(300)))
        var pause = most
        while (try? await Task.sleep(for: pause)) != nil {
            do {
                let oldest = try await sweep(ttl)
                let left = oldest.map { Duration.seconds($0.seconds(since: .now)) + ttl } ?? most
                pause = min(max(left, least), most)
            } catch {
                context.log.debug("sweeping events: \(error)")
                pause = most
            }
        }
    }

    /// Deletes what is too old; says when the oldest of the others was seen last.
    private func sweep(_ ttl: Duration) async throws -> Timestamp? {
        let limit = Timestamp.now.adding(seconds: -Double(ttl.components.seconds))
        var oldest: Timestamp?
        var rest: String?
        repeat {
            // In pages, so that a cluster full of events is never in memory as a whole.
            let page = try await context.client.list(.events, limit: 500, continueToken: rest)
            for event in page.items {
                guard let last = Self.lastSeen(event) else { continue }
                guard last < limit else {
                    oldest = min(oldest ?? last, last)
                    continue
                }
                do {
                    try await context.client.delete(.events, event.name, in: event.namespace, uid: event.uid)
                } catch let error as APIError where error.isNotFound || error.isConflict {
                    // Gone, or replaced by a new one.
                }
            }
            rest = page.continueToken
        } while rest != nil
        return oldest
    }

    static func lastSeen(_ event: KubeObject) -> Timestamp? {
        let times = [
            event["series"]["lastObservedTime"], event["lastTimestamp"], event["eventTime"],
            event.metadata["creationTimestamp"],
        ]
        return times.compactMap { $0.string.flatMap { Timestamp($0) } }.max()
    }
}
