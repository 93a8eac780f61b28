// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Synchronization
import Values

/// An API server that answers as a test tells it, and remembers what it was asked.
final class ScriptedServer: APITransport {
    typealias Handler = @Sendable (APIRequest) async throws -> APIResponse

    private let handler: Handler
    private let log = Mutex<[APIRequest]>([])

    init(_ handler: @escaping Handler) { self.handler = handler }

    var requests: [APIRequest] { log.withLock { $0 } }

    func send(_ request: APIRequest) async throws -> APIResponse {
        log.withLock { $0.append(request) }
        return try await handler(request)
    }
}

extension APIRequest {
    func parameter(_ name: String) -> String? { query.first { $0.0 == name }?.1 }
    var isWatch: Bool { parameter("watch") == "true" }
    var json: JSON? { try? JSON(parsing: body) }
}

extension APIResponse {
    static func json(_ value: JSON, status: Int = 200) -> APIResponse {
        APIResponse(status: status, body: .bytes(value.serialized()))
    }

    static func failure(_ code: Int, _ reason: String, _ message: String = "no") -> APIResponse {
        .json(
            [
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": JSON(code), "reason": JSON(reason),
                "message": JSON(message),
            ], status: code)
    }
}

/// A server of one collection that the test changes: lists, watches and 410 as Kubernetes has them.
final class CollectionServer: APITransport {
    private struct State {
        var objects: [String: JSON] = [:]
        var events: [(revision: Int, line: [UInt8])] = []
        var revision = 1
        var compacted = 0
        var watchers: [Int: AsyncThrowingStream<[UInt8], any Error>.Continuation] = [:]
        var next = 0
        var failures = 0
        var lists = 0
    }

    private let state = Mutex(State())

    var lists: Int { state.withLock { $0.lists } }

    func set(_ name: String, uid: String = "1", value: Int) {
        state.withLock { state in
            state.revision += 1
            let existed = state.objects[name] != nil
            var object: JSON = [
                "metadata": [
                    "name": JSON(name), "namespace": "default", "uid": JSON(uid),
                    "resourceVersion": JSON(String(state.revision)),
                ], "value": JSON(value),
            ]
            state.objects[name] = object
            object["kind"] = "Pod"
            object["apiVersion"] = "v1"
            Self.emit(existed ? "MODIFIED" : "ADDED", object, &state)
        }
    }

    func remove(_ name: String) {
        state.withLock { state in
            guard var object = state.objects.removeValue(forKey: name) else { return }
            state.revision += 1
            object["metadata"]["resourceVersion"] = JSON(String(state.revision))
            Self.emit("DELETED", object, &state)
        }
    }

    private static func emit(_ type: String, _ object: JSON, _ state: inout State) {
        let line = (["type": JSON(type), "object": object] as JSON).serialized() + [0x0A]
        state.events.append((state.revision, line))
        for watcher in state.watchers.values { watcher.yield(line) }
    }

    /// Ends the watches; with `compact`, the past is gone for the next ones.
    func disconnect(compact: Bool = false, failures: Int = 0) {
        let watchers = state.withLock { state in
            if compact { state.compacted = state.revision + 1 }
            state.failures = failures
            defer { state.watchers = [:] }
            return Array(state.watchers.values)
        }
        for watcher in watchers { watcher.finish(throwing: compact ? nil : Refused()) }
    }

    /// What happens while nobody watches, and the past after it is gone.
    func compact() {
        state.withLock { state in
            state.compacted = state.revision
            state.events = []
        }
    }

    struct Refused: Error {}

    func send(_ request: APIRequest) async throws -> APIResponse {
        let answer: Result<APIResponse, any Error> = state.withLock { state in
            if state.failures > 0 {
                state.failures -= 1
                return .failure(Refused())
            }
            guard request.isWatch else {
                state.lists += 1
                return .success(
                    .json([
                        "kind": "PodList", "apiVersion": "v1",
                        "metadata": ["resourceVersion": JSON(String(state.revision))],
                        "items": .array(state.objects.sorted { $0.key < $1.key }.map(\.value)),
                    ]))
            }
            let version = Int(request.parameter("resourceVersion") ?? "") ?? 0
            guard version >= state.compacted else { return .success(.failure(410, "Expired", "too old")) }
            let (stream, continuation) = AsyncThrowingStream<[UInt8], any Error>.makeStream()
            for event in state.events where event.revision > version { continuation.yield(event.line) }
            state.next += 1
            state.watchers[state.next] = continuation
            return .success(APIResponse(status: 200, body: .stream(stream)))
        }
        return try answer.get()
    }
}

/// A clock whose sleeps end at once, for code that waits between attempts.
struct ImpatientClock: Clock {
    typealias Instant = ContinuousClock.Instant
    var now: Instant { .now }
    var minimumResolution: Duration { .zero }
    func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        try Task.checkCancellation()
        await Task.yield()
    }
}

extension InformerEvent {
    /// `+a=1`, `~a=1>2`, `-a=2`.
    var text: String {
        switch self {
        case .added(let object): "+\(object.name)=\(object["value"].int ?? -1)"
        case .updated(let old, let new): "~\(new.name)=\(old["value"].int ?? -1)>\(new["value"].int ?? -1)"
        case .deleted(let object): "-\(object.name)=\(object["value"].int ?? -1)"
        }
    }
}

/// A value that several tasks of a test share.
final class Shared<Value: Sendable>: Sendable {
    private let mutex: Mutex<Value>
    init(_ value: Value) { mutex = Mutex(value) }
    func withLock<Result: Sendable>(_ body: (inout sending Value) -> sending Result) -> Result { mutex.withLock(body) }
}
