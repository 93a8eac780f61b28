// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

/// Bodies that no client of good will sends: each is answered in Kubernetes' words, and the server goes on.
@Suite struct BadBodyTests {
    private static let maps = "/api/v1/namespaces/default/configmaps"
    private static let deployments = "/apis/apps/v1/namespaces/default/deployments"

    private static func map(_ data: String) -> String {
        #"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"},"data":\#(data)}"#
    }

    /// Bodies that are refused as no object, in JSON.
    static let malformed: [String] = [
        "", "{", "not JSON", "[]", "null", "\"text\"", "1", "{\"a\":1}{\"b\":2}", "{\"kind\":}", "{'kind':'ConfigMap'}",
        String(repeating: "[", count: 10_000),
        String(repeating: "[", count: 10_000) + String(repeating: "]", count: 10_000),
        String(repeating: "{\"a\":", count: 10_000) + "1" + String(repeating: "}", count: 10_000),
        "{\"metadata\":{\"name\":\"\u{1}\"}}", "{\"a\":1e999}", "{\"a\":-1e999}", "{\"a\":01}", "{\"a\":+1}",
        "{\"a\":NaN}",
        "{\"a\":\(String(repeating: "9", count: 400))}",
    ]

    @Test(arguments: malformed)
    func malformedBodiesAreBadRequests(_ body: String) async throws {
        try await SocketFixture.with { server in
            for (method, path) in [("POST", Self.maps), ("PUT", Self.maps + "/m")] {
                let answer = try await server.exchange(method, path, body)
                #expect(answer.status == 400, "\(answer.json)")
                #expect(answer.json["kind"] == "Status" && answer.json["reason"] == "BadRequest")
            }
            try await server.requireHealth()
        }
    }

    @Test func invalidUTF8IsRefused() async throws {
        try await SocketFixture.with { server in
            var body = Array(Self.map("{\"a\":\"X\"}").utf8)
            if let place = body.lastIndex(of: UInt8(ascii: "X")) { body[place] = 0xFF }
            for type in ["application/json", "application/yaml"] {
                let answer = try await server.exchange("POST", Self.maps, body, type: type)
                #expect(answer.status == 400 && answer.json["reason"] == "BadRequest", "\(type)")
            }
        }
    }

    @Test func yamlThatGrowsWithoutBoundIsRefused() async throws {
        try await SocketFixture.with { server in
            var bomb = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\nx0: &x0 [a, a, a, a, a, a, a, a, a]\n"
            for level in 1..<12 {
                let row = Array(repeating: "*x\(level - 1)", count: 9).joined(separator: ", ")
                bomb += "x\(level): &x\(level) [\(row)]\n"
            }
            let nested = "data: " + String(repeating: "[", count: 10_000)
            for body in [bomb, nested, nested + String(repeating: "]", count: 10_000), "&a [*a]", "a: *nothing", "\t:"]
            {
                let answer = try await server.exchange("POST", Self.maps, body, type: "application/yaml")
                #expect(answer.status == 400 && answer.json["reason"] == "BadRequest", "\(answer.json)")
            }
            try await server.requireHealth()
        }
    }

    @Test func numbersThatDoNotFitTheirFieldsAreRefused() async throws {
        try await SocketFixture.with { server in
            for number in ["1e30", "3000000000", "99999999999999999999", "1.5", "-1", "1e999", "\"3\"", "true"] {
                let body =
                    #"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":\#(number),"#
                    + #""selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"#
                    + #""spec":{"containers":[{"name":"c","image":"i"}]}}}}"#
                let answer = try await server.exchange("POST", Self.deployments, body)
                #expect(answer.status == (number == "-1" ? 422 : 400), "\(number): \(answer.json)")
                #expect(answer.json["kind"] == "Status")
            }
            let surge =
                #"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"strategy":{"rollingUpdate":"#
                + #"{"maxSurge":9223372036854775807}},"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":"#
                + #"{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}"#
            #expect(try await server.exchange("POST", Self.deployments, surge).status == 400)
            let percent = surge.replacing("9223372036854775807", with: "\"9223372036854775807%\"")
            #expect(try await server.exchange("POST", Self.deployments, percent).status == 201)
        }
    }

