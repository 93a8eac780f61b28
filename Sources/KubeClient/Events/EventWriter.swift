// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Logging
import Values

/// Writes reports as `Event` objects; a report repeated raises the count of its event.
struct EventWriter {
    private struct Known {
        let name: String
        var count: Int
    }

    private let client: KubeClient
    private let component: String
    private let host: String
    private let clock: any Clock<Duration>
    private let logger: Logger
    private var correlator = EventCorrelator()
    /// Events remembered for counting.
    private var known = BoundedMap<[String], Known>(capacity: 4096)

    init(_ client: KubeClient, component: String, host: String, clock: any Clock<Duration>, logger: Logger) {
        self.client = client
        self.component = component
        self.host = host
        self.clock = clock
        self.logger = logger
    }

    mutating func write(_ report: EventReport) async {
        let verdict = correlator.judge(report)
        guard verdict.isWritten else {
            // The next one that is written tells of it.
            if let event = known[verdict.identity] {
                known[verdict.identity] = Known(name: event.name, count: event.count + 1)
            }
            return
        }
        var backoff = Backoff(least: .milliseconds(100))
        // Twelve attempts outlast a control plane that restarts; then the event is old news.
        for _ in 0..<12 {
            do {
                return try await attempt(verdict.report, verdict.identity)
            } catch let error as APIError where !error.isTransient {
                // The namespace is going away, or events are not allowed to us: nothing to repeat.
                return logger.debug("event \(report.reason) dropped: \(error)")
            } catch {
                guard (try? await clock.sleep(for: backoff.next())) != nil else { return }
            }
        }
        logger.debug("event \(report.reason) dropped: no answer from the API server")
    }

    private mutating func attempt(_ report: EventReport, _ identity: [String]) async throws {
        let namespace = report.involved["namespace"].string ?? "default"
        if let event = known[identity] {
            var patch: JSON = ["count": JSON(event.count + 1), "lastTimestamp": JSON(report.time.description)]
            // Combined events say what the latest of them said.
            if identity == report.group { patch["message"] = JSON(report.message) }
            do {
                try await client.patch(.events, event.name, in: namespace, type: .merge, patch)
                known[identity] = Known(name: event.name, count: event.count + 1)
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
        known[identity] = Known(name: object.name, count: 1)
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
}
