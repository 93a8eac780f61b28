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

    @Test func similarEventsAreCombinedFromTheTenthOn() async throws {
        let server = ScriptedServer { request in .json(request.json ?? [:]) }
        let recorder = EventRecorder(KubeClient(server), component: "c")
        for number in 1...13 {
            recorder.record(pod, type: .warning, reason: "Failed", message: "attempt \(number)")
        }
        // Another reason is another matter.
        recorder.record(pod, type: .warning, reason: "Other", message: "alone")
        await recorder.flush()
        let requests = server.requests
        #expect(requests.map(\.method) == Array(repeating: "POST", count: 10) + ["PATCH", "PATCH", "PATCH", "POST"])
        #expect(requests[8].json["message"].string == "attempt 9")
        #expect(requests[9].json["message"].string == "(combined from similar events): attempt 10")
        let name = try #require(requests[9].json["metadata"]["name"].string)
        #expect(requests[12].path.hasSuffix("/events/\(name)"))
        #expect(requests[12].json["count"].int == 4)
        #expect(requests[12].json["message"].string == "(combined from similar events): attempt 13")
        #expect(requests[13].json["message"].string == "alone")
    }

    @Test func whoReportsWithoutEndIsNotHeardForAWhile() async throws {
        let server = ScriptedServer { request in .json(request.json ?? [:]) }
        let recorder = EventRecorder(KubeClient(server), component: "c")
        for _ in 0..<40 { recorder.record(pod, type: .warning, reason: "BackOff", message: "again") }
        var other = pod
        other["metadata"]["uid"] = "u2"
        recorder.record(other, type: .warning, reason: "BackOff", message: "again")
        await recorder.flush()
        // 25 at once; the others of this object wait, those of another do not.
        #expect(server.requests.count == 26)
        #expect(server.requests[24].json["count"].int == 25)
        #expect(server.requests[25].json["involvedObject"]["uid"].string == "u2")
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
