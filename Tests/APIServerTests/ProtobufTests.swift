// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

/// Answers in Kubernetes' protobuf, to those who ask for it.
@Suite struct ProtobufTests {
    private let maps = "/api/v1/namespaces/default/configmaps"
    private let pods = "/api/v1/namespaces/default/pods"
    private let protobuf = "application/vnd.kubernetes.protobuf"
    /// What kubectl and client-go ask for.
    private let typed = "application/vnd.kubernetes.protobuf,application/json"

    /// The object in an answer, which must be protobuf.
    private func object(_ answer: Fixture.Answer, _ location: SourceLocation = #_sourceLocation) throws -> JSON {
        #expect(answer.header("Content-Type") == protobuf, sourceLocation: location)
        return try Protobuf.decode(answer.bytes).json
    }

    /// The fields of a message: numbers with their bytes; of other values nothing.
    private func fields(_ bytes: [UInt8]) throws -> [(number: UInt64, bytes: [UInt8])] {
        var reader = ByteReader(bytes)
        func varint() throws -> UInt64 {
            var (result, shift): (UInt64, UInt64) = (0, 0)
            while true {
                let byte = try reader.byte()
                result |= UInt64(byte & 0x7F) << shift
                if byte < 0x80 { return result }
                shift += 7
            }
        }
        var result: [(UInt64, [UInt8])] = []
        while !reader.isAtEnd {
            let key = try varint()
            if key & 7 == 2 {
                result.append((key >> 3, Array(try reader.read(Int(try varint())))))
            } else {
                result.append((key >> 3, []))
                _ = try varint()
            }
        }
        return result
    }

