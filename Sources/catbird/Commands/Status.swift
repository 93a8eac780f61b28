// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Diagnosis
import KubeClient
import KubeObjects
import Linux
import LocalCluster
import Values

struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Tells what runs; exit code 1: host, 2: kubelet or API server, 4: kubeconfig.")
    @OptionGroup var common: ProfileOptions
    @Option(name: [.customShort("o"), .long], help: "text or json.") var output: String = "text"
    @Option(
        name: [.customShort("f"), .long],
        help: "A line for each node, with {{.Name}}, {{.Host}}, {{.Kubelet}}, {{.APIServer}}, {{.Kubeconfig}}.")
    var format: String?
    @Option(name: [.customShort("l"), .long], help: "nodes, or (with json) cluster.") var layout: String = "nodes"
    @Option(name: [.customShort("n"), .long], help: "Only this node.") var node: String?

    @Option(name: [.customShort("w"), .long], help: "Again and again, after so long a time each: 1s.") var watch:
        String?

    func run() async throws {
        guard let watch else { return try await show() }
        guard let pause = GoDuration.parse(watch), pause > .zero else {
            throw ValidationError("--watch \(watch) is no length of time, such as 1s.")
        }
        while true {
            do { try await show() } catch is ExitCode {}
            try await Task.sleep(for: pause)
        }
    }

    private func show() async throws {
        let store = ProfileStore()
        let profile = try store.load(common.name)
        var nodes = await states(of: profile, store)
        if let node {
            let name = try NodeCommand.node(node, in: profile).name
            nodes.removeAll { $0.name != name }
        }
        switch (output, format) {
        case ("json", _) where layout == "cluster": print(clusterJSON(profile, nodes).text())
        case ("json", _): print((nodes.count == 1 ? nodes[0].json : .array(nodes.map(\.json))).text())
        case ("text", let format?): for node in nodes { try Terminal.write(1, node.text(format)) }
        case ("text", nil): print(nodes.map(\.block).joined(separator: "\n"))
        default: throw ValidationError("--output \(output) is not known: text or json.")
        }
        let code = nodes.reduce(0) { $0 | $1.exitCode }
        if code != 0 {
            if store.isRunning(profile.name) { Terminal.note("💡", "To see why: catbird doctor -p \(profile.name)") }
            throw ExitCode(code)
        }
    }

    private func states(of profile: Profile, _ store: ProfileStore) async -> [NodeState] {
        let isRunning = store.isRunning(profile.name)
        var processes: [String: String] = [:]
        if isRunning, let status = await Self.supervisorStatus(store.paths(profile.name)) {
            Self.tellOfBringUp(status["bringUp"], of: profile)
            for process in status["processes"].array ?? [] {
                guard let name = process["name"].string, process["running"].bool == true else { continue }
                processes[name] = Self.state(of: process["pid"].int)
            }
        }
        if processes["controlplane"] == "Running", !(await Self.answers(profile, store.paths(profile.name))) {
            processes["controlplane"] = "Error"
        }
        let server = Kubeconfig().server(ofContext: profile.name.text)
        let isConfigured =
            profile.controlPlaneNode.map { server == "https://\($0.address):\(Profile.apiPort)" } ?? false
        return profile.nodes.enumerated().map { index, node in
            let isUp = isRunning && !profile.stopped.contains(node.name)
            let isWorker = index != 0
            return NodeState(
                name: node.name, host: isUp ? "Running" : "Stopped",
                kubelet: (isUp ? processes["node-\(node.name)"] : nil) ?? "Stopped",
                apiServer: isWorker ? "Irrelevant" : (isUp ? processes["controlplane"] : nil) ?? "Stopped",
                kubeconfig: isWorker ? "Irrelevant" : !isUp ? "Stopped" : isConfigured ? "Configured" : "Misconfigured",
                isWorker: isWorker)
        }
    }

    /// A process that is there does nothing while it is suspended or frozen.
    private static func state(of pid: Int?) -> String {
        guard let summary = pid.flatMap({ Int32(exactly: $0) }).flatMap({ ProcessSummary(pid: $0) }) else {
            return "Stopped"
        }
        let isPaused = summary.state == "T" || summary.state == "t" || !summary.frozenBy.isEmpty
        return isPaused ? "Paused" : "Running"
    }

    /// A control plane that runs and does not answer is not one that works.
    private static func answers(_ profile: Profile, _ paths: ProfilePaths) async -> Bool {
        guard let access = try? ClusterAccess(profile: profile, pki: ProfilePKI(paths: paths)) else { return false }
        let answers = (try? await Deadline.run(.seconds(5)) { try await access.client.text("/readyz") }) != nil
        await access.shutdown()
        return answers
    }

    private static func supervisorStatus(_ paths: ProfilePaths) async -> JSON? {
        do {
            return try await SupervisorClient(paths: paths).send("GET", "/status", limit: .seconds(5))
        } catch {
            Terminal.note("❗", "\(error)")
            return nil
        }
    }

    private static func tellOfBringUp(_ state: JSON?, of profile: Profile) {
        guard state["state"].string == "failed" else { return }
        Terminal.note(
            "❗",
            "\"\(profile.name)\" could not be brought up in \(state["attempts"].int ?? 0) attempt(s): "
                + "\(state["reason"].string ?? ""). The next is in \(state["secondsToNext"].int ?? 0) s; at once: "
                + "catbird start -p \(profile.name)")
    }

    /// minikube's `--layout=cluster`: codes as HTTP has them.
    private func clusterJSON(_ profile: Profile, _ nodes: [NodeState]) -> JSON {
        func component(_ name: String, _ state: String) -> JSON {
            let isWell = state == "Running" || state == "Configured"
            let others = ["Stopped": (405, "Stopped"), "Paused": (418, "Paused")]
            let status = isWell ? (200, "OK") : others[state] ?? (500, "Error")
            return ["Name": JSON(name), "StatusCode": JSON(status.0), "StatusName": JSON(status.1)]
        }
        let states = nodes.flatMap { [$0.host, $0.kubelet, $0.apiServer] }.filter { $0 != "Irrelevant" }
        var cluster = component(profile.name.text, states.first { $0 != "Running" } ?? "Running")
        cluster["BinaryVersion"] = JSON(Version.number)
        if let first = nodes.first(where: { !$0.isWorker }) {
            cluster["Components"] = ["kubeconfig": component("kubeconfig", first.kubeconfig)]
        }
        cluster["Nodes"] = .array(
            nodes.map { node in
                var state = component(node.name, node.host)
                var components: JSON = ["kubelet": component("kubelet", node.kubelet)]
                if !node.isWorker { components["apiserver"] = component("apiserver", node.apiServer) }
                state["Components"] = components
                return state
            })
        return cluster
    }
}

