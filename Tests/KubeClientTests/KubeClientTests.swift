// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

@Suite(.timeLimit(.minutes(1))) struct KubeClientTests {
    @Test func requestsAreThoseOfTheAPI() async throws {
        let server = ScriptedServer { _ in .json(["kind": "Pod", "apiVersion": "v1", "metadata": ["name": "web"]]) }
        let client = KubeClient(server, userAgent: "test")
        var pod = KubeObject(.pods, kind: "Pod", name: "web", namespace: "default")
        pod["spec"]["nodeName"] = "lab"
        _ = try await client.get(.pods, "web", in: "default")
        try await client.create(.pods, pod)
        try await client.update(.pods, pod, subresource: "status")
        try await client.patch(.pods, "web", in: "default", type: .strategic, ["metadata": [:]])
        try await client.create(.pods, name: "web", in: "default", subresource: "binding", ["target": ["name": "lab"]])
        try await client.delete(
            .pods, "web", in: "default", uid: "u", gracePeriodSeconds: 0, propagationPolicy: "Foreground")
        let requests = server.requests
        #expect(
            requests.map { "\($0.method) \($0.path)" } == [
                "GET /api/v1/namespaces/default/pods/web", "POST /api/v1/namespaces/default/pods",
                "PUT /api/v1/namespaces/default/pods/web/status", "PATCH /api/v1/namespaces/default/pods/web",
                "POST /api/v1/namespaces/default/pods/web/binding", "DELETE /api/v1/namespaces/default/pods/web",
            ])
        #expect(requests[1].json == pod.json)
        #expect(requests[3].headers.contains { $0 == ("Content-Type", "application/strategic-merge-patch+json") })
        #expect(
            requests[5].json == [
                "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": ["uid": "u"], "gracePeriodSeconds": 0,
                "propagationPolicy": "Foreground",
            ])
        #expect(requests.allSatisfy { $0.headers.contains { $0 == ("User-Agent", "test") } })
    }

    @Test func itemsOfAListSayWhatTheyAre() async throws {
        let server = ScriptedServer { _ in
            .json([
                "kind": "DeploymentList", "apiVersion": "apps/v1",
                "metadata": ["resourceVersion": "7", "continue": "c"],
                "items": [["metadata": ["name": "a"]]],
            ])
        }
        let list = try await KubeClient(server).list(.deployments, in: "x", labelSelector: "a=b", limit: 1)
        #expect(list.resourceVersion == "7" && list.continueToken == "c")
        #expect(list.items.first?.groupVersionKind == GroupVersionKind("apps", "v1", "Deployment"))
        #expect(server.requests[0].parameter("labelSelector") == "a=b" && server.requests[0].parameter("limit") == "1")
    }

    @Test func refusalsKeepTheirStatus() async throws {
        let server = ScriptedServer { request in
            switch request.method {
            case "GET": .failure(404, "NotFound", "pods \"web\" not found")
            case "POST": .failure(409, "AlreadyExists")
            case "PUT": .failure(409, "Conflict")
            default: APIResponse(status: 502, body: .bytes(Array("<html>\nbad gateway".utf8)))
            }
        }
        let client = KubeClient(server)
        let pod = KubeObject(.pods, kind: "Pod", name: "web")
        let missing = await #expect(throws: APIError.self) { try await client.get(.pods, "web") }
        #expect(missing?.isNotFound == true && missing?.description == "pods \"web\" not found (NotFound)")
        let taken = await #expect(throws: APIError.self) { try await client.create(.pods, pod) }
        #expect(taken?.isAlreadyExists == true && taken?.isConflict == false)
        let changed = await #expect(throws: APIError.self) { try await client.update(.pods, pod) }
        #expect(changed?.isConflict == true)
        let gateway = await #expect(throws: APIError.self) { try await client.delete(.pods, "web") }
        #expect(gateway?.isTransient == true && gateway?.message == "the server answered 502: <html> bad gateway")
    }

    @Test func watchesCutEventsOutOfAnyPieces() async throws {
        let lines = (1...20).map { index -> String in
            let type = index % 5 == 0 ? "BOOKMARK" : "MODIFIED"
            return #"{"type":"\#(type)","object":{"metadata":{"name":"é\#(index)","resourceVersion":"\#(index)"}}}"#
        }
        let bytes = Array((lines.joined(separator: "\n") + "\n\n").utf8)
        for size in [1, 2, 7, 64, 1000, bytes.count] {
            let server = ScriptedServer { _ in
                let (stream, continuation) = AsyncThrowingStream<[UInt8], any Error>.makeStream()
                for start in stride(from: 0, to: bytes.count, by: size) {
                    continuation.yield(Array(bytes[start..<min(start + size, bytes.count)]))
                }
                continuation.finish()
                return APIResponse(status: 200, body: .stream(stream))
            }
            var events: [WatchEvent] = []
            for try await batch in try await KubeClient(server).watch(.pods, resourceVersion: "3") { events += batch }
            #expect(events.map(\.object.name) == (1...20).map { "é\($0)" }, "pieces of \(size)")
            #expect(events.filter { $0.type == .bookmark }.count == 4)
            #expect(server.requests[0].parameter("resourceVersion") == "3")
        }
    }

    @Test func anErrorInAWatchComesAfterTheEventsBeforeIt() async throws {
        let server = ScriptedServer { _ in
            let text = """
                {"type":"ADDED","object":{"metadata":{"name":"a"}}}
                {"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}

                """
            return APIResponse(status: 200, body: .bytes(Array(text.utf8)))
        }
        let stream = try await KubeClient(server).watch(.pods)
        var names: [String] = []
        let error = await #expect(throws: APIError.self) {
            for try await batch in stream { names += batch.map(\.object.name) }
        }
        #expect(names == ["a"] && error?.isGone == true)
    }

    @Test(arguments: ["{}", "nonsense", #"{"type":"ADDED"}"#, #"{"type":"OTHER","object":{}}"#])
    func nonsenseInAWatchIsAnError(line: String) async throws {
        let server = ScriptedServer { _ in APIResponse(status: 200, body: .bytes(Array((line + "\n").utf8))) }
        let stream = try await KubeClient(server).watch(.pods)
        await #expect(throws: MalformedAnswer.self) { for try await _ in stream {} }
    }
}
