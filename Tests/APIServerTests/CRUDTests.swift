// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Storage
import Testing
import Values

@Suite struct CRUDTests {
    @Test func anObjectIsCreatedReadChangedAndDeleted() async throws {
        let fixture = try await Fixture()
        let created = try await fixture.client.create(.configMaps, configMap("a", ["x": "1"]))
        #expect(created.uid.count == 36)
        #expect(created.creationTimestamp != nil)
        #expect(!created.resourceVersion.isEmpty)
        var read = try await fixture.client.get(.configMaps, "a", in: "default")
        #expect(read == created)
        read["data"]["x"] = "2"
        let updated = try await fixture.client.update(.configMaps, read)
        #expect(updated["data"]["x"].string == "2")
        #expect(updated.uid == created.uid)
        #expect(updated.resourceVersion != created.resourceVersion)
        try await fixture.client.delete(.configMaps, "a", in: "default")
        await #expect(throws: APIError.self) { _ = try await fixture.client.get(.configMaps, "a", in: "default") }
    }

    @Test func statusesHaveKubernetesWords() async throws {
        let fixture = try await Fixture()
        let path = "/api/v1/namespaces/default/configmaps"
        let missing = try await fixture.send("GET", path + "/none")
        #expect(missing.status == 404)
        #expect(missing.json["message"].string == "configmaps \"none\" not found")
        #expect(missing.json["details"] == ["name": "none", "kind": "configmaps"])
        _ = try await fixture.send("POST", path, configMap("a").json)
        let twice = try await fixture.send("POST", path, configMap("a").json)
        #expect(twice.status == 409)
        #expect(twice.json["reason"].string == "AlreadyExists")
        let deployments = try await fixture.send("GET", "/apis/apps/v1/namespaces/default/deployments/x")
        #expect(deployments.json["message"].string == "deployments.apps \"x\" not found")
        let elsewhere = try await fixture.send(
            "POST", "/api/v1/namespaces/nowhere/configmaps",
            [
                "metadata": ["name": "a"]
            ])
        #expect(elsewhere.status == 404)
        #expect(elsewhere.json["message"].string == "namespaces \"nowhere\" not found")
    }