/// What runs of a node, in minikube's words.
private struct NodeState {
    let name, host, kubelet, apiServer, kubeconfig: String
    let isWorker: Bool

    var exitCode: Int32 {
        var code: Int32 = host == "Running" ? 0 : 1
        if kubelet != "Running" || (apiServer != "Running" && !isWorker) { code |= 2 }
        if kubeconfig != "Configured" && !isWorker { code |= 4 }
        return code
    }

    var block: String {
        var lines = [name, "type: \(isWorker ? "Worker" : "Control Plane")", "host: \(host)", "kubelet: \(kubelet)"]
        if !isWorker { lines += ["apiserver: \(apiServer)", "kubeconfig: \(kubeconfig)"] }
        return lines.joined(separator: "\n") + "\n"
    }

    private var fields: [(name: String, value: JSON)] {
        [
            ("Name", JSON(name)), ("Host", JSON(host)), ("Kubelet", JSON(kubelet)), ("APIServer", JSON(apiServer)),
            ("Kubeconfig", JSON(kubeconfig)), ("Worker", JSON(isWorker)), ("TimeToStop", ""),
        ]
    }

    var json: JSON {
        var object: JSON = [:]
        for (name, value) in fields { object[name] = value }
        return object
    }

    /// The format with its fields filled in; Go's templates have more, which is refused.
    func text(_ format: String) throws -> String {
        var result = ""
        var rest = format[...]
        while let start = rest.firstRange(of: "{{") {
            result += rest[..<start.lowerBound]
            guard let end = rest[start.upperBound...].firstRange(of: "}}") else {
                throw ValidationError("--format \(format): {{ is not closed by }}.")
            }
            let name = rest[start.upperBound..<end.lowerBound].filter { $0 != " " }
            guard let field = fields.first(where: { ".\($0.name)" == name }) else {
                throw ValidationError(
                    "--format: {{\(name)}} is not known: there is "
                        + fields.map { "{{.\($0.name)}}" }.joined(separator: ", ") + ".")
            }
            result += field.value.string ?? field.value.text()
            rest = rest[end.upperBound...]
        }
        return result + rest
    }
}