    private func enveloped(_ bytes: [UInt8]) throws -> (kind: String, raw: [UInt8]) {
        #expect(bytes.starts(with: Protobuf.magic))
        let envelope = try fields(Array(bytes.dropFirst(4)))
        let type = try fields(try #require(envelope.first { $0.number == 1 }).bytes)
        let kind = try #require(type.first { $0.number == 2 }).bytes
        return (String(decoding: kind, as: UTF8.self), try #require(envelope.first { $0.number == 2 }).bytes)
    }

    /// The items of a list, put into envelopes again.
    private func items(
        _ answer: Fixture.Answer, _ list: String, of kind: GroupVersionKind,
        _ location: SourceLocation = #_sourceLocation
    ) throws -> [JSON] {
        #expect(answer.header("Content-Type") == protobuf, sourceLocation: location)
        let envelope = try enveloped(answer.bytes)
        #expect(envelope.kind == list, sourceLocation: location)
        return try fields(envelope.raw).filter { $0.number == 2 }.map {
            try Protobuf.decode(Protobuf.enveloped($0.bytes, kind)).json
        }
    }

    @Test func everyVerb() async throws {
        let fixture = try await Fixture()
        let made = try await fixture.send("POST", maps, configMap("a", ["k": "v", "e": ""]).json, accept: typed)
        #expect(made.status == 201)
        #expect(try object(made)["data"] == ["k": "v", "e": ""])
        let read = try await fixture.send("GET", maps + "/a", accept: typed)
        #expect(try await object(read) == fixture.send("GET", maps + "/a").json)
        // From what is kept, and as it was.
        #expect(try await fixture.send("GET", maps + "/a", accept: typed).bytes == read.bytes)
        var changed = try object(read)
        changed["data"] = ["k": "w"]
        let put = try await fixture.send(
            "PUT", maps + "/a", bytes: try #require(Protobuf.encode(changed)), type: protobuf, accept: protobuf)
        #expect(put.status == 200)
        #expect(try object(put)["data"] == ["k": "w"])
        let patched = try await fixture.send(
            "PATCH", maps + "/a", ["data": ["n": "1"]], type: "application/merge-patch+json", accept: typed)
        #expect(try object(patched)["data"] == ["k": "w", "n": "1"])
        let applied = try await fixture.send(
            "PATCH", maps + "/b?fieldManager=m", configMap("b", ["x": "y"]).json, type: "application/apply-patch+yaml",
            accept: typed)
        #expect(applied.status == 201)
        #expect(try object(applied)["metadata"]["managedFields"][0]["manager"] == "m")
        let list = try await fixture.send("GET", maps + "?limit=1", accept: typed)
        let kind = GroupVersionKind("", "v1", "ConfigMap")
        #expect(try items(list, "ConfigMapList", of: kind).map { $0["metadata"]["name"].string } == ["a"])
        #expect(
            try await items(fixture.send("GET", maps, accept: typed), "ConfigMapList", of: kind)
                == fixture.send("GET", maps).json["items"].array?.map { item in
                    var item = item
                    item["apiVersion"] = "v1"
                    item["kind"] = "ConfigMap"
                    return item
                })
        let gone = try await fixture.send("DELETE", maps + "/a", accept: typed)
        #expect(try object(gone)["kind"] == "Status")
        #expect(try object(gone)["status"] == "Success")
        #expect(try object(gone)["details"]["name"] == "a")
        let all = try await fixture.send("DELETE", maps, accept: typed)
        #expect(try items(all, "ConfigMapList", of: kind).count == 1)
    }

    @Test func refusals() async throws {
        let fixture = try await Fixture()
        let missing = try await fixture.send("GET", maps + "/none", accept: typed)
        #expect(missing.status == 404)
        #expect(try await object(missing) == fixture.send("GET", maps + "/none").json)
        let invalid = try await fixture.send("POST", pods, ["metadata": ["name": "p"], "spec": [:]], accept: typed)
        #expect(invalid.status == 422)
        #expect(try object(invalid)["details"]["causes"][0]["reason"].string?.isEmpty == false)
        // Nothing that could be written: JSON, so that it can be read at all.
        let none = try await fixture.send("GET", maps, accept: "image/png")
        #expect(none.status == 406)
        #expect(none.header("Content-Type") == "application/json")
    }

    @Test(arguments: [
        ("application/json;q=0.5,application/vnd.kubernetes.protobuf", true),
        ("application/vnd.kubernetes.protobuf;q=0.5,application/json;q=0.9", false),
        ("application/json,application/vnd.kubernetes.protobuf", false),
        ("*/*,application/vnd.kubernetes.protobuf", true), ("application/vnd.kubernetes.protobuf,*/*;q=0.1", true),
        ("application/*", false), ("*/*", false), ("", false),
        ("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json", false),
        ("application/vnd.kubernetes.protobuf;stream=watch", true),
        ("application/vnd.kubernetes.protobuf;stream=frob,application/json", false),
    ]) func theMostWantedThatCanBeHad(accept: String, isProtobuf: Bool) async throws {
        let fixture = try await Fixture()
        let answer = try await fixture.send("GET", maps, accept: accept)
        #expect(answer.status == 200)
        #expect(answer.header("Content-Type") == (isProtobuf ? protobuf : "application/json"))
    }

    @Test func tablesAndMetadata() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.client.create(.configMaps, configMap("a", ["k": "v"], labels: ["x": "y"]))
        let table = "\(protobuf);as=Table;v=v1;g=meta.k8s.io"
        #expect(try await fixture.send("GET", maps, accept: table).status == 406)
        let partial = "\(protobuf);as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
        let one = try object(await fixture.send("GET", maps + "/a", accept: partial))
        #expect(one["kind"] == "PartialObjectMetadata" && one["apiVersion"] == "meta.k8s.io/v1")
        #expect(one["metadata"]["labels"] == ["x": "y"] && one["data"] == nil)
        let list = try await fixture.send(
            "GET", maps, accept: "\(protobuf);as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")
        let kind = GroupVersionKind("meta.k8s.io", "v1", "PartialObjectMetadata")
        #expect(try items(list, "PartialObjectMetadataList", of: kind).map { $0["metadata"]["name"].string } == ["a"])
    }

    /// Custom resources have no messages, but their metadata has one.
    @Test func customResources() async throws {
        let fixture = try await Fixture()
        let pools = "/apis/projectcalico.org/v3/ippools"
        let made = try await fixture.send(
            "POST", pools,
            [
                "apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": ["name": "p"],
                "spec": ["cidr": "10.0.0.0/16"],
            ], accept: typed)
        #expect(made.status == 201 && made.header("Content-Type") == "application/json")
        #expect(try await fixture.send("GET", pools, accept: protobuf).status == 406)
        let partial = "\(protobuf);as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
        #expect(try object(await fixture.send("GET", pools + "/p", accept: partial))["metadata"]["name"] == "p")
    }

    /// Two versions of one object are two messages.
    @Test func versions() async throws {
        let fixture = try await Fixture()
        let hpa: JSON = [
            "metadata": ["name": "h"],
            "spec": [
                "maxReplicas": 3, "scaleTargetRef": ["kind": "Deployment", "name": "d", "apiVersion": "apps/v1"],
                "targetCPUUtilizationPercentage": 50,
            ],
        ]
        func path(_ version: String) -> String {
            "/apis/autoscaling/\(version)/namespaces/default/horizontalpodautoscalers"
        }
        #expect(try await fixture.send("POST", path("v1"), hpa).status == 201)
        for version in ["v2", "v1", "v2"] {
            let answer = try await fixture.send("GET", path(version) + "/h", accept: typed)
            #expect(try await object(answer) == fixture.send("GET", path(version) + "/h").json)
        }
    }

    @Test func subresourcesAndReviews() async throws {
        let fixture = try await Fixture()
        let review: JSON = ["spec": ["resourceAttributes": ["verb": "get", "resource": "pods"]]]
        let access = try await fixture.send(
            "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review, accept: typed)
        #expect(access.status == 201)
        #expect(try object(access)["status"]["allowed"] == true)
        let token = try await fixture.send(
            "POST", "/api/v1/namespaces/default/serviceaccounts/default/token", [:], accept: typed)
        #expect(try object(token)["status"]["token"].string?.split(separator: ".").count == 3)
        let deployments = "/apis/apps/v1/namespaces/default/deployments"
        let template: JSON = [
            "metadata": ["labels": ["a": "b"]], "spec": ["containers": [["name": "c", "image": "i"]]],
        ]
        _ = try await fixture.send(
            "POST", deployments,
            ["metadata": ["name": "d"], "spec": ["selector": ["matchLabels": ["a": "b"]], "template": template]])
        let scale = try await fixture.send("GET", deployments + "/d/scale", accept: typed)
        #expect(try object(scale)["kind"] == "Scale")
        #expect(try object(scale)["spec"] == ["replicas": 1])
        var wish = try object(scale)
        wish["spec"]["replicas"] = 0
        let scaled = try await fixture.send(
            "PUT", deployments + "/d/scale", bytes: try #require(Protobuf.encode(wish)), type: protobuf, accept: typed)
        #expect(try object(scaled)["spec"]["replicas"] == 0)
        let status = try await fixture.send("GET", deployments + "/d/status", accept: typed)
        #expect(try object(status)["spec"]["replicas"] == 0)
        _ = try await fixture.client.create(.pods, pod("p"))
        let binding: JSON = ["metadata": ["name": "p"], "target": ["kind": "Node", "name": "n"]]
        let bound = try await fixture.send("POST", pods + "/p/binding", binding, accept: typed)
        #expect(try object(bound)["status"] == "Success")
        let evicted = try await fixture.send("POST", pods + "/p/eviction", ["metadata": ["name": "p"]], accept: typed)
        #expect(try object(evicted)["status"] == "Success")
    }

    // MARK: Watches

    /// The frames of a watch as they come.
    private final class Frames {
        let headers: [(String, String)]
        private var iterator: AsyncThrowingStream<[UInt8], any Error>.Iterator?
        private var pending: [UInt8] = []

        init(_ fixture: Fixture, _ path: String, _ query: [(String, String)], accept: String) async throws {
            let response = try await fixture.transport.send(
                APIRequest(
                    method: "GET", path: path, query: [("watch", "true")] + query, headers: [("Accept", accept)],
                    body: []))
            headers = response.headers
            if case .stream(let stream) = response.body { iterator = stream.makeAsyncIterator() }
        }

        func next() async throws -> [UInt8] {
            while true {
                var reader = ByteReader(pending)
                if let length = try? reader.bigEndian(UInt32.self), let frame = try? reader.read(Int(length)) {
                    pending = Array(pending[reader.offset...])
                    return Array(frame)
                }
                guard let piece = try await iterator?.next() else { throw EndOfFrames() }
                pending += piece
            }
        }
    }

    private func event(_ frame: [UInt8]) throws -> (type: String, object: JSON) {
        let event = try fields(frame)
        let type = try #require(event.first { $0.number == 1 }).bytes
        let holder = try fields(try #require(event.first { $0.number == 2 }).bytes)
        let object = try Protobuf.decode(try #require(holder.first { $0.number == 1 }).bytes)
        return (String(decoding: type, as: UTF8.self), object.json)
    }

    @Test(arguments: ["", ";as=PartialObjectMetadata;v=v1;g=meta.k8s.io"]) func watches(form: String) async throws {
        let fixture = try await Fixture()
        _ = try await fixture.client.create(.configMaps, configMap("a", ["k": "v"]))
        let query = [
            ("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan"), ("allowWatchBookmarks", "true"),
        ]
        let accept = "\(protobuf)\(form),application/json\(form)"
        let watch = try await Frames(fixture, maps, query, accept: accept)
        let other = try await Frames(fixture, maps, query, accept: accept)
        #expect(watch.headers.first { $0.0 == "Content-Type" }?.1 == "\(protobuf);stream=watch")
        let kind = JSON(form.isEmpty ? "ConfigMap" : "PartialObjectMetadata")
        let added = try event(await watch.next())
        #expect(added.type == "ADDED" && added.object["kind"] == kind)
        #expect(added.object["metadata"]["name"] == "a")
        #expect(added.object["data"] == (form.isEmpty ? ["k": "v"] : nil))
        let bookmark = try event(await watch.next())
        #expect(bookmark.type == "BOOKMARK" && bookmark.object["kind"] == kind)
        #expect(bookmark.object["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true")
        for _ in 0..<2 { _ = try await other.next() }
        _ = try await fixture.client.create(.configMaps, configMap("b"))
        let frame = try await watch.next()
        #expect(try event(frame).type == "ADDED")
        #expect(try await other.next() == frame)
        try await fixture.client.delete(.configMaps, "b", in: "default")
        let deleted = try event(await watch.next())
        #expect(deleted.type == "DELETED" && deleted.object["metadata"]["name"] == "b")
    }

    @Test func watchesThatCannotBe() async throws {
        let fixture = try await Fixture()
        #expect(try await fixture.watch(maps, accept: "application/yaml").status == 406)
        let lines = try await fixture.watch(maps, accept: "application/yaml,application/json")
        #expect(lines.status == 200)
    }
}

/// A watch ended where a frame was expected.
private struct EndOfFrames: Error {}
