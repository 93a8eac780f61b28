// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

@Suite struct PatchTests {
    private let deployments = "/apis/apps/v1/namespaces/default/deployments"

    private func deployment(_ fixture: Fixture) async throws -> JSON {
        try await fixture.send(
            "POST", deployments,
            [
                "metadata": ["name": "web"],
                "spec": [
                    "selector": ["matchLabels": ["a": "b"]],
                    "template": [
                        "metadata": ["labels": ["a": "b"]],
                        "spec": ["containers": [["name": "one", "image": "i"], ["name": "two", "image": "i"]]],
                    ],
                ],
            ]
        ).json
    }

    @Test func listsMergeByTheirKeys() async throws {
        let fixture = try await Fixture()
        _ = try await deployment(fixture)
        let patched = try await fixture.send(
            "PATCH", deployments + "/web",
            ["spec": ["template": ["spec": ["containers": [["name": "two", "image": "j"]]]]]],
            type: "application/strategic-merge-patch+json")
        let containers = patched.json["spec"]["template"]["spec"]["containers"].array ?? []
        #expect(containers.map { $0["image"].string } == ["i", "j"])
    }

    @Test func jsonPatchesTestAndReplace() async throws {
        let fixture = try await Fixture()
        _ = try await deployment(fixture)
        let type = "application/json-patch+json"
        let done = try await fixture.send(
            "PATCH", deployments + "/web", [["op": "replace", "path": "/spec/replicas", "value": 4]], type: type)
        #expect(done.json["spec"]["replicas"].int == 4)
        let failed = try await fixture.send(
            "PATCH", deployments + "/web", [["op": "test", "path": "/spec/replicas", "value": 9]], type: type)
        #expect(failed.status == 422)
    }

    @Test func aVersionInAPatchIsADemand() async throws {
        let fixture = try await Fixture()
        let made = try await deployment(fixture)
        let merge = "application/merge-patch+json"
        let version = made["metadata"]["resourceVersion"] ?? .null
        let patch: JSON = ["metadata": ["resourceVersion": version, "labels": ["x": "1"]]]
        #expect(try await fixture.send("PATCH", deployments + "/web", patch, type: merge).status == 200)
        let stale: JSON = ["metadata": ["resourceVersion": version, "labels": ["x": "2"]]]
        #expect(try await fixture.send("PATCH", deployments + "/web", stale, type: merge).status == 409)
    }

    @Test func patchesThatRaceAllArrive() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.client.create(.configMaps, configMap("a"))
        try await withThrowingTaskGroup(of: Int.self) { group in
            for index in 0..<12 {
                group.addTask {
                    try await fixture.send(
                        "PATCH", "/api/v1/namespaces/default/configmaps/a", ["data": .object(["k\(index)": "v"])],
                        type: "application/merge-patch+json"
                    ).status
                }
            }
            for try await status in group { #expect(status == 200) }
        }
        #expect(try await fixture.client.get(.configMaps, "a", in: "default")["data"].object?.count == 12)
    }

    @Test(arguments: [
        "application/merge-patch+json", "application/strategic-merge-patch+json", "application/json-patch+json",
    ])
    func patchesThatAreNone(type: String) async throws {
        let fixture = try await Fixture()
        _ = try await fixture.client.create(.configMaps, configMap("a"))
        let path = "/api/v1/namespaces/default/configmaps/a"
        let deep = String(repeating: "[", count: 10_000)
        for text in ["", "{", "\"a\"", "7", "[1]", "{\"a\":\(deep)", "\u{0}", "[{\"op\":\"frob\"}]"] {
            let answer = try await fixture.send("PATCH", path, bytes: Array(text.utf8), type: type)
            #expect(answer.status == 400, "\(text.prefix(20)): \(answer.json)")
            #expect(answer.json["kind"].string == "Status")
        }
        let invalid = try await fixture.send("PATCH", path, bytes: [0x22, 0xFF, 0x22], type: type)
        #expect(invalid.status == 400)
    }

    @Test func keysThatStandTwiceInAPatch() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.client.create(.configMaps, configMap("a"))
        let path = "/api/v1/namespaces/default/configmaps/a"
        let twice = Array(#"{"data":{"a":"1","a":"2"}}"#.utf8)
        let strict = try await fixture.send(
            "PATCH", path + "?fieldValidation=Strict", bytes: twice, type: "application/merge-patch+json")
        #expect(strict.status == 400)
        #expect(strict.json["message"].string?.contains("duplicate field \"data.a\"") == true, "\(strict.json)")
        let warned = try await fixture.send("PATCH", path, bytes: twice, type: "application/merge-patch+json")
        #expect(warned.status == 200)
        #expect(warned.header("Warning")?.contains("duplicate field") == true)
    }

    @Test func whatIsNotServedSaysSo() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.send(
            "POST", "/apis/projectcalico.org/v3/ippools",
            ["metadata": ["name": "p"], "spec": ["cidr": "10.1.0.0/16", "nodeSelector": "all()"]])
        let strategic = try await fixture.send(
            "PATCH", "/apis/projectcalico.org/v3/ippools/p", ["spec": ["natOutgoing": true]],
            type: "application/strategic-merge-patch+json")
        #expect(strategic.status == 415)
    }
}
