// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Storage
import Testing
import Values

/// The areas of upstream's conformance suite for the API machinery that need no controllers; the others are in
/// ControllersTests. Source: the list of areas of Kubernetes' conformance suite, sig-api-machinery.
@Suite struct APIMachineryTests {
    private static let maps = "/api/v1/namespaces/default/configmaps"

    @Test("watch order: concurrent watches see the same changes in the same order")
    func watchOrder() async throws {
        let fixture = try await Fixture()
        let start = try await fixture.client.create(.configMaps, configMap("start"))
        var watches: [WatchLines] = []
        for _ in 0..<5 {
            watches.append(try await fixture.watch("\(Self.maps)?resourceVersion=\(start.resourceVersion)"))
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<4 {
                group.addTask {
                    for step in 0..<10 {
                        let name = "m\(writer)-\(step)"
                        _ = try await fixture.client.create(.configMaps, configMap(name))
                        if step % 2 == 0 { try await fixture.client.delete(.configMaps, name, in: "default") }
                    }
                }
            }
            try await group.waitForAll()
        }
        var seen: [[String]] = []
        for watch in watches {
            var versions: [String] = []
            for _ in 0..<60 {
                let event = try #require(try await watch.next())
                versions.append(event["object"]["metadata"]["resourceVersion"].string ?? "")
            }
            seen.append(versions)
        }
        #expect(Set(seen).count == 1)
        #expect(seen[0].compactMap { Int($0) } == seen[0].compactMap { Int($0) }.sorted())
    }

    @Test("chunking: pages show one moment, and an expired token is answered with one that goes on")
    func chunking() async throws {
        let fixture = try await Fixture()
        for number in 0..<25 { _ = try await fixture.client.create(.configMaps, configMap("c\(100 + number)")) }
        let first = try await fixture.send("GET", Self.maps + "?limit=10").json
        #expect(first["items"].array?.count == 10)
        let token = try #require(first["metadata"]["continue"].string)
        let version = first["metadata"]["resourceVersion"].string
        let remaining = first["metadata"]["remainingItemCount"].int ?? 0
        _ = try await fixture.client.create(.configMaps, configMap("c999"))
        try await fixture.client.delete(.configMaps, "c124", in: "default")
        let rest = try await fixture.send("GET", Self.maps + "?limit=100&continue=\(token)").json
        #expect(rest["items"].array?.count == remaining)
        #expect(rest["metadata"]["resourceVersion"].string == version)
        #expect(rest["items"].array?.contains { $0["metadata"]["name"].string == "c124" } ?? false)

        try await fixture.storage.compact(to: fixture.storage.currentRevision)
        let expired = try await fixture.send("GET", Self.maps + "?limit=100&continue=\(token)")
        #expect(expired.status == 410)
        #expect(expired.json["reason"].string == "Expired")
        let fresh = try #require(expired.json["metadata"]["continue"].string)
        let inconsistent = try await fixture.send("GET", Self.maps + "?limit=100&continue=\(fresh)")
        #expect(inconsistent.status == 200)
        let names = (inconsistent.json["items"].array ?? []).compactMap { $0["metadata"]["name"].string }
        #expect(names.contains("c999") && !names.contains("c124"))
    }

    @Test("field validation: strict refuses, warn tells, ignore is silent; of built-in kinds and of metadata")
    func fieldValidation() async throws {
        let fixture = try await Fixture()
        let body = Array(
            #"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","unknownMeta":1},"data":{"a":"1","a":"2"},"unknown":true}"#
                .utf8)
        func send(_ directive: String) async throws -> Fixture.Answer {
            try await fixture.send(
                "POST", Self.maps + "?dryRun=All&fieldValidation=\(directive)", bytes: body, type: "application/json")
        }
        let strict = try await send("Strict")
        #expect(strict.status == 400)
        for field in [
            #"unknown field "metadata.unknownMeta""#, #"unknown field "unknown""#, #"duplicate field "data.a""#,
        ] { #expect(strict.json["message"].string?.contains(field) ?? false, "\(strict.json)") }
        let warned = try await send("Warn")
        #expect(warned.status == 201)
        #expect(warned.headers.filter { $0.0 == "Warning" }.count == 3)
        let ignored = try await send("Ignore")
        #expect(ignored.status == 201)
        #expect(ignored.header("Warning") == nil)
    }

    @Test("discovery: both forms name the same resources, and each group's preferred version is served")
    func discovery() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.send("POST", CustomResourceTests.definitions, CustomResourceTests.definition())
        let aggregated = try await fixture.send(
            "GET", "/apis", type: nil, accept: "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        ).json
        let groups = try await fixture.send("GET", "/apis").json["groups"].array ?? []
        #expect(groups.compactMap { $0["name"].string }.contains("stable.example.com"))
        #expect(
            (aggregated["items"].array ?? []).compactMap { $0["metadata"]["name"].string }
                == groups.compactMap { $0["name"].string })
        for group in groups {
            let preferred = group["preferredVersion"]["groupVersion"].string ?? ""
            let list = try await fixture.send("GET", "/apis/\(preferred)")
            #expect(list.status == 200, "\(preferred)")
            let legacy = (list.json["resources"].array ?? []).compactMap { $0["name"].string }
                .filter { !$0.contains("/") }
            let item = (aggregated["items"].array ?? []).first { $0["metadata"]["name"] == group["name"] }
            let version = (item["versions"].array ?? []).first {
                "\(group["name"].string ?? "")/\($0["version"].string ?? "")" == preferred
            }
            #expect((version["resources"].array ?? []).compactMap { $0["resource"].string } == legacy, "\(preferred)")
        }
    }

    @Test("tables: a reader that takes nothing else is refused what has no table")
    func tableRefusal() async throws {
        let fixture = try await Fixture()
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io"
        #expect(try await fixture.send("GET", Self.maps, type: nil, accept: table).json["kind"].string == "Table")
        let review = try await fixture.send(
            "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            [
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                "spec": ["resourceAttributes": ["verb": "get", "resource": "pods"]],
            ], accept: table)
        #expect(review.status == 406)
        #expect(review.json["reason"].string == "NotAcceptable")
    }

    @Test("custom resources: defaults on write and on read, and publication in OpenAPI and its end")
    func customResourceDefaultingAndPublication() async throws {
        let fixture = try await Fixture()
        let made = try await fixture.send("POST", CustomResourceTests.definitions, CustomResourceTests.definition())
        #expect(made.status == 201)
        let object = try await fixture.send(
            "POST", CustomResourceTests.crontabs, CustomResourceTests.crontab("a", ["cronSpec": "* * * * *"]))
        #expect(object.json["spec"]["image"].string == "busybox")
        let before = try await fixture.send("GET", "/openapi/v2")
        #expect(before.json["definitions"]["com.example.stable.v1.CronTab"] != nil)
        let tag = try #require(before.header("ETag"))
        var definition = made.json
        definition["metadata"]["finalizers"] = []
        let path = "\(CustomResourceTests.definitions)/crontabs.stable.example.com"
        #expect(try await fixture.send("PUT", path, definition).status == 200)
        #expect(try await fixture.send("DELETE", path).status == 200)
        let after = try await fixture.send("GET", "/openapi/v2")
        #expect(after.json["definitions"]["com.example.stable.v1.CronTab"] == nil)
        #expect(after.header("ETag") != tag)
    }
}
