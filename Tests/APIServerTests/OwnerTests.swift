// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

/// Everybody who writes is written down: `metadata.managedFields` without anybody applying.
@Suite struct OwnerTests {
    private let maps = "/api/v1/namespaces/default/configmaps"
    private let pods = "/api/v1/namespaces/default/pods"
    private let deployments = "/apis/apps/v1/namespaces/default/deployments"
    private let autoscalers = "/namespaces/default/horizontalpodautoscalers"
    private let merge = "application/merge-patch+json"
    private let apply = "application/apply-patch+yaml"

    /// `manager/operation/subresource` of each entry, in the order of the list.
    private func owners(_ object: JSON) -> [String] {
        (object["metadata"]["managedFields"].array ?? []).map { entry in
            [entry["manager"].string ?? "", entry["operation"].string ?? "", entry["subresource"].string ?? ""]
                .filter { !$0.isEmpty }.joined(separator: "/")
        }
    }

    private func fields(_ object: JSON, of owner: String) -> JSON? {
        zip(owners(object), object["metadata"]["managedFields"].array ?? []).first { $0.0 == owner }?.1["fieldsV1"]
    }

    private func deployment(_ name: String) -> JSON {
        [
            "metadata": ["name": JSON(name)],
            "spec": [
                "replicas": 2, "selector": ["matchLabels": ["a": "b"]],
                "template": [
                    "metadata": ["labels": ["a": "b"]], "spec": ["containers": [["name": "c", "image": "i"]]],
                ],
            ],
        ]
    }

    @Test(arguments: [
        ("kubectl/v1.36.2 (linux/amd64) kubernetes/abc", "kubectl"), ("my agent", "my agent"), ("a\tb/1", "ab"),
        ("", "unknown"), ("/1", "unknown"), (String(repeating: "x", count: 200), String(repeating: "x", count: 128)),
        (String(repeating: "é", count: 65), String(repeating: "é", count: 64)),
    ]) func programsByTheirUserAgent(agent: String, name: String) async throws {
        let fixture = try await Fixture()
        let made = try await fixture.send("POST", maps, configMap("a", ["k": "v"]).json, agent: agent)
        #expect(owners(made.json) == ["\(name)/Update"])
        let entry = made.json["metadata"]["managedFields"][0]
        #expect(entry["apiVersion"] == "v1" && entry["fieldsType"] == "FieldsV1")
        #expect(entry["time"].string.flatMap { Timestamp($0) } != nil)
    }

    /// What the creator says and what Kubernetes fills in is the creator's; what admission adds is nobody's.
    @Test func podsOfTheirCreators() async throws {
        let fixture = try await Fixture()
        let made = try await fixture.send("POST", pods, pod("p").json, agent: "maker/1").json
        let own = fields(made, of: "maker/Update")
        #expect(own["f:spec"]["f:containers"]["k:{\"name\":\"main\"}"]["f:imagePullPolicy"] == [:])
        #expect(own["f:spec"]["f:dnsPolicy"] == [:] && own["f:spec"]["f:serviceAccountName"] == nil)
        #expect(own["f:status"] == nil && own["f:metadata"] == nil, "\(own?.text() ?? "")")
        // The binding and its condition are the server's own work.
        let binding: JSON = ["metadata": ["name": "p"], "target": ["kind": "Node", "name": "n"]]
        _ = try await fixture.send("POST", pods + "/p/binding", binding, agent: "binder/1")
        let status = try await fixture.send(
            "PATCH", pods + "/p/status", ["status": ["phase": "Running", "podIP": "10.0.0.1"]], type: merge,
            agent: "kubelet/v1.36.2"
        ).json
        #expect(owners(status).sorted() == ["kubelet/Update/status", "maker/Update"])
        #expect(fields(status, of: "kubelet/Update/status")["f:status"]["f:phase"] == [:])
        #expect(fields(status, of: "kubelet/Update/status")["f:spec"] == nil)
    }

