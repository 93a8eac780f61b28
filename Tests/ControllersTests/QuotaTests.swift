// SPDX-License-Identifier: Apache-2.0

import Controllers
import KubeClient
import KubeObjects
import Testing
import Values

/// Quotas are counted anew when something goes, and claims and volumes stay while they are used.
@Suite(.timeLimit(.minutes(1))) struct QuotaTests {
    private static let quotas = GroupVersionResource("", "v1", "resourcequotas")
    private static let claims = GroupVersionResource("", "v1", "persistentvolumeclaims")
    private static let volumes = GroupVersionResource("", "v1", "persistentvolumes")

    private static func quota(_ hard: [String: String]) -> JSON {
        [
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": ["name": "q", "namespace": "default"],
            "spec": ["hard": JSON(hard)],
        ]
    }

    private static func pod(_ name: String, _ spec: JSON = [:]) -> JSON {
        var spec = spec
        spec["containers"] = [["name": "c", "image": "x", "resources": ["requests": ["cpu": "100m"]]]]
        return [
            "apiVersion": "v1", "kind": "Pod", "metadata": ["name": JSON(name), "namespace": "default"], "spec": spec,
        ]
    }

    @Test func usageIsCountedAndReleased() async throws {
        try await TestCluster.with { cluster in
            try await cluster.until(.serviceAccounts, in: "default") { $0.named("default") != nil }
            _ = try await cluster.apply(
                Self.quotas,
                Self.quota(["pods": "2", "requests.cpu": "1", "secrets": "3", "count/leases.coordination.k8s.io": "4"]))
            @Sendable func isUsed(_ amounts: [String: String]) -> @Sendable ([KubeObject]) -> Bool {
                { quotas in
                    let used = quotas.named("q")?["status"]["used"]
                    return amounts.allSatisfy { used[$0.key].string == $0.value }
                }
            }
            let empty = try await cluster.until(
                Self.quotas, isUsed(["pods": "0", "requests.cpu": "0", "secrets": "0"]))
            #expect(empty.named("q")?["status"]["hard"] == empty.named("q")?["spec"]["hard"])
            for name in ["a", "b"] { _ = try await cluster.apply(.pods, Self.pod(name)) }
            await #expect(throws: APIError.self) { try await cluster.apply(.pods, Self.pod("c")) }
            try await cluster.until(Self.quotas, isUsed(["pods": "2", "requests.cpu": "200m"]))
            // A finished pod is none; a deleted one neither.
            try await cluster.client.patch(
                .pods, "a", in: "default", type: .merge, ["status": ["phase": "Succeeded"]], subresource: "status")
            try await cluster.until(Self.quotas, isUsed(["pods": "1", "requests.cpu": "100m"]))
            try await cluster.client.delete(.pods, "b", in: "default")
            try await cluster.until(Self.quotas, isUsed(["pods": "0", "requests.cpu": "0"]))
            // What no cache holds is watched for because the quota names it.
            var secret = KubeObject(.secrets, kind: "Secret", name: "s", namespace: "default")
            secret["data"] = .object([:])
            _ = try await cluster.client.create(.secrets, secret)
            try await cluster.until(Self.quotas, isUsed(["secrets": "1"]))
            try await cluster.client.delete(.secrets, "s", in: "default")
            try await cluster.until(Self.quotas, isUsed(["secrets": "0"]))
            // A quota that is changed is counted by what it says now.
            try await cluster.client.patch(
                Self.quotas, "q", in: "default", type: .merge, ["spec": ["hard": ["services": "9", "pods": .null]]])
            let changed = try await cluster.until(Self.quotas, isUsed(["services": "1"]))
            #expect(changed.named("q")?["status"]["used"]["pods"] == nil)
        }
    }

    @Test func creationsAndDeletionsAtOnceNeverExceedAQuota() async throws {
        try await TestCluster.with { cluster in
            let limit = 5
            _ = try await cluster.apply(Self.quotas, Self.quota(["secrets": String(limit)]))
            try await cluster.until(Self.quotas) { $0.named("q")?["status"]["used"]["secrets"].string == "0" }
            let most = try await withThrowingTaskGroup(of: Int.self) { group in
                for worker in 0..<8 {
                    group.addTask {
                        var most = 0
                        for round in 0..<10 {
                            let name = "s\(worker)-\(round)"
                            let secret = KubeObject(.secrets, kind: "Secret", name: name, namespace: "default")
                            guard (try? await cluster.client.create(.secrets, secret)) != nil else { continue }
                            most = max(most, try await cluster.client.list(.secrets, in: "default").items.count)
                            try await cluster.client.delete(.secrets, name, in: "default")
                        }
                        return most
                    }
                }
                return try await group.reduce(0) { max($0, $1) }
            }
            #expect((1...limit).contains(most))
            try await cluster.until(Self.quotas) { $0.named("q")?["status"]["used"]["secrets"].string == "0" }
        }
    }

    @Test func claimsAndVolumesStayWhileTheyAreUsed() async throws {
        try await TestCluster.with { cluster in
            try await cluster.until(.serviceAccounts, in: "default") { $0.named("default") != nil }
            let size: JSON = ["storage": "1Gi"]
            _ = try await cluster.apply(
                Self.claims,
                [
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                    "metadata": ["name": "data", "namespace": "default"],
                    "spec": ["accessModes": ["ReadWriteOnce"], "resources": ["requests": size]],
                ])
            _ = try await cluster.apply(
                .pods,
                Self.pod(
                    "user",
                    [
                        "nodeName": "a",
                        "volumes": [["name": "v", "persistentVolumeClaim": ["claimName": "data"]]],
                    ]))
            try await cluster.client.delete(Self.claims, "data", in: "default")
            let held = try await cluster.client.get(Self.claims, "data", in: "default")
            #expect(held.isBeingDeleted && held.finalizers == ["kubernetes.io/pvc-protection"])
            try await cluster.client.delete(.pods, "user", in: "default")
            try await cluster.until(Self.claims) { $0.isEmpty }
            _ = try await cluster.apply(
                Self.volumes,
                [
                    "apiVersion": "v1", "kind": "PersistentVolume", "metadata": ["name": "v"],
                    "spec": ["accessModes": ["ReadWriteOnce"], "capacity": size, "hostPath": ["path": "/data"]],
                ])
            func phase(_ phase: String) async throws {
                try await cluster.client.patch(
                    Self.volumes, "v", type: .merge, ["status": ["phase": JSON(phase)]], subresource: "status")
            }
            try await phase("Bound")
            try await cluster.client.delete(Self.volumes, "v")
            #expect(try await cluster.client.get(Self.volumes, "v").isBeingDeleted)
            try await phase("Released")
            try await cluster.until(Self.volumes) { $0.isEmpty }
        }
    }
}
