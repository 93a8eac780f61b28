// SPDX-License-Identifier: Apache-2.0

import APIServer
import KubeClient
import KubeObjects
import Storage
import Testing
import Values

@Suite struct DocumentTests {
    @Test func tablesHaveTheColumnsOfKubernetes() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.client.create(.pods, pod("web"))
        let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
        let table = try await fixture.send("GET", "/api/v1/namespaces/default/pods", accept: accept).json
        #expect(table["kind"].string == "Table")
        #expect(
            table["columnDefinitions"].array?.prefix(5).compactMap { $0["name"].string } == [
                "Name", "Ready", "Status", "Restarts", "Age",
            ])
        #expect(table["rows"][0]["cells"].array?.prefix(4) == ["web", "0/1", "Pending", "0"])
        #expect(table["rows"][0]["object"]["kind"].string == "PartialObjectMetadata")
        #expect(table["metadata"]["resourceVersion"].string != nil)
        let partial = try await fixture.send(
            "GET", "/api/v1/namespaces/default/pods",
            accept: "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
        #expect(partial.json["kind"].string == "PartialObjectMetadataList")
        #expect(partial.json["items"][0]["spec"] == nil)
        let none = try await fixture.send("GET", "/api/v1/namespaces/default/pods", accept: "text/html")
        #expect(none.status == 406)
    }

    @Test func discoveryComesInBothForms() async throws {
        let fixture = try await Fixture()
        let aggregated = try await fixture.send(
            "GET", "/apis",
            accept: "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json")
        #expect(aggregated.header("Content-Type")?.contains("as=APIGroupDiscoveryList") == true)
        #expect(aggregated.json["kind"].string == "APIGroupDiscoveryList")
        #expect(try await fixture.send("GET", "/api").json["versions"] == ["v1"])
        #expect(try await fixture.send("GET", "/apis").json["kind"].string == "APIGroupList")
        #expect(try await fixture.send("GET", "/apis/apps/v1").json["groupVersion"].string == "apps/v1")
        #expect(try await fixture.send("GET", "/apis/none/v1").status == 404)
        #expect(try await fixture.send("GET", "/apis/none/v1/things").status == 404)
    }

    @Test func schemasCarryTagsAndTheRightTypes() async throws {
        let fixture = try await Fixture()
        let asked = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
        let binary = try await fixture.send("GET", "/openapi/v2", accept: asked)
        #expect(binary.header("Content-Type") == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
        #expect(binary.bytes.prefix(2) == [0x0A, 0x03])
        let text = try await fixture.send("GET", "/openapi/v2")
        #expect(text.json["swagger"].string == "2.0")
        #expect(text.header("ETag") != nil)
        let index = try await fixture.send("GET", "/openapi/v3").json
        let url = try #require(index["paths"]["apis/apps/v1"]["serverRelativeURL"].string)
        let group = try await fixture.send("GET", url)
        #expect(group.status == 200)
        #expect(group.header("Cache-Control")?.contains("immutable") == true)
        let stale = try await fixture.send("GET", "/openapi/v3/apis/apps/v1?hash=OLD")
        #expect(stale.status == 301)
        #expect(stale.header("Location") == url)
    }

    @Test func healthAndMetricsAnswer() async throws {
        let fixture = try await Fixture()
        for path in ["/healthz", "/livez", "/readyz"] {
            let answer = try await fixture.send("GET", path)
            #expect(String(decoding: answer.bytes, as: UTF8.self) == "ok")
        }
        #expect(try await fixture.send("GET", "/version").json["gitVersion"].string == "v1.36.2")
        let metrics = String(decoding: try await fixture.send("GET", "/metrics").bytes, as: UTF8.self)
        #expect(metrics.contains("apiserver_storage_objects{resource=\"namespaces\"} 4"))
    }

    @Test func versionsOfAKindShareTheirObjects() async throws {
        let fixture = try await Fixture()
        let core: JSON = [
            "metadata": ["name": "e", "namespace": "default"], "reason": "Tested", "message": "words",
            "involvedObject": ["kind": "Pod", "name": "web", "namespace": "default"], "type": "Normal",
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z", "count": 2,
            "source": ["component": "tests"],
        ]
        #expect(try await fixture.send("POST", "/api/v1/namespaces/default/events", core).status == 201)
        let event = try await fixture.send("GET", "/apis/events.k8s.io/v1/namespaces/default/events/e").json
        #expect(event["note"].string == "words")
        #expect(event["regarding"]["name"].string == "web")
        #expect(event["deprecatedCount"].int == 2)
        let narrowed = try await fixture.send(
            "GET", "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name=web,reason=Tested")
        #expect(narrowed.json["items"].array?.count == 1)
    }

    @Test func bootstrapCanBeRepeated() async throws {
        let fixture = try await Fixture()
        let before = fixture.storage.currentRevision
        try await fixture.server.bootstrap()
        #expect(fixture.storage.currentRevision == before)
        let service = try await fixture.client.get(.services, "kubernetes", in: "default")
        #expect(service["spec"]["clusterIP"].string == "10.96.0.1")
        let slice = try await fixture.client.get(.endpointSlices, "kubernetes", in: "default")
        #expect(slice["endpoints"][0]["addresses"] == ["192.0.2.1"])
    }
}
