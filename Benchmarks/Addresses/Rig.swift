// SPDX-License-Identifier: Apache-2.0

import Glibc
import IPAM
import KubeClient
import KubeObjects
import Linux
import NetworkAgent
import Values

/// Nodes as network namespaces on one bridge, each with a real agent, over a real API server.
final class Rig: Sendable {
    let folder: String
    let server: Server
    let nodes: [String]

    init(nodes count: Int, pool: String) async throws {
        folder = "/tmp/catbird-rig-\(getpid())"
        try Files.makeDirectories(folder, mode: 0o700)
        server = try await Server()
        nodes = (1...count).map { "n\($0)" }
        try await server.addPool(pool)
        try makeNamespace("fabric")
        let fabric = try NetlinkSocket(in: namespace("fabric"))
        try fabric.addBridge("br0")
        let bridge = try fabric.requireLink("br0").index
        try fabric.setUp("br0")
        for (index, node) in nodes.enumerated() {
            try makeNamespace(node)
            try fabric.addVeth(
                "v\(index)", LinkOptions(), peer: "eth0", peerOptions: LinkOptions(namespace: namespace(node)))
            try fabric.setLink(try fabric.requireLink("v\(index)").index, LinkOptions(master: bridge, up: true))
            let address = "172.30.\(index / 250).\(index % 250 + 2)"
            let socket = try NetlinkSocket(in: namespace(node))
            let link = try socket.requireLink("eth0").index
            try socket.setLink(link, LinkOptions(up: true))
            if let cidr = CIDR("\(address)/16") {
                try socket.addAddress(InterfaceAddress(interface: link, address: cidr))
            }
            try await server.addNode(node, address: address)
            try Files.makeDirectories("\(folder)/net-\(node)")
        }
    }

    deinit {
        for entry in (try? Files.list(folder)) ?? [] where entry.name.hasPrefix("ns-") {
            try? Namespaces.unpin("\(folder)/\(entry.name)")
        }
        try? Files.removeTree(folder)
    }

    func path(_ name: String) -> String { "\(folder)/ns-\(name)" }
    func namespace(_ name: String) -> NamespaceRef { .path(path(name)) }

    func makeNamespace(_ name: String) throws {
        try Namespaces.createPinned([.net: path(name)]) { try NetlinkSocket().setUp("lo") }
    }

    /// Where the agent installs the plugin and its configuration.
    func binaries(_ node: String) -> String { "\(folder)/bin-\(node)" }
    func conflist(_ node: String) -> String { "\(folder)/net-\(node)/10-calico.conflist" }

    /// Runs `body` when all agents listen.
    func withAgents(_ body: @Sendable () async throws -> Void) async throws {
        // The plugin is built into the same folder.
        let own = CommandLine.arguments[0]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for node in nodes {
                let agent = NetworkAgent(
                    client: server.client, nodeName: node,
                    configuration: NetworkAgentConfiguration(
                        socketPath: "\(folder)/\(node).sock",
                        pluginPath: "\(Files.directory(of: own))/catbird-cni",
                        binaryDirectory: binaries(node), networkDirectory: "\(folder)/net-\(node)",
                        namespace: namespace(node), kernelHasIPIP: false))
                group.addTask { try await agent.run() }
            }
            for node in nodes { try await waitForFile(conflist(node)) }
            try await body()
            group.cancelAll()
        }
    }

    private func waitForFile(_ path: String) async throws {
        let inotify = try Inotify()
        try inotify.add(Files.directory(of: path))
        if Files.exists(path) { return }
        for await _ in inotify.events where Files.exists(path) { return }
    }
}
