// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

@Suite struct DeletionTests {
    private let path = "/api/v1/namespaces/default/configmaps"

    @Test func finalizersHoldAnObject() async throws {
        let fixture = try await Fixture()
        var held = configMap("a")
        held.metadata["finalizers"] = ["example.com/hold"]
        _ = try await fixture.client.create(.configMaps, held)
        let deleted = try await fixture.send("DELETE", path + "/a")
        #expect(deleted.json["kind"].string == "ConfigMap")
        #expect(deleted.json["metadata"]["deletionTimestamp"].string != nil)
        let added = try await fixture.send(
            "PATCH", path + "/a", ["metadata": ["finalizers": ["example.com/hold", "example.com/more"]]],
            type: "application/merge-patch+json")
        #expect(added.status == 422)
        #expect(
            added.json["message"].string?.contains("no new finalizers can be added if the object is being deleted")
                == true)
        let released = try await fixture.send(
            "PATCH", path + "/a", ["metadata": ["finalizers": .null]], type: "application/merge-patch+json")
        #expect(released.status == 200)
        #expect(try await fixture.send("GET", path + "/a").status == 404)
    }

    @Test func aBoundPodGoesWhenItsNodeSaysSo() async throws {
        let fixture = try await Fixture()
        let pods = "/api/v1/namespaces/default/pods"
        _ = try await fixture.client.create(.pods, pod("free"))
        #expect(try await fixture.send("DELETE", pods + "/free").json["kind"].string == "Pod")
        #expect(try await fixture.send("GET", pods + "/free").status == 404)
        let made = try await fixture.client.create(.pods, pod("web"))
        _ = try await fixture.client.create(
            .pods, name: "web", in: "default", subresource: "binding",
            ["metadata": ["name": "web"], "target": ["kind": "Node", "name": "n1"]])
        let twice = try await fixture.send(
            "POST", pods + "/web/binding", ["metadata": ["name": "web"], "target": ["kind": "Node", "name": "n2"]])
        #expect(twice.status == 409)
        let bound = try await fixture.client.get(.pods, "web", in: "default")
        #expect(bound["spec"]["nodeName"].string == "n1")
        #expect(bound["status"]["conditions"][0]["type"].string == "PodScheduled")
        let deleted = try await fixture.send("DELETE", pods + "/web").json
        #expect(deleted["metadata"]["deletionGracePeriodSeconds"].int == 30)
        #expect(deleted["metadata"]["generation"].int == bound.generation + 1)
        let quicker = try await fixture.send("DELETE", pods + "/web", ["gracePeriodSeconds": 5]).json
        #expect(quicker["metadata"]["deletionGracePeriodSeconds"].int == 5)
        let slower = try await fixture.send("DELETE", pods + "/web", ["gracePeriodSeconds": 50]).json
        #expect(slower["metadata"]["deletionGracePeriodSeconds"].int == 5)
        let other = try await fixture.send(
            "DELETE", pods + "/web", ["gracePeriodSeconds": 0, "preconditions": ["uid": "another"]])
        #expect(other.status == 409)
        let last = try await fixture.send(
            "DELETE", pods + "/web", ["gracePeriodSeconds": 0, "preconditions": ["uid": JSON(made.uid)]])
        #expect(last.status == 200)
        #expect(try await fixture.send("GET", pods + "/web").status == 404)
    }

    @Test func propagationIsWrittenForTheGarbageCollector() async throws {
        let fixture = try await Fixture()
        for (name, policy, finalizer) in [("f", "Foreground", "foregroundDeletion"), ("o", "Orphan", "orphan")] {
            _ = try await fixture.client.create(.configMaps, configMap(name))
            let deleted = try await fixture.send("DELETE", path + "/\(name)", ["propagationPolicy": JSON(policy)])
            #expect(deleted.json["metadata"]["finalizers"] == .array([JSON(finalizer)]))
        }
        _ = try await fixture.client.create(.configMaps, configMap("b"))
        let gone = try await fixture.send("DELETE", path + "/b", ["propagationPolicy": "Background"])
        #expect(gone.json["status"].string == "Success")
        #expect(gone.json["details"]["name"].string == "b")
    }

    @Test func collectionsAreDeletedBySelector() async throws {
        let fixture = try await Fixture()
        for name in ["a", "b"] { _ = try await fixture.client.create(.configMaps, configMap(name, labels: ["x": "1"])) }
        _ = try await fixture.client.create(.configMaps, configMap("c"))
        let deleted = try await fixture.send("DELETE", path + "?labelSelector=x=1")
        #expect(deleted.status == 200)
        #expect(try await fixture.client.list(.configMaps, in: "default").items.map(\.name) == ["c"])
    }

    @Test func evictionAsksTheBudget() async throws {
        let fixture = try await Fixture()
        let pods = "/api/v1/namespaces/default/pods"
        var web = pod("web")
        web.metadata["labels"] = ["app": "web"]
        _ = try await fixture.client.create(.pods, web)
        _ = try await fixture.send(
            "PATCH", pods + "/web/status", ["status": ["phase": "Running"]], type: "application/merge-patch+json")
        let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
        _ = try await fixture.send(
            "POST", budgets,
            ["metadata": ["name": "b"], "spec": ["minAvailable": 1, "selector": ["matchLabels": ["app": "web"]]]])
        let eviction: JSON = ["metadata": ["name": "web", "namespace": "default"]]
        let refused = try await fixture.send("POST", pods + "/web/eviction", eviction)
        #expect(refused.status == 429)
        // Clients that are told a time wait and try again by themselves: kubectl drain could not say why it waits.
        #expect(refused.header("Retry-After") == nil)
        #expect(
            refused.json["message"].string == "Cannot evict pod as it would violate the pod's disruption budget.")
        _ = try await fixture.send(
            "PATCH", budgets + "/b/status",
            [
                "status": [
                    "disruptionsAllowed": 1, "observedGeneration": 1, "currentHealthy": 2, "desiredHealthy": 1,
                    "expectedPods": 2,
                ]
            ], type: "application/merge-patch+json")
        #expect(try await fixture.send("POST", pods + "/web/eviction", eviction).status == 201)
        #expect(try await fixture.send("GET", pods + "/web").status == 404)
        let budget = try await fixture.send("GET", budgets + "/b")
        #expect(budget.json["status"]["disruptionsAllowed"].int == 0)
    }
}

