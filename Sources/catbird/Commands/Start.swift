// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ContainerRuntime
import LocalCluster
import Values

struct Start: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Starts a cluster, or starts a stopped one again.")

    @OptionGroup var common: ProfileOptions
    @Option(name: [.customShort("n"), .long], help: "How many nodes.") var nodes: Int?
    @Option(help: "How many racks: each has a subnet of its own.") var racks: Int?
    @Option(help: "The network; calico is the only one.") var cni: String?
    @Option(name: [.customShort("o"), .long], help: "text, or json: an event a line.") var output: String = "text"
    @Option(name: .customLong("builtin-images"), help: "Let built-in images stand in for the lab's two.")
    var builtinImages: String = "true"
    @Option(
        name: .customLong("docker-env"),
        help: "KEY=VALUE for the nodes' pulls: HTTPS_PROXY, HTTP_PROXY, NO_PROXY. May be repeated.")
    var dockerEnv: [String] = []
    @Option(
        name: .customLong("insecure-registry"),
        help: "HOST[:PORT] or a range whose registries have no TLS, or no known certificate. May be repeated.")
    var insecureRegistry: [String] = []
    @Flag(name: .customLong("restore-backup"), help: "Go back to the last backup of a stopped cluster first.")
    var restoreBackup = false
    @Flag(name: .customLong("accept-loss"), help: "Go on with what is readable of a damaged log of writes.")
    var acceptLoss = false
    @Flag(name: .customLong("dry-run"), help: "Only say what would be started.") var dryRun = false
    @Flag(name: .customLong("download-only"), help: "Start nothing: there is nothing to be downloaded beforehand.")
    var downloadOnly = false
    @Flag(name: .customLong("keep-context"), help: "Leave kubectl's current context as it is.") var keepContext = false
    @Option(help: "The namespace of kubectl's new context.") var namespace: String = "default"
    @Option(help: "none: return as soon as the API answers; else when nodes are Ready and DNS answers.")
    var wait: [String] = []
    @Option(name: .customLong("wait-timeout"), help: "How long nodes and DNS are waited for, as in 6m0s.")
    var waitTimeout: String = "6m0s"
    @Option(help: .hidden) var remark: [String] = []

    /// As in minikube, several may stand in one word.
    private var insecureRegistries: [String] {
        insecureRegistry.flatMap { $0.split(separator: ",").map(String.init) }
    }

    func validate() throws {
        guard ["text", "json"].contains(output) else {
            throw ValidationError("--output \(output) is not known: text or json.")
        }
        guard ["true", "false"].contains(builtinImages) else {
            throw ValidationError("--builtin-images takes true or false, not \(builtinImages).")
        }
        for pair in dockerEnv where pair.split(separator: "=", maxSplits: 1).isEmpty || !pair.contains("=") {
            throw ValidationError("--docker-env \(pair) is not KEY=VALUE.")
        }
        for registry in insecureRegistries {
            if let complaint = RegistrySettings.complaint(ofInsecure: registry) {
                throw ValidationError("--insecure-registry \(registry): \(complaint)")
            }
        }
        guard GoDuration.parse(waitTimeout) != nil else {
            throw ValidationError("--wait-timeout \(waitTimeout) is no length of time, such as 6m0s.")
        }
        if let cni, !["calico", "auto", "true"].contains(cni) {
            throw ValidationError("--cni \(cni) is not available: Catbird brings calico. Leave the option out.")
        }
    }

    func run() async throws {
        guard let executable = HostEnvironment.executable else {
            throw LocalClusterError(.hostUnsupported, "/proc/self/exe cannot be read.", nextStep: "Mount /proc.")
        }
        var options = try StartOptions(profile: common.name)
        options.nodes = nodes
        options.racks = racks
        options.builtinImages = builtinImages == "true"
        if !dockerEnv.isEmpty {
            options.dockerEnvironment = dockerEnv.reduce(into: [:]) { result, pair in
                let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                result[String(parts[0])] = String(parts[1])
            }
        }
        if !insecureRegistries.isEmpty { options.insecureRegistries = insecureRegistries }
        options.surroundings = HostEnvironment.current
        options.limit = GoDuration.parse(waitTimeout) ?? options.limit
        options.waits = !wait.contains { ["none", "false"].contains($0) }
        options.keepsContext = keepContext
        options.namespace = namespace
        options.restoresBackup = restoreBackup
        options.acceptsLoss = acceptLoss
        let isJSON = output == "json"
        if !isJSON {
            Terminal.line("😄", "[\(options.profile)] catbird \(Version.number) on \(Version.operatingSystem)")
            for remark in remark { Terminal.line("❗", remark) }
        }
        let starting = ClusterStart(options, executable: executable) { step in
            if isJSON { Start.printEvent(step) } else { Start.printLine(step) }
        }
        if downloadOnly {
            Terminal.line(
                "💡", "There is nothing to be downloaded: images come when pods ask for them. Nothing was done.")
        } else if dryRun {
            try await starting.rehearse()
        } else {
            try await starting.run()
        }
    }

    private static func printLine(_ step: StartStep) {
        let mark =
            switch step.mark {
            case .begin: "👍"
            case .node: "🖥️ "
            case .network: "🔗"
            case .names: "🔎"
            case .note: "💡"
            case .warning: "❗"
            case .done: "🏄"
            }
        Terminal.line(mark, "\(step.message)  (\(seconds(step.elapsed)) s)")
    }

    /// A CloudEvent a line, as `minikube start -o json` has it.
    private static func printEvent(_ step: StartStep) {
        let type = step.mark == .warning ? "warning" : step.mark == .note ? "info" : "step"
        let event: JSON = [
            "specversion": "1.0", "type": JSON("io.k8s.sigs.minikube.\(type)"), "source": "https://catbird.dev",
            "id": JSON("\(step.name)-\(step.elapsed)"), "datacontenttype": "application/json",
            "data": [
                "name": JSON(step.name), "message": JSON(step.message), "elapsedSeconds": .double(step.elapsed),
            ],
        ]
        Terminal.write(1, event.text() + "\n")
    }

    static func seconds(_ value: Double) -> String {
        let hundredths = Int((value * 100).rounded())
        let rest = hundredths % 100
        return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest)"
    }
}
