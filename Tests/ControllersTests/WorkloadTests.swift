// SPDX-License-Identifier: Apache-2.0

import Controllers
import KubeClient
import KubeObjects
import Testing
import Values

/// Controllers and scheduler together, against a real API server.
@Suite(.timeLimit(.minutes(1))) struct WorkloadTests {
    @Test func aDeploymentComesUpOnePodOnEachNode() async throws {
        try await TestCluster.with { cluster in
            _ = try await cluster.apply(.deployments, Manifests.deployment("web"))
            let deployments = try await cluster.until(.deployments) { all in
                all.named("web")?["status"]["availableReplicas"].int == 2
                    && all.named("web")?["status"]["observedGeneration"].int == 1
            }
            let deployment = try #require(deployments.named("web"))
            #expect(deployment.annotations["deployment.kubernetes.io/revision"] == "1")
            let available = deployment["status"]["conditions"].array?.first { $0["type"].string == "Available" }
            #expect(available?["reason"].string == "MinimumReplicasAvailable")
            let pods = try await cluster.client.list(.pods, in: "default").items
            #expect(pods.count == 2)
            #expect(Set(pods.compactMap { $0["spec"]["nodeName"].string }) == ["a", "b"])
            let sets = try await cluster.client.list(.replicaSets, in: "default").items
            let hash = try #require(sets.first?.labels["pod-template-hash"])
            #expect(sets.first?.name == "web-\(hash)")
            #expect(pods.allSatisfy { $0.name.hasPrefix("web-\(hash)-") })
            try await cluster.until(.events) { events in
                let reasons = Set(events.compactMap { $0["reason"].string })
                return reasons.isSuperset(of: ["ScalingReplicaSet", "SuccessfulCreate", "Scheduled"])
            }
        }
    }

    @Test func aNewImageRollsOverAndAnOldOneRollsBack() async throws {
        try await TestCluster.with { cluster in
            _ = try await cluster.apply(.deployments, Manifests.deployment("web", replicas: 3))
            try await cluster.until(.deployments) { $0.named("web")?["status"]["availableReplicas"].int == 3 }
            func roll(to image: String, generation: Int) async throws {
                try await cluster.client.patch(
                    .deployments, "web", in: "default", type: .strategic,
                    ["spec": ["template": ["spec": ["containers": [["name": "web", "image": JSON(image)]]]]]])
                try await cluster.until(.deployments) { all in
                    let status = all.named("web")?["status"]
                    let progressing = status["conditions"].array?.first { $0["type"].string == "Progressing" }
                    return status["observedGeneration"].int == generation && status["updatedReplicas"].int == 3
                        && status["replicas"].int == 3 && status["availableReplicas"].int == 3
                        && progressing?["reason"].string == "NewReplicaSetAvailable"
                }
            }
            try await roll(to: "web:2", generation: 2)
            let sets = try await cluster.client.list(.replicaSets, in: "default").items
            #expect(sets.map { $0["spec"]["replicas"].int ?? -1 }.sorted() == [0, 3])
            try await roll(to: "web:1", generation: 3)
            let again = try await cluster.client.list(.replicaSets, in: "default").items
            #expect(again.count == 2)
            let current = try #require(again.first { $0["spec"]["replicas"].int == 3 })
            #expect(current.annotations["deployment.kubernetes.io/revision"] == "3")
            #expect(current.annotations["deployment.kubernetes.io/revision-history"] == "1")
        }
    }

    @Test func aBrokenRolloutKeepsServingAndIsSaidToBeStuck() async throws {
        try await TestCluster.with { cluster in
            var deployment = Manifests.deployment("web", replicas: 2, app: "web")
            deployment["spec"]["progressDeadlineSeconds"] = 1
            deployment["spec"]["minReadySeconds"] = 0
            _ = try await cluster.apply(.deployments, deployment)
            try await cluster.until(.deployments) { $0.named("web")?["status"]["availableReplicas"].int == 2 }
            try await cluster.client.patch(
                .deployments, "web", in: "default", type: .merge,
                ["spec": ["template": ["spec": ["nodeSelector": ["no": "where"]]]]])
            try await cluster.until(.deployments) { all in
                let status = all.named("web")?["status"]
                let progressing = status["conditions"].array?.first { $0["type"].string == "Progressing" }
                return progressing?["reason"].string == "ProgressDeadlineExceeded"
                    && status["availableReplicas"].int == 2
            }
            let pods = try await cluster.until(.pods, in: "default") { pods in
                pods.contains { pod in
                    pod["status"]["conditions"].array?.contains {
                        $0["type"].string == "PodScheduled" && $0["reason"].string == "Unschedulable"
                    } ?? false
                }
            }
            #expect(pods.count == 3)
        }
    }

    @Test func recreateNeverOverlaps() async throws {
        try await TestCluster.with { cluster in
            var deployment = Manifests.deployment("web")
            deployment["spec"]["strategy"] = ["type": "Recreate"]
            _ = try await cluster.apply(.deployments, deployment)
            try await cluster.until(.deployments) { $0.named("web")?["status"]["availableReplicas"].int == 2 }
            try await cluster.client.patch(
                .deployments, "web", in: "default", type: .merge,
                ["spec": ["template": ["metadata": ["annotations": ["v": "2"]]]]])
            try await cluster.until(.pods, in: "default") { pods in
                #expect(pods.count <= 2)
                return pods.count == 2 && pods.allSatisfy { $0.annotations["v"] == "2" }
            }
        }
    }

    @Test func scalingDownAndUp() async throws {
        try await TestCluster.with { cluster in
            _ = try await cluster.apply(.deployments, Manifests.deployment("web", replicas: 4))
            try await cluster.until(.deployments) { $0.named("web")?["status"]["availableReplicas"].int == 4 }
            for count in [1, 3, 0] {
                try await cluster.client.patch(
                    .deployments, "web", in: "default", type: .merge, ["spec": ["replicas": JSON(count)]])
                try await cluster.until(.deployments) { all in
                    let status = all.named("web")?["status"]
                    return (status["replicas"].int ?? 0) == count && (status["availableReplicas"].int ?? 0) == count
                        && status["observedGeneration"].int == all.named("web")?.generation
                }
            }
        }
    }

    /// A ReplicaSet or a ReplicationController of pods `app=NAME`.
    private static func replicas(_ kind: String, _ name: String, _ count: Int) -> JSON {
        let labels: JSON = ["app": JSON(name)]
        let isSet = kind == "ReplicaSet"
        return [
            "apiVersion": isSet ? "apps/v1" : "v1", "kind": JSON(kind),
            "metadata": ["name": JSON(name), "namespace": "default"],
            "spec": [
                "replicas": JSON(count), "selector": isSet ? ["matchLabels": labels] : labels,
                "template": [
                    "metadata": ["labels": labels], "spec": ["containers": [["name": "c", "image": "i"]]],
                ],
            ],
        ]
    }

    private static let replicationControllers = GroupVersionResource("", "v1", "replicationcontrollers")

    @Test(arguments: ["ReplicaSet", "ReplicationController"])
    func replicaSetsAdoptAndRelease(kind: String) async throws {
        let resource = kind == "ReplicaSet" ? .replicaSets : Self.replicationControllers
        try await TestCluster.with { cluster in
            _ = try await cluster.apply(
                .pods,
                [
                    "apiVersion": "v1", "kind": "Pod",
                    "metadata": ["name": "orphan", "namespace": "default", "labels": ["app": "web"]],
                    "spec": ["containers": [["name": "c", "image": "i"]]],
                ])
            _ = try await cluster.apply(resource, Self.replicas(kind, "web", 1))
            try await cluster.until(resource) { $0.named("web")?["status"]["readyReplicas"].int == 1 }
            let adopted = try await cluster.client.get(.pods, "orphan", in: "default").controller
            #expect(adopted?.name == "web" && adopted?.kind == kind)
            #expect(try await cluster.client.list(.pods, in: "default").items.count == 1)
            try await cluster.client.patch(
                .pods, "orphan", in: "default", type: .merge, ["metadata": ["labels": ["app": "free"]]])
            try await cluster.until(.pods, in: "default") { pods in
                pods.named("orphan")?.controller == nil && pods.count == 2
            }
        }
    }

    @Test func aReplicationControllerScalesAndSaysWhatItCannotMake() async throws {
        try await TestCluster.with { cluster in
            let quotas = GroupVersionResource("", "v1", "resourcequotas")
            _ = try await cluster.apply(
                quotas,
                [
                    "apiVersion": "v1", "kind": "ResourceQuota", "metadata": ["name": "few", "namespace": "default"],
                    "spec": ["hard": ["pods": "2"]],
                ])
            try await cluster.until(quotas) { $0.named("few")?["status"]["hard"]["pods"].string == "2" }
            _ = try await cluster.apply(
                Self.replicationControllers, Self.replicas("ReplicationController", "web", 3))
            let refused = try await cluster.until(Self.replicationControllers) { all in
                all.named("web")?["status"]["availableReplicas"].int == 2
                    && all.named("web")?["status"]["conditions"].array?.isEmpty == false
            }
            let condition = refused.named("web")?["status"]["conditions"][0]
            #expect(condition["type"].string == "ReplicaFailure" && condition["status"].string == "True")
            #expect(condition["reason"].string == "FailedCreate")
            #expect(condition["message"].string?.contains("exceeded quota: few") == true)
            let scale = try await cluster.client.patch(
                Self.replicationControllers, "web", in: "default", type: .merge, ["spec": ["replicas": 2]],
                subresource: "scale")
            #expect(scale["status"]["selector"].string == "app=web")
            let settled = try await cluster.until(Self.replicationControllers) { all in
                all.named("web")?["status"]["conditions"] == nil
                    && all.named("web")?["status"]["observedGeneration"].int == 2
            }
            #expect(
                settled.named("web")?["status"] == [
                    "replicas": 2, "fullyLabeledReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
                    "observedGeneration": 2,
                ])
            try await cluster.until(.events, in: "default") { events in
                events.contains { event in
                    event["reason"].string == "SuccessfulCreate"
                        && event["source"]["component"].string == "replication-controller"
                }
            }
        }
    }

    @Test func daemonSetsFollowTheNodes() async throws {
        try await TestCluster.with { cluster in
            _ = try await cluster.apply(
                .daemonSets,
                [
                    "apiVersion": "apps/v1", "kind": "DaemonSet",
                    "metadata": ["name": "agent", "namespace": "kube-system"],
                    "spec": [
                        "selector": ["matchLabels": ["app": "agent"]],
                        "template": [
                            "metadata": ["labels": ["app": "agent"]],
                            "spec": ["containers": [["name": "c", "image": "i:1"]]],
                        ],
                    ],
                ])
            try await cluster.until(.daemonSets) { $0.named("agent")?["status"]["numberAvailable"].int == 2 }
            // Clients compare it byte by byte.
            let revisions = try await cluster.client.list(
                GroupVersionResource("apps", "v1", "controllerrevisions"), in: "kube-system"
            ).items
            let data = try #require(revisions.first?["data"])
            #expect(data.text() == data.text(sortedKeys: true) && data["spec"]["template"]["$patch"] == "replace")
            try await cluster.addNode("c")
            try await cluster.until(.daemonSets) { $0.named("agent")?["status"]["numberAvailable"].int == 3 }
            try await cluster.client.patch(
                .daemonSets, "agent", in: "kube-system", type: .strategic,
                ["spec": ["template": ["spec": ["containers": [["name": "c", "image": "i:2"]]]]]])
            try await cluster.until(.daemonSets) { all in
                let status = all.named("agent")?["status"]
                return status["observedGeneration"].int == 2 && status["updatedNumberScheduled"].int == 3
                    && status["numberAvailable"].int == 3
            }
            let pods = try await cluster.client.list(.pods, in: "kube-system").items
            #expect(pods.allSatisfy { $0["spec"]["containers"][0]["image"].string == "i:2" })
            try await cluster.client.delete(.nodes, "c")
            try await cluster.until(.daemonSets) { $0.named("agent")?["status"]["desiredNumberScheduled"].int == 2 }
            try await cluster.until(.pods, in: "kube-system") { $0.count == 2 }
        }
    }
}