@Suite struct PodPartTests {
    private let path = "/api/v1/namespaces/default/pods/web"

    @Test func onlyItsPartIsWrittenThroughAPath() async throws {
        let fixture = try await Fixture()
        var web = pod("web")
        // A change of resources must leave the class of service as it is.
        web["spec"] = [
            "containers": [["name": "main", "image": "busybox", "resources": ["requests": ["cpu": "50m"]]]]
        ]
        _ = try await fixture.client.create(.pods, web)
        let strategic = "application/strategic-merge-patch+json"
        let debugged = try await fixture.send(
            "PATCH", path + "/ephemeralcontainers",
            [
                "spec": [
                    "ephemeralContainers": [["name": "debug", "image": "busybox"]],
                    "containers": [["name": "main", "image": "other"]],
                ]
            ], type: strategic)
        #expect(debugged.status == 200)
        #expect(debugged.json["spec"]["ephemeralContainers"][0]["name"].string == "debug")
        #expect(debugged.json["spec"]["containers"][0]["image"].string == "busybox")
        let resized = try await fixture.send(
            "PATCH", path + "/resize",
            [
                "spec": [
                    "containers": [["name": "main", "image": "other", "resources": ["requests": ["cpu": "100m"]]]]
                ]
            ], type: strategic)
        #expect(resized.json["spec"]["containers"][0]["resources"]["requests"]["cpu"].string == "100m")
        #expect(resized.json["spec"]["containers"][0]["image"].string == "busybox")
        let moved = try await fixture.send(
            "PATCH", path, ["spec": ["nodeName": "n2"]], type: "application/merge-patch+json")
        #expect(moved.status == 422)
        #expect(moved.json["message"].string?.contains("pod updates may not change fields other than") == true)
    }
}