    @Test func graceWithoutEndStaysADate() async throws {
        try await SocketFixture.with { server in
            let pod =
                #"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"nodeName":"n","#
                + #""terminationGracePeriodSeconds":9000000000000000000,"containers":[{"name":"c","image":"i"}]}}"#
            let pods = "/api/v1/namespaces/default/pods"
            #expect(try await server.exchange("POST", pods, pod).status == 201)
            for seconds in ["9223372036854775807", "-5", "1e300"] {
                let answer = try await server.exchange("DELETE", pods + "/p", "{\"gracePeriodSeconds\":\(seconds)}")
                #expect(answer.json["kind"] == (seconds == "1e300" ? "Status" : "Pod"), "\(answer.json)")
                let deadline = answer.json["metadata"]["deletionTimestamp"].string
                if let deadline { #expect(Timestamp(deadline) != nil, "\(deadline)") }
            }
        }
    }

    @Test func keysThatStandTwiceAreNamed() async throws {
        try await SocketFixture.with { server in
            let body = Self.map(#"{"a":"1","a":"2"}"#)
            let strict = try await server.exchange("POST", Self.maps + "?fieldValidation=Strict", body)
            #expect(strict.status == 400)
            #expect(strict.json["message"].string?.hasSuffix(#"duplicate field "data.a""#) == true)
            let warned = try await server.exchange("POST", Self.maps, body)
            #expect(warned.status == 201 && warned.headers.contains(#"299 - "duplicate field \"data.a\"""#))
            #expect(warned.json["data"]["a"] == "2")
        }
    }

    @Test func objectsOfManyKeysTakeNoLongerThanTheyAreLong() async throws {
        try await SocketFixture.with { server in
            // Looked up by walking, as objects of few keys are, these would take minutes.
            let keys = (0..<20_000).map { "\"k\($0)\":\"\"" }.joined(separator: ",")
            let answer = try await server.exchange("POST", Self.maps, Self.map("{\(keys)}"))
            #expect(answer.status == 413 || answer.status == 422 || answer.status == 201, "\(answer.status)")
            let patch = "{\"data\":{\((0..<20_000).map { "\"k\($0)\":null" }.joined(separator: ","))}}"
            let patched = try await server.exchange(
                "PATCH", Self.maps + "/m", patch, type: "application/merge-patch+json")
            #expect(patched.json["kind"] != .null)
        }
    }

    @Test func bodiesBeyondTheLimitAreTooLarge() async throws {
        try await SocketFixture.with { server in
            let size = 100 << 20
            // Announced: refused before it is sent, and not asked for where the client waits to be asked.
            for headers in [["Content-Length: \(size)"], ["Content-Length: \(size)", "Expect: 100-continue"]] {
                let socket = try RawSocket(port: server.port)
                var kept: [UInt8] = []
                try await socket.send(
                    server.head("POST", Self.maps, headers[0], headers.count > 1 ? headers[1] : "X-Nothing: 1"))
                let answer = try await socket.response(&kept)
                #expect(answer.status == 413 && answer.json["reason"] == "RequestEntityTooLarge")
                #expect(answer.json["message"].string?.hasPrefix("Request entity too large: limit is 3145728") == true)
            }
            // In chunks: refused as soon as it is too much; the connection ends.
            let socket = try RawSocket(port: server.port)
            try await socket.send(server.head("POST", Self.maps, "Transfer-Encoding: chunked"))
            let chunk = Array("100000\r\n".utf8) + [UInt8](repeating: 0x20, count: 0x10_0000) + Array("\r\n".utf8)
            async let answer: RawSocket.Response = {
                var kept: [UInt8] = []
                return try await socket.response(&kept)
            }()
            var taken = 0
            while taken < 100, try await socket.send(chunk) { taken += 1 }
            #expect(try await answer.status == 413)
            #expect(taken < 100, "the server took all of 100 MiB")
            try await server.requireHealth()
        }
    }

    @Test func unknownContentTypesAreUnsupported() async throws {
        try await SocketFixture.with { server in
            for type in ["text/plain", "application/xml", "application/json-patch+json", ";;;", "application/cbor"] {
                let answer = try await server.exchange("POST", Self.maps, Self.map("{}"), type: type)
                #expect(answer.status == 415 && answer.json["reason"] == "UnsupportedMediaType", "\(type)")
            }
            _ = try await server.exchange("POST", Self.maps, Self.map("{}"))
            let patch = try await server.exchange("PATCH", Self.maps + "/m", "{}")
            #expect(patch.status == 415)
            #expect(patch.json["message"].string?.contains("application/strategic-merge-patch+json") == true)
            for accept in ["application/xml", "text/html;q=0.9", "application/json;as=Table;v=v7;g=meta.k8s.io"] {
                let answer = try await server.exchange("GET", Self.maps, [], accept: accept)
                #expect(answer.status == 406 && answer.json["reason"] == "NotAcceptable", "\(accept)")
            }
        }
    }

    static let patches: [(type: String, patch: String, status: Int)] = [
        ("json-patch", "{}", 400), ("json-patch", "[1]", 400), ("json-patch", #"[{"op":"fly","path":"/a"}]"#, 400),
        ("json-patch", #"[{"op":"add","path":"data","value":1}]"#, 400),
        ("json-patch", #"[{"op":"remove","path":"/data/none"}]"#, 422),
        ("json-patch", #"[{"op":"remove","path":""}]"#, 400),
        ("json-patch", #"[{"op":"replace","path":"","value":[]}]"#, 400),
        ("json-patch", #"[{"op":"add","path":"/data/-1/x/~9~","value":""}]"#, 422),
        ("json-patch", #"[{"op":"test","path":"/data/a","value":"no"}]"#, 422),
        ("json-patch", #"[{"op":"move","from":"/data","path":"/data/a"}]"#, 422),
        ("json-patch", #"[{"op":"add","path":"/metadata","value":"text"}]"#, 400),
        ("json-patch", #"[{"op":"remove","path":"/metadata/name"}]"#, 200),
        ("json-patch", #"[{"op":"replace","path":"/metadata/name","value":"other"}]"#, 400),
        ("merge-patch", "[]", 400), ("merge-patch", "null", 400), ("merge-patch", #"{"metadata":"text"}"#, 400),
        ("merge-patch", #"{"metadata":null}"#, 200), ("merge-patch", #"{"data":[1]}"#, 400),
        ("merge-patch", #"{"kind":"Pod"}"#, 400), ("merge-patch", #"{"apiVersion":7}"#, 400),
        ("strategic-merge-patch", #"{"$patch":"fly"}"#, 400), ("strategic-merge-patch", #"{"data":{"$patch":7}}"#, 400),
        ("strategic-merge-patch", #"{"$retainKeys":7}"#, 400), ("strategic-merge-patch", "[]", 400),
        ("strategic-merge-patch", #"{"metadata":{"ownerReferences":[7]}}"#, 400),
        ("strategic-merge-patch", #"{"metadata":{"ownerReferences":[{"name":"no key"}]}}"#, 400),
        ("strategic-merge-patch", #"{"metadata":{"$setElementOrder/finalizers":{"a":1}}}"#, 200),
    ]

    @Test func patchesThatDoNotFitAreRefused() async throws {
        try await SocketFixture.with { server in
            #expect(try await server.exchange("POST", Self.maps, Self.map(#"{"a":"1"}"#)).status == 201)
            for (type, patch, status) in Self.patches {
                let answer = try await server.exchange(
                    "PATCH", Self.maps + "/m", patch, type: "application/\(type)+json")
                #expect(answer.status == status, "\(type) \(patch): \(answer.json)")
                if status >= 400 { #expect(answer.json["kind"] == "Status") }
            }
            let map = try await server.exchange("GET", Self.maps + "/m").json
            #expect(map["data"] == ["a": "1"] && map["metadata"]["name"] == "m" && map["metadata"]["uid"].string != nil)
        }
    }

    @Test func patchesCannotTakeAwayWhatIsRequired() async throws {
        try await SocketFixture.with { server in
            let body =
                #"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"selector":{"matchLabels":"#
                + #"{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}"#
            #expect(try await server.exchange("POST", Self.deployments, body).status == 201)
            for patch in [
                #"{"spec":null}"#, #"{"spec":{"template":null}}"#, #"{"spec":{"selector":null}}"#,
                #"{"spec":{"template":{"spec":{"containers":null}}}}"#,
                #"{"spec":{"template":{"spec":{"containers":[{"name":"c","image":null}]}}}}"#,
            ] {
                let answer = try await server.exchange(
                    "PATCH", Self.deployments + "/d", patch, type: "application/merge-patch+json")
                #expect(answer.status == 422 && answer.json["reason"] == "Invalid", "\(patch): \(answer.json)")
                #expect(answer.json["details"]["causes"].array?.isEmpty == false)
            }
        }
    }

    @Test func largePatchesAreBounded() async throws {
        try await SocketFixture.with { server in
            _ = try await server.exchange("POST", Self.maps, Self.map(#"{"a":"1"}"#))
            func patch(_ operations: String) async throws -> RawSocket.Response {
                try await server.exchange(
                    "PATCH", Self.maps + "/m", "[\(operations)]", type: "application/json-patch+json")
            }
            let test = #"{"op":"test","path":"/data/a","value":"1"}"#
            let many = try await patch(Array(repeating: test, count: 10_001).joined(separator: ","))
            #expect(many.status == 413)
            #expect(
                many.json["message"].string?.contains(
                    "The allowed maximum operations in a JSON patch is 10000, got 10001") == true)
            #expect(try await patch(Array(repeating: test, count: 10_000).joined(separator: ",")).status == 200)
            // Copies of copies double each time.
            let copies = (0..<64).map { #"{"op":"copy","from":"/data","path":"/data/x\#($0)"}"# }
            let copied = try await patch(copies.joined(separator: ","))
            #expect(copied.status == 422 && copied.json["message"].string?.contains("exceeding the limit") == true)
            // Each operation goes deeper than what could be read.
            let nest = String(repeating: #"{"a":"#, count: 200) + "{}" + String(repeating: "}", count: 200)
            let steps = String(repeating: "/a", count: 201)
            let deeper = try await patch(
                #"{"op":"add","path":"/data","value":\#(nest)},{"op":"add","path":"/data\#(steps)","value":\#(nest)}"#)
            #expect(deeper.status == 422 && deeper.json["message"].string?.contains("nested deeper") == true)
            try await server.requireHealth()
        }
    }
}
