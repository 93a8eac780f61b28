// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

/// Server-side apply: who owns what, what conflicts, and what goes.
@Suite struct ApplyTests {
    private let maps = "/api/v1/namespaces/default/configmaps"
    private let deployments = "/apis/apps/v1/namespaces/default/deployments"
    private let services = "/api/v1/namespaces/default/services"

    private func apply(
        _ fixture: Fixture, _ path: String, _ object: JSON, by manager: String?, query: String = "",
        as user: String? = nil
    ) async throws -> Fixture.Answer {
        let name = manager.map { "fieldManager=\($0)" } ?? "x=y"
        return try await fixture.send(
            "PATCH", "\(path)?\(name)\(query)", object, type: "application/apply-patch+yaml", as: user)
    }

    private func map(_ data: JSON, _ more: JSON = [:]) -> JSON {
        MergePatch.apply(
            more, to: ["apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "m"], "data": data])
    }

    private func deployment(_ spec: JSON) -> JSON {
        ["apiVersion": "apps/v1", "kind": "Deployment", "metadata": ["name": "web"], "spec": spec]
    }

    /// Each owner with its fields, as `manager/operation`.
    private func owners(_ object: JSON) -> [String: JSON] {
        Dictionary(
            (object["metadata"]["managedFields"].array ?? []).map { entry in
                let part = entry["subresource"].string.map { "/\($0)" } ?? ""
                return (
                    "\(entry["manager"].string ?? "")/\(entry["operation"].string ?? "")\(part)",
                    entry["fieldsV1"] ?? .null
                )
            }, uniquingKeysWith: { first, _ in first })
    }

    @Test func makesChangesAndTakesAway() async throws {
        let fixture = try await Fixture()
        let made = try await apply(fixture, maps + "/m", map(["a": "1", "b": "2"]), by: "one")
        #expect(made.status == 201, "\(made.json)")
        #expect(owners(made.json) == ["one/Apply": ["f:data": ["f:a": [:], "f:b": [:]]]])
        #expect(made.json["metadata"]["managedFields"][0]["apiVersion"].string == "v1")
        // Another manager adds what is its own, and both agree on one field.
        let shared = try await apply(fixture, maps + "/m", map(["b": "2", "c": "3"]), by: "two")
        #expect(shared.status == 200)
        #expect(shared.json["data"] == ["a": "1", "b": "2", "c": "3"])
        // What nobody states any more goes, what somebody states stays.
        let less = try await apply(fixture, maps + "/m", map([:]), by: "one")
        #expect(less.json["data"] == ["b": "2", "c": "3"], "\(less.json)")
        #expect(owners(less.json).keys.sorted() == ["one/Apply", "two/Apply"] || owners(less.json).count == 1)
        // The same once more writes nothing.
        let same = try await apply(fixture, maps + "/m", map(["b": "2", "c": "3"]), by: "two")
        #expect(same.json["metadata"]["resourceVersion"] == less.json["metadata"]["resourceVersion"])
    }

    @Test func conflictsNameTheOwnerAndTheField() async throws {
        let fixture = try await Fixture()
        _ = try await apply(fixture, maps + "/m", map(["a": "1", "b": "1"]), by: "one")
        let refused = try await apply(fixture, maps + "/m", map(["a": "2"]), by: "two")
        #expect(refused.status == 409)
        #expect(refused.json["reason"].string == "Conflict")
        #expect(refused.json["message"].string == "Apply failed with 1 conflict: conflict with \"one\": .data.a")
        #expect(
            refused.json["details"]["causes"] == [
                ["reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".data.a"]
            ])
        let both = try await apply(fixture, maps + "/m", map(["a": "2", "b": "2"]), by: "two")
        #expect(
            both.json["message"].string
                == "Apply failed with 2 conflicts: conflicts with \"one\":\n- .data.a\n- .data.b")
        let forced = try await apply(fixture, maps + "/m", map(["a": "2"]), by: "two", query: "&force=true")
        #expect(forced.status == 200)
        #expect(owners(forced.json) == ["one/Apply": ["f:data": ["f:b": [:]]], "two/Apply": ["f:data": ["f:a": [:]]]])
        // A value that is the other's own is no conflict, but shared.
        let agreed = try await apply(fixture, maps + "/m", map(["a": "2", "b": "1"]), by: "one")
        #expect(agreed.status == 200)
    }

    @Test func otherWritersOwnWhatTheyChange() async throws {
        let fixture = try await Fixture()
        _ = try await apply(fixture, maps + "/m", map(["a": "1", "b": "1"]), by: "one")
        let patched = try await fixture.send(
            "PATCH", maps + "/m?fieldManager=hand", ["data": ["a": "2", "b": nil]], type: "application/merge-patch+json"
        )
        #expect(owners(patched.json) == ["hand/Update": ["f:data": ["f:a": [:]]]] || owners(patched.json).count == 2)
        #expect(owners(patched.json)["hand/Update"] == ["f:data": ["f:a": [:]]])
        let refused = try await apply(fixture, maps + "/m", map(["a": "1"]), by: "one")
        #expect(
            refused.json["message"].string == "Apply failed with 1 conflict: conflict with \"hand\" using v1: .data.a")
        // A client that sends the list back as it read it changes nothing of it.
        var read = try await fixture.send("GET", maps + "/m").json
        read["data"]["c"] = "3"
        let put = try await fixture.send("PUT", maps + "/m?fieldManager=hand", read)
        #expect(put.status == 200, "\(put.json)")
        #expect(owners(put.json)["hand/Update"] == ["f:data": ["f:a": [:], "f:c": [:]]])
        let cleared = try await fixture.send(
            "PATCH", maps + "/m", ["metadata": ["managedFields": [[:]]]], type: "application/merge-patch+json")
        #expect(cleared.json["metadata"]["managedFields"] == nil, "\(cleared.json)")
    }

