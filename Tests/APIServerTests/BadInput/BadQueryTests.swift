// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

/// Paths and queries that mean nothing, and those that mean something odd.
@Suite struct BadQueryTests {
    private static let maps = "/api/v1/namespaces/default/configmaps"
    private static let pods = "/api/v1/namespaces/default/pods"

    /// What is refused, with which code and words.
    static let refused: [(query: String, code: Int, words: String)] = [
        ("limit=x", 400, #"strconv.ParseInt: parsing "x": invalid syntax"#),
        ("limit=1e3", 400, #"strconv.ParseInt: parsing "1e3": invalid syntax"#),
        ("limit=99999999999999999999", 400, #"strconv.ParseInt: parsing "99999999999999999999": value out of range"#),
        ("timeoutSeconds=x", 400, #"strconv.ParseInt: parsing "x": invalid syntax"#),
        ("resourceVersion=abc", 400, #"Invalid value: "abc""#), ("resourceVersion=-1", 400, #"Invalid value: "-1""#),
        ("resourceVersion=18446744073709551616", 400, "Invalid value"),
        ("resourceVersion=9223372036854775807", 504, "Too large resource version"),
        ("watch=1&resourceVersion=abc", 400, "Invalid value"),
        ("watch=1&resourceVersion=9223372036854775807", 504, "Too large resource version"),
        ("continue=%21%21", 400, "continue key is not valid"), ("continue=e30", 400, "continue key is not valid"),
        (
            "continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTk5OTk5OTk5OTk5OTk5OTk5OTk5LCJzdGFydCI6Ii8ifQ", 400,
            "continue"
        ),
        ("labelSelector=a%3D%3D%3Db", 400, "unable to parse requirement: found '=', expected: identifier"),
        ("labelSelector=%2C%2C", 400, "unable to parse requirement"),
        ("labelSelector=a+in+%28", 400, "unable to parse requirement"),
        ("labelSelector=-a", 400, "unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist"),
        ("labelSelector=a%3E1.5", 400, "the value must be an integer"),
        ("labelSelector=%00%01%02", 400, "unable to parse requirement"),
        ("fieldSelector=spec", 400, "invalid selector: 'spec'; can't understand 'spec'"),
        ("fieldSelector=a%3D%5Cx", 400, "invalid selector"),
        ("fieldSelector=spec.none%3D1", 400, "field label not supported: spec.none"),
        ("fieldSelector=metadata.uid%3D1", 400, "field label not supported: metadata.uid"),
        ("resourceVersionMatch=Exact", 422, "resourceVersionMatch is forbidden unless resourceVersion is provided"),
        ("resourceVersionMatch=NotOlderThan", 422, "is forbidden unless resourceVersion is provided"),
        ("resourceVersionMatch=Often&resourceVersion=1", 422, #"supported values: "Exact", "NotOlderThan", """#),
        ("resourceVersionMatch=Exact&resourceVersion=0", 422, #""exact\" is forbidden for resourceVersion \"0\""#),
        ("resourceVersionMatch=Exact&resourceVersion=1&continue=x", 422, "forbidden when continue is provided"),
        ("resourceVersion=5&continue=eyJ", 400, "specifying resource version is not allowed when using continue"),
        ("sendInitialEvents=true", 422, "sendInitialEvents is forbidden for list"),
        ("watch=1&resourceVersionMatch=NotOlderThan", 422, "forbidden for watch unless sendInitialEvents is provided"),
        (
            "watch=1&sendInitialEvents=true", 422,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        ),
        ("watch=1&sendInitialEvents=true&resourceVersionMatch=Exact", 422, #"supported values: "NotOlderThan""#),
        (
            "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&continue=x", 422,
            "forbidden when continue is provided"
        ),
    ]

    @Test func queriesThatMeanNothingAreRefused() async throws {
        try await SocketFixture.with { server in
            for (query, code, words) in Self.refused {
                let answer = try await server.exchange("GET", "\(Self.pods)?\(query)")
                let message = answer.json["message"].string ?? ""
                #expect(answer.status == code && answer.json["kind"] == "Status", "\(query): \(answer.json)")
                #expect(message.contains(words.replacing("\\\"", with: "\"")), "\(query): \(message)")
                if code == 422 { #expect(answer.json["details"]["kind"] == "ListOptions", "\(query)") }
            }
        }
    }

    @Test func queriesThatMeanSomethingOddAreHeeded() async throws {
        try await SocketFixture.with { server in
            for name in ["a", "b", "c"] { _ = try await server.fixture.client.create(.configMaps, configMap(name)) }
            func names(_ query: String) async throws -> [String] {
                let answer = try await server.exchange("GET", "\(Self.maps)?\(query)")
                #expect(answer.status == 200, "\(query): \(answer.json)")
                return (answer.json["items"].array ?? []).compactMap { $0["metadata"]["name"].string }
            }
            for query in [
                "limit=-1", "limit=0", "limit=9223372036854775807", "limit=", "resourceVersion=", "labelSelector=",
                "resourceVersion=0", "resourceVersion=0&limit=1", "resourceVersion=1&resourceVersionMatch=NotOlderThan",
                "watch=0", "watch=false", "watch=FALSE", "fieldSelector=", "labelSelector=!x", "unknown=1&&=&a",
                "fieldSelector=metadata.name%21%3Dx,metadata.namespace%3Ddefault", "pretty=maybe",
            ] { #expect(try await names(query) == ["a", "b", "c"], "\(query)") }
            #expect(try await names("limit=1&resourceVersion=1") == ["a"])
            #expect(try await names("labelSelector=x") == [])
            // Whatever is not false is true.
            for flag in ["watch=maybe", "watch", "watch=1", "watch=true&timeoutSeconds=1"] {
                let answer = try await server.exchange("GET", "\(Self.maps)?\(flag)&timeoutSeconds=1")
                let lines = String(decoding: answer.body, as: UTF8.self)
                #expect(answer.status == 200 && lines.contains(#"{"type":"ADDED""#), "\(flag)")
            }
            let over = try await server.exchange("GET", "\(Self.maps)?watch=1&timeoutSeconds=-1")
            #expect(over.status == 200)
        }
    }

    @Test func optionsOfWritesAreChecked() async throws {
        try await SocketFixture.with { server in
            let body = #"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"}}"#
            let long = String(repeating: "x", count: 129)
            for (query, words) in [
                ("dryRun=maybe", #"supported values: "All""#),
                ("fieldManager=\(long)", "may not be more than 128 bytes"),
                ("fieldManager=a%01", "invalid character U+0001 (at position 1)"),
                ("fieldValidation=Sometimes", #"supported values: "Ignore", "Strict", "Warn""#),
            ] {
                let answer = try await server.exchange("POST", "\(Self.maps)?\(query)", body)
                #expect(answer.status == 422 && answer.json["details"]["kind"] == "CreateOptions", "\(answer.json)")
                #expect(answer.json["message"].string?.contains(words) == true, "\(answer.json)")
            }
            for options in [
                #"{"propagationPolicy":"Sometimes"}"#, #"{"dryRun":["Some"]}"#,
                #"{"propagationPolicy":"Orphan","orphanDependents":true}"#,
            ] {
                _ = try await server.exchange("POST", Self.maps, body)
                let answer = try await server.exchange("DELETE", Self.maps + "/m", options)
                #expect(answer.status == 422 && answer.json["details"]["kind"] == "DeleteOptions", "\(answer.json)")
            }
            for options in [#"{"gracePeriodSeconds":"x"}"#, #"{"preconditions":7}"#, "[]", "x"] {
                let answer = try await server.exchange("DELETE", Self.maps + "/m", options)
                #expect(answer.status == 400, "\(options): \(answer.json)")
            }
        }
    }

    @Test func pathsAreTakenAsTheyStand() async throws {
        try await SocketFixture.with { server in
            _ = try await server.fixture.client.create(.configMaps, configMap("m"))
            for (path, code) in [
                ("/api/v1/namespaces/default/configmaps/..", 404),
                ("/api/v1/namespaces/default/configmaps/%2e%2e", 404),
                ("/api/v1/namespaces/../namespaces/default/configmaps/m", 404),
                ("/api/v1/namespaces/default/configmaps/..%2Fsecrets%2Fs", 404),
                ("/api/v1/namespaces/default/configmaps/m%00", 400), ("/api/v1/namespaces/default/configmaps/%zz", 400),
                ("/api/v1/namespaces/default/configmaps/%ff", 400),
                ("//api//v1//namespaces//default//configmaps/m", 200),
                ("/api/v1/namespaces/default/configmaps/m/", 200), ("/api/v1/namespaces/default/config%6Daps/m", 200),
                ("/api/v2/namespaces/default/configmaps/m", 404), ("/apis//v1/x", 404), ("/api/v1", 200),
                ("/api/v1/", 200),
                ("/apis/apps", 200), ("/apis/none", 404), ("/none", 404), ("/../../etc/passwd", 404),
                ("/openapi/v3/../../etc/passwd", 404), ("/api/v1/nodes/%2e%2e%2f%2e%2e/proxy", 404),
                ("/api/v1/namespaces/default/configmaps/m/none", 404), ("/api/v1/configmaps/m", 404),
            ] {
                let answer = try await server.exchange("GET", path)
                #expect(answer.status == code, "\(path): \(answer.status)")
            }
            let long = String(repeating: "x", count: 10_000)
            let missing = try await server.exchange("GET", "\(Self.maps)/\(long)")
            #expect(missing.status == 404 && missing.json["reason"] == "NotFound")
            let named = try await server.exchange(
                "POST", Self.maps, #"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"\#(long)"}}"#)
            #expect(named.status == 422 && named.json["message"].string?.contains("must be no more than 253") == true)
            for name in ["..", ".", "a/b", "a%b", "A", "", "a\\u0000"] {
                let answer = try await server.exchange(
                    "POST", Self.maps, #"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"\#(name)"}}"#)
                #expect(answer.status == 422, "\(name): \(answer.json)")
            }
        }
    }

    @Test func methodsThatAreNotThereAreRefused() async throws {
        try await SocketFixture.with { server in
            _ = try await server.fixture.client.create(.configMaps, configMap("m"))
            for (method, path) in [
                ("POST", Self.maps + "/m"), ("PUT", Self.maps), ("PATCH", Self.maps), ("OPTIONS", Self.maps),
                ("OPTIONS", Self.maps + "/m"), ("TRACE", Self.maps), ("DELETE", "/api/v1/namespaces"),
                ("POST", "/version"), ("DELETE", "/api/v1/namespaces/default/configmaps/m/status"),
            ] {
                let answer = try await server.exchange(
                    method, path, "{}", type: method == "PATCH" ? "application/merge-patch+json" : "application/json")
                #expect(answer.status == 405 || answer.status == 404 && path.hasSuffix("/status"), "\(method) \(path)")
            }
            let head = try await server.exchange("HEAD", Self.maps)
            #expect(head.status == 200 && head.body.isEmpty)
            #expect(try await server.exchange("HEAD", Self.maps + "/none").status == 404)
            #expect(try await server.exchange("HEAD", Self.maps + "?watch=1").status == 200)
            try await server.requireHealth()
        }
    }

    /// Who is refused for what is not there leaves no trace, however often.
    @Test func metricsCountWhatIsServed() async throws {
        try await SocketFixture.with { server in
            for number in 0..<50 {
                for path in ["/apis/made.up/v1/things\(number)", "\(Self.maps)/m/part\(number)"] {
                    let socket = try RawSocket(port: server.port)
                    try await socket.send("GET \(path) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    #expect(try await socket.receiveAll().hasPrefix("HTTP/1.1 403"))
                }
            }
            #expect(try await server.exchange("GET", Self.maps).status == 200)
            let metrics = try await server.exchange("GET", "/metrics")
            let text = String(decoding: metrics.body, as: UTF8.self)
            #expect(!text.contains("made.up") && !text.contains("part1"))
            #expect(
                text.contains(
                    #"{verb="LIST",group="",version="v1",resource="configmaps",subresource="",scope="namespace","#
                        + #"component="apiserver",dry_run="",code="200"} 1"#))
        }
    }

    @Test func deprecatedPathsOfWatches() async throws {
        try await SocketFixture.with { server in
            _ = try await server.fixture.client.create(.configMaps, configMap("m"))
            for path in [
                "/api/v1/watch/namespaces/default/configmaps", "/api/v1/watch/configmaps",
                "/api/v1/watch/namespaces/default/configmaps/m",
            ] {
                let answer = try await server.exchange("GET", "\(path)?timeoutSeconds=1")
                let lines = answer.body.split(separator: 0x0A).compactMap { try? JSON(parsing: $0) }
                    .filter { $0["type"] != nil }
                #expect(lines.map { $0["object"]["metadata"]["name"] } == ["m"], "\(path)")
                #expect(lines.allSatisfy { $0["type"] == "ADDED" })
            }
            // One object is read, whatever the query says.
            let read = try await server.exchange("GET", "\(Self.maps)/m?watch=1&timeoutSeconds=1")
            #expect(try JSON(parsing: read.body)["kind"] == "ConfigMap")
        }
    }

    @Test func indentedForPeople() async throws {
        try await SocketFixture.with { server in
            for path in [
                "\(Self.maps)?pretty=true", "\(Self.maps)/none?pretty=1", "/api?pretty=true", "/version?pretty=t",
            ] {
                let answer = try await server.exchange("GET", path)
                #expect(String(decoding: answer.body, as: UTF8.self).hasPrefix("{\n  \""), "\(path)")
                #expect(answer.json["kind"] != .null || answer.json["gitVersion"] != nil)
            }
            let socket = try RawSocket(port: server.port)
            try await socket.send(server.head("GET", Self.maps, "User-Agent: curl/8.5.0"))
            var kept: [UInt8] = []
            let byHand = try await socket.response(&kept)
            #expect(String(decoding: byHand.body, as: UTF8.self).hasPrefix("{\n  \""))
            try await socket.send(server.head("GET", Self.maps + "?pretty=false", "User-Agent: curl/8.5.0"))
            let compact = try await socket.response(&kept)
            #expect(String(decoding: compact.body, as: UTF8.self).hasPrefix("{\""))
        }
    }
}
