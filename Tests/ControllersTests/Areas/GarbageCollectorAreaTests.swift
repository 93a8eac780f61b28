// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

/// Garbage collector: the areas of upstream's conformance suite.
@Suite(.timeLimit(.minutes(1))) struct GarbageCollectorAreaTests {
    /// What owns pods: upstream asks of the second what is asked here of both.
    enum Owner: String, CaseIterable, CustomTestStringConvertible {
        case replicaSet = "ReplicaSet"
        case replicationController = "ReplicationController"

        var testDescription: String { rawValue }
        var resource: GroupVersionResource {
            switch self {
            case .replicaSet: .replicaSets
            case .replicationController: GroupVersionResource("", "v1", "replicationcontrollers")
            }
        }
    }

    private func controller(
        _ owner: Owner, _ cluster: TestCluster, _ name: String, replicas: Int
    ) async throws -> KubeObject {
        let labels: JSON = ["gc": JSON(name)]
        let made = try await cluster.apply(
            owner.resource,
            [
                "apiVersion": owner == .replicaSet ? "apps/v1" : "v1", "kind": JSON(owner.rawValue),
                "metadata": ["name": JSON(name), "namespace": "default"],
                "spec": [
                    "replicas": JSON(replicas), "selector": owner == .replicaSet ? ["matchLabels": labels] : labels,
                    "template": [
                        "metadata": ["labels": labels], "spec": ["containers": [["name": "c", "image": "i"]]],
                    ],
                ],
            ])
        try await cluster.until(.pods, in: "default") { $0.filter { $0.labels["gc"] == name }.count == replicas }
        return made
    }

    private func reference(_ owner: KubeObject, blocks: Bool = true) -> JSON {
        [
            "apiVersion": JSON(owner.apiVersion), "kind": JSON(owner.kind), "name": JSON(owner.name),
            "uid": JSON(owner.uid), "blockOwnerDeletion": JSON(blocks),
        ]
    }

    private func map(_ name: String, _ owners: [JSON], in namespace: String = "default") -> JSON {
        [
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": ["name": JSON(name), "namespace": JSON(namespace), "ownerReferences": .array(owners)],
        ]
    }

    @Test("Garbage collector: deletes pods created by their owner when not orphaning", arguments: Owner.allCases)
    func background(owner: Owner) async throws {
        try await TestCluster.with { cluster in
            _ = try await controller(owner, cluster, "rc", replicas: 2)
            try await cluster.client.delete(owner.resource, "rc", in: "default", propagationPolicy: "Background")
            try await cluster.until(.pods, in: "default") { $0.isEmpty }
        }
    }

    @Test("Garbage collector: orphans pods created by their owner if delete options say so", arguments: Owner.allCases)
    func orphan(owner: Owner) async throws {
        try await TestCluster.with { cluster in
            _ = try await controller(owner, cluster, "rc", replicas: 2)
            try await cluster.client.delete(owner.resource, "rc", in: "default", propagationPolicy: "Orphan")
            try await cluster.until(owner.resource, in: "default") { $0.isEmpty }
            let pods = try await cluster.client.list(.pods, in: "default").items
            #expect(pods.count == 2 && pods.allSatisfy { $0.ownerReferences.isEmpty && !$0.isBeingDeleted })
        }
    }

    @Test(
        "Garbage collector: deletes replica sets created by a deployment when not orphaning, and orphans them if told")
    func deployments() async throws {
        try await TestCluster.with { cluster in
            for (name, policy) in [("gone", "Background"), ("kept", "Orphan")] {
                _ = try await cluster.apply(.deployments, Manifests.deployment(name))
                try await cluster.until(.replicaSets, in: "default") { $0.contains { $0.labels["app"] == name } }
                try await cluster.client.delete(.deployments, name, in: "default", propagationPolicy: policy)
            }
            try await cluster.until(.deployments, in: "default") { $0.isEmpty }
            let sets = try await cluster.until(.replicaSets, in: "default") {
                !$0.contains { $0.labels["app"] == "gone" }
            }
            #expect(sets.map { $0.labels["app"] } == ["kept"] && sets[0].ownerReferences.isEmpty)
        }
    }

    @Test(
        "Garbage collector: keeps the owner until all its pods are deleted if delete options say so",
        arguments: Owner.allCases)
    func foreground(owner: Owner) async throws {
        try await TestCluster.with { cluster in
            _ = try await controller(owner, cluster, "rc", replicas: 2)
            let pod = try #require(try await cluster.client.list(.pods, in: "default").items.first)
            _ = try await cluster.client.patch(
                .pods, pod.name, in: "default", type: .merge, ["metadata": ["finalizers": ["e2e.example.com/hold"]]])
            try await cluster.client.delete(owner.resource, "rc", in: "default", propagationPolicy: "Foreground")
            try await cluster.until(.pods, in: "default") { $0.count == 1 && $0[0].isBeingDeleted }
            let held = try await cluster.client.get(owner.resource, "rc", in: "default")
            #expect(held.isBeingDeleted && held.finalizers == ["foregroundDeletion"])
            _ = try await cluster.client.patch(
                .pods, pod.name, in: "default", type: .merge, ["metadata": ["finalizers": .null]])
            try await cluster.until(owner.resource, in: "default") { $0.isEmpty }
        }
    }

    @Test(
        "Garbage collector: does not delete dependents that have both valid owners and owners that are waiting for dependents",
        arguments: Owner.allCases)
    func twoOwners(owner: Owner) async throws {
        try await TestCluster.with { cluster in
            _ = try await controller(owner, cluster, "going", replicas: 3)
            let staying = try await controller(owner, cluster, "staying", replicas: 0)
            let pods = try await cluster.client.list(.pods, in: "default").items
            let shared = try #require(pods.first)
            _ = try await cluster.client.patch(
                .pods, shared.name, in: "default", type: .strategic,
                ["metadata": ["ownerReferences": [reference(staying)]]])
            try await cluster.client.delete(owner.resource, "going", in: "default", propagationPolicy: "Foreground")
            try await cluster.until(owner.resource, in: "default") { $0.map(\.name) == ["staying"] }
            let left = try await cluster.until(.pods, in: "default") {
                $0.count == 1 && $0[0].ownerReferences.count == 1
            }
            let only = try #require(left.first)
            #expect(only.name == shared.name && !only.isBeingDeleted)
            #expect(only.metadata["ownerReferences"][0]["uid"].string == staying.uid)
        }
    }

    @Test("Garbage collector: is not blocked by a dependency circle")
    func circle() async throws {
        try await TestCluster.with { cluster in
            var maps: [KubeObject] = []
            for name in ["one", "two", "three"] { maps.append(try await cluster.apply(.configMaps, map(name, []))) }
            for (index, made) in maps.enumerated() {
                _ = try await cluster.client.patch(
                    .configMaps, made.name, in: "default", type: .merge,
                    ["metadata": ["ownerReferences": [reference(maps[(index + 2) % 3])]]])
            }
            try await cluster.client.delete(.configMaps, "one", in: "default", propagationPolicy: "Foreground")
            try await cluster.until(.configMaps, in: "default") { left in
                ["one", "two", "three"].allSatisfy { left.named($0) == nil }
            }
        }
    }

    @Test(
        "Garbage collector: deletes custom resources with their owner, and an owner of another namespace owns nothing")
    func customAndForeign() async throws {
        try await TestCluster.with { cluster in
            let foos = GroupVersionResource("stable.example.com", "v1", "foos")
            _ = try await cluster.apply(.customResourceDefinitions, Definitions.foo)
            func foo(_ name: String, _ owners: [JSON]) -> JSON {
                [
                    "apiVersion": "stable.example.com/v1", "kind": "Foo",
                    "metadata": ["name": JSON(name), "namespace": "default", "ownerReferences": .array(owners)],
                ]
            }
            let owner = try await cluster.apply(foos, foo("owner", []))
            _ = try await cluster.apply(foos, foo("dependent", [reference(owner)]))
            try await cluster.client.delete(foos, "owner", in: "default", propagationPolicy: "Background")
            try await cluster.until(foos, in: "default") { $0.isEmpty }

            // An owner that is in no place where owners are is refused, with an event that says so.
            let abroad = try await cluster.apply(.configMaps, map("abroad", [], in: "kube-system"))
            let orphan = try await cluster.apply(.configMaps, map("claims-abroad", [reference(abroad)]))
            try await cluster.until(.events, in: "default") { events in
                events.contains {
                    $0["reason"].string == "OwnerRefInvalidNamespace"
                        && $0["involvedObject"]["uid"].string == orphan.uid
                }
            }
        }
    }
}