    @Test func changesMoveAndAgreeingDoesNot() async throws {
        let fixture = try await Fixture()
        let made = try await fixture.send("POST", maps, configMap("a", ["k": "1", "l": "1"]).json, agent: "one").json
        // The same once more is no write at all.
        let same = try await fixture.send("PUT", maps + "/a", made, agent: "two").json
        #expect(same == made)
        let changed = try await fixture.send(
            "PATCH", maps + "/a", ["data": ["k": "2", "n": "1"]], type: merge, agent: "two"
        ).json
        #expect(fields(changed, of: "one/Update")["f:data"]["f:k"] == nil)
        #expect(fields(changed, of: "one/Update")["f:data"]["f:l"] == [:])
        #expect(fields(changed, of: "two/Update") == ["f:data": ["f:k": [:], "f:n": [:]]])
        // What is gone is nobody's, and who has nothing left goes.
        let gone = try await fixture.send(
            "PATCH", maps + "/a", ["data": ["k": nil, "n": nil]], type: merge, agent: "three"
        ).json
        #expect(owners(gone) == ["one/Update"])
        // Nobody follows an object whose list was cleared, nor through a subresource.
        _ = try await fixture.send("PATCH", maps + "/a", ["metadata": ["managedFields": [[:]]]], type: merge)
        let after = try await fixture.send("PATCH", maps + "/a", ["data": ["z": "1"]], type: merge, agent: "four").json
        #expect(after["metadata"]["managedFields"] == nil)
    }

