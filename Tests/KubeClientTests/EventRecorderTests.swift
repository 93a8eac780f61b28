// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

@Suite(.timeLimit(.minutes(1))) struct EventRecorderTests {
    private var pod: KubeObject {
        var pod = KubeObject(.pods, kind: "Pod", name: "web", namespace: "shop")
        pod["metadata"]["uid"] = "u1"
        return pod
    }

    @Test func anEventNamesItsObjectAndIsCountedWhenRepeated() async throws {
        let server = ScriptedServer { request in .json(request.json ?? [:]) }
        let recorder = EventRecorder(KubeClient(server), component: "kubelet", host: "lab")
        for _ in 0..<3 {
            recorder.record(pod, type: .warning, reason: "BackOff", message: "again", fieldPath: "spec.containers{web}")
        }
        recorder.record(pod, type: .normal, reason: "Pulled", message: "other")
        await recorder.flush()
        let requests = server.requests
        #expect(requests.map(\.method) == ["POST", "PATCH", "PATCH", "POST"])
        let event = try #require(requests[0].json)
        let name = try #require(event["metadata"]["name"].string)
        #expect(name.hasPrefix("web.") && event["metadata"]["namespace"].string == "shop")
        #expect(
            event["involvedObject"] == [
                "kind": "Pod", "name": "web", "uid": "u1", "apiVersion": "v1", "namespace": "shop",
                "fieldPath": "spec.containers{web}",
            ])
        #expect(event["source"] == ["component": "kubelet", "host": "lab"] && event["count"].int == 1)
        #expect(event["type"].string == "Warning" && event["reason"].string == "BackOff")
        #expect(requests[2].path == "/api/v1/namespaces/shop/events/\(name)" && requests[2].json["count"].int == 3)
    }

    @Test func anEventThatExpiredStartsAnew() async throws {
        let server = ScriptedServer { request in
            request.method == "PATCH" ? .failure(404, "NotFound") : .json(request.json ?? [:])
        }
        let recorder = EventRecorder(KubeClient(server), component: "c")
        for _ in 0..<2 { recorder.record(pod, type: .normal, reason: "R", message: "m") }
        await recorder.flush()
        #expect(server.requests.map(\.method) == ["POST", "PATCH", "POST"])
        #expect(server.requests[2].json["count"].int == 1)
    }

    @Test func aServerThatIsAwayForAWhileLosesNothing() async throws {
        let failures = Shared(4)
        let server = ScriptedServer { request in
            let fails = failures.withLock { left in
                left -= 1
                return left >= 0
            }
            return fails ? .failure(503, "ServiceUnavailable") : .json(request.json ?? [:])
        }
        let recorder = EventRecorder(KubeClient(server), component: "c", clock: ImpatientClock())
        recorder.record(pod, type: .normal, reason: "R", message: String(repeating: "é", count: 2000))
        await recorder.flush()
        #expect(server.requests.count == 5)
        let message = try #require(server.requests[4].json["message"].string)
        #expect(message.utf8.count <= 1024 && message.hasSuffix("é..."))
    }

    @Test func aForbiddenEventIsDropped() async {
        let server = ScriptedServer { _ in .failure(403, "Forbidden") }
        let recorder = EventRecorder(KubeClient(server), component: "c")
        recorder.record(reference: ["kind": "Node", "name": "lab"], type: .normal, reason: "R", message: "m")
        await recorder.flush()
        #expect(server.requests.map(\.path) == ["/api/v1/namespaces/default/events"])
    }
}
