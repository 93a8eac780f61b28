// SPDX-License-Identifier: Apache-2.0

import APIServer
import APIServerTesting
import Controllers
import KubeClient
import KubeObjects
import PKI
import Storage
import Testing
import Values

/// A real API server in memory, the controllers, and in place of kubelets a stand-in that runs what is bound.
struct TestCluster: Sendable {
    let client: KubeClient
    let server: APIServer
    /// The pods that the stand-in runs but never reports ready, by the value of label `app`.
    static let broken = "broken"

    /// Runs `body` against a fresh cluster with nodes of these names.
    static func with(
        nodes: [String] = ["a", "b"], configuration: ControllerConfiguration = .init(clusterCACertificatePEM: "PEM"),
        _ body: @escaping @Sendable (TestCluster) async throws -> Void
    ) async throws {
        let signer = TokenSigner.create()
        let server = APIServer(
            storage: try await BootstrappedStorage.copy(), configuration: APIServerConfiguration(tokenSigner: signer))
        var settings = configuration
        settings.tokenSigner = signer
        settings.certificateAuthority = try CertificateAuthority.create(commonName: "test-ca")
        let configuration = settings
        try await server.start()
        try await server.bootstrap()
        let client = KubeClient(server.inProcessTransport(user: "system:admin", groups: ["system:masters"]))
        let cluster = TestCluster(client: client, server: server)
        for name in nodes { try await cluster.addNode(name) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await ControllerManager(client: client, configuration: configuration).run() }
            group.addTask { await cluster.playKubelet() }
            group.addTask {
                // Pods need their account, which the controllers make.
                try await cluster.until(.serviceAccounts, in: "default") { accounts in
                    accounts.contains { $0.name == "default" }
                }
                try await body(cluster)
            }
            // The body ends first; the others work until they are cancelled.
            try await group.next()
            group.cancelAll()
        }
        server.stop()
    }

    /// A client of somebody who is no administrator.
    func client(_ user: String, groups: [String] = []) -> KubeClient {
        KubeClient(server.inProcessTransport(user: user, groups: groups))
    }

    func addNode(_ name: String, zone: String = "z1") async throws {
        var node = KubeObject(
            .nodes, kind: "Node", name: name,
            labels: ["kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone])
        node["status"] = [
            "capacity": ["cpu": "4", "memory": "8Gi", "pods": "110"],
            "allocatable": ["cpu": "4", "memory": "8Gi", "pods": "110"],
            "conditions": [["type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready"]],
        ]
        let made = try await client.create(.nodes, node)
        node.metadata = made.metadata
        try await client.update(.nodes, node, subresource: "status")
    }

    func apply(_ resource: GroupVersionResource, _ object: JSON) async throws -> KubeObject {
        try await client.create(resource, KubeObject(object))
    }

    /// Waits until the objects of a resource are as `isDone` wants them; returns them.
    @discardableResult
    func until(
        _ resource: GroupVersionResource, in namespace: String? = nil,
        _ isDone: @escaping @Sendable ([KubeObject]) -> Bool
    ) async throws -> [KubeObject] {
        let informer = Informer(client, resource, namespace: namespace)
        return await withTaskGroup(of: [KubeObject].self) { group in
            group.addTask {
                await informer.run()
                return []
            }
            group.addTask {
                let events = informer.events()
                await informer.waitUntilSynced()
                if isDone(informer.all()) { return informer.all() }
                for await _ in events where isDone(informer.all()) { return informer.all() }
                return []
            }
            let result = await group.next() ?? []
            group.cancelAll()
            return result
        }
    }

    // MARK: - The stand-in for kubelets

    private func playKubelet() async {
        let informer = Informer(client, .pods)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await informer.run() }
            group.addTask {
                var addresses: UInt8 = 1
                for await batch in informer.events() {
                    for event in batch {
                        guard !event.isDeletion else { continue }
                        let pod = event.object
                        guard let node = pod["spec"]["nodeName"].string, !node.isEmpty, node != "dead" else { continue }
                        if pod.isBeingDeleted {
                            try? await client.delete(
                                .pods, pod.name, in: pod.namespace, uid: pod.uid, gracePeriodSeconds: 0)
                        } else if pod["status"]["podIP"] == nil {
                            addresses &+= 1
                            await start(pod, "10.244.0.\(addresses)")
                        }
                    }
                }
            }
        }
    }

    private func start(_ pod: KubeObject, _ address: String) async {
        let isReady = pod.labels["app"] != Self.broken
        let now = JSON(Timestamp.now.description)
        let status: JSON = [
            "phase": "Running", "podIP": JSON(address), "podIPs": [["ip": JSON(address)]],
            "conditions": [
                ["type": "Ready", "status": JSON(isReady ? "True" : "False"), "lastTransitionTime": now]
            ],
        ]
        _ = try? await client.patch(
            .pods, pod.name, in: pod.namespace, type: .strategic, ["status": status], subresource: "status")
    }
}

extension [KubeObject] {
    func named(_ name: String) -> KubeObject? { first { $0.name == name } }
}

enum Manifests {
    static func deployment(
        _ name: String, replicas: Int = 2, image: String = "web:1", app: String? = nil, spec: JSON = [:]
    ) -> JSON {
        let labels: JSON = ["app": JSON(app ?? name)]
        var object: JSON = [
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": ["name": JSON(name), "namespace": "default"],
        ]
        var spec = spec
        spec["replicas"] = JSON(replicas)
        spec["selector"] = ["matchLabels": labels]
        spec["template"] = [
            "metadata": ["labels": labels],
            "spec": [
                "containers": [
                    ["name": "web", "image": JSON(image), "ports": [["name": "http", "containerPort": 3000]]]
                ]
            ],
        ]
        object["spec"] = spec
        return object
    }

    static func service(_ name: String, app: String, type: String = "ClusterIP") -> JSON {
        [
            "apiVersion": "v1", "kind": "Service", "metadata": ["name": JSON(name), "namespace": "default"],
            "spec": [
                "type": JSON(type), "selector": ["app": JSON(app)],
                "ports": [["name": "web", "port": 80, "targetPort": "http", "protocol": "TCP"]],
            ],
        ]
    }
}
