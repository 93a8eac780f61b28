// SPDX-License-Identifier: Apache-2.0

import Controllers
import KubeClient
import KubeObjects
import Testing
import Values

/// Services, namespaces, nodes and garbage, against a real API server.
@Suite(.timeLimit(.minutes(1))) struct ClusterTests {
    @Test func endpointsFollowThePods() async throws {
        try await TestCluster.with { cluster in
            _ = try await cluster.apply(.services, Manifests.service("web", app: "web"))
            _ = try await cluster.apply(.deployments, Manifests.deployment("web"))
            let slices = try await cluster.until(.endpointSlices, in: "default") { slices in
                let mine = slices.filter { $0.labels["kubernetes.io/service-name"] == "web" }
                let endpoints = mine.flatMap { $0["endpoints"].array ?? [] }
                return endpoints.count == 2 && endpoints.allSatisfy { $0["conditions"]["ready"].bool ?? false }
            }
            let slice = try #require(
                slices.first { $0.labels["kubernetes.io/service-name"] == "web" && $0["endpoints"].array?.count == 2 })
            #expect(slice["ports"][0]["port"].int == 3000)
            #expect(slice.labels["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io")
            try await cluster.until(.endpoints, in: "default") {
                $0.named("web")?["subsets"][0]["addresses"].array?.count == 2
            }
            try await cluster.client.delete(.services, "web", in: "default")
            try await cluster.until(.endpointSlices, in: "default") { slices in
                !slices.contains { $0.labels["kubernetes.io/service-name"] == "web" }
            }
            try await cluster.until(.endpoints, in: "default") { $0.named("web") == nil }
        }
    }

    @Test func loadBalancersGetAnAddressAndGiveItBack() async throws {
        var configuration = ControllerConfiguration(clusterCACertificatePEM: "PEM")
        configuration.loadBalancerCIDR = CIDR("192.168.49.192/32")
        try await TestCluster.with(configuration: configuration) { cluster in
            @Sendable func address(_ service: KubeObject?) -> String? {
                service?["status"]["loadBalancer"]["ingress"][0]["ip"].string
            }
            _ = try await cluster.apply(.services, Manifests.service("one", app: "x", type: "LoadBalancer"))
            try await cluster.until(.services) { address($0.named("one")) == "192.168.49.192" }
            _ = try await cluster.apply(.services, Manifests.service("two", app: "x", type: "LoadBalancer"))
            try await cluster.until(.events) { $0.contains { $0["reason"].string == "SyncLoadBalancerFailed" } }
            try await cluster.client.patch(
                .services, "one", in: "default", type: .merge, ["spec": ["type": "ClusterIP"]])
            try await cluster.until(.services) { services in
                address(services.named("one")) == nil && address(services.named("two")) == "192.168.49.192"
            }
        }
    }

    @Test func everyNamespaceGetsItsAccountAndCertificate() async throws {
        try await TestCluster.with { cluster in
            _ = try await cluster.apply(
                .namespaces, ["apiVersion": "v1", "kind": "Namespace", "metadata": ["name": "team"]])
            try await cluster.until(.serviceAccounts, in: "team") { $0.named("default") != nil }
            let maps = try await cluster.until(.configMaps, in: "team") { $0.named("kube-root-ca.crt") != nil }
            #expect(maps.named("kube-root-ca.crt")?["data"]["ca.crt"].string == "PEM")
            try await cluster.client.delete(.serviceAccounts, "default", in: "team")
            try await cluster.until(.serviceAccounts, in: "team") { $0.named("default") != nil }
            try await cluster.client.patch(
                .configMaps, "kube-root-ca.crt", in: "team", type: .merge, ["data": ["ca.crt": "forged"]])
            try await cluster.until(.configMaps, in: "team") {
                $0.named("kube-root-ca.crt")?["data"]["ca.crt"].string == "PEM"
            }
        }
    }

    @Test func aDeletedNamespaceTakesEverythingWithIt() async throws {
        try await TestCluster.with { cluster in
            _ = try await cluster.apply(
                .namespaces, ["apiVersion": "v1", "kind": "Namespace", "metadata": ["name": "team"]])
            try await cluster.until(.serviceAccounts, in: "team") { $0.named("default") != nil }
            var deployment = Manifests.deployment("web")
            deployment["metadata"]["namespace"] = "team"
            _ = try await cluster.apply(.deployments, deployment)
            try await cluster.until(.pods, in: "team") {
                $0.count == 2 && $0.allSatisfy { $0["status"]["podIP"] != nil }
            }
            try await cluster.client.delete(.namespaces, "team")
            try await cluster.until(.namespaces) { $0.named("team") == nil }
            #expect(try await cluster.client.list(.pods, in: "team").items.isEmpty)
            #expect(try await cluster.client.list(.configMaps, in: "team").items.isEmpty)
        }
    }

    @Test func garbageFollowsItsOwnersAsAsked() async throws {
        try await TestCluster.with { cluster in
            _ = try await cluster.apply(.deployments, Manifests.deployment("web"))
            try await cluster.until(.deployments) { $0.named("web")?["status"]["availableReplicas"].int == 2 }
            try await cluster.client.delete(.deployments, "web", in: "default", propagationPolicy: "Orphan")
            try await cluster.until(.deployments) { $0.isEmpty }
            let sets = try await cluster.until(.replicaSets, in: "default") { sets in
                sets.count == 1 && sets.allSatisfy { $0.ownerReferences.isEmpty }
            }
            let set = try #require(sets.first)
            try await cluster.client.delete(.replicaSets, set.name, in: "default", propagationPolicy: "Foreground")
            try await cluster.until(.replicaSets, in: "default") { $0.isEmpty }
            #expect(try await cluster.client.list(.pods, in: "default").items.isEmpty)
            _ = try await cluster.apply(.deployments, Manifests.deployment("next"))
            try await cluster.until(.deployments) { $0.named("next")?["status"]["availableReplicas"].int == 2 }
            try await cluster.client.delete(.deployments, "next", in: "default", propagationPolicy: "Background")
            try await cluster.until(.pods, in: "default") { $0.isEmpty }
            try await cluster.until(.replicaSets, in: "default") { $0.isEmpty }
        }
    }

    @Test func aDefinitionTakesItsObjectsAlong() async throws {
        try await TestCluster.with { cluster in
            let things = GroupVersionResource("example.com", "v1", "things")
            func define() async throws {
                _ = try await cluster.apply(
                    .customResourceDefinitions,
                    [
                        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                        "metadata": ["name": "things.example.com"],
                        "spec": [
                            "group": "example.com", "scope": "Namespaced",
                            "names": ["plural": "things", "singular": "thing", "kind": "Thing"],
                            "versions": [
                                [
                                    "name": "v1", "served": true, "storage": true,
                                    "schema": [
                                        "openAPIV3Schema": [
                                            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                                        ]
                                    ],
                                ]
                            ],
                        ],
                    ])
            }
            func thing(_ name: String, finalizers: [String] = []) async throws -> KubeObject {
                try await cluster.apply(
                    things,
                    [
                        "apiVersion": "example.com/v1", "kind": "Thing",
                        "metadata": ["name": JSON(name), "namespace": "default", "finalizers": JSON(finalizers)],
                    ])
            }
            try await define()
            let owner = try await thing("owner")
            let held = try await thing("held", finalizers: ["example.com/hold"])
            var map = KubeObject(.configMaps, kind: "ConfigMap", name: "dependent", namespace: "default")
            map.metadata["ownerReferences"] = .array([OwnerReference(controller: owner).json])
            _ = try await cluster.client.create(.configMaps, map)

            // What an object of a user's kind owns goes with it.
            try await cluster.client.delete(things, "owner", in: "default")
            try await cluster.until(.configMaps, in: "default") { maps in !maps.contains { $0.name == "dependent" } }

            try await cluster.client.delete(.customResourceDefinitions, "things.example.com")
            try await cluster.until(.customResourceDefinitions) { definitions in
                definitions.contains { definition in
                    definition.name == "things.example.com"
                        && (definition["status"]["conditions"].array ?? []).contains {
                            $0["type"].string == "Terminating"
                                && ($0["message"].string ?? "").hasSuffix("1 left, held by example.com/hold")
                        }
                }
            }
            _ = try await cluster.client.patch(
                things, "held", in: "default", type: .merge,
                ["metadata": ["finalizers": .null, "uid": JSON(held.uid)]])
            try await cluster.until(.customResourceDefinitions) { definitions in
                !definitions.contains { $0.name == "things.example.com" }
            }
            // And it can come again, with nothing of before.
            try await define()
            #expect(try await cluster.client.list(things).items.isEmpty)
            _ = try await thing("held")
        }
    }

    @Test func aSilentNodeLosesItsPods() async throws {
        var configuration = ControllerConfiguration(clusterCACertificatePEM: "PEM")
        configuration.nodeGracePeriod = .milliseconds(300)
        try await TestCluster.with(nodes: ["dead"], configuration: configuration) { cluster in
            _ = try await cluster.apply(
                .pods,
                [
                    "apiVersion": "v1", "kind": "Pod", "metadata": ["name": "p", "namespace": "default"],
                    "spec": [
                        "containers": [["name": "c", "image": "i"]], "nodeName": "dead",
                        "tolerations": [
                            [
                                "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
                                "tolerationSeconds": 0,
                            ]
                        ],
                    ],
                ])
            let nodes = try await cluster.until(.nodes) { nodes in
                let taints = nodes.named("dead")?["spec"]["taints"].array ?? []
                return taints.filter { $0["key"].string == "node.kubernetes.io/unreachable" }.count == 2
            }
            let ready = nodes.named("dead")?["status"]["conditions"].array?.first { $0["type"].string == "Ready" }
            #expect(ready?["status"].string == "Unknown")
            #expect(ready?["reason"].string == "NodeStatusUnknown")
            #expect(ready?["message"].string == "Kubelet stopped posting node status.")
            try await cluster.until(.pods, in: "default") { $0.named("p")?.isBeingDeleted ?? false }
            // Nobody will confirm the deletion until the node is given up.
            try await cluster.client.delete(.nodes, "dead")
            try await cluster.until(.pods, in: "default") { $0.isEmpty }
        }
    }

    @Test func aNodeThatFitsIsWaitedFor() async throws {
        try await TestCluster.with(nodes: []) { cluster in
            _ = try await cluster.apply(.deployments, Manifests.deployment("web", replicas: 1))
            let events = try await cluster.until(.events) { $0.contains { $0["reason"].string == "FailedScheduling" } }
            let event = events.first { $0["reason"].string == "FailedScheduling" }
            #expect(event?["message"].string == "no nodes available to schedule pods")
            try await cluster.addNode("a")
            try await cluster.until(.deployments) { $0.named("web")?["status"]["availableReplicas"].int == 1 }
        }
    }
}