    /// More than ten writers: the oldest become one.
    @Test func ancientChanges() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.send("POST", maps, configMap("a", ["k0": "v"]).json, agent: "w00")
        var object: JSON = [:]
        for index in 1...14 {
            let name = index < 10 ? "w0\(index)" : "w\(index)"
            object = try await fixture.send(
                "PATCH", maps + "/a", ["data": .object(JSONObject([("k\(index)", "v")]))], type: merge, agent: name
            ).json
        }
        #expect(owners(object).count == 10)
        #expect(owners(object).filter { $0 == "ancient-changes/Update" }.count == 1)
        let merged = fields(object, of: "ancient-changes/Update")["f:data"].object?.keys.sorted()
        #expect(merged?.filter { $0 != "." } == ["f:k0", "f:k1", "f:k2", "f:k3", "f:k4", "f:k5"])
        // An applier is counted apart.
        let applied = try await fixture.send(
            "PATCH", maps + "/a?fieldManager=applier", configMap("a", ["x": "1"]).json, type: apply
        ).json
        #expect(owners(applied).count == 11)
    }

    // MARK: Scale

    @Test func appliedScales() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.send("POST", deployments, deployment("web"), agent: "maker")
        func scale(_ replicas: Int) -> JSON {
            [
                "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": ["name": "web"],
                "spec": ["replicas": JSON(replicas)],
            ]
        }
        let refused = try await fixture.send(
            "PATCH", deployments + "/web/scale?fieldManager=hpa", scale(5), type: apply)
        #expect(refused.status == 409)
        #expect(
            refused.json["message"].string
                == "Apply failed with 1 conflict: conflict with \"maker\" using autoscaling/v1: .spec.replicas")
        let forced = try await fixture.send(
            "PATCH", deployments + "/web/scale?fieldManager=hpa&force=true", scale(5), type: apply)
        #expect(forced.status == 200 && forced.json["kind"] == "Scale" && forced.json["spec"]["replicas"] == 5)
        var object = try await fixture.send("GET", deployments + "/web").json
        #expect(object["spec"]["replicas"] == 5)
        #expect(owners(object) == ["hpa/Apply/scale", "maker/Update"])
        #expect(fields(object, of: "hpa/Apply/scale") == ["f:spec": ["f:replicas": [:]]])
        #expect(object["metadata"]["managedFields"][0]["apiVersion"] == "apps/v1")
        #expect(fields(object, of: "maker/Update")["f:spec"]["f:replicas"] == nil)
        // The same once more is fine, and somebody who scales by hand takes it.
        let again = try await fixture.send(
            "PATCH", deployments + "/web/scale?fieldManager=hpa", scale(5), type: apply)
        #expect(again.status == 200)
        _ = try await fixture.send(
            "PATCH", deployments + "/web/scale", ["spec": ["replicas": 3]], type: merge, agent: "kubectl/v1")
        object = try await fixture.send("GET", deployments + "/web").json
        #expect(owners(object).sorted() == ["kubectl/Update/scale", "maker/Update"])
        let lost = try await fixture.send(
            "PATCH", deployments + "/web/scale?fieldManager=hpa", scale(5), type: apply)
        #expect(
            lost.json["message"].string
                == "Apply failed with 1 conflict: conflict with \"kubectl\" with subresource \"scale\" using "
                + "autoscaling/v1: .spec.replicas")
        let wrong = try await fixture.send(
            "PATCH", deployments + "/web/scale?fieldManager=hpa", ["apiVersion": "v1", "kind": "Pod"], type: apply)
        #expect(wrong.status == 400)
    }

    // MARK: Versions

    /// An owner's fields are those of the version in which it wrote.
    @Test func ownersOfAnotherVersion() async throws {
        let fixture = try await Fixture()
        let target: JSON = ["kind": "Deployment", "name": "d", "apiVersion": "apps/v1"]
        let v1 = "/apis/autoscaling/v1\(autoscalers)"
        let v2 = "/apis/autoscaling/v2\(autoscalers)"
        let made = try await fixture.send(
            "POST", v1,
            [
                "metadata": ["name": "h"],
                "spec": ["maxReplicas": 3, "scaleTargetRef": target, "targetCPUUtilizationPercentage": 50],
            ], agent: "old")
        #expect(made.json["metadata"]["managedFields"][0]["apiVersion"] == "autoscaling/v1")
        #expect(fields(made.json, of: "old/Update")["f:spec"]["f:targetCPUUtilizationPercentage"] == [:])
        let metric: JSON = [
            "type": "Resource",
            "resource": ["name": "cpu", "target": ["type": "Utilization", "averageUtilization": 70]],
        ]
        let conflict = try await fixture.send(
            "PATCH", v2 + "/h?fieldManager=new",
            [
                "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": ["name": "h"],
                "spec": ["metrics": [metric]],
            ], type: apply)
        #expect(conflict.status == 409)
        #expect(
            conflict.json["message"].string
                == "Apply failed with 1 conflict: conflict with \"old\" using autoscaling/v1: "
                + ".spec.targetCPUUtilizationPercentage")
        let changed = try await fixture.send(
            "PATCH", v2 + "/h", ["spec": ["metrics": [metric]]], type: merge, agent: "new"
        ).json
        #expect(fields(changed, of: "old/Update")["f:spec"]["f:targetCPUUtilizationPercentage"] == nil)
        #expect(fields(changed, of: "old/Update")["f:spec"]["f:maxReplicas"] == [:])
        #expect(fields(changed, of: "new/Update") == ["f:spec": ["f:metrics": [:]]])
    }

    // MARK: Options

    @Test(arguments: [
        ("POST", "", "CreateOptions"), ("PATCH", "/a", "PatchOptions"), ("DELETE", "/a", "DeleteOptions"),
        ("PUT", "/a", "UpdateOptions"),
    ]) func optionsOfWrites(method: String, name: String, kind: String) async throws {
        let fixture = try await Fixture()
        func message(_ query: String) async throws -> String {
            let answer = try await fixture.send(
                method, "\(maps)\(name)?\(query)", configMap("a").json, type: method == "PATCH" ? merge : nil)
            #expect(answer.status == 422, "\(answer.json)")
            return answer.json["message"].string ?? ""
        }
        let head = "\(kind).meta.k8s.io \"\" is invalid: "
        let long = String(repeating: "x", count: 129)
        #expect(
            try await message("fieldManager=\(long)")
                == head + "fieldManager: Too long: may not be more than 128 bytes")
        #expect(
            try await message("fieldManager=a\nb")
                == head + "fieldManager: Invalid value: \"a\\nb\": invalid character U+000A (at position 1)")
        #expect(
            try await message("dryRun=All&dryRun=None")
                == head + "dryRun: Unsupported value: [\"All\",\"None\"]: supported values: \"All\"")
        #expect(
            try await message("fieldValidation=Frob")
                == head
                + "fieldValidation: Unsupported value: \"Frob\": supported values: \"Ignore\", \"Strict\", \"Warn\"")
    }

    @Test func dryRunsOfDeletions() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.client.create(.configMaps, configMap("a"))
        let wrong = try await fixture.send("DELETE", maps + "/a", ["dryRun": ["Frob"]])
        #expect(wrong.status == 422 && wrong.json["details"]["kind"] == "DeleteOptions")
        #expect(try await fixture.send("DELETE", maps + "/a", ["dryRun": ["All"]]).status == 200)
        #expect(try await fixture.send("GET", maps + "/a").status == 200)
    }
}
