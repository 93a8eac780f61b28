// SPDX-License-Identifier: Apache-2.0

import Controllers
import KubeClient
import KubeObjects
import Testing
import Values

/// Failures that stand for as long as nobody mends them: they are tried again ever more seldom, and what is written of
/// them is no reason to try again.
@Suite(.timeLimit(.minutes(2))) struct StandingFailureTests {
    enum Failure: String, CaseIterable, Sendable, CustomTestStringConvertible {
        case quota, podSecurity, missingAccount, terminatingNamespace, unschedulable, daemonSetQuota
        case addressesOfLoadBalancers

        var testDescription: String { rawValue }
    }

    private static let namespace = "stuck"

    private static func deployment(_ replicas: Int, _ spec: JSON = [:]) -> JSON {
        var object = Manifests.deployment("web", replicas: replicas)
        object["metadata"]["namespace"] = JSON(namespace)
        for (key, value) in spec.object ?? [:] { object["spec"]["template"]["spec"][key] = value }
        return object
    }

    private static func quota(_ pods: Int) -> JSON {
        [
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": ["name": "q", "namespace": JSON(namespace)],
            "spec": ["hard": ["pods": JSON(String(pods))]],
        ]
    }

    private static let quotas = GroupVersionResource("", "v1", "resourcequotas")

    /// Brings the failure about, and returns when it stands.
    private static func cause(_ failure: Failure, _ cluster: TestCluster) async throws {
        var namespace: JSON = ["apiVersion": "v1", "kind": "Namespace", "metadata": ["name": JSON(Self.namespace)]]
        if failure == .podSecurity {
            namespace["metadata"]["labels"] = ["pod-security.kubernetes.io/enforce": "restricted"]
        }
        _ = try await cluster.apply(.namespaces, namespace)
        try await cluster.until(.serviceAccounts, in: Self.namespace) { $0.named("default") != nil }
        switch failure {
        case .quota:
            _ = try await cluster.apply(quotas, quota(1))
            try await cluster.until(quotas) { $0.named("q")?["status"]["hard"] != nil }
            _ = try await cluster.apply(.deployments, deployment(2))
        case .daemonSetQuota:
            _ = try await cluster.apply(quotas, quota(1))
            try await cluster.until(quotas) { $0.named("q")?["status"]["hard"] != nil }
            var set = deployment(1)
            set["kind"] = "DaemonSet"
            set["spec"]["replicas"] = nil
            _ = try await cluster.apply(.daemonSets, set)
            try await cluster.until(.daemonSets, in: Self.namespace) {
                ($0.named("web")?["status"]["currentNumberScheduled"].int ?? 0) == 1
            }
            return
        case .podSecurity: _ = try await cluster.apply(.deployments, deployment(2))
        case .missingAccount:
            _ = try await cluster.apply(.deployments, deployment(2, ["serviceAccountName": "nobody"]))
        case .unschedulable:
            _ = try await cluster.apply(.deployments, deployment(2, ["nodeSelector": ["disk": "none"]]))
            try await cluster.until(.pods, in: Self.namespace) {
                $0.count == 2 && $0.allSatisfy { $0["status"]["conditions"][0]["reason"].string == "Unschedulable" }
            }
            return
        case .terminatingNamespace:
            // Its pods do not end: no kubelet answers for them.
            _ = try await cluster.apply(
                .deployments, deployment(2, ["nodeName": "dead", "terminationGracePeriodSeconds": 3600]))
            try await cluster.until(.pods, in: Self.namespace) { $0.count == 2 }
            try await cluster.client.delete(.namespaces, Self.namespace)
            try await cluster.until(.namespaces) {
                $0.named(Self.namespace)?["status"]["conditions"].array?.contains {
                    $0["type"].string == "NamespaceContentRemaining"
                } ?? false
            }
            return
        case .addressesOfLoadBalancers:
            var service = Manifests.service("web", app: "web", type: "LoadBalancer")
            service["metadata"]["namespace"] = JSON(Self.namespace)
            service["spec"]["loadBalancerIP"] = "203.0.113.1"
            _ = try await cluster.apply(.services, service)
            try await cluster.until(.events, in: Self.namespace) {
                $0.contains { $0["reason"].string == "SyncLoadBalancerFailed" }
            }
            return
        }
        try await cluster.until(.replicaSets, in: Self.namespace) {
            $0.first?["status"]["conditions"][0]["type"].string == "ReplicaFailure"
        }
    }

    @Test(arguments: Failure.allCases) func writesLittle(_ failure: Failure) async throws {
        try await TestCluster.with(nodes: ["a", "b"]) { cluster in
            try await cluster.addNode("dead")
            try await Self.cause(failure, cluster)
            @Sendable func revision() async throws -> Int {
                Int(try await cluster.client.list(.namespaces, limit: 1).resourceVersion) ?? 0
            }
            let before = try await revision()
            // That little happens is what is looked for: there is no event to wait for.
            try await Task.sleep(for: .seconds(10))
            let written = try await revision() - before
            // Eleven attempts of a delay that doubles from 5 ms on, and an event and a status for some of them.
            #expect(written < 60, "\(failure.rawValue): \(written) revisions in ten seconds")
        }
    }

    @Test func theConditionNamesNoPodThatWasNeverMade() async throws {
        try await TestCluster.with { cluster in
            try await Self.cause(.quota, cluster)
            let sets = try await cluster.client.list(.replicaSets, in: Self.namespace).items
            let set = try #require(sets.first)
            let message = set["status"]["conditions"][0]["message"].string ?? ""
            #expect(message.hasPrefix("pods \"\(set.name)-\" is forbidden: exceeded quota: q"), "\(message)")
            // Who mends it does not wait for the delay that has grown meanwhile: the set's own change wakes it.
            try await cluster.client.patch(
                Self.quotas, "q", in: Self.namespace, type: .merge, ["spec": ["hard": ["pods": "5"]]])
            try await cluster.until(.replicaSets, in: Self.namespace) { $0.first?["status"]["replicas"].int == 2 }
        }
    }
}
