// SPDX-License-Identifier: Apache-2.0

import Controllers
import KubeClient
import KubeObjects
import Testing
import Values

/// Disruption budgets are counted, and evictions keep to them.
@Suite(.timeLimit(.minutes(1))) struct DisruptionTests {
    private static let budgets = GroupVersionResource("policy", "v1", "poddisruptionbudgets")

    @Test(
        arguments: [
            // minAvailable as a number is about the pods that are there.
            (["minAvailable": 2], 3, 0, 3, 3, 2, 1), (["minAvailable": 5], 3, 0, 3, 3, 5, 0),
            // Percentages, and what may be unavailable, are about what the controllers want.
            (["minAvailable": "50%"], 3, 5, 3, 5, 3, 0), (["minAvailable": "50%"], 5, 5, 5, 5, 3, 2),
            (["maxUnavailable": 1], 3, 3, 3, 3, 2, 1), (["maxUnavailable": "30%"], 4, 4, 4, 4, 2, 2),
            (["maxUnavailable": 9], 3, 3, 1, 3, 0, 1), (["maxUnavailable": 1], 0, 0, 0, 0, 0, 0),
            ([:], 3, 3, 3, 0, 0, 0),
        ] as [(JSON, Int, Int, Int, Int, Int, Int)])
    func counts(spec: JSON, pods: Int, scale: Int, healthy: Int, expected: Int, desired: Int, allowed: Int) {
        let count = DisruptionCount(spec: spec, pods: pods, scale: scale, healthy: healthy)
        #expect([count.expected, count.desired, count.allowed] == [expected, desired, allowed])
    }

    @Test func evictionsKeepToTheBudget() async throws {
        try await TestCluster.with { cluster in
            _ = try await cluster.apply(
                .deployments,
                [
                    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": ["name": "web", "namespace": "default"],
                    "spec": [
                        "replicas": 2, "selector": ["matchLabels": ["app": "web"]],
                        "template": [
                            "metadata": ["labels": ["app": "web"]],
                            "spec": ["containers": [["name": "c", "image": "x"]]],
                        ],
                    ],
                ])
            _ = try await cluster.apply(
                Self.budgets,
                [
                    "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                    "metadata": ["name": "b", "namespace": "default"],
                    "spec": ["minAvailable": "100%", "selector": ["matchLabels": ["app": "web"]]],
                ])
            try await cluster.until(Self.budgets) { budgets in
                let status = budgets.named("b")?["status"]
                return status["currentHealthy"].int == 2 && status["desiredHealthy"].int == 2
                    && status["disruptionsAllowed"].int == 0 && status["observedGeneration"].int == 1
            }
            let pods = try await cluster.client.list(.pods, in: "default").items
            let pod = try #require(pods.first)
            func evict() async throws {
                let eviction: JSON = [
                    "apiVersion": "policy/v1", "kind": "Eviction",
                    "metadata": ["name": JSON(pod.name), "namespace": "default"],
                ]
                try await cluster.client.create(
                    .pods, name: pod.name, in: "default", subresource: "eviction", eviction)
            }
            let refusal = await #expect(throws: APIError.self) { try await evict() }
            #expect(refusal?.code == 429)
            #expect(refusal?.message == "Cannot evict pod as it would violate the pod's disruption budget.")
            try await cluster.client.patch(
                Self.budgets, "b", in: "default", type: .merge, ["spec": ["minAvailable": "50%"]])
            try await cluster.until(Self.budgets) { $0.named("b")?["status"]["disruptionsAllowed"].int == 1 }
            try await evict()
            // The Deployment makes another one.
            try await cluster.until(.pods, in: "default") { left in
                left.filter { $0["status"]["conditions"].condition("Ready")["status"].string == "True" }.count == 2
                    && !left.contains { $0.uid == pod.uid }
            }
        }
    }
}
