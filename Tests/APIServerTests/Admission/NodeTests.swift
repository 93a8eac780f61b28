// SPDX-License-Identifier: Apache-2.0

import APIServer
import KubeClient
import KubeObjects
import Testing
import Values

/// What kubelets may read and write.
@Suite struct NodeTests {
    private func node(_ fixture: Fixture, _ name: String) -> KubeClient {
        fixture.client("system:node:\(name)", groups: ["system:nodes"])
    }

    /// Why it was refused; "done" when it was not.
    private func refusal(_ body: () async throws -> Void) async throws -> String {
        do {
            try await body()
            return "done"
        } catch let error as APIError {
            #expect(error.code == 403, "\(error)")
            return error.message
        }
    }

    /// Nodes a and b, and on each a pod that refers to a secret, a map, a claim and an account of its own.
    private func cluster() async throws -> Fixture {
        let fixture = try await Fixture()
        for name in ["a", "b"] {
            _ = try await fixture.client.create(.nodes, KubeObject(.nodes, kind: "Node", name: name))
            _ = try await fixture.client.create(
                .serviceAccounts,
                KubeObject(.serviceAccounts, kind: "ServiceAccount", name: "account-\(name)", namespace: "default"))
            var secret = KubeObject(.secrets, kind: "Secret", name: "secret-\(name)", namespace: "default")
            secret["data"] = .object([:])
            _ = try await fixture.client.create(.secrets, secret)
            _ = try await fixture.client.create(.configMaps, configMap("map-\(name)"))
            var pod = pod("pod-\(name)")
            pod["spec"]["nodeName"] = JSON(name)
            pod["spec"]["serviceAccountName"] = JSON("account-\(name)")
            pod["spec"]["volumes"] = [["name": "v", "secret": ["secretName": JSON("secret-\(name)")]]]
            pod["spec"]["containers"] = [
                ["name": "c", "image": "x", "envFrom": [["configMapRef": ["name": JSON("map-\(name)")]]]]
            ]
            _ = try await fixture.client.create(.pods, pod)
        }
        return fixture
    }

