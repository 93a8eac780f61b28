// SPDX-License-Identifier: Apache-2.0

public import Values

/// One session of a node.
public struct BGPSession: Sendable, Hashable {
    /// What `calicoctl node status` calls it; BIRD's protocols are named by it and the peer's address.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        case mesh = "Mesh"
        case node = "Node"
        case global = "Global"

        public var words: String {
            switch self {
            case .mesh: "node-to-node mesh"
            case .node: "node specific"
            case .global: "global"
            }
        }
    }

    public var kind: Kind
    public var peer: IPAddress
    public var port: Int
    public var peerAS: UInt32
    public var localAS: UInt32
    /// Waits for the other end; of two nodes one does, so that they do not meet half-way.
    public var isPassive = false
    /// The peer is a client of this route reflector, whose cluster this is.
    public var reflectsAs: IPAddress?
    public var source: IPAddress?
    public var isOnLink = false
    public var password: SecretKey?
    public var keepsNextHop = false
    public var setsNextHop = false
    public var restartTime: Int?
    public var keepaliveTime: Int?
    public var ttlSecurity: Int?
    public var allowedOwnASNumbers: Int?
    public var reachableBy: IPAddress?
    public var filters: [BGPFilter] = []

    public var isInternal: Bool { peerAS == localAS }

    /// `Mesh_172_30_0_3`, as Calico names it.
    public var name: String { "\(kind.rawValue)_\(BIRDStatus.encode(peer))" }
}

/// What a node says over BGP and to whom: a pure function of the objects.
public struct BGPPlan: Sendable, Hashable {
    public var node: BGPNode
    public var settings: BGPSettings
    public var sessions: [BGPSession] = []
    /// Own blocks, borrowed addresses and the networks of Services.
    public var routes: Set<CIDR> = []
    /// Networks of pools: the agents route these themselves.
    public var pools: [CIDR] = []
    /// Of pools with `disableBGPExport`.
    public var hiddenPools: [CIDR] = []
    public var problems: [String] = []

    /// Nil where nothing asks for BGP. Agents program all routes between nodes by themselves, so that BIRD is wanted only
    /// by who has a BGPConfiguration `default` with its mesh on, or a BGPPeer that names this node.
    public static func make(_ input: BGPInput, for name: String) -> BGPPlan? {
        guard let node = input.nodes[name] else { return nil }
        var plan = BGPPlan(node: node, settings: input.settings ?? BGPSettings())
        plan.problems = plan.settings.problems
        let asksForMesh = input.settings?.hasMesh ?? false
        for family in IPFamily.allCases { plan.open(family, input, mesh: asksForMesh) }
        guard !plan.sessions.isEmpty else { return nil }
        for block in input.blocks {
            if block.node == name, !block.isDeleted {
                plan.routes.insert(block.cidr)
            } else {
                for (address, attribute) in block.assignments where attribute.values["node"] == name {
                    plan.routes.insert(CIDR(host: address))
                }
            }
        }
        plan.routes.formUnion(plan.settings.serviceNetworks)
        plan.pools = input.pools.map(\.cidr.network)
        plan.hiddenPools = input.hiddenPools
        return plan
    }

    private mutating func open(_ family: IPFamily, _ input: BGPInput, mesh: Bool) {
        guard let own = node.addresses[family] else { return }
        let ownAS = node.asNumber ?? settings.asNumber
        var found: [IPAddress: BGPSession] = [:]
        func session(_ kind: BGPSession.Kind, _ other: BGPNode, _ address: CIDR) -> BGPSession {
            var session = BGPSession(
                kind: kind, peer: address.address, port: settings.listenPort,
                peerAS: other.asNumber ?? settings.asNumber, localAS: ownAS)
            session.source = own.address
            session.isOnLink = own.contains(address.address)
            session.isPassive = own.address < address.address
            if let cluster = node.clusterID, session.isInternal, other.clusterID != cluster {
                session.reflectsAs = cluster
            }
            return session
        }
        let others = input.nodes.values.filter { $0.name != node.name }.sorted { $0.name < $1.name }
        for peer in input.peers.sorted(by: { $0.name < $1.name }) {
            let kind: BGPSession.Kind = peer.isGlobal ? .global : .node
            var filters: [BGPFilter] = []
            var missing: [String] = []
            for name in peer.filters {
                if let filter = input.filters[name] { filters.append(filter) } else { missing.append(name) }
            }
            var opened: [BGPSession] = []
            switch peer.target {
            case .address(let address, let port):
                guard peer.selects(node), address.family == family, address != own.address else { continue }
                var session = BGPSession(
                    kind: kind, peer: address, port: port ?? 179, peerAS: peer.asNumber ?? ownAS,
                    localAS: peer.localASNumber ?? ownAS)
                session.source = peer.usesNodeAddress ? own.address : nil
                session.isOnLink = own.contains(address)
                if let cluster = node.clusterID, session.isInternal { session.reflectsAs = cluster }
                opened = [session]
            case .nodes(let selector):
                for other in others {
                    guard let address = other.addresses[family] else { continue }
                    let isAsked = peer.selects(node) && selector.matches(other.labels)
                    let isAnswering = peer.isReversed && peer.selects(other) && selector.matches(node.labels)
                    if isAsked || isAnswering { opened.append(session(kind, other, address)) }
                }
            }
            guard missing.isEmpty else {
                if !opened.isEmpty {
                    problems.append(
                        "BGPPeer \(peer.name): spec.filters: there is no readable BGPFilter \(missing.joined(separator: ", ")), and its sessions stay closed until there is"
                    )
                }
                continue
            }
            for var session in opened {
                session.filters = filters
                session.password = peer.password
                session.keepsNextHop = peer.keepsNextHop
                session.setsNextHop = peer.setsNextHop
                session.restartTime = peer.restartTime
                session.keepaliveTime = peer.keepaliveTime
                session.ttlSecurity = peer.ttlSecurity
                session.allowedOwnASNumbers = peer.allowedOwnASNumbers
                session.reachableBy = peer.reachableBy
                found[session.peer] = found[session.peer] ?? session
            }
        }
        if mesh, node.clusterID == nil {
            for other in others where other.clusterID == nil {
                guard let address = other.addresses[family], found[address.address] == nil else { continue }
                var session = session(.mesh, other, address)
                session.password = settings.meshPassword
                session.restartTime = settings.meshRestartTime
                found[session.peer] = session
            }
        }
        sessions += found.values.sorted { $0.peer < $1.peer }
    }
}

/// What a plan is made from.
public struct BGPInput: Sendable {
    public var nodes: [String: BGPNode]
    /// Nil when there is no BGPConfiguration `default`.
    public var settings: BGPSettings?
    public var peers: [BGPPeer] = []
    public var filters: [String: BGPFilter] = [:]
    public var pools: [IPPool]
    public var hiddenPools: [CIDR] = []
    public var blocks: [IPAMBlock]

    public init(nodes: [String: BGPNode], settings: BGPSettings?, pools: [IPPool] = [], blocks: [IPAMBlock] = []) {
        self.nodes = nodes
        self.settings = settings
        self.pools = pools
        self.blocks = blocks
    }
}
