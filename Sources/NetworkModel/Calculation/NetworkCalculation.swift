// SPDX-License-Identifier: Apache-2.0

import Values

/// A node's ``NetworkPlan``, worked out step by step: each event is answered by what it changes, and the work is that of
/// the changes. What a block's routes follow from is known by node and by pool, so that nothing looks at all blocks but
/// a change of the node's own addresses, which does change all routes.
///
/// `NetworkPlan.init(_:)` works out the whole from all objects: after any events, in any order, the steps come to what it
/// says. Both ask ``BlockRoutes`` about a block.
public struct NetworkCalculation: Sendable {
    /// Whose route counts where several are for one destination: a pod that is here is here.
    private enum RouteSource: Comparable, Sendable {
        case workload
        case block(CIDR)
    }

    public let node: String
    /// False: pools that ask for IP in IP are carried by VXLAN.
    public let kernelHasIPIP: Bool
    private var uplinkMTU: Int
    private var nodes: [String: NodeNetwork] = [:]
    /// By name.
    private var pools: [IPPool] = []
    private var blocks: [CIDR: BlockRouting] = [:]
    private var results: [CIDR: BlockRoutes] = [:]
    private var blocksOfNode: [String: Set<CIDR>] = [:]
    private var poolOfBlock: [CIDR: String] = [:]
    private var blocksOfPool: [String: Set<CIDR>] = [:]
    /// Blocks that no pool contains.
    private var strays: Set<CIDR> = []
    private var blockCounts: [IPFamily: Int] = [:]
    private var blocksWithProblems: Set<CIDR> = []
    private var routes = Contributions<CIDR, RouteSource, PlannedRoute.Hop>()
    private var nodeNames = Contributions<IPAddress, String, String>()
    private var nodeAddresses = Contributions<CIDR, String, Bool>()
    private var tunnels: [IPFamily: NetworkPlan.Tunnel] = [:]
    private var ipip: NetworkPlan.IPIPTunnel?
    private var podNetworks: Set<CIDR> = []
    private var masqueraded: Set<CIDR> = []
    private var changes = NetworkChanges()
    private var isAddressingStale = false
    /// How many pods' addresses there are in the cluster.
    public private(set) var endpointCount = 0

    public init(node: String, kernelHasIPIP: Bool, uplinkMTU: Int = 1500) {
        self.node = node
        self.kernelHasIPIP = kernelHasIPIP
        self.uplinkMTU = uplinkMTU
    }

    public var nodeCount: Int { nodes.count }

    /// Takes events in, and says what they change together.
    public mutating func take(_ events: some Sequence<NetworkEvent>) -> NetworkChanges {
        changes = NetworkChanges()
        for event in events { take(event) }
        if isAddressingStale { updateAddressing() }
        changes.routes = routes.takeChanges()
        changes.nodeNames = nodeNames.takeChanges()
        changes.nodeAddresses = nodeAddresses.takeChanges().mapValues { $0 != nil }
        return changes
    }

    private mutating func take(_ event: NetworkEvent) {
        switch event {
        case .node(let name, let network): takeNode(name, network)
        case .pool(let name, let pool): takePool(name, pool)
        case .block(let cidr, let block): takeBlock(cidr, block)
        case .workload(let address, let interface):
            routes.set(
                CIDR(host: address), from: .workload, to: interface.map { .workload(interface: $0) })
        case .uplink(let mtu):
            guard mtu != uplinkMTU else { return }
            uplinkMTU = mtu
            updateTunnels()
        }
    }

    /// What cannot be done, for people; sorted.
    public var problems: [String] {
        var problems = blocksWithProblems.flatMap { results[$0]?.problems ?? [] }
        for family in IPFamily.allCases where nodes[node]?[family] == nil {
            guard family == .v4 || (blockCounts[family] ?? 0) > 0 else { continue }
            problems.append(NetworkPlan.problemWithoutAddress(node, family))
        }
        return problems.sorted()
    }

    // MARK: Nodes

