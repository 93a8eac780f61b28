// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Storage
import Testing
import Values

/// Watchers, chunking, discovery, tables and the version: the areas of upstream's conformance suite.
@Suite struct WatcherAreaTests {
    private static let maps = "/api/v1/namespaces/default/configmaps"

    private func patch(_ fixture: Fixture, _ name: String, _ body: JSON) async throws -> String {
        let answer = try await fixture.send("PATCH", "\(Self.maps)/\(name)", body, type: "application/merge-patch+json")
        return answer.json["metadata"]["resourceVersion"].string ?? ""
    }

    @Test("Watchers: observe add, update, and delete watch notifications on config maps")
    func notifications() async throws {
        let fixture = try await Fixture()
        let label = "watch-this-configmap"
        let watchA = try await fixture.watch("\(Self.maps)?labelSelector=\(label)=multiple-watchers-A")
        let watchB = try await fixture.watch("\(Self.maps)?labelSelector=\(label)=multiple-watchers-B")
        let watchBoth = try await fixture.watch(
            "\(Self.maps)?labelSelector=\(label)+in+(multiple-watchers-A,multiple-watchers-B)"
                .replacing("+", with: " "))
        _ = try await fixture.client.create(.configMaps, configMap("a", labels: [label: "multiple-watchers-A"]))
        for number in 1...2 { _ = try await patch(fixture, "a", ["data": ["mutation": JSON("\(number)")]]) }
        try await fixture.client.delete(.configMaps, "a", in: "default")
        _ = try await fixture.client.create(.configMaps, configMap("b", labels: [label: "multiple-watchers-B"]))
        try await fixture.client.delete(.configMaps, "b", in: "default")
        let changesOfA = ["ADDED a", "MODIFIED a", "MODIFIED a", "DELETED a"]
        for expected in changesOfA { #expect(try await watchA.summary() == expected) }
        for expected in changesOfA + ["ADDED b", "DELETED b"] { #expect(try await watchBoth.summary() == expected) }
        for expected in ["ADDED b", "DELETED b"] { #expect(try await watchB.summary() == expected) }
    }

    @Test("Watchers: are able to start watching from a specific resource version")
    func fromAVersion() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.client.create(.configMaps, configMap("m"))
        let first = try await patch(fixture, "m", ["data": ["mutation": "1"]])
        _ = try await patch(fixture, "m", ["data": ["mutation": "2"]])
        try await fixture.client.delete(.configMaps, "m", in: "default")
        let watch = try await fixture.watch("\(Self.maps)?resourceVersion=\(first)")
        let modified = try await watch.next()
        #expect(modified["type"] == "MODIFIED" && modified["object"]["data"]["mutation"] == "2")
        let deleted = try await watch.next()
        #expect(deleted["type"] == "DELETED" && deleted["object"]["data"]["mutation"] == "2")
    }

    @Test("Watchers: are able to restart watching from the last resource version observed by the previous watch")
    func restarted() async throws {
        let fixture = try await Fixture()
        let before = try await fixture.watch(Self.maps)
        _ = try await fixture.client.create(.configMaps, configMap("m"))
        _ = try await patch(fixture, "m", ["data": ["mutation": "1"]])
        #expect(try await before.summary() == "ADDED m")
        let last = try await before.next()
        let version = last["object"]["metadata"]["resourceVersion"].string ?? ""
        _ = try await patch(fixture, "m", ["data": ["mutation": "2"]])
        try await fixture.client.delete(.configMaps, "m", in: "default")
        let after = try await fixture.watch("\(Self.maps)?resourceVersion=\(version)")
        #expect(try await after.summary() == "MODIFIED m")
        #expect(try await after.summary() == "DELETED m")
    }

    @Test("Watchers: observe an object deletion if it stops meeting the requirements of the selector")
    func selectorDeletion() async throws {
        let fixture = try await Fixture()
        let watch = try await fixture.watch("\(Self.maps)?labelSelector=watched=yes")
        _ = try await fixture.client.create(.configMaps, configMap("m", labels: ["watched": "yes"]))
        _ = try await patch(fixture, "m", ["data": ["mutation": "1"]])
        let left = try await patch(fixture, "m", ["metadata": ["labels": ["watched": "no"]]])
        _ = try await patch(fixture, "m", ["data": ["mutation": "2"]])
        let back = try await patch(fixture, "m", ["metadata": ["labels": ["watched": "yes"]]])
        _ = try await patch(fixture, "m", ["data": ["mutation": "3"]])
        try await fixture.client.delete(.configMaps, "m", in: "default")
        #expect(try await watch.summary() == "ADDED m")
        #expect(try await watch.summary() == "MODIFIED m")
        let deleted = try await watch.next()
        // The last state that was selected, at the version of the change.
        #expect(deleted["type"] == "DELETED" && deleted["object"]["metadata"]["labels"]["watched"] == "yes")
        #expect(deleted["object"]["metadata"]["resourceVersion"].string == left)
        let added = try await watch.next()
        #expect(added["type"] == "ADDED" && added["object"]["data"]["mutation"] == "2")
        #expect(added["object"]["metadata"]["resourceVersion"].string == back)
        #expect(try await watch.summary() == "MODIFIED m")
        #expect(try await watch.summary() == "DELETED m")
    }

    @Test("Watchers: end in order when their time is up, with a bookmark for those who want one")
    func timeouts() async throws {
        let fixture = try await Fixture()
        let made = try await fixture.client.create(.configMaps, configMap("m"))
        let watch = try await fixture.watch("\(Self.maps)?timeoutSeconds=1&allowWatchBookmarks=true")
        #expect(try await watch.summary() == "ADDED m")
        let bookmark = try await watch.next()
        #expect(bookmark["type"] == "BOOKMARK" && bookmark["object"]["kind"] == "ConfigMap")
        let version = bookmark["object"]["metadata"]["resourceVersion"].string.flatMap { Int64($0) } ?? 0
        #expect(version >= Int64(made.resourceVersion) ?? .max)
        #expect(try await watch.next() == nil)
    }

    @Test("Servers with support for API chunking: return chunks of results for list calls")
    func chunks() async throws {
        let fixture = try await Fixture()
        for number in 0..<40 { _ = try await fixture.client.create(.configMaps, configMap("c\(100 + number)")) }
        for _ in 0..<3 {
            var names: [String] = []
            var version: String?
            var token = ""
            repeat {
                let limit = Int.random(in: 1...13)
                let page = try await fixture.send("GET", "\(Self.maps)?limit=\(limit)&continue=\(token)").json
                let items = page["items"].array ?? []
                #expect(items.count <= limit)
                version = version ?? page["metadata"]["resourceVersion"].string
                #expect(page["metadata"]["resourceVersion"].string == version)
                names += items.compactMap { $0["metadata"]["name"].string }
                token = page["metadata"]["continue"].string ?? ""
                let remaining = page["metadata"]["remainingItemCount"].int
                #expect(remaining == (token.isEmpty ? nil : 40 - names.count))
            } while !token.isEmpty
            #expect(names == (0..<40).map { "c\(100 + $0)" })
        }
        // With a selector nobody counts what is left.
        let narrowed = try await fixture.send("GET", "\(Self.maps)?limit=3&fieldSelector=metadata.name!=c100").json
        #expect(narrowed["items"].array?.count == 3 && narrowed["metadata"]["remainingItemCount"] == nil)
        #expect(narrowed["metadata"]["continue"].string?.isEmpty == false)
    }

    @Test(
        "Servers with support for API chunking: continue listing from the last key if the original version has been compacted away"
    )
    func expiredChunks() async throws {
        let fixture = try await Fixture()
        for number in 0..<10 { _ = try await fixture.client.create(.configMaps, configMap("c\(100 + number)")) }
        let first = try await fixture.send("GET", "\(Self.maps)?limit=4").json
        let token = try #require(first["metadata"]["continue"].string)
        _ = try await fixture.client.create(.configMaps, configMap("c999"))
        try await fixture.storage.compact(to: fixture.storage.currentRevision)
        let expired = try await fixture.send("GET", "\(Self.maps)?limit=4&continue=\(token)")
        #expect(expired.status == 410 && expired.json["reason"] == "Expired")
        var fresh = try #require(expired.json["metadata"]["continue"].string)
        #expect(!fresh.isEmpty && fresh != token)
        var names: [String] = []
        repeat {
            let page = try await fixture.send("GET", "\(Self.maps)?limit=4&continue=\(fresh)")
            #expect(page.status == 200, "\(page.json)")
            names += (page.json["items"].array ?? []).compactMap { $0["metadata"]["name"].string }
            fresh = page.json["metadata"]["continue"].string ?? ""
        } while !fresh.isEmpty
        #expect(names == (4..<10).map { "c\(100 + $0)" } + ["c999"])
    }

    // MARK: Discovery

    private func aggregated(_ fixture: Fixture, _ path: String) async throws -> Fixture.Answer {
        try await fixture.send(
            "GET", path, type: nil,
            accept: "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json")
    }

    @Test("Aggregated discovery: supports raw aggregated discovery request for CRDs, and of endpoint Accept headers")
    func aggregatedDiscovery() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.send("POST", CustomResourceTests.definitions, CustomResourceTests.definition())
        for path in ["/api", "/apis"] {
            let answer = try await aggregated(fixture, path)
            #expect(answer.header("Content-Type")?.contains("as=APIGroupDiscoveryList") == true)
            #expect(
                answer.json["kind"] == "APIGroupDiscoveryList" && answer.json["apiVersion"] == "apidiscovery.k8s.io/v2")
            for accept in ["application/json", "*/*", ""] {
                let legacy = try await fixture.send("GET", path, type: nil, accept: accept)
                #expect(legacy.status == 200)
                #expect(legacy.json["kind"].string == (path == "/api" ? "APIVersions" : "APIGroupList"))
            }
            // Whoever has the document already is not sent it again.
            let tag = answer.header("ETag") ?? ""
            #expect(!tag.isEmpty)
        }
        let groups = try await aggregated(fixture, "/apis").json["items"].array ?? []
        let group = try #require(groups.first { $0["metadata"]["name"] == "stable.example.com" })
        let resource = group["versions"][0]["resources"][0]
        #expect(resource["resource"] == "crontabs" && resource["scope"] == "Namespaced")
        #expect(resource["responseKind"] == ["group": "stable.example.com", "version": "v1", "kind": "CronTab"])
        #expect(resource["subresources"].array?.map { $0["subresource"] ?? .null } == ["status", "scale"])
        // The groups that every conformant cluster has.
        let names = Set(groups.compactMap { $0["metadata"]["name"].string })
        for name in [
            "apps", "batch", "autoscaling", "policy", "networking.k8s.io", "rbac.authorization.k8s.io",
            "storage.k8s.io",
            "apiextensions.k8s.io", "apiregistration.k8s.io", "admissionregistration.k8s.io", "authentication.k8s.io",
            "authorization.k8s.io", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io",
            "flowcontrol.apiserver.k8s.io", "node.k8s.io", "scheduling.k8s.io", "resource.k8s.io",
        ] { #expect(names.contains(name), "\(name)") }
    }

    @Test(
        "Discovery: validates preferred version for each group, and locates the apiextensions groupVersion and resources"
    )
    func discovery() async throws {
        let fixture = try await Fixture()
        for group in try await fixture.send("GET", "/apis").json["groups"].array ?? [] {
            let name = group["name"].string ?? ""
            let alone = try await fixture.send("GET", "/apis/\(name)").json
            #expect(alone["kind"] == "APIGroup" && alone["preferredVersion"] == group["preferredVersion"], "\(name)")
            #expect(alone["versions"].array?.contains(group["preferredVersion"] ?? .null) == true, "\(name)")
        }
        let extensions = try await fixture.send("GET", "/apis/apiextensions.k8s.io").json
        #expect(extensions["preferredVersion"]["groupVersion"] == "apiextensions.k8s.io/v1")
        let resources = try await fixture.send("GET", "/apis/apiextensions.k8s.io/v1").json
        #expect(resources["groupVersion"] == "apiextensions.k8s.io/v1")
        #expect(
            resources["resources"].array?.contains {
                $0["name"] == "customresourcedefinitions" && $0["kind"] == "CustomResourceDefinition"
            } == true)
    }

