// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

/// ResourceQuota: the areas of upstream's conformance suite. Each captures the life of a kind: counted when it comes,
/// given back when it goes.
@Suite(.timeLimit(.minutes(1))) struct ResourceQuotaAreaTests {
    private static let quotas = GroupVersionResource("", "v1", "resourcequotas")
    private static let claims = GroupVersionResource("", "v1", "persistentvolumeclaims")
    private static let controllers = GroupVersionResource("", "v1", "replicationcontrollers")
    private static let template: JSON = [
        "metadata": ["labels": ["app": "x"]], "spec": ["containers": [["name": "c", "image": "i"]]],
    ]

    private func quota(_ name: String, _ hard: [String: String], _ spec: JSON = [:]) -> JSON {
        var spec = spec
        spec["hard"] = JSON(hard)
        return [
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": ["name": JSON(name), "namespace": "default"],
            "spec": spec,
        ]
    }

    private func used(_ cluster: TestCluster, _ amounts: [String: String]) async throws {
        try await used(cluster, "q", amounts)
    }

    private func used(_ cluster: TestCluster, _ name: String, _ amounts: [String: String]) async throws {
        try await cluster.until(Self.quotas, in: "default") { quotas in
            let used = quotas.named(name)?["status"]["used"]
            return amounts.allSatisfy { used[$0.key].string == $0.value }
        }
    }

    private func pod(_ name: String, _ requests: JSON = [:], _ limits: JSON = [:], _ spec: JSON = [:]) -> JSON {
        var spec = spec
        spec["containers"] = [
            ["name": "c", "image": "i", "resources": ["requests": requests, "limits": limits]]
        ]
        return [
            "apiVersion": "v1", "kind": "Pod", "metadata": ["name": JSON(name), "namespace": "default"], "spec": spec,
        ]
    }

    private func refused(_ text: String, _ body: () async throws -> Void) async {
        do {
            try await body()
            Issue.record("it was let pass")
        } catch let error as APIError {
            #expect(error.code == 403 && error.message.contains(text), "\(error.message)")
        } catch {
            Issue.record("\(error)")
        }
    }

    @Test("ResourceQuota: creates a quota and ensures its status is promptly calculated")
    func promptly() async throws {
        try await TestCluster.with { cluster in
            _ = try await cluster.apply(Self.quotas, quota("q", ["pods": "5", "services": "10", "secrets": "10"]))
            try await used(cluster, ["pods": "0", "services": "1", "secrets": "0"])
        }
    }

    /// A kind, what it is counted as, and what its quota lets.
    struct Life: Sendable, CustomTestStringConvertible {
        let kind: String
        let resource: GroupVersionResource
        let key: String
        let object: JSON
        /// What there is in a namespace from the beginning.
        var base = 0
        var testDescription: String { kind }
    }

    private static func object(_ apiVersion: String, _ kind: String, _ rest: JSON = [:]) -> JSON {
        var object = rest
        object["apiVersion"] = JSON(apiVersion)
        object["kind"] = JSON(kind)
        return object
    }

    private static let selector: JSON = ["matchLabels": ["app": "x"]]

    static let lives: [Life] = [
        Life(
            kind: "service", resource: .services, key: "services",
            object: object("v1", "Service", ["spec": ["ports": [["port": 80]]]]), base: 1),
        Life(kind: "secret", resource: .secrets, key: "secrets", object: object("v1", "Secret")),
        Life(kind: "configMap", resource: .configMaps, key: "configmaps", object: object("v1", "ConfigMap"), base: 1),
        Life(
            kind: "persistent volume claim", resource: claims, key: "persistentvolumeclaims",
            object: object(
                "v1", "PersistentVolumeClaim",
                ["spec": ["accessModes": ["ReadWriteOnce"], "resources": ["requests": ["storage": "1Gi"]]]])),
        Life(
            kind: "replication controller", resource: controllers, key: "replicationcontrollers",
            object: object(
                "v1", "ReplicationController",
                ["spec": ["replicas": 0, "selector": ["app": "x"], "template": template]])),
        Life(
            kind: "replica set", resource: .replicaSets, key: "count/replicasets.apps",
            object: object(
                "apps/v1", "ReplicaSet", ["spec": ["replicas": 0, "selector": selector, "template": template]])),
        Life(
            kind: "custom resource", resource: GroupVersionResource("stable.example.com", "v1", "foos"),
            key: "count/foos.stable.example.com", object: object("stable.example.com/v1", "Foo")),
    ]

    @Test("ResourceQuota: creates a quota and captures the life of a", arguments: lives)
    func life(_ life: Life) async throws {
        try await TestCluster.with { cluster in
            if life.kind == "custom resource" {
                _ = try await cluster.apply(.customResourceDefinitions, Definitions.foo)
            }
            // What controllers make in every namespace is to be there before it is counted.
            try await cluster.until(.configMaps, in: "default") { !$0.isEmpty }
            _ = try await cluster.apply(Self.quotas, quota("q", [life.key: String(life.base + 2)]))
            try await used(cluster, [life.key: String(life.base)])
            func make(_ name: String) async throws {
                var object = life.object
                object["metadata"] = ["name": JSON(name), "namespace": "default"]
                _ = try await cluster.apply(life.resource, object)
            }
            try await make("one")
            try await used(cluster, [life.key: String(life.base + 1)])
            try await make("two")
            try await used(cluster, [life.key: String(life.base + 2)])
            await refused("exceeded quota: q, requested: \(life.key)=1") { try await make("three") }
            for name in ["one", "two"] { try await cluster.client.delete(life.resource, name, in: "default") }
            try await used(cluster, [life.key: String(life.base)])
            try await make("three")
        }
    }

    @Test("ResourceQuota: creates a quota and captures the life of a pod")
    func podLife() async throws {
        try await TestCluster.with { cluster in
            _ = try await cluster.apply(
                Self.quotas,
                quota(
                    "q",
                    [
                        "pods": "2", "requests.cpu": "1", "requests.memory": "500Mi",
                        "requests.ephemeral-storage": "50Gi",
                    ]))
            try await used(cluster, ["pods": "0", "requests.cpu": "0"])
            _ = try await cluster.apply(
                .pods, pod("fits", ["cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi"]))
            try await used(
                cluster,
                ["pods": "1", "requests.cpu": "500m", "requests.memory": "252Mi", "requests.ephemeral-storage": "30Gi"])
            await refused(
                "exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=500m, limited: requests.cpu=1"
            ) {
                _ = try await cluster.apply(
                    .pods, pod("too-much", ["cpu": "600m", "memory": "100Mi", "ephemeral-storage": "30Mi"]))
            }
            await refused("exceeded quota: q, requested: requests.ephemeral-storage=30Gi") {
                _ = try await cluster.apply(
                    .pods, pod("too-large", ["cpu": "400m", "memory": "100Mi", "ephemeral-storage": "30Gi"]))
            }
            await refused("must specify requests.cpu for: c") {
                _ = try await cluster.apply(.pods, pod("unsaid", ["memory": "1Mi", "ephemeral-storage": "1Mi"]))
            }
            // Usage stays what it is through an update of what does not count.
            _ = try await cluster.client.patch(
                .pods, "fits", in: "default", type: .merge, ["metadata": ["labels": ["a": "b"]]])
            try await used(cluster, ["requests.cpu": "500m"])
            try await cluster.client.delete(.pods, "fits", in: "default")
            try await used(
                cluster, ["pods": "0", "requests.cpu": "0", "requests.memory": "0", "requests.ephemeral-storage": "0"])
        }
    }

    @Test("ResourceQuota: verifies scopes of terminating and not terminating pods")
    func terminating() async throws {
        try await TestCluster.with { cluster in
            for scope in ["Terminating", "NotTerminating"] {
                _ = try await cluster.apply(
                    Self.quotas,
                    quota(scope.lowercased(), ["pods": "1", "requests.cpu": "1"], ["scopes": [JSON(scope)]]))
                try await used(cluster, scope.lowercased(), ["pods": "0"])
            }
            _ = try await cluster.apply(.pods, pod("endless", ["cpu": "500m"]))
            try await used(cluster, "notterminating", ["pods": "1", "requests.cpu": "500m"])
            try await used(cluster, "terminating", ["pods": "0"])
            _ = try await cluster.apply(
                .pods, pod("brief", ["cpu": "500m"], [:], ["activeDeadlineSeconds": 3600]))
            try await used(cluster, "terminating", ["pods": "1", "requests.cpu": "500m"])
            try await used(cluster, "notterminating", ["pods": "1"])
            for name in ["endless", "brief"] { try await cluster.client.delete(.pods, name, in: "default") }
            try await used(cluster, "terminating", ["pods": "0"])
            try await used(cluster, "notterminating", ["pods": "0"])
        }
    }

    @Test("ResourceQuota: verifies the scope of best effort pods")
    func bestEffort() async throws {
        try await TestCluster.with { cluster in
            for (name, scope) in [("best", "BestEffort"), ("not-best", "NotBestEffort")] {
                _ = try await cluster.apply(Self.quotas, quota(name, ["pods": "5"], ["scopes": [JSON(scope)]]))
                try await used(cluster, name, ["pods": "0"])
            }
            _ = try await cluster.apply(.pods, pod("plain"))
            try await used(cluster, "best", ["pods": "1"])
            try await used(cluster, "not-best", ["pods": "0"])
            try await cluster.client.delete(.pods, "plain", in: "default")
            try await used(cluster, "best", ["pods": "0"])
            _ = try await cluster.apply(.pods, pod("burst", ["cpu": "500m"], ["cpu": "1"]))
            try await used(cluster, "not-best", ["pods": "1"])
            try await used(cluster, "best", ["pods": "0"])
        }
    }

    @Test("ResourceQuota: verifies the scope of priority classes")
    func priority() async throws {
        try await TestCluster.with { cluster in
            let classes = GroupVersionResource("scheduling.k8s.io", "v1", "priorityclasses")
            for name in ["high", "low"] {
                _ = try await cluster.apply(
                    classes,
                    [
                        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": ["name": JSON(name)],
                        "value": 1000,
                    ])
            }
            _ = try await cluster.apply(
                Self.quotas,
                quota(
                    "q", ["pods": "1"],
                    [
                        "scopeSelector": [
                            "matchExpressions": [
                                ["operator": "In", "scopeName": "PriorityClass", "values": ["high"]]
                            ]
                        ]
                    ]))
            try await used(cluster, ["pods": "0"])
            _ = try await cluster.apply(.pods, pod("low", [:], [:], ["priorityClassName": "low"]))
            _ = try await cluster.apply(.pods, pod("high", [:], [:], ["priorityClassName": "high"]))
            try await used(cluster, ["pods": "1"])
            await refused("exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1") {
                _ = try await cluster.apply(.pods, pod("higher", [:], [:], ["priorityClassName": "high"]))
            }
            try await cluster.client.delete(.pods, "high", in: "default")
            try await used(cluster, ["pods": "0"])
        }
    }

    @Test("ResourceQuota: is able to update and delete a quota")
    func updateAndDelete() async throws {
        try await TestCluster.with { cluster in
            let made = try await cluster.apply(Self.quotas, quota("q", ["cpu": "1", "memory": "500Mi"]))
            #expect(made["spec"]["hard"] == ["cpu": "1", "memory": "500Mi"])
            try await used(cluster, ["cpu": "0", "memory": "0"])
            _ = try await cluster.client.patch(
                Self.quotas, "q", in: "default", type: .merge, ["spec": ["hard": ["cpu": "2", "memory": "1Gi"]]])
            try await cluster.until(Self.quotas, in: "default") {
                $0.named("q")?["status"]["hard"] == ["cpu": "2", "memory": "1Gi"]
            }
            try await cluster.client.delete(Self.quotas, "q", in: "default")
            try await cluster.until(Self.quotas, in: "default") { $0.isEmpty }
        }
    }

    @Test("ResourceQuota: manages the lifecycle of a quota")
    func lifecycle() async throws {
        try await TestCluster.with { cluster in
            for name in ["one", "two"] {
                var made = quota(name, ["cpu": "1"])
                made["metadata"]["labels"] = ["e2e": "lifecycle"]
                _ = try await cluster.apply(Self.quotas, made)
            }
            _ = try await cluster.client.patch(
                Self.quotas, "one", in: "default", type: .merge,
                ["metadata": ["labels": ["one": "patched"]], "spec": ["hard": ["memory": "750Mi"]]])
            try await cluster.until(Self.quotas, in: "default") {
                $0.named("one")?["status"]["hard"] == ["cpu": "1", "memory": "750Mi"]
            }
            try await cluster.client.deleteCollection(Self.quotas, in: "default", labelSelector: "e2e=lifecycle")
            try await cluster.until(Self.quotas, in: "default") { $0.isEmpty }
        }
    }

    @Test("ResourceQuota: applies changes to its status")
    func status() async throws {
        try await TestCluster.with { cluster in
            _ = try await cluster.apply(Self.quotas, quota("q", ["cpu": "500m", "memory": "500Mi"]))
            try await used(cluster, ["cpu": "0"])
            // What somebody else writes there is put right again.
            _ = try await cluster.client.patch(
                Self.quotas, "q", in: "default", type: .merge,
                ["status": ["used": ["cpu": "3"], "hard": ["cpu": "9"]]],
                subresource: "status")
            try await cluster.until(Self.quotas, in: "default") {
                let status = $0.named("q")?["status"]
                return status["used"]["cpu"].string == "0" && status["hard"]["cpu"].string == "500m"
            }
        }
    }
}

/// Definitions of kinds for tests.
enum Definitions {
    static let foo: JSON = [
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": ["name": "foos.stable.example.com"],
        "spec": [
            "group": "stable.example.com", "scope": "Namespaced", "names": ["plural": "foos", "kind": "Foo"],
            "versions": [
                [
                    "name": "v1", "served": true, "storage": true,
                    "schema": [
                        "openAPIV3Schema": ["type": "object", "x-kubernetes-preserve-unknown-fields": true]
                    ],
                ]
            ],
        ],
    ]
}