    @Test func aNodeReadsWhatItsPodsReferTo() async throws {
        let fixture = try await cluster()
        let a = node(fixture, "a")
        for (resource, kind) in [(GroupVersionResource.secrets, "secret"), (.configMaps, "map")] {
            #expect(try await a.get(resource, "\(kind)-a", in: "default").name == "\(kind)-a")
            let named = try await a.list(resource, in: "default", fieldSelector: "metadata.name=\(kind)-a")
            #expect(named.items.map(\.name) == ["\(kind)-a"])
            let foreign = try await refusal { _ = try await a.get(resource, "\(kind)-b", in: "default") }
            #expect(
                foreign
                    == "\(resource.resource) \"\(kind)-b\" is forbidden: User \"system:node:a\" cannot get resource "
                    + "\"\(resource.resource)\" in API group \"\" in the namespace \"default\": no relationship found "
                    + "between node 'a' and this object")
            let all = try await refusal { _ = try await a.list(resource, in: "default") }
            #expect(all.hasSuffix("No Object name found"))
        }
        #expect(try await a.list(.pods, fieldSelector: "spec.nodeName=a").items.map(\.name) == ["pod-a"])
        #expect(
            try await refusal { _ = try await a.list(.pods, fieldSelector: "spec.nodeName=b") }
                .hasSuffix("can only list/watch pods with spec.nodeName field selector"))
        #expect(try await refusal { _ = try await a.list(.nodes) }.hasSuffix("only its own Node object"))
        #expect(try await a.get(.nodes, "a").name == "a")
        #expect(try await a.list(.services).items.count == 1)
        // When the pod goes, so does the reason to read.
        try await fixture.client.delete(.pods, "pod-a", in: "default", gracePeriodSeconds: 0)
        #expect(try await refusal { _ = try await a.get(.secrets, "secret-a", in: "default") } != "done")
    }

    @Test func tokensAreForPodsOfTheNode() async throws {
        let fixture = try await cluster()
        let a = node(fixture, "a")
        func ask(_ account: String, _ reference: JSON) async throws -> String {
            try await refusal {
                _ = try await a.create(
                    .serviceAccounts, name: account, in: "default", subresource: "token",
                    ["spec": ["boundObjectRef": reference]])
            }
        }
        let own = try await fixture.client.get(.pods, "pod-a", in: "default")
        let reference: JSON = ["kind": "Pod", "apiVersion": "v1", "name": "pod-a", "uid": JSON(own.uid)]
        #expect(try await ask("account-a", reference) == "done")
        #expect(try await ask("account-a", .null).hasSuffix("node requested token not bound to a pod"))
        #expect(
            try await ask("account-a", ["kind": "Pod", "name": "pod-a"])
                .hasSuffix("node requested token with a pod binding without a uid"))
        #expect(try await ask("account-b", reference).hasSuffix("between node 'a' and this object"))
        let other = try await fixture.client.get(.pods, "pod-b", in: "default")
        #expect(
            try await ask("account-a", ["kind": "Pod", "name": "pod-b", "uid": JSON(other.uid)])
                .hasSuffix("node requested token bound to a pod scheduled on a different node"))
    }

    @Test func aNodeWritesWhatIsItsOwn() async throws {
        let fixture = try await cluster()
        let a = node(fixture, "a")
        let ready: JSON = ["status": ["phase": "Running"]]
        func status(_ pod: String) async throws -> String {
            try await refusal {
                _ = try await a.patch(.pods, pod, in: "default", type: .merge, ready, subresource: "status")
            }
        }
        #expect(try await status("pod-a") == "done")
        #expect(
            try await status("pod-b") == "pods \"pod-b\" is forbidden: node \"a\" can only update pod status for pods "
                + "with spec.nodeName set to itself")
        #expect(
            try await refusal { try await a.delete(.pods, "pod-b", in: "default") }
                .hasSuffix("node \"a\" can only delete pods with spec.nodeName set to itself"))
        #expect(
            try await refusal {
                _ = try await a.create(.pods, name: "pod-b", in: "default", subresource: "eviction", [:])
            }.hasSuffix("node \"a\" can only evict pods with spec.nodeName set to itself"))
        #expect(
            try await refusal { try await a.delete(.pods, "pod-a", in: "default", gracePeriodSeconds: 0) } == "done")
        #expect(
            try await refusal { _ = try await a.create(.pods, pod("free")) }.hasSuffix("can only create mirror pods"))
        var mirror = pod("mirror")
        mirror.metadata["annotations"] = ["kubernetes.io/config.mirror": "x"]
        mirror["spec"]["nodeName"] = "a"
        let wanted = mirror
        #expect(try await refusal { _ = try await a.create(.pods, wanted) } == "done")
        func lease(_ name: String, _ namespace: String = "kube-node-lease") async throws -> String {
            try await refusal {
                _ = try await a.create(.leases, KubeObject(.leases, kind: "Lease", name: name, namespace: namespace))
            }
        }
        #expect(try await lease("a") == "done")
        #expect(try await lease("b").hasSuffix("can only access node lease with the same name as the requesting node"))
        #expect(try await lease("a", "default").contains("in the \"kube-node-lease\" system namespace"))
    }

    @Test func aNodeCannotChooseItsRole() async throws {
        let fixture = try await cluster()
        let a = node(fixture, "a")
        func label(_ key: String, on node: String = "a") async throws -> String {
            try await refusal {
                _ = try await a.patch(
                    .nodes, node, type: .merge, ["metadata": ["labels": .object([key: "x"] as JSONObject)]])
            }
        }
        #expect(try await label("topology.kubernetes.io/zone") == "done")
        #expect(try await label("example.com/rack") == "done")
        for key in ["node-role.kubernetes.io/control-plane", "node-restriction.kubernetes.io/secure", "x.k8s.io/y"] {
            #expect(
                try await label(key) == "nodes \"a\" is forbidden: node \"a\" is not allowed to modify labels: \(key)")
        }
        #expect(
            try await label("example.com/rack", on: "b")
                == "nodes \"b\" is forbidden: node \"a\" is not allowed to modify node \"b\"")
        let taint: JSON = ["spec": ["taints": [["key": "x", "effect": "NoSchedule"]]]]
        #expect(
            try await refusal { _ = try await a.patch(.nodes, "a", type: .merge, taint) }
                .hasSuffix("node \"a\" is not allowed to modify taints"))
        var c = KubeObject(.nodes, kind: "Node", name: "c", labels: ["node-role.kubernetes.io/control-plane": ""])
        let presumptuous = c
        #expect(
            try await refusal { _ = try await node(fixture, "c").create(.nodes, presumptuous) }
                .hasSuffix("is not allowed to set the following labels: node-role.kubernetes.io/control-plane"))
        c.metadata["labels"] = ["kubernetes.io/hostname": "c"]
        let modest = c
        #expect(try await refusal { _ = try await node(fixture, "c").create(.nodes, modest) } == "done")
    }

    @Test func theGroupAloneGivesNothing() async throws {
        let fixture = try await cluster()
        let somebody = fixture.client("somebody", groups: ["system:nodes"])
        #expect(try await refusal { _ = try await somebody.get(.secrets, "secret-a", in: "default") } != "done")
        #expect(try await refusal { _ = try await somebody.get(.nodes, "a") } != "done")
    }
}
