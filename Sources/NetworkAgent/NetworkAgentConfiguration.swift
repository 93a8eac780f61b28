// SPDX-License-Identifier: Apache-2.0

public import Linux
public import NetworkModel
public import Values

/// Where an agent listens, what it installs, and which network namespace it looks after.
public struct NetworkAgentConfiguration: Sendable {
    /// The network's name in the configuration that Calico ships.
    static let usualNetwork = "k8s-pod-network"

    /// Where the plugin finds the agent.
    public var socketPath: String
    /// The plugin's executable, to be copied to `binaryDirectory`.
    public var pluginPath: String
    /// Where runtimes look for plugins, as this process sees it; nil installs none.
    public var binaryDirectory: String?
    /// Where runtimes look for networks, as this process sees it; nil writes none.
    public var networkDirectory: String?
    /// The name of the network's file.
    public var networkFile = "10-calico.conflist"
    /// What to write there, with Calico's placeholders (`__KUBERNETES_NODE_NAME__`); nil writes Catbird's own.
    public var networkTemplate: String?
    /// A file with the template, where it is not given itself.
    public var networkTemplatePath: String?
    /// Names in `binaryDirectory` that are not to be made.
    public var skippedBinaries: Set<String> = []
    /// Whether an executable that is there already is replaced.
    public var updatesBinaries = true
    /// The network's name, which handles begin with.
    public var networkName: String
    /// The pods' MTU; nil takes the node's, less the tunnel's overhead where a pool needs it.
    public var mtu: Int?
    /// The node's network namespace; nil is the one this process runs in.
    public var namespace: NamespaceRef?
    /// The folder for what must outlive the process: releases that wait for the API. Nil has them fail instead.
    public var statePath: String?
    /// Nil asks the kernel.
    public var kernelHasIPIP: Bool?
    /// How the node's address is found, by family.
    public var detection: [IPFamily: AddressDetection] = [:]
    /// Where the pods' MTU is written for plugins that are not Catbird's, as Felix does; nil writes none.
    public var mtuFile: String?
    /// BIRD 2's program, run where BGP is asked for.
    public var birdPath = BIRD.usualProgram
    /// The folder of its configuration and its control socket.
    public var birdFolder = Files.directory(of: BIRDControl.usualPath)
    /// The namespace of the Secrets that BGP's passwords are in.
    public var secretNamespace = "kube-system"

    /// What of the environment is Felix's.
    public var felixEnvironment: [String: String] = [:]

    public init(
        socketPath: String = "/var/run/catbird/agent.sock", pluginPath: String = "/usr/bin/catbird-cni",
        binaryDirectory: String? = nil, networkDirectory: String? = nil, networkName: String = "k8s-pod-network",
        mtu: Int? = nil, namespace: NamespaceRef? = nil, statePath: String? = nil, kernelHasIPIP: Bool? = nil
    ) {
        self.socketPath = socketPath
        self.pluginPath = pluginPath
        self.binaryDirectory = binaryDirectory
        self.networkDirectory = networkDirectory
        self.networkName = networkName
        self.mtu = mtu
        self.namespace = namespace
        self.statePath = statePath
        self.kernelHasIPIP = kernelHasIPIP
    }

    /// From the environment of the DaemonSet's container: `CNI_BIN_DIR`, `CNI_NET_DIR`, `CNI_MTU`, `CNI_CONF_NAME`,
    /// `CNI_NETWORK_CONFIG`, `CNI_NETWORK_CONFIG_FILE`, `SKIP_CNI_BINARIES`, `UPDATE_CNI_BINARIES`,
    /// `CATBIRD_AGENT_SOCKET`, `CATBIRD_CNI_PLUGIN`, `CATBIRD_STATE_DIR` (`/var/lib/calico/catbird`), `POD_NAMESPACE`,
    /// `IP_AUTODETECTION_METHOD`, `IP6_AUTODETECTION_METHOD`. Throws for a method that is none.
    public init(environment: [String: String]) throws(AddressDetection.Problem) {
        self.init()
        func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        if let path = value("CATBIRD_AGENT_SOCKET") { socketPath = path }
        if let path = value("CATBIRD_CNI_PLUGIN") { pluginPath = path }
        statePath = value("CATBIRD_STATE_DIR") ?? "/var/lib/calico/catbird"
        binaryDirectory = value("CNI_BIN_DIR")
        networkDirectory = value("CNI_NET_DIR")
        if let name = value("CNI_CONF_NAME") { networkFile = name }
        networkTemplate = value("CNI_NETWORK_CONFIG")
        networkTemplatePath = value("CNI_NETWORK_CONFIG_FILE")
        skippedBinaries = Set((value("SKIP_CNI_BINARIES") ?? "").split(separator: ",").map(String.init))
        updatesBinaries = value("UPDATE_CNI_BINARIES") != "false"
        felixEnvironment = environment.filter { $0.key.uppercased().hasPrefix("FELIX_") }
        mtuFile = "/var/lib/calico/mtu"
        if let name = value("POD_NAMESPACE") { secretNamespace = name }
        for (family, name) in [(IPFamily.v4, "IP_AUTODETECTION_METHOD"), (.v6, "IP6_AUTODETECTION_METHOD")] {
            if let text = value(name) { detection[family] = try AddressDetection(text) }
        }
        mtu = value("CNI_MTU").flatMap { Int($0) }.flatMap { (576...65535).contains($0) ? $0 : nil }
    }
}
