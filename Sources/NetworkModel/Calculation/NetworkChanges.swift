// SPDX-License-Identifier: Apache-2.0

public import Values

/// What happened to one object that a node's network follows from.
public enum NetworkEvent: Sendable {
    /// Nil: the node is gone, or has no address.
    case node(String, NodeNetwork?)
    case pool(String, IPPool?)
    case block(CIDR, BlockRouting?)
    /// A pod of this node: its address and the host end of its link.
    case workload(IPAddress, String?)
    /// The MTU of the node's uplink, in bytes.
    case uplink(mtu: Int)
}

/// What an event changes in a ``NetworkPlan``.
public struct NetworkChanges: Sendable, Hashable {
    /// One end of a tunnel of another node.
    public struct PeerKey: Sendable, Hashable {
        public let node: String
        public let family: IPFamily

        public init(node: String, family: IPFamily) {
            self.node = node
            self.family = family
        }
    }

    /// Nil: there is none any more; so with all that follow.
    public var routes: [CIDR: PlannedRoute.Hop?] = [:]
    public var peers: [PeerKey: TunnelPeer?] = [:]
    public var tunnels: [IPFamily: NetworkPlan.Tunnel?] = [:]
    public var ipip: NetworkPlan.IPIPTunnel??
    public var nodeAddresses: [CIDR: Bool] = [:]
    public var nodeNames: [IPAddress: String?] = [:]
    /// All of them, when they are others than before.
    public var podNetworks: Set<CIDR>?
    public var masqueraded: Set<CIDR>?
    /// Whether other things than before cannot be done.
    public var hasOtherProblems = false

    public init() {}

    /// What leads from one plan to another.
    public init(from old: NetworkPlan, to new: NetworkPlan) {
        for route in old.routes.subtracting(new.routes) { routes[route.destination] = .some(nil) }
        for route in new.routes.subtracting(old.routes) { routes[route.destination] = route.hop }
        for peer in old.peers.subtracting(new.peers) { peers[peer.key] = .some(nil) }
        for peer in new.peers.subtracting(old.peers) { peers[peer.key] = peer }
        for family in IPFamily.allCases where old.tunnels[family] != new.tunnels[family] {
            tunnels[family] = .some(new.tunnels[family])
        }
        if old.ipip != new.ipip { ipip = .some(new.ipip) }
        for address in old.nodeAddresses.symmetricDifference(new.nodeAddresses) {
            nodeAddresses[address] = new.nodeAddresses.contains(address)
        }
        for address in Set(old.nodeNames.keys).union(new.nodeNames.keys)
        where old.nodeNames[address] != new.nodeNames[address] {
            nodeNames[address] = .some(new.nodeNames[address])
        }
        if old.podNetworks != new.podNetworks { podNetworks = new.podNetworks }
        if old.masqueraded != new.masqueraded { masqueraded = new.masqueraded }
        hasOtherProblems = old.problems != new.problems
    }

    /// Whether routes or tunnels are to be written.
    public var concernRoutes: Bool {
        !routes.isEmpty || !peers.isEmpty || !tunnels.isEmpty || ipip != nil || podNetworks != nil
    }

    /// Whether what the tables of NAT and Services follow from is another.
    public var concernTables: Bool {
        !nodeAddresses.isEmpty || !nodeNames.isEmpty || podNetworks != nil || masqueraded != nil
    }

    public var isEmpty: Bool { !concernRoutes && !concernTables && !hasOtherProblems }

    /// Adds what happened after this.
    public mutating func append(_ later: NetworkChanges) {
        routes.merge(later.routes) { $1 }
        peers.merge(later.peers) { $1 }
        tunnels.merge(later.tunnels) { $1 }
        if let ipip = later.ipip { self.ipip = .some(ipip) }
        nodeAddresses.merge(later.nodeAddresses) { $1 }
        nodeNames.merge(later.nodeNames) { $1 }
        podNetworks = later.podNetworks ?? podNetworks
        masqueraded = later.masqueraded ?? masqueraded
        hasOtherProblems = hasOtherProblems || later.hasOtherProblems
    }
}

extension TunnelPeer {
    public var key: NetworkChanges.PeerKey { .init(node: node, family: nodeAddress.family) }
}

extension NetworkPlan {
    /// Takes over what changed, but for `problems`, which are told as a whole.
    public mutating func apply(_ changes: NetworkChanges) {
        if !changes.routes.isEmpty {
            routes = routes.filter { changes.routes[$0.destination] == nil }
            for case (let destination, let hop?) in changes.routes { routes.insert(PlannedRoute(destination, hop)) }
        }
        if !changes.peers.isEmpty {
            peers = peers.filter { changes.peers[$0.key] == nil }
            for case let peer? in changes.peers.values { peers.insert(peer) }
        }
        for (family, tunnel) in changes.tunnels { tunnels[family] = tunnel }
        if let ipip = changes.ipip { self.ipip = ipip }
        applyToTables(changes)
    }

    /// Takes over what the tables of NAT and Services follow from; the work is that of the changes.
    public mutating func applyToTables(_ changes: NetworkChanges) {
        for (address, isThere) in changes.nodeAddresses {
            if isThere { nodeAddresses.insert(address) } else { nodeAddresses.remove(address) }
        }
        for (address, name) in changes.nodeNames { nodeNames[address] = name }
        if let networks = changes.podNetworks { podNetworks = networks }
        if let networks = changes.masqueraded { masqueraded = networks }
    }
}
