// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

/// The areas of upstream's conformance suite that go through one kind's API: discovery, create, get, list, watch, patch,
/// update, status, delete and deletion of a collection.
@Suite struct ResourceAPITests {
    @Test(arguments: ResourceAPICase.all)
    func lifecycle(_ kind: ResourceAPICase) async throws {
        let fixture = try await Fixture()
        let path = "\(kind.collection)/\(kind.name("one"))"
        let labels: JSON = ["special": kind.name("one").contains(".") ? "ip" : "label"]

        // Discovery names it, with its verbs.
        let listed = try await fixture.send("GET", kind.group).json["resources"].array ?? []
        let entry = try #require(listed.first { $0["name"].string == kind.resource })
        #expect(entry["kind"].string == kind.kind && entry["namespaced"].bool == kind.isNamespaced)
        for verb in ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"] {
            #expect(entry["verbs"].array?.contains(JSON(verb)) == true, "\(verb)")
        }
        #expect(listed.contains { $0["name"].string == "\(kind.resource)/status" } == (kind.status != nil))

        // Create, and what is refused.
        let made = try await fixture.send("POST", kind.collection, kind.object("one", labels))
        try #require(made.status == 201, "\(made.json)")
        let uid = made.json["metadata"]["uid"].string ?? ""
        #expect(!uid.isEmpty && made.json["metadata"]["creationTimestamp"].string != nil)
        #expect(made.json["kind"].string == kind.kind && made.json["apiVersion"].string == kind.apiVersion)
        let again = try await fixture.send("POST", kind.collection, kind.object("one", labels))
        #expect(again.status == 409 && again.json["reason"] == "AlreadyExists")

        // Get and list, in the namespace and everywhere.
        #expect(try await fixture.send("GET", path).json == made.json)
        for list in [kind.collection, "\(kind.group)/\(kind.resource)"] {
            let answer = try await fixture.send(
                "GET", "\(list)?labelSelector=special=\(labels["special"].string ?? "")")
            #expect(answer.json["kind"].string == kind.kind + "List")
            #expect(answer.json["items"].array?.map { $0["metadata"]["uid"].string } == [uid])
        }
        let table = try await fixture.send(
            "GET", kind.collection, type: nil, accept: "application/json;as=Table;v=v1;g=meta.k8s.io")
        #expect(table.json["kind"] == "Table" && table.json["columnDefinitions"].array?.isEmpty == false)

        // From here on a watcher sees everything.
        let start = made.json["metadata"]["resourceVersion"].string ?? ""
        let watch = try await fixture.watch("\(kind.collection)?resourceVersion=\(start)")

        // Patch.
        let patched = try await fixture.send(
            "PATCH", path, ["metadata": ["labels": ["patched": "yes"]]], type: "application/merge-patch+json")
        #expect(patched.status == 200 && patched.json["metadata"]["labels"]["patched"] == "yes", "\(patched.json)")
        #expect(patched.json["metadata"]["uid"].string == uid)
        #expect(try await watch.summary() == "MODIFIED \(kind.name("one"))")

        // Update: with a stale version refused, with the last one done.
        var changed = patched.json
        changed["metadata"]["annotations"]["updated"] = "yes"
        var stale = changed
        stale["metadata"]["resourceVersion"] = JSON(start)
        let conflict = try await fixture.send("PUT", path, stale)
        #expect(conflict.status == 409 && conflict.json["reason"] == "Conflict", "\(conflict.json)")
        let updated = try await fixture.send("PUT", path, changed)
        #expect(updated.status == 200 && updated.json["metadata"]["annotations"]["updated"] == "yes", "\(updated.json)")
        #expect(try await watch.summary() == "MODIFIED \(kind.name("one"))")

        if let change = kind.change {
            let answer = try await fixture.send("PATCH", path, change, type: "application/merge-patch+json")
            try #require(answer.status == 200, "\(answer.json)")
            expect(answer.json, has: change, "")
            // What counts changes of what is wanted, counts this one. The number of a PriorityClass never changes.
            if let before = updated.json["metadata"]["generation"].int, kind.kind != "PriorityClass" {
                #expect(answer.json["metadata"]["generation"].int == before + 1)
            }
            #expect(try await watch.summary() == "MODIFIED \(kind.name("one"))")
        }
        if let status = kind.status { try await statusAlone(fixture, kind, path, status, watch) }

        // Delete, and a collection by its labels.
        #expect(try await fixture.send("DELETE", path).status == 200)
        while let event = try await watch.next(), event["type"] != "DELETED" {
            // Some are held by a finalizer until something lets go of them.
            if event["object"]["metadata"]["finalizers"].array?.isEmpty == false {
                _ = try await fixture.send(
                    "PATCH", path, ["metadata": ["finalizers": .null]], type: "application/merge-patch+json")
            }
        }
        #expect(try await fixture.send("GET", path).status == 404)
        try await collection(fixture, kind)
    }

    /// That everything a patch says is in the object.
    private func expect(_ object: JSON?, has patch: JSON, _ path: String) {
        guard let members = patch.object else {
            if patch.array == nil { #expect(object == patch, "\(path)") }
            return
        }
        for (key, value) in members { expect(object[key], has: value, "\(path).\(key)") }
    }

    private func statusAlone(
        _ fixture: Fixture, _ kind: ResourceAPICase, _ path: String, _ status: JSON, _ watch: WatchLines
    ) async throws {
        let before = try await fixture.send("GET", path).json
        // Through the path of the object, status does not change; through its own, nothing else does.
        let ignored = try await fixture.send("PATCH", path, ["status": status], type: "application/merge-patch+json")
        #expect(ignored.status == 200 && ignored.json["status"] == before["status"], "\(ignored.json)")
        let patch: JSON = ["metadata": ["annotations": ["through": "status"]], "status": status]
        let patched = try await fixture.send("PATCH", path + "/status", patch, type: "application/merge-patch+json")
        try #require(patched.status == 200, "\(patched.json)")
        expect(patched.json["status"], has: status, "status")
        #expect(patched.json["spec"] == before["spec"])
        #expect(patched.json["metadata"]["generation"] == before["metadata"]["generation"])
        #expect(try await watch.summary() == "MODIFIED \(kind.name("one"))")
        let read = try await fixture.send("GET", path + "/status")
        #expect(read.status == 200 && read.json["status"] == patched.json["status"])
        var updated = read.json
        updated["metadata"]["labels"]["label"] = "through-status"
        let put = try await fixture.send("PUT", path + "/status", updated)
        #expect(put.status == 200 && put.json["status"] == patched.json["status"], "\(put.json)")
    }

    private func collection(_ fixture: Fixture, _ kind: ResourceAPICase) async throws {
        for name in ["a", "b", "c"] {
            let made = try await fixture.send(
                "POST", kind.collection, kind.object(name, ["set": name == "c" ? "other" : "test"]))
            #expect(made.status == 201, "\(made.json)")
        }
        let deleted = try await fixture.send("DELETE", "\(kind.collection)?labelSelector=set=test")
        #expect(deleted.status == 200, "\(deleted.json)")
        for name in ["a", "b"] {
            _ = try await fixture.send(
                "PATCH", "\(kind.collection)/\(kind.name(name))", ["metadata": ["finalizers": .null]],
                type: "application/merge-patch+json")
        }
        let left = try await fixture.send("GET", "\(kind.collection)?labelSelector=set").json["items"].array ?? []
        #expect(left.map { $0["metadata"]["name"].string } == [kind.name("c")])
    }
}
