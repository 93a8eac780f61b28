// SPDX-License-Identifier: Apache-2.0

public import ContainerRuntime
import KubeClient
import Kubelet
import Linux
public import Logging
import NetworkAgent
public import Values

/// The process of one node: its kubelet with the container runtime. It runs inside the node's namespaces, or on a machine
/// that is a node, and knows nothing of the cluster but what lies at the kubelet's usual paths: no profile, no fabric and
/// no supervisor.
public struct NodeProcess: Sendable {
    /// Why the process cannot be the node that it is asked to be.
    public struct Problem: Error, Sendable, CustomStringConvertible {
        /// What is wrong, in one sentence.
        public let description: String
    }

    /// What whoever makes the node leaves for it in `/var/lib/kubelet/config.json`.
    public struct Description: Sendable {
        public let name: String
        public let address: IPAddress
        public let zone: String
        public let clusterDNS: IPAddress
        public let clusterDomain: String
        public let builtinImages: Bool
        /// The control group that the node's own lie in.
        public let cgroup: String
        /// How registries are reached.
        public let pulls: JSON

        public var json: JSON {
            [
                "name": JSON(name), "address": JSON(address.description), "zone": JSON(zone),
                "clusterDNS": JSON(clusterDNS.description), "clusterDomain": JSON(clusterDomain),
                "builtinImages": JSON(builtinImages), "cgroup": JSON(cgroup), "pulls": pulls,
            ]
        }

        public init(
            name: String, address: IPAddress, zone: String, clusterDNS: IPAddress, clusterDomain: String,
            builtinImages: Bool, cgroup: String, pulls: JSON
        ) {
            self.name = name
            self.address = address
            self.zone = zone
            self.clusterDNS = clusterDNS
            self.clusterDomain = clusterDomain
            self.builtinImages = builtinImages
            self.cgroup = cgroup
            self.pulls = pulls
        }

        init?(_ json: JSON) {
            guard let name = json["name"].string, let address = json["address"].string.flatMap({ IPAddress($0) }),
                let dns = json["clusterDNS"].string.flatMap({ IPAddress($0) }),
                let domain = json["clusterDomain"].string,
                let cgroup = json["cgroup"].string
            else { return nil }
            self.init(
                name: name, address: address, zone: json["zone"].string ?? "", clusterDNS: dns, clusterDomain: domain,
                builtinImages: json["builtinImages"].bool ?? true, cgroup: cgroup, pulls: json["pulls"] ?? [:])
        }
    }

    /// Where a kubelet has its own.
    public static let folder = "/var/lib/kubelet"
    private let name: String
    private let log: Logger

    public init(name: String, log: Logger) {
        self.name = name
        self.log = log
    }

    /// Runs until cancelled.
    ///
    /// - Parameter registries: how images are pulled, made of what the description says of it (``Description/pulls``).
    /// - Throws: ``Problem`` when there is no description of this node.
    public func run(registries: @Sendable (JSON) -> RegistrySettings) async throws {
        let path = "\(Self.folder)/config.json"
        guard let json = try? JSON(parsing: Files.read(path)), let description = Description(json),
            description.name == name
        else {
            throw Problem(description: "\(path) does not describe node \"\(name)\".")
        }
        let transport = try HTTPTransport(
            ClientConfiguration.kubeconfig(path: "\(Self.folder)/kubeconfig", context: nil))
        let images = ImageStore(
            usesStandIns: description.builtinImages,
            registries: registries(description.pulls))
        let runtime = try Runtime(
            RuntimeConfiguration(
                networkAgentSocket: NetworkAgentConfiguration().socketPath, cgroupParent: description.cgroup,
                images: images))
        let pki = "\(Self.folder)/pki"
        let labels = ["topology.kubernetes.io/zone": description.zone]
        let kubelet = try Kubelet(
            client: KubeClient(transport, userAgent: "kubelet"),
            configuration: KubeletConfiguration(
                nodeName: description.name, nodeIP: description.address, labels: labels,
                clusterDNS: [description.clusterDNS], clusterDomain: description.clusterDomain,
                servingCertificatePEM: Files.text("\(pki)/kubelet.crt"),
                servingKeyPEM: Files.text("\(pki)/kubelet.key"),
                clientCAPEM: Files.text("\(pki)/ca.crt"), cgroupRoot: description.cgroup),
            runtime: runtime, images: images)
        try await kubelet.run()
    }
}