    @Test func aStaleVersionConflictsAndANoOpKeepsTheRevision() async throws {
        let fixture = try await Fixture()
        let created = try await fixture.client.create(.configMaps, configMap("a", ["x": "1"]))
        let same = try await fixture.client.update(.configMaps, created)
        #expect(same.resourceVersion == created.resourceVersion)
        var first = created
        first["data"]["x"] = "2"
        _ = try await fixture.client.update(.configMaps, first)
        var second = created
        second["data"]["x"] = "3"
        do {
            _ = try await fixture.client.update(.configMaps, second)
            Issue.record("a stale update was taken")
        } catch let error as APIError {
            #expect(error.isConflict)
            #expect(
                error.message == "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; "
                    + "please apply your changes to the latest version and try again")
        }
    }

    @Test func generatedNamesAreUnlike() async throws {
        let fixture = try await Fixture()
        var names: Set<String> = []
        for _ in 0..<20 {
            var object = configMap("")
            object.metadata["name"] = nil
            object.metadata["generateName"] = "web-"
            names.insert(try await fixture.client.create(.configMaps, object).name)
        }
        #expect(names.count == 20)
        #expect(names.allSatisfy { $0.hasPrefix("web-") && $0.count == 9 })
    }

    @Test func dryRunWritesNothing() async throws {
        let fixture = try await Fixture()
        let path = "/api/v1/namespaces/default/configmaps"
        let created = try await fixture.send("POST", path + "?dryRun=All", configMap("a").json)
        #expect(created.status == 201)
        #expect(try await fixture.send("GET", path + "/a").status == 404)
        _ = try await fixture.client.create(.configMaps, configMap("b", ["x": "1"]))
        let patched = try await fixture.send(
            "PATCH", path + "/b?dryRun=All", ["data": ["x": "2"]], type: "application/merge-patch+json")
        #expect(patched.json["data"]["x"].string == "2")
        #expect(try await fixture.send("GET", path + "/b").json["data"]["x"].string == "1")
        _ = try await fixture.send("DELETE", path + "/b?dryRun=All")
        #expect(try await fixture.send("GET", path + "/b").status == 200)
    }

    @Test func unknownAndDuplicateFieldsAreRefusedOrTold() async throws {
        let fixture = try await Fixture()
        let path = "/apis/apps/v1/namespaces/default/deployments"
        let text = """
            {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":1,"replicas":2,
            "unknownField":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},
            "spec":{"containers":[{"name":"c","image":"i"}]}}}}
            """
        let bytes = Array(text.utf8)
        let strict = try await fixture.send(
            "POST", path + "?fieldValidation=Strict", bytes: bytes, type: "application/json")
        #expect(strict.status == 400)
        #expect(
            strict.json["message"].string
                == "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: unknown field "
                + "\"spec.unknownField\", duplicate field \"spec.replicas\"")
        let warned = try await fixture.send(
            "POST", path + "?fieldValidation=Warn", bytes: bytes, type: "application/json")
        #expect(warned.status == 201)
        let warnings = warned.headers.filter { $0.0 == "Warning" }.map(\.1)
        #expect(warnings.contains(#"299 - "unknown field \"spec.unknownField\"""#))
        #expect(warned.json["spec"]["unknownField"] == nil)
        #expect(warned.json["spec"]["replicas"].int == 2)
    }

    @Test func generationsCountTheSpecAlone() async throws {
        let fixture = try await Fixture()
        let path = "/apis/apps/v1/namespaces/default/deployments"
        let body: JSON = [
            "metadata": ["name": "web"],
            "spec": [
                "selector": ["matchLabels": ["a": "b"]],
                "template": [
                    "metadata": ["labels": ["a": "b"]], "spec": ["containers": [["name": "c", "image": "i"]]],
                ],
            ],
            "status": ["replicas": 7],
        ]
        let created = try await fixture.send("POST", path, body)
        #expect(created.json["metadata"]["generation"].int == 1)
        #expect(created.json["status"]["replicas"] == nil)
        let labelled = try await fixture.send(
            "PATCH", path + "/web", ["metadata": ["labels": ["x": "y"]]], type: "application/merge-patch+json")
        #expect(labelled.json["metadata"]["generation"].int == 1)
        let scaled = try await fixture.send(
            "PATCH", path + "/web", ["spec": ["replicas": 3], "status": ["replicas": 9]],
            type: "application/strategic-merge-patch+json")
        #expect(scaled.json["metadata"]["generation"].int == 2)
        #expect(scaled.json["status"]["replicas"] == nil)
        let status = try await fixture.send(
            "PATCH", path + "/web/status", ["spec": ["replicas": 5], "status": ["replicas": 3]],
            type: "application/merge-patch+json")
        #expect(status.json["spec"]["replicas"].int == 3)
        #expect(status.json["status"]["replicas"].int == 3)
        #expect(status.json["metadata"]["generation"].int == 2)
        let scale = try await fixture.send("GET", path + "/web/scale")
        #expect(scale.json["spec"]["replicas"].int == 3)
        #expect(scale.json["status"] == ["replicas": 3, "selector": "a=b"])
    }

    @Test func yamlAndBodiesWithoutATypeAreRead() async throws {
        let fixture = try await Fixture()
        let path = "/api/v1/namespaces/default/configmaps"
        let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: y\ndata:\n  a: \"1\"\n"
        let created = try await fixture.send("POST", path, bytes: Array(yaml.utf8), type: "application/yaml")
        #expect(created.status == 201)
        #expect(created.json["data"]["a"].string == "1")
        #expect(try await fixture.send("POST", path, configMap("plain").json, type: nil).status == 201)
        #expect(try await fixture.send("POST", path, configMap("z").json, type: "text/html").status == 415)
        let large = [UInt8](repeating: 0x20, count: (3 << 20) + 1)
        let refused = try await fixture.send("POST", path, bytes: large, type: "application/json")
        #expect(refused.status == 413)
        #expect(refused.json["reason"].string == "RequestEntityTooLarge")
    }

    @Test func listsComeInPagesOfOneMoment() async throws {
        let fixture = try await Fixture()
        for index in 0..<7 { _ = try await fixture.client.create(.configMaps, configMap("m\(index)")) }
        let path = "/api/v1/namespaces/default/configmaps"
        let first = try await fixture.send("GET", path + "?limit=3")
        #expect(first.json["items"].array?.count == 3)
        #expect(first.json["metadata"]["remainingItemCount"].int == 4)
        let token = try #require(first.json["metadata"]["continue"].string)
        _ = try await fixture.client.create(.configMaps, configMap("m3a"))
        try await fixture.client.delete(.configMaps, "m5", in: "default")
        let rest = try await fixture.send("GET", path + "?limit=10&continue=\(token)")
        #expect(
            rest.json["items"].array?.compactMap { $0["metadata"]["name"].string } == ["m3", "m4", "m5", "m6"])
        #expect(rest.json["metadata"]["resourceVersion"] == first.json["metadata"]["resourceVersion"])
        let future = try await fixture.send("GET", path + "?resourceVersion=999999")
        #expect(future.status == 504)
        #expect(future.json["details"]["causes"][0]["reason"].string == "ResourceVersionTooLarge")
    }

    @Test func aTokenEndsWithItsMomentEvenWhereNothingChanged() async throws {
        let fixture = try await Fixture()
        for index in 0..<7 { _ = try await fixture.client.create(.configMaps, configMap("m\(index)")) }
        let path = "/api/v1/namespaces/default/configmaps"
        let first = try await fixture.send("GET", path + "?limit=3")
        let token = try #require(first.json["metadata"]["continue"].string)
        let other = KubeObject(.secrets, kind: "Secret", name: "s", namespace: "default")
        _ = try await fixture.client.create(.secrets, other)
        try await fixture.storage.compact(to: fixture.storage.currentRevision)
        let expired = try await fixture.send("GET", path + "?limit=3&continue=\(token)")
        #expect(expired.status == 410)
        let fresh = try #require(expired.json["metadata"]["continue"].string)
        let rest = try await fixture.send("GET", path + "?limit=3&continue=\(fresh)")
        #expect(rest.json["items"].array?.compactMap { $0["metadata"]["name"].string } == ["m3", "m4", "m5"])
        let last = try #require(rest.json["metadata"]["continue"].string)
        let end = try await fixture.send("GET", path + "?limit=3&continue=\(last)")
        #expect(end.json["items"].array?.compactMap { $0["metadata"]["name"].string } == ["m6"])
        #expect(end.json["metadata"]["continue"] == nil)
    }

    @Test func selectorsNarrowLists() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.client.create(.configMaps, configMap("a", labels: ["app": "web"]))
        _ = try await fixture.client.create(.configMaps, configMap("b", labels: ["app": "db"]))
        let names = try await fixture.client.list(.configMaps, in: "default", labelSelector: "app in (web)").items.map(
            \.name)
        #expect(names == ["a"])
        let single = try await fixture.client.list(.configMaps, fieldSelector: "metadata.name=b").items.map(\.name)
        #expect(single == ["b"])
        let refused = try await fixture.send("GET", "/api/v1/configmaps?fieldSelector=spec.x=y")
        #expect(refused.status == 400)
    }
}
