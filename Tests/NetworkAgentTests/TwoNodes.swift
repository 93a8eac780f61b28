// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Glibc
import KubeClient
import KubeClientTesting
import KubeObjects
import Linux
import NetworkAgent
import Testing
import Values

/// Two nodes with an agent each, and the real plugin between them and the tests.
final class TwoNodes: Sendable {
    let laboratory: Laboratory
    let api = MemoryAPI()
    static let names = ["a", "b"]
    static let plugin: String = {
        let parts = #filePath.split(separator: "/").dropLast(3)
        return "/" + parts.joined(separator: "/") + "/.build/debug/catbird-cni"
    }()

    init(pool: KubeObject) async throws {
        laboratory = try Laboratory()
        for name in Self.names { try laboratory.makeNamespace(name) }
        try laboratory.cable(("a", "eth0", "172.30.0.2/24"), ("b", "eth0", "172.30.0.3/24"))
        try await api.client.create(.ipPools, pool)
        try await api.client.create(.nodes, Sample.node("a", ["zone": "east"], address: "172.30.0.2"))
        try await api.client.create(.nodes, Sample.node("b", ["zone": "west"], address: "172.30.0.3"))
        try await api.client.create(.namespaces, KubeObject(.namespaces, kind: "Namespace", name: "default"))
    }

    func agent(_ node: String) -> NetworkAgent {
        var configuration = NetworkAgentConfiguration(
            socketPath: "\(laboratory.folder)/\(node).sock", pluginPath: Self.plugin,
            binaryDirectory: "\(laboratory.folder)/bin-\(node)",
            networkDirectory: "\(laboratory.folder)/net-\(node)",
            namespace: laboratory.namespace(node), statePath: "\(laboratory.folder)/state-\(node)",
            kernelHasIPIP: false)
        configuration.mtuFile = "\(laboratory.folder)/mtu-\(node)/mtu"
        configuration.birdFolder = birdFolder(node)
        return NetworkAgent(client: api.client, nodeName: node, configuration: configuration)
    }

    func birdFolder(_ node: String) -> String { "\(laboratory.folder)/bird-\(node)" }

    func conflist(_ node: String) -> String { "\(laboratory.folder)/net-\(node)/10-calico.conflist" }

    func withAgents<Result: Sendable>(_ body: @Sendable () async throws -> Result) async throws -> Result {
        for node in Self.names {
            try Files.makeDirectories("\(laboratory.folder)/net-\(node)")
            // Its being there says that the agent listens; one of an earlier run would say so too soon.
            unlink(conflist(node))
        }
        return try await withThrowingTaskGroup(of: Void.self) { group in
            for node in Self.names { group.addTask { try await self.agent(node).run() } }
            for node in Self.names { try await laboratory.waitForFile(conflist(node)) }
            let result = try await body()
            group.cancelAll()
            return result
        }
    }

    struct Answer {
        let isSuccess: Bool
        let json: JSON
        var address: String { String(json["ips"][0]["address"].string?.split(separator: "/").first ?? "") }
    }

    /// Runs the plugin for a pod whose namespace is named like it.
    func call(
        _ command: String, pod: String, node: String, container: String? = nil, namespace: String? = nil,
        previous: JSON? = nil, features: JSON? = nil, runtime: JSON? = nil
    ) async throws -> Answer {
        let list = try NetworkConfigurationList(parsing: Files.read(conflist(node)))
        var configuration = try #require(
            list.configuration(plugin: 0, previousResult: previous, runtimeConfig: runtime))
        if let features { configuration["feature_control"] = features }
        var spawner = ProcessSpawner("\(laboratory.folder)/bin-\(node)/calico", [])
        spawner.environment = [
            "CNI_COMMAND": command, "CNI_CONTAINERID": container ?? "sandbox-\(pod)",
            "CNI_NETNS": laboratory.path(namespace ?? pod),
            "CNI_IFNAME": "eth0", "CNI_PATH": "\(laboratory.folder)/bin-\(node)",
            "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=\(pod)",
        ]
        let output = try await spawner.run(input: configuration.serialized())
        return Answer(
            isSuccess: output.status.isSuccess, json: output.output.isEmpty ? [:] : try JSON(parsing: output.output))
    }

    func startPod(
        _ name: String, on node: String, _ annotations: [String: String] = [:], features: JSON? = nil,
        runtime: JSON? = nil
    ) async throws -> Answer {
        var pod = Sample.pod(name, node: node)
        for (key, value) in annotations { pod["metadata"]["annotations"]["cni.projectcalico.org/\(key)"] = JSON(value) }
        try await api.client.create(.pods, pod)
        try laboratory.makeNamespace(name)
        return try await call("ADD", pod: name, node: node, features: features, runtime: runtime)
    }
}
