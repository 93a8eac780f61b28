// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import KubeClient
import KubeObjects
import LocalCluster
import Logging
import Values

struct Node: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Adds, removes, stops and starts nodes.",
        subcommands: [List.self, Add.self, Delete.self, Stop.self, Start.self, Run.self], defaultSubcommand: Run.self)

    /// The node's process itself, started by the supervisor.
    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(shouldDisplay: false)
        @Option var name: String

        func run() async throws {
            Surroundings.adopt()
            try await LocalNode(name: name, log: Logger(label: "catbird.node")).run()
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Names and addresses of the nodes.")
        @OptionGroup var common: ProfileOptions

        func run() throws {
            for node in try ProfileStore().load(common.name).nodes { print("\(node.name)\t\(node.address)") }
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Adds a node to a running cluster.")
        @OptionGroup var common: ProfileOptions
        @Option(help: "The rack, counted from 1; the emptiest one if not said.") var rack: Int?
        @Flag(name: .customLong("control-plane"), help: .hidden) var controlPlane = false

        func run() async throws {
            guard !controlPlane else {
                throw LocalClusterError(
                    .usage, "A second control plane is not available: Catbird's cluster has one.",
                    nextStep: "Add a worker: catbird node add")
            }
            let cluster = try common.name
            let (client, _) = try await NodeCommand.running(cluster)
            let body: JSON? = rack.map { ["rack": JSON($0)] }
            let node = try await client.send("POST", "/nodes", body: body)
            let name = node["name"].string ?? ""
            let number = name.split(separator: "-").last.map(String.init) ?? name
            Terminal.line("😄", "Adding node \(number) to cluster \(cluster) as [worker]")
            try await NodeCommand.waitUntilReady(name, profile: cluster)
            Terminal.line("🏄", "Successfully added \(number) to \(cluster)!")
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Removes a node for good.")
        @OptionGroup var named: Named

        func run() async throws {
            let (client, profile, node) = try await named.found()
            let name = named.name
            guard node.name != profile.controlPlaneNode?.name else {
                throw LocalClusterError(
                    .usage, "Node \(node.name) carries the control plane and cannot be removed alone.",
                    nextStep: "To remove the cluster: catbird delete -p \(profile.name)")
            }
            Terminal.line("🔥", "Deleting node \(name) from cluster \(profile.name)")
            let access = try ClusterAccess(running: profile.name)
            try await client.send("DELETE", "/nodes/\(node.name)")
            do {
                try await access.client.delete(.nodes, node.name)
            } catch let error as APIError where error.isNotFound {
                Terminal.line("💡", "Node \(node.name) was not registered.")
            }
            Terminal.line("💀", "Node \(name) was successfully deleted.")
        }
    }

    /// The node that a command names, of a running cluster.
    struct Named: ParsableArguments {
        @OptionGroup var common: ProfileOptions
        @Argument(help: "The node: lab-m02 or m02.") var name: String

        func found() async throws -> (SupervisorClient, Profile, Profile.Node) {
            let (client, profile) = try await NodeCommand.running(common.name)
            return (client, profile, try NodeCommand.node(name, in: profile))
        }
    }

    struct Stop: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Stops a node, as if its power went.")
        @OptionGroup var named: Named

        func run() async throws {
            let (client, _, node) = try await named.found()
            Terminal.line("✋", "Stopping node \"\(node.name)\"  ...")
            try await client.send("POST", "/nodes/\(node.name)/stop")
            Terminal.line("🛑", "Successfully stopped node \(node.name)")
        }
    }

    struct Start: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Starts a stopped node.")
        @OptionGroup var named: Named

        func run() async throws {
            let (client, profile, node) = try await named.found()
            Terminal.line("👍", "Starting \"\(node.name)\" in cluster \"\(profile.name)\"")
            try await client.send("POST", "/nodes/\(node.name)/start")
            try await NodeCommand.waitUntilReady(node.name, profile: profile.name)
            Terminal.line("🏄", "Successfully started node \(node.name)!")
        }
    }
}

enum NodeCommand {
    /// The supervisor of a running profile, and the profile.
    static func running(_ name: ProfileName) async throws -> (SupervisorClient, Profile) {
        let store = ProfileStore()
        let profile = try store.load(name)
        guard store.isRunning(name) else {
            throw LocalClusterError(
                .guestNotRunning, "Profile \"\(name)\" is not running.", nextStep: "Start it: catbird start -p \(name)")
        }
        return (SupervisorClient(paths: store.paths(name)), profile)
    }

    static func node(_ name: String, in profile: Profile) throws(LocalClusterError) -> Profile.Node {
        guard let node = profile.node(named: name) else {
            throw LocalClusterError(
                .guestNotFound,
                "Node \"\(name)\" does not exist in profile \"\(profile.name)\". "
                    + "There is: \(profile.nodes.map(\.name).joined(separator: ", ")).",
                nextStep: "catbird node list -p \(profile.name)")
        }
        return node
    }

    /// Follows the node by a watch until it reports Ready.
    static func waitUntilReady(_ name: String, profile: ProfileName) async throws {
        let access = try ClusterAccess(running: profile)
        let informer = Informer(access.client, .nodes, fieldSelector: "metadata.name=\(name)")
        let began = Timestamp.now
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await informer.run() }
            for await batch in informer.events() where batch.contains(where: { isReady($0, since: began) }) { break }
            group.cancelAll()
        }
        await access.shutdown()
    }

    /// Ready, by a heartbeat of this start: the condition of an earlier life may still say so.
    private static func isReady(_ event: InformerEvent, since: Timestamp) -> Bool {
        guard !event.isDeletion else { return false }
        return event.object["status"]["conditions"].array?.contains { condition in
            condition["type"].string == "Ready" && condition["status"].string == "True"
                && (condition["lastHeartbeatTime"].string.flatMap { Timestamp($0) }?.seconds ?? 0) >= since.seconds - 1
        } ?? false
    }
}
