// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Calicoctl
import ClusterDNS
import Glibc
import KubeClient
import KubeObjects
import Linux
import LocalCluster
import Logging
import Manifests
import NetworkAgent
import YAMLCoding

/// The supervisor of a profile, or the guard that restarts it.
struct Supervise: AsyncParsableCommand {
    static let configuration = CommandConfiguration(shouldDisplay: false)
    @OptionGroup var common: ProfileOptions
    @Flag(name: .customLong("guard")) var isGuard = false

    func run() async throws {
        let lowered = Surroundings.adopt()
        guard let executable = HostEnvironment.executable else { throw ExitCode.failure }
        if isGuard {
            try await SupervisorGuard.run(profile: common.name, executable: executable)
        } else {
            let log = Logger(label: "catbird.supervisor")
            if !lowered.isEmpty {
                log.warning(
                    "hard limits that whoever started this had lowered stay, for the cluster's processes and containers: \(lowered.joined(separator: ", ")); only CAP_SYS_RESOURCE may raise them"
                )
            }
            try await Supervisor(profile: common.name, executable: executable, log: log).run()
        }
    }
}

/// API server, controllers and scheduler.
struct ControlPlaneCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "controlplane", shouldDisplay: false)
    @OptionGroup var common: ProfileOptions

    func run() async throws {
        Surroundings.adopt()
        try await LocalControlPlane(profile: common.name, log: Logger(label: "catbird.controlplane")).run()
    }
}

/// What the `calico-node` pods run.
struct Agent: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "The network agent of a node: IPAM, routes, tunnels, services. Runs in the calico-node pod.")
    @Option(help: "A kubeconfig; inside a pod the service account is used.") var kubeconfig: String?

    func run() async throws {
        let environment = HostEnvironment.current
        guard let node = environment["NODENAME"], !node.isEmpty else {
            throw LocalClusterError(
                .usage, "NODENAME is not set: the agent must know its node.",
                nextStep: "Set it from spec.nodeName in the pod's manifest.")
        }
        let transport = try HTTPTransport(ClientConfiguration.discover(kubeconfig: kubeconfig))
        let client = KubeClient(transport, userAgent: "catbird-agent")
        try await NetworkAgent(client: client, nodeName: node, configuration: try .init(environment: environment)).run()
    }
}

/// What the `coredns` pods run.
struct DNS: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dns", abstract: "The cluster's name server. Runs in the coredns pod.")
    @Option(name: .customLong("conf", withSingleDash: true), help: "The Corefile.") var conf: String =
        "/etc/coredns/Corefile"
    @Option(help: "A kubeconfig; inside a pod the service account is used.") var kubeconfig: String?

    func run() async throws {
        let transport = try HTTPTransport(ClientConfiguration.discover(kubeconfig: kubeconfig))
        let client = KubeClient(transport, userAgent: "catbird-dns")
        try await DNSServer(client: client, corefile: conf, log: Logger(label: "catbird.dns")).run()
    }
}

/// `catbird calicoctl …` is taken before this parser sees it; the command stands here for the list of commands.
struct CalicoctlCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "calicoctl", abstract: "Calico's command line.")
    @Argument(parsing: .captureForPassthrough) var words: [String] = []

    func run() async throws {
        let code = await Calicoctl.run(words)
        if code != 0 { throw ExitCode(code) }
    }
}

struct Manifests: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Prints the manifests of the network and of DNS.")
    @Option(name: .customLong("api-host"), help: "Address of the API server.") var apiHost: String = "10.96.0.1"
    @Option(name: .customLong("api-port"), help: "Port of the API server.") var apiPort: Int = 443

    func run() throws {
        for object in try Addons(apiHost: apiHost, apiPort: apiPort).manifests() {
            Terminal.write(1, "---\n" + YAML.text(object.json))
        }
    }
}
