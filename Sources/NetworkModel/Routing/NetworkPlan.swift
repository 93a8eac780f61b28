// SPDX-License-Identifier: Apache-2.0

public import Values

/// A route that the node agent keeps, all with protocol 80.
public struct PlannedRoute: Sendable, Hashable {
    public enum Hop: Sendable, Hashable {
        /// A pod of this node: through its host interface, scope link.
        case workload(interface: String)
        /// Pods of another node of the same subnet: through that node.
        case node(IPAddress)
        /// Pods of another node: through its end of the tunnel, which is on the link by definition.
        case tunnel(IPAddress)
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

/// Another node's end of the VXLAN tunnel.
public struct TunnelPeer: Sendable, Hashable {
    public let node: String
    public let nodeAddress: IPAddress
    public let tunnelAddress: IPAddress
    public let mac: MACAddress
}

/// What a node's kernel should hold so that pods reach each other: a pure function of the objects.
public struct NetworkPlan: Sendable, Hashable {
    /// `vxlan.calico`, when a tunnel is needed.
    public struct Tunnel: Sendable, Hashable {
        public static let interface = "vxlan.calico"
        public static let networkIdentifier = 4096
        public static let port = 4789
        /// Outer IPv4, UDP, VXLAN and inner Ethernet headers.
        public static let overhead = 50

        public let address: IPAddress
        public let mac: MACAddress
        public let underlay: IPAddress
    }

    public static let routeProtocol = 80

    public var routes: Set<PlannedRoute> = []
    public var tunnel: Tunnel?
    public var peers: Set<TunnelPeer> = []
    /// Sources whose traffic to the outside takes the node's address.
    public var masqueraded: Set<CIDR> = []
    /// Where all pods live: never outside.
    public var podNetworks: Set<CIDR> = []
    /// Blocks of other nodes that cannot be routed, and why.
    public var problems: [String] = []

    public init() {}
}

/// What a plan is made from.
public struct NetworkInput: Sendable {
    public var node: String
    public var nodes: [String: NodeNetwork]
    public var pools: [IPPool]
    public var blocks: [IPAMBlock]
    /// The pods of this node: their addresses and host interfaces.
    public var workloads: [IPAddress: String]
    /// False: pools that ask for IP in IP are carried by VXLAN.
    public var kernelHasIPIP: Bool

    public init(
        node: String, nodes: [String: NodeNetwork], pools: [IPPool], blocks: [IPAMBlock],
        workloads: [IPAddress: String], kernelHasIPIP: Bool
    ) {
        self.node = node
        self.nodes = nodes
        self.pools = pools
        self.blocks = blocks
        self.workloads = workloads
        self.kernelHasIPIP = kernelHasIPIP
    }
}

extension IPPool {
    /// How traffic to the pool's addresses is carried: IP in IP is carried by VXLAN as well, since Catbird has one
    /// tunnel; `encapsulationNote` says so where it can be seen.
    public var carriage: EncapsulationMode { vxlanMode == .never ? ipipMode : vxlanMode }

    /// What the pool's status tells about its encapsulation; nil when it is carried as asked.
    public func encapsulationNote(kernelHasIPIP: Bool) -> String? {
        guard ipipMode != .never else { return nil }
        let cause = kernelHasIPIP ? "Catbird carries pods in VXLAN only" : "the kernel has no ipip module"
        return
            "ipipMode \(ipipMode.rawValue) is carried by VXLAN (same mode, overhead 50 bytes instead of 20): \(cause)"
    }
}

extension NetworkPlan {
    public init(_ input: NetworkInput) {
        self.init()
        let pools = input.pools.filter { $0.cidr.family == .v4 }
        let blocks = input.blocks.filter { $0.cidr.family == .v4 && !$0.isDeleted }
        planNAT(pools, blocks)
        for (address, interface) in input.workloads {
            routes.insert(PlannedRoute(CIDR(host: address), .workload(interface: interface)))
        }
        guard let own = input.nodes[input.node] else {
            problems.append("node \(input.node) has no IPv4 address yet: no routes to other nodes")
            return
        }
        if let address = own.tunnelAddress, let mac = own.tunnelMAC {
            tunnel = Tunnel(address: address, mac: mac, underlay: own.address.address)
            for peer in input.nodes.values where peer.name != own.name {
                guard let tunnelAddress = peer.tunnelAddress, let mac = peer.tunnelMAC else { continue }
                peers.insert(
                    TunnelPeer(
                        node: peer.name, nodeAddress: peer.address.address, tunnelAddress: tunnelAddress, mac: mac))
            }
        }
        for block in blocks {
            planRoutes(block, pools.first { $0.cidr.contains(block.cidr) }, own, input)
        }
    }

    private mutating func planRoutes(_ block: IPAMBlock, _ pool: IPPool?, _ own: NodeNetwork, _ input: NetworkInput) {
        if block.node == own.name {
            // A block of one address has no room between blackhole and pod (calico #2624).
            if block.cidr.hostBits > 0 { routes.insert(PlannedRoute(block.cidr, .blackhole)) }
        } else if let owner = block.node {
            route(block.cidr, to: owner, pool, own, input)
        }
        // Addresses that another node than the owner uses: borrowed, or left over in a block without owner.
        for (address, attribute) in block.assignments {
            guard let holder = attribute.values["node"], holder != block.node, holder != own.name else { continue }
            route(CIDR(host: address), to: holder, pool, own, input)
        }
    }

    private mutating func route(
        _ destination: CIDR, to owner: String, _ pool: IPPool?, _ own: NodeNetwork, _ input: NetworkInput
    ) {
        guard let peer = input.nodes[owner] else {
            problems.append("\(destination) belongs to node \(owner), which has no IPv4 address or does not exist")
            return
        }
        let isNeighbour = own.address.contains(peer.address.address)
        // Where the pool is gone its pods are not: they are reached by whichever way works.
        let carriage = pool?.carriage ?? .crossSubnet
        let wantsTunnel = carriage == .always || (carriage == .crossSubnet && !isNeighbour)
        if wantsTunnel, own.tunnelAddress != nil, let remote = peer.tunnelAddress, peer.tunnelMAC != nil {
            routes.insert(PlannedRoute(destination, .tunnel(remote)))
        } else if isNeighbour {
            routes.insert(PlannedRoute(destination, .node(peer.address.address)))
        } else {
            let reason =
                wantsTunnel
                ? "the tunnel of node \(own.tunnelAddress == nil ? own.name : owner) has no address yet"
                : "its pool has no encapsulation, and node \(owner) (\(peer.address)) is not in the subnet of \(own.address)"
            problems.append("\(destination) on node \(owner) cannot be reached: \(reason)")
        }
    }

    private mutating func planNAT(_ pools: [IPPool], _ blocks: [IPAMBlock]) {
        for pool in pools {
            let onlyServices = pool.allowedUses == [.loadBalancer]
            if !onlyServices { podNetworks.insert(pool.cidr) }
            if pool.natOutgoing, !onlyServices { masqueraded.insert(pool.cidr) }
        }
        // Pods outlive their pool: they stay inside, and keep their way out.
        for block in blocks where !pools.contains(where: { $0.cidr.contains(block.cidr) }) {
            podNetworks.insert(block.cidr)
            masqueraded.insert(block.cidr)
        }
        podNetworks = Self.withoutContained(podNetworks)
        masqueraded = Self.withoutContained(masqueraded)
    }

    /// Networks of a set in nftables must not overlap.
    private static func withoutContained(_ networks: Set<CIDR>) -> Set<CIDR> {
        networks.filter { inner in !networks.contains { $0 != inner && $0.contains(inner) } }
    }
}
