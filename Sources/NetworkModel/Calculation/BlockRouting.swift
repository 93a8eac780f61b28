// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// What routes need to know of a block: whose it is, and which of its addresses are somebody else's. A hundredth of the
/// block, and read without looking at each of its addresses twice.
public struct BlockRouting: Sendable, Hashable {
    public let cidr: CIDR
    /// The node that owns the block.
    public let owner: String?
    /// Nodes by the addresses that they use and the block's owner does not: borrowed, or left over in a block without
    /// owner.
    public let holders: [IPAddress: String]
    /// How many of its addresses are pods'.
    public let endpoints: Int
    public let isDeleted: Bool

    public init(_ block: IPAMBlock) {
        cidr = block.cidr
        owner = block.node
        isDeleted = block.isDeleted
        var holders: [IPAddress: String] = [:]
        var endpoints = 0
        for (address, attribute) in block.assignments {
            if attribute.values["type"] == nil { endpoints += 1 }
            if let holder = attribute.values["node"], holder != owner { holders[address] = holder }
        }
        self.holders = holders
        self.endpoints = endpoints
    }

    /// Reads the object's fields that matter. Throws where the block is too damaged for that; of the addresses of one
    /// that is damaged elsewhere IPAM gives out none, and those that are used keep their routes.
    public init(_ object: KubeObject) throws(IPAMObjectProblem) {
        let spec = object["spec"]
        func problem(_ reason: String) -> IPAMObjectProblem {
            IPAMObjectProblem(object: "IPAMBlock \(object.name)", reason: reason)
        }
        guard let cidr = Self.network(object) else {
            throw problem("spec.cidr \(spec["cidr"] ?? .null) is not the network of a block")
        }
        let allocations = spec["allocations"].array ?? []
        guard allocations.count == 1 << cidr.hostBits else {
            throw problem(
                "spec.allocations has \(allocations.count) elements, and \(cidr) has \(1 << cidr.hostBits) addresses")
        }
        let affinity = spec["affinity"].string
        let owner = affinity.flatMap { $0.hasPrefix("host:") ? String($0.dropFirst(5)) : nil }
        var foreign: [Int: String] = [:]
        var pods: Set<Int> = []
        let attributes = spec["attributes"].array ?? []
        for (index, attribute) in attributes.enumerated() {
            let values = attribute["secondary"]
            if values["type"].string == nil { pods.insert(index) }
            if let node = values["node"].string, node != owner { foreign[index] = node }
        }
        var holders: [IPAddress: String] = [:]
        var endpoints = 0
        for (ordinal, allocation) in allocations.enumerated() {
            guard let index = allocation.int else { continue }
            guard attributes.indices.contains(index) else {
                throw problem("spec.allocations points outside of spec.attributes")
            }
            if pods.contains(index) { endpoints += 1 }
            if let node = foreign[index], let address = cidr[UInt128(ordinal)] { holders[address] = node }
        }
        self.cidr = cidr
        self.owner = owner
        self.holders = holders
        self.endpoints = endpoints
        isDeleted = spec["deleted"].bool ?? false
    }

    /// Which block an object is; nil for one that is none.
    public static func network(_ object: KubeObject) -> CIDR? {
        guard let cidr = object["spec"]["cidr"].string.flatMap({ CIDR($0) }), !cidr.hasHostBits, cidr.hostBits <= 12
        else { return nil }
        return cidr
    }

    /// The nodes that its routes lead to.
    var nodes: Set<String> {
        var nodes = Set(holders.values)
        if let owner { nodes.insert(owner) }
        return nodes
    }
}

/// The routes of one block on one node.
struct BlockRoutes: Sendable, Hashable {
    var hops: [CIDR: PlannedRoute.Hop] = [:]
    /// What cannot be reached, and why.
    var problems: [String] = []

    private let node: String
    private let pool: IPPool?
    private let own: NodeNetwork.Endpoint
    private let kernelHasIPIP: Bool

    /// - Parameters:
    ///   - pool: the pool that the block is of; nil where that is gone.
    ///   - own: the end of the block's family of the node whose routes are wanted.
    ///   - find: another node by its name.
    init(
        _ block: BlockRouting, on node: String, _ own: NodeNetwork.Endpoint, pool: IPPool?, kernelHasIPIP: Bool,
        _ find: (String) -> NodeNetwork?
    ) {
        self.node = node
        self.pool = pool
        self.own = own
        self.kernelHasIPIP = kernelHasIPIP
        // Addresses that another node than the owner uses.
        for (address, holder) in block.holders where holder != node {
            route(CIDR(host: address), to: holder, find)
        }
        guard let owner = block.owner else { return }
        // A block of one address has no room between its own route and that to its holder (calico #2624).
        if block.cidr.hostBits == 0, owner == node || !block.holders.isEmpty { return }
        if owner == node { hops[block.cidr] = .blackhole } else { route(block.cidr, to: owner, find) }
    }

    private mutating func route(_ destination: CIDR, to owner: String, _ find: (String) -> NodeNetwork?) {
        guard let peer = find(owner)?[destination.family] else {
            problems.append(
                "\(destination) belongs to node \(owner), which has no \(destination.family.rawValue) address or does not exist"
            )
            return
        }
        let isNeighbour = own.address.contains(peer.address.address)
        // Where the pool is gone its pods are not: they are reached by whichever way works.
        let carrier = pool?.carrier(kernelHasIPIP: kernelHasIPIP) ?? .vxlan(.crossSubnet)
        func isTunnelled(_ mode: EncapsulationMode) -> Bool {
            mode == .always || (mode == .crossSubnet && !isNeighbour)
        }
        let reason: String
        switch carrier {
        case .vxlan(let mode) where isTunnelled(mode):
            if own.tunnelAddress != nil, let remote = peer.tunnelAddress, peer.tunnelMAC != nil {
                hops[destination] = .tunnel(remote)
                return
            }
            reason = "the tunnel of node \(own.tunnelAddress == nil ? node : owner) has no address yet"
        case .ipip(let mode) where isTunnelled(mode):
            if own.ipipAddress != nil {
                hops[destination] = .ipip(peer.address.address)
                return
            }
            reason = "the IP in IP tunnel of node \(node) has no address yet"
        default:
            reason =
                "its pool has no encapsulation, and node \(owner) (\(peer.address)) is not in the subnet of \(own.address)"
        }
        if isNeighbour {
            hops[destination] = .node(peer.address.address)
        } else {
            problems.append("\(destination) on node \(owner) cannot be reached: \(reason)")
        }
    }
}
