// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Logging
public import Values

/// Writes events about objects. The caller never waits: events queue up to a bound and are written in order by
/// a task that ends with the recorder; beyond the bound, and when the server stays away, they are dropped.
public final class EventRecorder: Sendable {
    public enum EventType: String, Sendable {
        case normal = "Normal"
        case warning = "Warning"
    }

    private enum Item: Sendable {
        case event(EventReport)
        case marker(CheckedContinuation<Void, Never>)
    }

    private let continuation: AsyncStream<Item>.Continuation

    public init(
        _ client: KubeClient, component: String, host: String? = nil, capacity: Int = 1024,
        clock: any Clock<Duration> = ContinuousClock(), logger: Logger = Logger(label: "events")
    ) {
        let (stream, continuation) = AsyncStream<Item>.makeStream(bufferingPolicy: .bufferingOldest(capacity))
        self.continuation = continuation
        // Not structured: it lives as long as the recorder, whose deinit ends the stream and with it the task.
        Task {
            var writer = EventWriter(client, component: component, host: host ?? "", clock: clock, logger: logger)
            for await item in stream {
                switch item {
                case .event(let report): await writer.write(report)
                case .marker(let continuation): continuation.resume()
                }
            }
        }
    }

    deinit { continuation.finish() }

    /// Records that something happened to `object`; `fieldPath` narrows it, as in `spec.containers{web}`.
    public func record(
        _ object: KubeObject, type: EventType, reason: String, message: String, fieldPath: String? = nil
    ) {
        record(
            reference: Self.reference(to: object), type: type, reason: reason, message: message, fieldPath: fieldPath)
    }

    /// The same, for an object that is known by reference only (`kind`, `name`, `namespace`, `uid`, `apiVersion`).
    public func record(
        reference: JSON, type: EventType, reason: String, message: String, fieldPath: String? = nil
    ) {
        var involved = reference
        if let fieldPath { involved["fieldPath"] = JSON(fieldPath) }
        continuation.yield(
            .event(
                EventReport(
                    involved: involved, type: type.rawValue, reason: reason, message: EventReport.shortened(message),
                    time: .now)))
    }

    /// Returns when everything recorded before has been written or given up.
    public func flush() async {
        await withCheckedContinuation { marker in
            if case .enqueued = continuation.yield(.marker(marker)) { return }
            marker.resume()
        }
    }

    /// An `ObjectReference`.
    public static func reference(to object: KubeObject) -> JSON {
        var reference: JSON = [
            "kind": JSON(object.kind), "name": JSON(object.name), "uid": JSON(object.uid),
            "apiVersion": JSON(object.apiVersion),
        ]
        if let namespace = object.namespace { reference["namespace"] = JSON(namespace) }
        if !object.resourceVersion.isEmpty { reference["resourceVersion"] = JSON(object.resourceVersion) }
        return reference
    }
}

/// One thing that happened.
struct EventReport: Sendable {
    let involved: JSON
    let type: String
    let reason: String
    var message: String
    let time: Timestamp

    /// What it is about.
    var object: [String] { ["kind", "namespace", "name", "uid", "apiVersion"].map { involved[$0].string ?? "" } }

    /// What makes two reports similar, whatever they say.
    var group: [String] { object + [type, reason] }

    /// What makes two reports the same event, repeated.
    var identity: [String] { group + [involved["fieldPath"].string ?? "", message] }

    /// Kubernetes keeps at most 1,024 bytes of an event's message.
    static func shortened(_ message: String) -> String {
        guard message.utf8.count > 1024 else { return message }
        var short = ""
        for character in message {
            guard short.utf8.count + character.utf8.count <= 1021 else { break }
            short.append(character)
        }
        return short + "..."
    }
}
