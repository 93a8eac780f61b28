// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
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
    @OptionGroup var ignored: IgnoredOptions

    func validate() throws {
        guard ["text", "json"].contains(output) else {
            throw ValidationError("--output \(output) is not known: text or json.")
        }
        guard ["true", "false"].contains(builtinImages) else {
            throw ValidationError("--builtin-images takes true or false, not \(builtinImages).")
        }
        if let cni, !["calico", "auto", "true"].contains(cni) {
            throw ValidationError("--cni \(cni) is not available: Catbird brings calico. Leave the option out.")
        }
    }

    func run() async throws {
        guard let executable = HostEnvironment.executable else {
            throw LocalClusterError(.hostUnsupported, "/proc/self/exe cannot be read.", nextStep: "Mount /proc.")
        }
        var options = StartOptions(profile: common.name)
        options.nodes = nodes
        options.racks = racks
        options.builtinImages = builtinImages == "true"
        let isJSON = output == "json"
        if !isJSON {
            Terminal.line("😄", "[\(options.profile)] catbird \(Version.number) on \(Version.operatingSystem)")
            for remark in ignored.remarks { Terminal.line("❗", remark) }
        }
        let starting = ClusterStart(options, executable: executable) { step in
            if isJSON { Start.printEvent(step) } else { Start.printLine(step) }
        }
        try await starting.run()
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

/// Flags of minikube that have no meaning here: accepted, with a line that says what is done instead.
struct IgnoredOptions: ParsableArguments {
    @Option(help: .hidden) var driver: String?
    @Option(name: .customLong("vm-driver"), help: .hidden) var vmDriver: String?
    @Option(name: .customLong("network-plugin"), help: .hidden) var networkPlugin: String?
    @Option(name: .customLong("kubernetes-version"), help: .hidden) var kubernetesVersion: String?
    @Option(name: .customLong("container-runtime"), help: .hidden) var containerRuntime: String?
    @Option(help: .hidden) var memory: String?
    @Option(help: .hidden) var cpus: String?
    @Option(name: .customLong("disk-size"), help: .hidden) var diskSize: String?
    @Option(name: .customLong("base-image"), help: .hidden) var baseImage: String?
    @Option(name: .customLong("extra-config"), help: .hidden) var extraConfig: [String] = []
    @Option(help: .hidden) var addons: [String] = []
    @Option(help: .hidden) var wait: String?
    @Flag(help: .hidden) var force = false
    @Flag(name: .customLong("embed-certs"), help: .hidden) var embedCerts = false
    @Flag(name: .customLong("install-addons"), inversion: .prefixedNo, help: .hidden) var installAddons = true

    var remarks: [String] {
        var result: [String] = []
        if let driver = driver ?? vmDriver {
            result.append("--driver=\(driver): nodes are network namespaces of this machine; no driver is needed.")
        }
        if let networkPlugin { result.append("--network-plugin=\(networkPlugin): the network is always CNI.") }
        if let kubernetesVersion {
            result.append("--kubernetes-version=\(kubernetesVersion): the API served is \(Version.kubernetes).")
        }
        if let containerRuntime { result.append("--container-runtime=\(containerRuntime): containers run with crun.") }
        let sizes = [("memory", memory), ("cpus", cpus), ("disk-size", diskSize)]
        for case (let name, let value?) in sizes {
            result.append("--\(name)=\(value): nodes share this machine; nothing is set aside for them.")
        }
        if baseImage != nil { result.append("--base-image: nodes have no image.") }
        if !extraConfig.isEmpty { result.append("--extra-config: ignored; components are configured by the cluster.") }
        if !addons.isEmpty { result.append("--addons: no addons are available yet; none was enabled.") }
        return result
    }
}
