// SPDX-License-Identifier: Apache-2.0

public import Values

/// What a kubelet has to know of its node.
public struct KubeletConfiguration: Sendable {
    public var nodeName: String
    public var nodeIP: IPAddress
    /// Labels beside the usual ones: zone, rack.
    public var labels: [String: String]
    public var clusterDNS: [IPAddress]
    public var clusterDomain: String
    public var maxPods: Int
    /// Amounts that stand in for what the machine has: `cpu`, `memory`, `ephemeral-storage`.
    public var capacity: [String: String]
    /// Of the HTTPS server; without it none is started.
    public var servingCertificatePEM: String?
    public var servingKeyPEM: String?
    /// Who signs the certificates of the server's clients.
    public var clientCAPEM: String?
    public var port: Int
    public var registersNode: Bool
    public var rootDirectory: String
    public var podLogDirectory: String
    public var containerLogDirectory: String
    /// Where the node sees the machine's image store.
    public var imageDirectory = "/var/lib/catbird/images"
    /// The node's own resolver settings.
    public var resolvConfPath: String
    /// The cgroup below which pods' cgroups are made, relative to the root of the hierarchies; empty leaves that to
    /// the runtime.
    public var cgroupRoot: String
    /// As nodes report it; `catbird://VERSION`.
    public var runtimeVersion: String
    public var kubernetesVersion: String
    /// How often it is measured what pods with limits keep on disk.
    package var storageInterval = Duration.seconds(10)

    public init(
        nodeName: String, nodeIP: IPAddress, labels: [String: String] = [:], clusterDNS: [IPAddress] = [],
        clusterDomain: String = "cluster.local", maxPods: Int = 110, capacity: [String: String] = [:],
        servingCertificatePEM: String? = nil, servingKeyPEM: String? = nil, clientCAPEM: String? = nil,
        port: Int = 10250, registersNode: Bool = true, rootDirectory: String = "/var/lib/kubelet",
        podLogDirectory: String = "/var/log/pods", containerLogDirectory: String = "/var/log/containers",
        resolvConfPath: String = "/etc/resolv.conf", cgroupRoot: String = "/catbird",
        runtimeVersion: String = "catbird://0.1.0", kubernetesVersion: String = "v1.36.2"
    ) {
        self.nodeName = nodeName
        self.nodeIP = nodeIP
        self.labels = labels
        self.clusterDNS = clusterDNS
        self.clusterDomain = clusterDomain
        self.maxPods = maxPods
        self.capacity = capacity
        self.servingCertificatePEM = servingCertificatePEM
        self.servingKeyPEM = servingKeyPEM
        self.clientCAPEM = clientCAPEM
        self.port = port
        self.registersNode = registersNode
        self.rootDirectory = rootDirectory
        self.podLogDirectory = podLogDirectory
        self.containerLogDirectory = containerLogDirectory
        self.resolvConfPath = resolvConfPath
        self.cgroupRoot = cgroupRoot
        self.runtimeVersion = runtimeVersion
        self.kubernetesVersion = kubernetesVersion
    }

    func podDirectory(_ uid: String) -> String { "\(rootDirectory)/pods/\(uid)" }

    func logDirectory(_ pod: PodView) -> String { "\(podLogDirectory)/\(pod.namespace)_\(pod.name)_\(pod.uid)" }

    func logPath(_ pod: PodView, container: String, attempt: Int) -> String {
        "\(logDirectory(pod))/\(container)/\(attempt).log"
    }
}