    @Test("Server version: finds the server version")
    func version() async throws {
        let version = try await Fixture().send("GET", "/version").json
        #expect(
            version["major"].string.flatMap { Int($0) } != nil && version["minor"].string.flatMap { Int($0) } != nil)
        for field in ["gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"] {
            #expect(version[field].string?.isEmpty == false, "\(field)")
        }
    }

    @Test("Servers with support for Table transformation: return a 406 for a backend which does not implement metadata")
    func tables() async throws {
        let answer = try await Fixture().send(
            "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            [
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                "spec": ["resourceAttributes": ["namespace": "default", "resource": "pods", "verb": "list"]],
            ], accept: "application/json;as=Table;v=v1;g=meta.k8s.io")
        #expect(answer.status == 406 && answer.json["reason"] == "NotAcceptable")
    }

    @Test("SubjectReview: supports SubjectReview API operations")
    func subjectReview() async throws {
        let fixture = try await Fixture()
        let own = try await fixture.send(
            "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            ["apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"])
        #expect(own.status == 201 && own.json["status"]["userInfo"]["username"] == "admin")
        #expect(own.json["status"]["userInfo"]["groups"].array?.contains("system:masters") == true)
        for (path, namespace) in [
            ("/apis/authorization.k8s.io/v1/subjectaccessreviews", ""),
            ("/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews", "default"),
        ] {
            let review = try await fixture.send(
                "POST", path,
                [
                    "apiVersion": "authorization.k8s.io/v1",
                    "kind": JSON(namespace.isEmpty ? "SubjectAccessReview" : "LocalSubjectAccessReview"),
                    "metadata": ["namespace": JSON(namespace)],
                    "spec": [
                        "user": "system:serviceaccount:default:nobody",
                        "resourceAttributes": ["verb": "get", "resource": "pods", "namespace": "default"],
                    ],
                ])
            #expect(review.status == 201 && review.json["status"]["allowed"] == false, "\(review.json)")
        }
    }

    @Test("Events API: deletes a collection of events, and shows the same ones in both groups")
    func events() async throws {
        let fixture = try await Fixture()
        for name in ["one", "two", "three"] {
            let made = try await fixture.send(
                "POST", "/apis/events.k8s.io/v1/namespaces/default/events",
                [
                    "metadata": ["name": JSON(name), "labels": ["testevent-set": "true"]], "reason": "Test",
                    "eventTime": "2026-01-01T00:00:00.000000Z", "action": "Do", "type": "Normal", "note": "words",
                    "reportingController": "test.example.com/c", "reportingInstance": "c-1",
                    "regarding": ["kind": "Pod", "name": "p", "namespace": "default"],
                ])
            #expect(made.status == 201, "\(made.json)")
        }
        let core = try await fixture.send("GET", "/api/v1/events?labelSelector=testevent-set=true").json
        #expect(core["items"].array?.map { $0["message"] ?? .null } == ["words", "words", "words"])
        #expect(core["items"][0]["involvedObject"]["name"] == "p")
        let path = "/apis/events.k8s.io/v1/namespaces/default/events?labelSelector=testevent-set=true"
        #expect(try await fixture.send("DELETE", path).status == 200)
        #expect(try await fixture.send("GET", path).json["items"] == [])
    }
}
