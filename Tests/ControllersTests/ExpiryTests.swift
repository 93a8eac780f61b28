// SPDX-License-Identifier: Apache-2.0

import Controllers
import KubeClient
import KubeObjects
import Testing
import Values

/// What goes by itself when its time has come.
@Suite(.timeLimit(.minutes(1))) struct ExpiryTests {
    private static let jobs = GroupVersionResource("batch", "v1", "jobs")

    private static func job(_ name: String, seconds: Int?) -> KubeObject {
        var job = KubeObject(jobs, kind: "Job", name: name, namespace: "default")
        job["spec"] = [
            "template": ["spec": ["restartPolicy": "Never", "containers": [["name": "c", "image": "busybox"]]]]
        ]
        if let seconds { job["spec"]["ttlSecondsAfterFinished"] = JSON(seconds) }
        return job
    }

    private static func finish(_ client: KubeClient, _ name: String, _ type: String) async throws {
        let now = JSON(Timestamp.now.description)
        let conditions: [JSON] = [
            ["type": "FailureTarget", "status": "True", "lastTransitionTime": now],
            ["type": JSON(type), "status": "True", "lastTransitionTime": now],
        ]
        try await client.patch(
            jobs, name, in: "default", type: .merge,
            ["status": ["conditions": .array(type == "Failed" ? conditions : [conditions[1]]), "startTime": now]],
            subresource: "status")
    }

    @Test func finishedJobsGoWhenTheirTimeHasCome() async throws {
        try await TestCluster.with(nodes: []) { cluster in
            let client = cluster.client
            for (name, seconds) in [("done", 0), ("failed", 0), ("running", 0), ("later", 3600)] {
                try await client.create(Self.jobs, Self.job(name, seconds: seconds))
            }
            try await client.create(Self.jobs, Self.job("kept", seconds: nil))
            for name in ["later", "kept"] { try await Self.finish(client, name, "Complete") }
            try await Self.finish(client, "failed", "Failed")
            try await Self.finish(client, "done", "Complete")
            let left = try await cluster.until(Self.jobs, in: "default") {
                $0.named("done") == nil && $0.named("failed") == nil
            }
            #expect(Set(left.map(\.name)) == ["running", "later", "kept"])
            // A time that is made shorter is noticed.
            try await client.patch(
                Self.jobs, "later", in: "default", type: .merge, ["spec": ["ttlSecondsAfterFinished": 0]])
            try await cluster.until(Self.jobs, in: "default") { $0.named("later") == nil }
        }
    }

    @Test func nodesAreToldHowLongTheyMayRemember() async throws {
        try await TestCluster.with(nodes: ["a"]) { cluster in
            let key = "node.alpha.kubernetes.io/ttl"
            try await cluster.until(.nodes) { $0.named("a")?.annotations[key] == "0" }
            try await cluster.client.patch(
                .nodes, "a", type: .merge, ["metadata": ["annotations": .object([key: "77"] as JSONObject)]])
            try await cluster.until(.nodes) { $0.named("a")?.annotations[key] == "0" }
        }
    }

    @Test func eventsGoAfterTheirTime() async throws {
        var configuration = ControllerConfiguration(clusterCACertificatePEM: "PEM")
        configuration.eventTTL = .seconds(2)
        try await TestCluster.with(nodes: [], configuration: configuration) { cluster in
            let recorder = EventRecorder(cluster.client, component: "test")
            let account = try await cluster.client.get(.serviceAccounts, "default", in: "default")
            recorder.record(account, type: .normal, reason: "Seen", message: "once")
            try await cluster.until(.events, in: "default") { $0.contains { $0["reason"].string == "Seen" } }
            try await cluster.until(.events, in: "default") { !$0.contains { $0["reason"].string == "Seen" } }
        }
    }
}