    private mutating func takeNode(_ name: String, _ network: NodeNetwork?) {
        let old = nodes[name]
        guard network != old else { return }
        nodes[name] = network
        for address in old?.names ?? [] { nodeNames.set(address, from: name, to: nil) }
        for address in network?.names ?? [] { nodeNames.set(address, from: name, to: name) }
        for address in old?.hosts ?? [] { nodeAddresses.set(address, from: name, to: nil) }
        for address in network?.hosts ?? [] { nodeAddresses.set(address, from: name, to: true) }
        guard name == node else {
            for family in IPFamily.allCases where tunnels[family] != nil {
                note(peer: network?.peer(family), name, family)
            }
            for cidr in blocksOfNode[name] ?? [] { updateRoutes(cidr) }
            return
        }
        changes.hasOtherProblems = true
        updateTunnels()
        for cidr in blocks.keys { updateRoutes(cidr) }
    }

    private mutating func note(peer: TunnelPeer?, _ name: String, _ family: IPFamily) {
        changes.peers[.init(node: name, family: family)] = .some(peer)
    }

    private mutating func updateTunnels() {
        let own = nodes[node]
        for family in IPFamily.allCases {
            let tunnel = own?.tunnel(family, uplinkMTU: uplinkMTU)
            let old = tunnels[family]
            guard tunnel != old else { continue }
            tunnels[family] = tunnel
            changes.tunnels[family] = .some(tunnel)
            guard (tunnel == nil) != (old == nil) else { continue }
            for other in nodes.values where other.name != node {
                guard let peer = other.peer(family) else { continue }
                note(peer: tunnel == nil ? nil : peer, other.name, family)
            }
        }
        let ipip = kernelHasIPIP ? own?.ipipTunnel(uplinkMTU: uplinkMTU) : nil
        guard ipip != self.ipip else { return }
        self.ipip = ipip
        changes.ipip = .some(ipip)
    }

    // MARK: Pools

    private mutating func takePool(_ name: String, _ pool: IPPool?) {
        let place = pools.firstIndex { $0.name >= name } ?? pools.endIndex
        let old = place < pools.endIndex && pools[place].name == name ? pools[place] : nil
        guard pool?.carriage != old?.carriage else {
            if let pool { pools[place] = pool }
            return
        }
        switch (pool, old) {
        case (let pool?, nil): pools.insert(pool, at: place)
        case (let pool?, _?): pools[place] = pool
        case (nil, _?): pools.remove(at: place)
        case (nil, nil): return
        }
        isAddressingStale = true
        var touched = blocksOfPool[name] ?? []
        if let pool, pool.cidr != old?.cidr {
            touched.formUnion(strays.filter { pool.cidr.contains($0) })
            // Of pools that overlap, which only objects of before there was validation do, the first has a block.
            for other in pools where other.name != name && other.cidr.contains(pool.cidr) {
                touched.formUnion((blocksOfPool[other.name] ?? []).filter { pool.cidr.contains($0) })
            }
            for other in pools where other.name != name && pool.cidr.contains(other.cidr) {
                touched.formUnion(blocksOfPool[other.name] ?? [])
            }
        }
        for cidr in touched {
            assignPool(cidr)
            updateRoutes(cidr)
        }
    }

    private mutating func assignPool(_ cidr: CIDR) {
        let pool = blocks[cidr] == nil ? nil : pools.first { $0.cidr.contains(cidr) }?.name
        if let old = poolOfBlock[cidr], old != pool {
            blocksOfPool[old]?.remove(cidr)
            if blocksOfPool[old]?.isEmpty ?? false { blocksOfPool[old] = nil }
        }
        poolOfBlock[cidr] = pool
        if let pool { blocksOfPool[pool, default: []].insert(cidr) }
        let isStray = blocks[cidr] != nil && pool == nil
        if isStray ? strays.insert(cidr).inserted : strays.remove(cidr) != nil { isAddressingStale = true }
    }

    /// Pools and blocks without one: few, and worked out anew when one of them is another.
    private mutating func updateAddressing() {
        isAddressingStale = false
        let (inside, outgoing) = NetworkPlan.addressing(pools, strays: strays)
        if inside != podNetworks {
            podNetworks = inside
            changes.podNetworks = inside
        }
        if outgoing != masqueraded {
            masqueraded = outgoing
            changes.masqueraded = outgoing
        }
    }

