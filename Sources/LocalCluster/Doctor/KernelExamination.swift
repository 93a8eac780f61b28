// SPDX-License-Identifier: Apache-2.0

public import Diagnosis
public import KubeClient
import KubeObjects
import Linux
import NetworkAgent
import Values

/// Compares the kernel with the model: for the machine, for what is between the nodes, and for each node. What differs
/// is put back by its owner within a second; what is still found here nobody puts back.
public struct KernelExamination: Sendable {
    /// What is not as it should be, and where.
    public struct Difference: Sendable, Hashable {
        public let place: ExpectedNetwork.Place
        public let description: String
        /// Whether it is the agent's to put back; else it is the supervisor's.
        public let isAgents: Bool
    }

    private let profile: Profile
    private let paths: ProfilePaths
    private let client: KubeClient?

    /// - Parameter client: nil leaves out what follows from the API's objects.
    public init(profile: Profile, paths: ProfilePaths, client: KubeClient?) {
        self.profile = profile
        self.paths = paths
        self.client = client
    }

    public func findings() async -> [Finding] {
        do { return try await differences().map { finding($0) } } catch {
            return [
                Finding(
                    "NetworkNotCompared", object: "the kernel's network",
                    problem: "cannot be compared with what it should be",
                    cause: "\(error)", nextStep: "run catbird doctor as the user who started the cluster")
            ]
        }
    }

    private func finding(_ difference: Difference) -> Finding {
        let node: String? = if case .node(let name) = difference.place { name } else { nil }
        let next =
            difference.isAgents
            ? "kubectl logs -n kube-system -l k8s-app=calico-node --tail=20"
            : "catbird logs -p \(profile.name); it is put back by the supervisor when that runs"
        return Finding(
            "NetworkDiffers", object: node.map { "node \($0)" } ?? "\(difference.place)",
            problem: "has not the network that it should have", cause: difference.description, nextStep: next)
    }

    /// All differences of nodes that are meant to run.
    public func differences() async throws -> [Difference] {
        let fabric = Fabric(
            profile: profile.name, plan: profile.plan, runDirectory: paths.runRoot, stateDirectory: paths.stateRoot)
        // Without its namespaces nothing of the cluster runs, which is said elsewhere.
        guard Namespaces.isPinned(fabric.names.fabricNamespace) else { return [] }
        let nodes = profile.wantedNodes.compactMap { node -> (node: Profile.Node, namespace: NamespaceRef)? in
            guard let net = NodeAccess.namespaces(of: node.name, in: profile.name).net, (try? net.identity(.net)) != nil
            else { return nil }
            return (node: node, namespace: net)
        }
        let places: [ExpectedNetwork.Place] = [.machine, .fabric] + nodes.map { .node($0.node.name) }
        var result = try await OwnThread.run(awaiting: {
            try places.flatMap { place in
                try fabric.expected(place, nodes: nodes)?.differences().map {
                    Difference(place: place, description: $0.description, isAgents: false)
                } ?? []
            }
        })
        guard let client else { return result }
        let objects = try await objects(client)
        let ready = Set(objects.nodes.filter(Self.isReady).map(\.name))
        let hasIPIP = try await OwnThread.run(awaiting: { try KernelFeatures.probe().has(.ipip) })
        // A node that is not Ready has a finding of its own, and no agent yet.
        for (node, namespace) in nodes where ready.contains(node.name) {
            let comparison = NodeComparison(node: node.name, objects, kernelHasIPIP: hasIPIP)
            result += try await OwnThread.run(awaiting: { try comparison.differences(in: namespace) }).map {
                Difference(place: .node(node.name), description: $0, isAgents: true)
            }
        }
        return result
    }

    private static func isReady(_ node: KubeObject) -> Bool {
        (node["status"]["conditions"].array ?? []).contains {
            $0["type"].string == "Ready" && $0["status"].string == "True"
        }
    }

    private func objects(_ client: KubeClient) async throws -> NodeComparison.Objects {
        async let nodes = client.list(.nodes).items
        async let pools = client.list(.ipPools).items
        async let blocks = client.list(.ipamBlocks).items
        async let pods = client.list(.pods).items
        async let services = client.list(.services).items
        async let slices = client.list(.endpointSlices).items
        async let felix = client.list(GroupVersionResource("crd.projectcalico.org", "v1", "felixconfigurations")).items
        var objects = NodeComparison.Objects()
        objects.nodes = try await nodes
        objects.pools = try await pools
        objects.blocks = try await blocks
        objects.pods = try await pods
        objects.services = try await services
        objects.endpointSlices = try await slices
        objects.felix = try await felix.first { $0.name == "default" }
        return objects
    }
}
