// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

/// The areas of upstream's conformance suite for the API machinery that controllers are part of; the others are in
/// APIServerTests.
@Suite struct APIMachineryTests {
    private static let replicaSet: JSON = [
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": ["name": "web", "namespace": "default"],
        "spec": [
            "replicas": 2, "selector": ["matchLabels": ["app": "web"]],
            "template": [
                "metadata": ["labels": ["app": "web"]],
                "spec": ["containers": [["name": "main", "image": "busybox"]]],
            ],
        ],
    ]

    private func withReplicaSet(
        _ policy: String, _ check: @escaping @Sendable (TestCluster) async throws -> Void
    ) async throws {
        try await TestCluster.with { cluster in
            _ = try await cluster.apply(.replicaSets, Self.replicaSet)
            try await cluster.until(.pods, in: "default") { $0.count == 2 }
            try await cluster.client.delete(.replicaSets, "web", in: "default", propagationPolicy: policy)
            try await check(cluster)
        }
    }

    @Test("garbage collection, background: the owner goes at once, and what it owned follows")
    func background() async throws {
        try await withReplicaSet("Background") { cluster in
            await #expect(throws: APIError.self) {
                _ = try await cluster.client.get(.replicaSets, "web", in: "default")
            }
            try await cluster.until(.pods, in: "default") { $0.isEmpty }
        }
    }

    @Test("garbage collection, foreground: the owner stays until what it owned has gone")
    func foreground() async throws {
        try await withReplicaSet("Foreground") { cluster in
            try await cluster.until(.replicaSets, in: "default") { $0.isEmpty }
            #expect(try await cluster.client.list(.pods, in: "default").items.isEmpty)
        }
    }

    @Test("garbage collection, orphan: what was owned lives on, without its owner")
    func orphan() async throws {
        try await withReplicaSet("Orphan") { cluster in
            try await cluster.until(.replicaSets, in: "default") { $0.isEmpty }
            let pods = try await cluster.client.list(.pods, in: "default").items
            #expect(pods.count == 2)
            #expect(pods.allSatisfy { $0.ownerReferences.isEmpty && !$0.isBeingDeleted })
        }
    }

    @Test("namespaces: an account and a certificate come with them, and everything goes with them, pods first")
    func namespaceLife() async throws {
        try await TestCluster.with { cluster in
            _ = try await cluster.apply(
                .namespaces, ["apiVersion": "v1", "kind": "Namespace", "metadata": ["name": "life"]])
            try await cluster.until(.serviceAccounts, in: "life") { $0.contains { $0.name == "default" } }
            try await cluster.until(.configMaps, in: "life") { $0.contains { $0.name == "kube-root-ca.crt" } }
            _ = try await cluster.apply(
                .configMaps,
                ["apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "kept", "namespace": "life"]])
            let pod = try await cluster.apply(
                .pods,
                [
                    "apiVersion": "v1", "kind": "Pod",
                    "metadata": ["name": "slow", "namespace": "life", "finalizers": ["example.com/hold"]],
                    "spec": ["containers": [["name": "main", "image": "busybox"]]],
                ])
            try await cluster.client.delete(.namespaces, "life")
            try await cluster.until(.pods, in: "life") { $0.allSatisfy(\.isBeingDeleted) && !$0.isEmpty }
            // Nothing else is touched while a pod is left.
            #expect(try await !cluster.client.get(.configMaps, "kept", in: "life").isBeingDeleted)
            await #expect(throws: APIError.self) {
                _ = try await cluster.apply(
                    .configMaps,
                    ["apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "late", "namespace": "life"]])
            }
            _ = try await cluster.client.patch(
                .pods, "slow", in: "life", type: .merge,
                ["metadata": ["finalizers": .null, "uid": JSON(pod.uid)]])
            try await cluster.until(.namespaces) { !$0.contains { $0.name == "life" } }
            #expect(try await cluster.client.list(.configMaps, in: "life").items.isEmpty)
        }
    }

    @Test("quota: a new one counts what is there, refuses what is too much, and gives back what is deleted")
    func quotaLife() async throws {
        try await TestCluster.with { cluster in
            let quotas = GroupVersionResource("", "v1", "resourcequotas")
            func map(_ name: String) async throws {
                _ = try await cluster.apply(
                    .configMaps,
                    ["apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": JSON(name), "namespace": "life"]])
            }
            _ = try await cluster.apply(
                .namespaces, ["apiVersion": "v1", "kind": "Namespace", "metadata": ["name": "life"]])
            try await cluster.until(.configMaps, in: "life") { !$0.isEmpty }
            try await map("first")
            _ = try await cluster.apply(
                quotas,
                [
                    "apiVersion": "v1", "kind": "ResourceQuota", "metadata": ["name": "few", "namespace": "life"],
                    "spec": ["hard": ["configmaps": "3"]],
                ])
            func used(_ count: String) async throws {
                try await cluster.until(quotas, in: "life") {
                    $0.first?["status"]["used"]["configmaps"].string == count
                }
            }
            try await used("2")
            try await map("second")
            try await used("3")
            do {
                try await map("third")
                Issue.record("the quota let a fourth ConfigMap pass")
            } catch let error as APIError {
                #expect(
                    error.message.hasSuffix(
                        "exceeded quota: few, requested: configmaps=1, used: configmaps=3, limited: configmaps=3"))
            }
            try await cluster.client.delete(.configMaps, "first", in: "life")
            try await used("2")
            try await map("third")
        }
    }
}
