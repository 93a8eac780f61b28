// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Logging
import Values

/// Writes reports as `Event` objects; a report repeated raises the count of its event.
struct EventWriter {
    private struct Known {
        let name: String
        var count: Int
        var lastUse: Int
    }

    /// Events remembered for counting.
    private static let memory = 4096

    private let client: KubeClient
    private let component: String
    private let host: String
    private let clock: any Clock<Duration>
    private let logger: Logger
    private var known: [[String]: Known] = [:]
    private var uses = 0

    init(_ client: KubeClient, component: String, host: String, clock: any Clock<Duration>, logger: Logger) {
        self.client = client
        self.component = component
        self.host = host
        self.clock = clock
        self.logger = logger
    }

    mutating func write(_ report: EventReport) async {
        var backoff = Backoff(least: .milliseconds(100))
        // Twelve attempts outlast a control plane that restarts; then the event is old news.
        for _ in 0..<12 {
            do {
                return try await attempt(report)
            } catch let error as APIError where !error.isTransient {
                // The namespace is going away, or events are not allowed to us: nothing to repeat.
                return logger.debug("event \(report.reason) dropped: \(error)")
            } catch {
                guard (try? await clock.sleep(for: backoff.next())) != nil else { return }
            }
        }
        logger.debug("event \(report.reason) dropped: no answer from the API server")
    }

    private mutating func attempt(_ report: EventReport) async throws {
        let namespace = report.involved["namespace"].string ?? "default"
        let identity = report.identity
        uses += 1
        if var event = known[identity] {
            let patch: JSON = ["count": JSON(event.count + 1), "lastTimestamp": JSON(report.time.description)]
            do {
                try await client.patch(.events, event.name, in: namespace, type: .merge, patch)
                event.count += 1
                event.lastUse = uses
                known[identity] = event
                return
            } catch let error as APIError where error.isNotFound {
                // Expired or deleted meanwhile: it starts anew.
                known[identity] = nil
            }
        }
        let object = object(for: report, in: namespace)
        do {
            try await client.create(.events, object)
        } catch let error as APIError where error.isAlreadyExists {
            // Our own create whose answer was lost.
        }
        forgetOldest()
        known[identity] = Known(name: object.name, count: 1, lastUse: uses)
    }

    private func object(for report: EventReport, in namespace: String) -> KubeObject {
        let time = JSON(report.time.description)
        let nanoseconds = report.time.seconds &* 1_000_000_000 &+ Int64(report.time.nanoseconds)
        let suffix = String(UInt64(bitPattern: nanoseconds), radix: 16)
        // An object's name may fill all 253 characters that an event's name may have.
        let name = "\((report.involved["name"].string ?? "").prefix(253 - suffix.count - 1)).\(suffix)"
        var event = KubeObject(.events, kind: "Event", name: name, namespace: namespace)
        event["involvedObject"] = report.involved
        event["reason"] = JSON(report.reason)
        event["message"] = JSON(report.message)
        event["type"] = JSON(report.type)
        event["source"] = ["component": JSON(component)]
        if !host.isEmpty { event["source"]["host"] = JSON(host) }
        event["firstTimestamp"] = time
        event["lastTimestamp"] = time
        event["count"] = 1
        event["reportingComponent"] = JSON(component)
        event["reportingInstance"] = JSON(host)
        return event
    }

    /// Keeps the memory bounded: half of it, the half not used for longest, goes at once.
    private mutating func forgetOldest() {
        guard known.count >= Self.memory else { return }
        let middle = known.values.map(\.lastUse).sorted()[known.count / 2]
        known = known.filter { $0.value.lastUse > middle }
    }
}
