// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// A route that the node agent keeps, all with protocol 80.
public struct PlannedRoute: Sendable, Hashable {
    public enum Hop: Sendable, Hashable {
        /// A pod of this node: through its host interface, scope link.
        case workload(interface: String)
        /// Pods of another node of the same subnet: through that node.
        case node(IPAddress)
        /// Pods of another node: through its end of the VXLAN tunnel, which is on the link by definition.
        case tunnel(IPAddress)
        /// Pods of another node: to that node in IP in IP.
        case ipip(IPAddress)
        /// A block of this node: what no pod has goes nowhere.
        case blackhole
    }

    public let destination: CIDR
    public let hop: Hop

    public init(_ destination: CIDR, _ hop: Hop) {
        self.destination = destination
        self.hop = hop
    }
}

/// Another node's end of a VXLAN tunnel.
public struct TunnelPeer: Sendable, Hashable {
    public let node: String
    public let nodeAddress: IPAddress
    public let tunnelAddress: IPAddress
    public let mac: MACAddress

    public init(node: String, nodeAddress: IPAddress, tunnelAddress: IPAddress, mac: MACAddress) {
        self.node = node
        self.nodeAddress = nodeAddress
        self.tunnelAddress = tunnelAddress
        self.mac = mac
    }
}

/// What a node's kernel should hold so that pods reach each other: a pure function of the objects.
public struct NetworkPlan: Sendable, Hashable {
    /// `vxlan.calico` or `vxlan-v6.calico`, when a tunnel of the family is needed.
    public struct Tunnel: Sendable, Hashable {
        public static let networkIdentifier = 4096
        public static let port = 4789

        public let address: IPAddress
        public let mac: MACAddress
        public let underlay: IPAddress
        public let mtu: Int

        public var interface: String { Self.interface(address.family) }

        public static func interface(_ family: IPFamily) -> String {
            family == .v4 ? "vxlan.calico" : "vxlan-v6.calico"
        }
    }

    /// `tunl0`, when IP in IP is needed and the kernel has it.
    public struct IPIPTunnel: Sendable, Hashable {
        public static let interface = "tunl0"

        public let address: IPAddress
        public let mtu: Int
    }

    public static let routeProtocol = 80

    public var routes: Set<PlannedRoute> = []
    public var tunnels: [IPFamily: Tunnel] = [:]
    public var ipip: IPIPTunnel?
    /// Of both families.
    public var peers: Set<TunnelPeer> = []
    /// Sources whose traffic to the outside takes the node's address.
    public var masqueraded: Set<CIDR> = []
    /// Where all pods live: never outside.
    public var podNetworks: Set<CIDR> = []
    /// Addresses outside that lead to pods of this node.
    public var floating: Set<FloatingAddress> = []
    /// The addresses of all nodes.
    public var nodeAddresses: Set<CIDR> = []
    /// Whose they are, and those of the tunnels' ends.
    public var nodeNames: [IPAddress: String] = [:]
    /// Ports of this node that lead to pods of it.
    public var hostPorts: Set<HostPort> = []
    public var felix = FelixSettings()
    /// Of this node's pods; no two of an interface overlap.
    public var allowedSources: Set<AllowedSource> = []
    /// Blocks of other nodes that cannot be routed, and why, and wishes that are not fulfilled.
    public var problems: [String] = []

    public init() {}
}

/// An address that leads to a pod and is not the pod's own (annotation `floatingIPs`).
public struct FloatingAddress: Sendable, Hashable {
    public let external: IPAddress
    public let pod: IPAddress

    /// Nil when the two are not of one family.
    public init?(external: IPAddress, pod: IPAddress) {
        guard external.family == pod.family else { return nil }
        self.external = external
        self.pod = pod
    }

    /// Those that a pod's annotation asks for: each leads to the pod's address of its family. What is no list of
    /// addresses is refused when the pod is wired, and asks for none here; so does a pod that has ended.
    public static func read(_ pod: KubeObject) -> [FloatingAddress] {
        guard let text = pod.annotations["cni.projectcalico.org/floatingIPs"],
            let list = (try? JSON(parsing: text))?.array,
            !["Succeeded", "Failed"].contains(pod["status"]["phase"].string ?? "")
        else { return [] }
        var addresses = (pod["status"]["podIPs"].array ?? []).compactMap { $0["ip"].string }
        if addresses.isEmpty { addresses = [pod["status"]["podIP"].string].compactMap(\.self) }
        if addresses.isEmpty, let held = pod.annotations[CalicoKeys.podIPs] {
            addresses = held.split(separator: ",").compactMap { $0.split(separator: "/").first.map(String.init) }
        }
        let held = addresses.compactMap { IPAddress($0) }
        return list.compactMap { $0.string.flatMap { IPAddress($0) } }.compactMap { external in
            held.first { $0.family == external.family }.flatMap { FloatingAddress(external: external, pod: $0) }
        }
    }
}

/// What a plan is made from.
public struct NetworkInput: Sendable {
    public var node: String
    public var nodes: [String: NodeNetwork]
    public var pools: [IPPool]
    public var blocks: [BlockRouting]
    /// The pods of this node: their addresses and host interfaces.
    public var workloads: [IPAddress: String]
    /// False: pools that ask for IP in IP are carried by VXLAN.
    public var kernelHasIPIP: Bool
    /// The MTU of the node's uplink, in bytes.
    public var uplinkMTU: Int
    /// Floating addresses of this node's pods; used only where FelixConfiguration has `floatingIPs: Enabled`.
    public var floating: Set<FloatingAddress>
    /// Networks that pods of this node ask to send with; used only where FelixConfiguration has
    /// `workloadSourceSpoofing: Any`.
    public var allowedSources: Set<AllowedSource> = []
    public var felix = FelixSettings()

    public init(
        node: String, nodes: [String: NodeNetwork], pools: [IPPool], blocks: [IPAMBlock],
        workloads: [IPAddress: String] = [:], kernelHasIPIP: Bool, uplinkMTU: Int = 1500,
        floating: Set<FloatingAddress> = []
    ) {
        self.node = node
        self.nodes = nodes
        self.pools = pools
        self.blocks = blocks.map { BlockRouting($0) }
        self.workloads = workloads
        self.kernelHasIPIP = kernelHasIPIP
        self.uplinkMTU = uplinkMTU
        self.floating = floating
    }
}