    /// Objects whose owners somebody has cleared belong to before-first-apply.
    @Test func objectsFromBefore() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.send("POST", maps, map(["a": "1", "b": "1"]))
        _ = try await fixture.send(
            "PATCH", maps + "/m", ["metadata": ["managedFields": [[:]]]], type: "application/merge-patch+json")
        // Nobody is written down until somebody applies.
        _ = try await fixture.send(
            "PATCH", maps + "/m?fieldManager=hand", ["data": ["c": "1"]], type: "application/merge-patch+json")
        let plain = try await fixture.send("GET", maps + "/m")
        #expect(plain.json["metadata"]["managedFields"] == nil)
        let refused = try await apply(fixture, maps + "/m", map(["a": "2"]), by: "one")
        #expect(refused.json["message"].string?.contains("\"before-first-apply\" using v1: .data.a") == true)
        let same = try await apply(fixture, maps + "/m", map(["a": "1"]), by: "one")
        #expect(same.status == 200)
        #expect(Set(owners(same.json).keys) == ["before-first-apply/Update", "one/Apply"])
    }

    @Test func listsMergeByTheirKeys() async throws {
        let fixture = try await Fixture()
        func template(_ containers: JSON) -> JSON {
            ["metadata": ["labels": ["a": "b"]], "spec": ["containers": containers]]
        }
        let first = deployment([
            "selector": ["matchLabels": ["a": "b"]],
            "template": template([["name": "one", "image": "i", "args": ["x"]], ["name": "two", "image": "i"]]),
        ])
        #expect(try await apply(fixture, deployments + "/web", first, by: "one").status == 201)
        let side = deployment(["template": ["spec": ["containers": [["name": "side", "image": "s"]]]]])
        let joined = try await apply(fixture, deployments + "/web", side, by: "mesh")
        func names(_ answer: Fixture.Answer) -> [String?] {
            (answer.json["spec"]["template"]["spec"]["containers"].array ?? []).map { $0["name"].string }
        }
        #expect(Set(names(joined)) == ["one", "two", "side"], "\(joined.json)")
        #expect(
            owners(joined.json)["mesh/Apply"] == [
                "f:spec": [
                    "f:template": [
                        "f:spec": [
                            "f:containers": ["k:{\"name\":\"side\"}": [".": [:], "f:image": [:], "f:name": [:]]]
                        ]
                    ]
                ]
            ])
        // An element goes with its defaults; a list that is one field is replaced whole.
        let less = deployment([
            "selector": ["matchLabels": ["a": "b"]],
            "template": template([["name": "one", "image": "i", "args": ["y"]]]),
        ])
        let left = try await apply(fixture, deployments + "/web", less, by: "one")
        #expect(left.status == 200, "\(left.json)")
        #expect(Set(names(left)) == ["one", "side"])
        #expect(
            left.json["spec"]["template"]["spec"]["containers"].array?.first { $0["name"].string == "one" }?["args"]
                == ["y"])
        // A key that has a default is the same written and not.
        func service(_ port: JSON) -> JSON {
            [
                "apiVersion": "v1", "kind": "Service", "metadata": ["name": "s"],
                "spec": ["selector": ["a": "b"], "ports": [port]],
            ]
        }
        #expect(try await apply(fixture, services + "/s", service(["port": 80]), by: "one").status == 201)
        let named = try await apply(
            fixture, services + "/s", service(["port": 80, "protocol": "TCP", "name": "web"]), by: "one")
        #expect(named.json["spec"]["ports"].array?.count == 1, "\(named.json)")
    }

    @Test func theStatusHasItsOwnOwners() async throws {
        let fixture = try await Fixture()
        let spec: JSON = [
            "replicas": 2, "selector": ["matchLabels": ["a": "b"]],
            "template": [
                "metadata": ["labels": ["a": "b"]], "spec": ["containers": [["name": "one", "image": "i"]]],
            ],
        ]
        _ = try await apply(fixture, deployments + "/web", deployment(spec), by: "one")
        var wish = deployment([:])
        wish["spec"] = nil
        wish["status"] = ["replicas": 2]
        let status = try await apply(fixture, deployments + "/web/status", wish, by: "watcher")
        #expect(status.status == 200, "\(status.json)")
        #expect(status.json["status"]["replicas"].int == 2 && status.json["spec"]["replicas"].int == 2)
        #expect(owners(status.json)["watcher/Apply/status"] == ["f:status": ["f:replicas": [:]]])
        // The scale is a way to a field of the object.
        let scaled = try await fixture.send(
            "PATCH", deployments + "/web/scale?fieldManager=hpa", ["spec": ["replicas": 5]],
            type: "application/merge-patch+json")
        #expect(scaled.status == 200)
        let object = try await fixture.send("GET", deployments + "/web").json
        #expect(owners(object)["hpa/Update/scale"] == ["f:spec": ["f:replicas": [:]]])
        let refused = try await apply(fixture, deployments + "/web", deployment(spec), by: "one")
        #expect(
            refused.json["message"].string?.contains("\"hpa\" with subresource \"scale\" using apps/v1: .spec.replicas")
                == true)
    }

    /// Custom resources too; a dry run leaves nothing.
    @Test func customResourcesAndDryRuns() async throws {
        let fixture = try await Fixture()
        let path = "/apis/projectcalico.org/v3/ippools/p"
        func pool(_ spec: JSON) -> JSON {
            ["apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": ["name": "p"], "spec": spec]
        }
        let dry = try await apply(fixture, path, pool(["cidr": "10.0.0.0/16"]), by: "one", query: "&dryRun=All")
        #expect(dry.status == 201, "\(dry.json)")
        #expect(try await fixture.send("GET", path).status == 404)
        #expect(try await apply(fixture, path, pool(["cidr": "10.0.0.0/16"]), by: "one").status == 201)
        let nat = try await apply(fixture, path, pool(["natOutgoing": true]), by: "two")
        #expect(nat.json["spec"]["cidr"].string == "10.0.0.0/16" && nat.json["spec"]["natOutgoing"].bool == true)
        let bad = try await apply(fixture, path, pool(["cidr": "frob"]), by: "one", query: "&force=true")
        #expect(bad.status == 422)
    }

    @Test func whatCannotBeApplied() async throws {
        let fixture = try await Fixture()
        let unnamed = try await apply(fixture, maps + "/m", map([:]), by: nil)
        #expect(unnamed.status == 422 && unnamed.json["details"]["causes"][0]["field"].string == "fieldManager")
        let kindless = try await apply(fixture, maps + "/m", ["data": ["a": "1"]], by: "one")
        #expect(kindless.status == 400 && kindless.json["message"].string?.contains("apiVersion") == true)
        let other = try await apply(fixture, maps + "/n", map([:]), by: "one")
        #expect(other.status == 400 && other.json["message"].string?.contains("name") == true)
        let owned = try await apply(
            fixture, maps + "/m", map([:], ["metadata": ["managedFields": [["manager": "x"]]]]), by: "one")
        #expect(owned.status == 400)
        let unknown = try await apply(
            fixture, maps + "/m", map([:], ["dta": [:]]), by: "one", query: "&fieldValidation=Strict")
        #expect(unknown.status == 400 && unknown.json["message"].string?.contains("unknown field \"dta\"") == true)
        let gone = try await apply(
            fixture, maps + "/m", map([:], ["metadata": ["uid": "11111111-1111-1111-1111-111111111111"]]), by: "one")
        #expect(gone.status == 404)
        let forced = try await fixture.send(
            "PATCH", maps + "/m?force=true", ["data": [:]], type: "application/merge-patch+json")
        #expect(forced.status == 422)
        for bytes in ["", "[]", "{", "a: [", "\u{0}"] {
            let answer = try await fixture.send(
                "PATCH", maps + "/m?fieldManager=one", bytes: Array(bytes.utf8), type: "application/apply-patch+yaml")
            #expect(answer.status == 400, "\(bytes): \(answer.json)")
        }
        // Who may change may not therefore make.
        let nobody = try await apply(fixture, maps + "/m", map([:]), by: "one", as: "nobody")
        #expect(nobody.status == 403)
        #expect(try await fixture.send("GET", maps + "/m").status == 404)
    }

    @Test func applicationsThatRaceAllArrive() async throws {
        let fixture = try await Fixture()
        try await withThrowingTaskGroup(of: Int.self) { group in
            for index in 0..<12 {
                group.addTask {
                    try await apply(fixture, maps + "/m", map(.object(["k\(index)": "v"])), by: "m\(index)").status
                }
            }
            var statuses: [Int] = []
            for try await status in group { statuses.append(status) }
            #expect(statuses.filter { $0 == 201 }.count == 1 && statuses.allSatisfy { $0 < 300 }, "\(statuses)")
        }
        let object = try await fixture.send("GET", maps + "/m").json
        #expect(object["data"].object?.count == 12)
        #expect(owners(object).count == 12)
    }
}