    // MARK: Blocks

    private mutating func takeBlock(_ cidr: CIDR, _ block: BlockRouting?) {
        let block = block.flatMap { $0.isDeleted ? nil : $0 }
        let old = blocks[cidr]
        guard block != old else { return }
        blocks[cidr] = block
        endpointCount += (block?.endpoints ?? 0) - (old?.endpoints ?? 0)
        if (old == nil) != (block == nil) {
            let count = (blockCounts[cidr.family] ?? 0) + (block == nil ? -1 : 1)
            blockCounts[cidr.family] = count
            if nodes[node]?[cidr.family] == nil, count <= 1 { changes.hasOtherProblems = true }
            assignPool(cidr)
        }
        // How many pods a node has concerns nobody's routes.
        guard block?.owner != old?.owner || block?.holders != old?.holders || block == nil || old == nil else { return }
        let (now, before) = (block?.nodes ?? [], old?.nodes ?? [])
        for name in before.subtracting(now) {
            blocksOfNode[name]?.remove(cidr)
            if blocksOfNode[name]?.isEmpty ?? false { blocksOfNode[name] = nil }
        }
        for name in now.subtracting(before) { blocksOfNode[name, default: []].insert(cidr) }
        updateRoutes(cidr)
    }

    private mutating func updateRoutes(_ cidr: CIDR) {
        var result: BlockRoutes?
        if let block = blocks[cidr], let own = nodes[node]?[cidr.family] {
            let pool = poolOfBlock[cidr].flatMap { name in pools.first { $0.name == name } }
            result = BlockRoutes(block, on: node, own, pool: pool, kernelHasIPIP: kernelHasIPIP) { nodes[$0] }
        }
        let old = results[cidr]
        results[cidr] = result
        for destination in (old?.hops ?? [:]).keys where result?.hops[destination] == nil {
            routes.set(destination, from: .block(cidr), to: nil)
        }
        for (destination, hop) in result?.hops ?? [:] where old?.hops[destination] != hop {
            routes.set(destination, from: .block(cidr), to: hop)
        }
        guard (old?.problems ?? []) != (result?.problems ?? []) else { return }
        changes.hasOtherProblems = true
        if result?.problems.isEmpty ?? true {
            blocksWithProblems.remove(cidr)
        } else {
            blocksWithProblems.insert(cidr)
        }
    }
}

extension IPPool {
    /// What routes and NAT follow from.
    fileprivate var carriage: [AnyHashable] {
        [cidr, ipipMode, vxlanMode, natOutgoing, allowedUses == [.loadBalancer]]
    }
}

extension NodeNetwork {
    /// Its addresses in both families, and those of its ends of tunnels.
    var names: [IPAddress] {
        endpoints.values.flatMap { [$0.address.address, $0.tunnelAddress, $0.ipipAddress].compactMap(\.self) }
    }

    var hosts: [CIDR] { endpoints.values.map { CIDR(host: $0.address.address) } }

    /// Its end of the VXLAN tunnel, as the others need it.
    func peer(_ family: IPFamily) -> TunnelPeer? {
        guard let end = self[family], let address = end.tunnelAddress, let mac = end.tunnelMAC else { return nil }
        return TunnelPeer(node: name, nodeAddress: end.address.address, tunnelAddress: address, mac: mac)
    }

    /// Its own VXLAN device.
    func tunnel(_ family: IPFamily, uplinkMTU: Int) -> NetworkPlan.Tunnel? {
        guard let end = self[family], let address = end.tunnelAddress, let mac = end.tunnelMAC else { return nil }
        return NetworkPlan.Tunnel(
            address: address, mac: mac, underlay: end.address.address,
            mtu: MTUPlan.tunnel(uplink: uplinkMTU, family))
    }

    func ipipTunnel(uplinkMTU: Int) -> NetworkPlan.IPIPTunnel? {
        guard let address = self[.v4]?.ipipAddress else { return nil }
        return NetworkPlan.IPIPTunnel(address: address, mtu: max(576, uplinkMTU - MTUPlan.ipipOverhead))
    }
}
