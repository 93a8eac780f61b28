// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LocalCluster
import Linux
import Values

struct Stop: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Stops a cluster; its objects and disks stay.")
    @OptionGroup var common: ProfileOptions
    @Flag(help: "Stop every cluster.") var all = false

    func run() async throws {
        let store = ProfileStore()
        for name in all ? store.names() : [common.name] {
            let profile = try store.load(name)
            for node in profile.nodes { Terminal.line("✋", "Stopping node \"\(node.name)\"  ...") }
            try await ClusterRemoval(profile: name).stop()
            Terminal.line("🛑", "\(profile.nodes.count) node\(profile.nodes.count == 1 ? "" : "s") stopped.")
        }
    }
}

struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Removes a cluster and every trace of it.")
    @OptionGroup var common: ProfileOptions
    @Flag(help: "Every cluster.") var all = false
    @Flag(help: "With --all: the image store too.") var purge = false

    func run() async throws {
        let store = ProfileStore()
        let names = all ? store.names() : [common.name]
        for name in names {
            guard store.exists(name) || ClusterRemoval.hasLeftovers(name) else {
                Terminal.line("🙄", "\"\(name)\" profile does not exist, trying anyway.")
                try await ClusterRemoval(profile: name).run()
                continue
            }
            Terminal.line("🔥", "Deleting \"\(name)\" ...")
            try await ClusterRemoval(profile: name).run()
            Terminal.line("💀", "Removed all traces of the \"\(name)\" cluster.")
        }
        if all {
            if names.isEmpty { Terminal.line("🔥", "Successfully deleted all profiles") }
            if purge { try Files.removeTree(store.paths("").images) }
        }
    }
}

struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Tells what runs; exit code 1: host, 2: cluster, 4: API.")
    @OptionGroup var common: ProfileOptions
    @Option(name: [.customShort("o"), .long], help: "text or json.") var output: String = "text"

    func run() async throws {
        let store = ProfileStore()
        let profile = try store.load(common.name)
        let isRunning = store.isRunning(profile.name)
        var processes: [String: Bool] = [:]
        if isRunning, let status = try? await SupervisorClient(paths: store.paths(profile.name)).send("GET", "/status")
        {
            for process in status["processes"].array ?? [] {
                if let name = process["name"].string { processes[name] = process["running"].bool ?? false }
            }
        }
        let configured = Kubeconfig().currentContext == profile.name
        var blocks: [String] = []
        var list: [JSON] = []
        var code: Int32 = 0
        for (index, node) in profile.nodes.enumerated() {
            let isUp = isRunning && !profile.stopped.contains(node.name)
            let host = isUp ? "Running" : "Stopped"
            let kubelet = isUp && processes["node-\(node.name)"] == true ? "Running" : "Stopped"
            let api = isUp && processes["controlplane"] == true ? "Running" : "Stopped"
            let kubeconfig = configured ? "Configured" : "Misconfigured"
            var lines = [
                node.name, "type: \(index == 0 ? "Control Plane" : "Worker")", "host: \(host)", "kubelet: \(kubelet)",
            ]
            var object: JSON = [
                "Name": JSON(node.name), "Host": JSON(host), "Kubelet": JSON(kubelet),
                "APIServer": index == 0 ? JSON(api) : "Irrelevant",
                "Kubeconfig": index == 0 ? JSON(kubeconfig) : "Irrelevant", "Worker": JSON(index != 0),
            ]
            if index == 0 { lines += ["apiserver: \(api)", "kubeconfig: \(kubeconfig)"] }
            object["TimeToStop"] = ""
            if host != "Running" { code |= 1 }
            if index == 0, api != "Running" { code |= 2 }
            if kubelet != "Running" || (index == 0 && !configured) { code |= 4 }
            blocks.append(lines.joined(separator: "\n") + "\n")
            list.append(object)
        }
        switch output {
        case "json": print((list.count == 1 ? list[0] : .array(list)).text())
        case "text": print(blocks.joined(separator: "\n"))
        default: throw ValidationError("--output \(output) is not known: text or json.")
        }
        if code != 0 { throw ExitCode(code) }
    }
}
