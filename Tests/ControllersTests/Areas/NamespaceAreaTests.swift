// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

/// Namespaces: the areas of upstream's conformance suite.
@Suite(.timeLimit(.minutes(1))) struct NamespaceAreaTests {
    private func make(_ cluster: TestCluster, _ name: String) async throws -> KubeObject {
        let made = try await cluster.apply(
            .namespaces, ["apiVersion": "v1", "kind": "Namespace", "metadata": ["name": JSON(name)]])
        try await cluster.until(.serviceAccounts, in: name) { $0.named("default") != nil }
        return made
    }

    @Test("Namespaces: ensures that all services are removed when a namespace is deleted")
    func services() async throws {
        try await TestCluster.with { cluster in
            _ = try await make(cluster, "life")
            var service = Manifests.service("web", app: "web")
            service["metadata"]["namespace"] = "life"
            _ = try await cluster.apply(.services, service)
            try await cluster.client.delete(.namespaces, "life")
            try await cluster.until(.namespaces) { $0.named("life") == nil }
            _ = try await make(cluster, "life")
            #expect(try await cluster.client.list(.services, in: "life").items.isEmpty)
        }
    }

    @Test("Namespaces: ensures that all pods are removed when a namespace is deleted")
    func pods() async throws {
        try await TestCluster.with { cluster in
            _ = try await make(cluster, "life")
            for name in ["one", "two"] {
                _ = try await cluster.apply(
                    .pods,
                    [
                        "apiVersion": "v1", "kind": "Pod", "metadata": ["name": JSON(name), "namespace": "life"],
                        "spec": ["containers": [["name": "c", "image": "i"]]],
                    ])
            }
            try await cluster.until(.pods, in: "life") {
                $0.count == 2 && $0.allSatisfy { $0["status"]["podIP"] != nil }
            }
            try await cluster.client.delete(.namespaces, "life")
            try await cluster.until(.namespaces) { $0.named("life") == nil }
            #expect(try await cluster.client.list(.pods, in: "life").items.isEmpty)
        }
    }

    @Test("Namespaces: patches a namespace")
    func patch() async throws {
        try await TestCluster.with { cluster in
            _ = try await make(cluster, "life")
            let patched = try await cluster.client.patch(
                .namespaces, "life", type: .strategic, ["metadata": ["labels": ["testLabel": "testValue"]]])
            #expect(patched.labels["testLabel"] == "testValue")
            #expect(patched.labels["kubernetes.io/metadata.name"] == "life")
            // The label with the name is put back by the server, not by whoever patches.
            let forged = try await cluster.client.patch(
                .namespaces, "life", type: .merge, ["metadata": ["labels": ["kubernetes.io/metadata.name": "other"]]])
            #expect(forged.labels["kubernetes.io/metadata.name"] == "life")
        }
    }

    @Test("Namespaces: applies changes to a namespace status")
    func status() async throws {
        try await TestCluster.with { cluster in
            let made = try await make(cluster, "life")
            #expect(made["status"]["phase"].string == "Active")
            let condition: JSON = [
                "type": "StatusPatch", "status": "True", "reason": "E2E", "message": "Patched by a test",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            ]
            let patched = try await cluster.client.patch(
                .namespaces, "life", type: .merge, ["status": ["conditions": [condition]]], subresource: "status")
            #expect(patched["status"]["conditions"][0]["type"].string == "StatusPatch")
            var updated = patched
            let list: JSON = .array([
                [
                    "type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Updated by a test",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                ]
            ])
            updated["status"]["conditions"] = list
            let put = try await cluster.client.update(.namespaces, updated, subresource: "status")
            #expect(put["status"]["conditions"] == list && put["status"]["phase"].string == "Active")
        }
    }

    @Test("Namespaces: applies an update to a namespace")
    func update() async throws {
        try await TestCluster.with { cluster in
            var made = try await make(cluster, "life")
            made.metadata["labels"]["life"] = "updated"
            #expect(try await cluster.client.update(.namespaces, made).labels["life"] == "updated")
        }
    }

    @Test("Namespaces: applies a finalizer to a namespace")
    func finalizer() async throws {
        try await TestCluster.with { cluster in
            var made = try await make(cluster, "life")
            #expect(made["spec"]["finalizers"] == ["kubernetes"])
            made["spec"]["finalizers"] = ["kubernetes", "e2e.example.com/fakeFinalizer"]
            var held = try await cluster.client.update(.namespaces, made, subresource: "finalize")
            #expect(held["spec"]["finalizers"].array?.count == 2)
            // Through the object itself the list does not change.
            var forged = held
            forged["spec"]["finalizers"] = .array([])
            forged = try await cluster.client.update(.namespaces, forged)
            #expect(forged["spec"]["finalizers"].array?.count == 2)
            try await cluster.client.delete(.namespaces, "life")
            let stuck = try await cluster.until(.namespaces) {
                $0.named("life")?["spec"]["finalizers"] == ["e2e.example.com/fakeFinalizer"]
            }
            held = try #require(stuck.named("life"))
            #expect(held["status"]["phase"].string == "Terminating")
            held["spec"]["finalizers"] = .array([])
            _ = try await cluster.client.update(.namespaces, held, subresource: "finalize")
            try await cluster.until(.namespaces) { $0.named("life") == nil }
        }
    }

    @Test("Namespaces: deletes all of a set, and pods before anything else")
    func podsFirst() async throws {
        try await TestCluster.with { cluster in
            for name in ["one", "two"] {
                _ = try await make(cluster, name)
                _ = try await cluster.apply(
                    .configMaps,
                    ["apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "kept", "namespace": JSON(name)]])
                _ = try await cluster.apply(
                    .pods,
                    [
                        "apiVersion": "v1", "kind": "Pod",
                        "metadata": [
                            "name": "slow", "namespace": JSON(name), "finalizers": ["e2e.example.com/pod-deletion"],
                        ], "spec": ["containers": [["name": "c", "image": "i"]]],
                    ])
            }
            for name in ["one", "two"] { try await cluster.client.delete(.namespaces, name) }
            for name in ["one", "two"] {
                try await cluster.until(.pods, in: name) { $0.count == 1 && $0.allSatisfy(\.isBeingDeleted) }
                let left = try await cluster.until(.namespaces) {
                    let conditions = $0.named(name)?["status"]["conditions"].array ?? []
                    return conditions.contains {
                        $0["type"].string == "NamespaceContentRemaining" && $0["status"].string == "True"
                    }
                }
                let message = left.named(name)?["status"]["conditions"].array?.first {
                    $0["type"].string == "NamespaceContentRemaining"
                }?["message"].string
                #expect(message?.contains("pods. has 1 resource instances") == true, "\(message ?? "")")
                #expect(try await !cluster.client.get(.configMaps, "kept", in: name).isBeingDeleted)
                _ = try await cluster.client.patch(
                    .pods, "slow", in: name, type: .merge, ["metadata": ["finalizers": .null]])
            }
            try await cluster.until(.namespaces) { $0.named("one") == nil && $0.named("two") == nil }
        }
    }
}
