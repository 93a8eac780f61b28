// SPDX-License-Identifier: Apache-2.0

import Values

extension NetworkPlan {
    /// The whole at once, from all objects; ``NetworkCalculation`` comes to the same step by step.
    public init(_ input: NetworkInput) {
        self.init()
        let blocks = input.blocks.filter { !$0.isDeleted }
        let pools = input.pools.sorted { $0.name < $1.name }
        let nodes = input.nodes.values.sorted { $0.name < $1.name }
        (podNetworks, masqueraded) = Self.addressing(
            pools, strays: blocks.lazy.map(\.cidr).filter { cidr in !pools.contains { $0.cidr.contains(cidr) } })
        nodeAddresses = Set(nodes.flatMap(\.hosts))
        for node in nodes.reversed() { for address in node.names { nodeNames[address] = node.name } }
        planTunnels(nodes, input)
        var hops: [CIDR: PlannedRoute.Hop] = [:]
        for block in blocks.sorted(by: { $0.cidr > $1.cidr }) {
            guard let own = input.nodes[input.node]?[block.cidr.family] else { continue }
            let routes = BlockRoutes(
                block, on: input.node, own, pool: pools.first { $0.cidr.contains(block.cidr) },
                kernelHasIPIP: input.kernelHasIPIP
            ) { input.nodes[$0] }
            hops.merge(routes.hops) { $1 }
            problems += routes.problems
        }
        for (address, interface) in input.workloads { hops[CIDR(host: address)] = .workload(interface: interface) }
        routes = Set(hops.map { PlannedRoute($0.key, $0.value) })
        for family in IPFamily.allCases where input.nodes[input.node]?[family] == nil {
            guard family == .v4 || blocks.contains(where: { $0.cidr.family == family }) else { continue }
            problems.append(Self.problemWithoutAddress(input.node, family))
        }
        problems.sort()
        setWishes(input.felix, floating: input.floating, allowedSources: input.allowedSources)
    }

    static func problemWithoutAddress(_ node: String, _ family: IPFamily) -> String {
        "node \(node) has no \(family.rawValue) address yet: no routes to other nodes"
    }

    private mutating func planTunnels(_ nodes: [NodeNetwork], _ input: NetworkInput) {
        let own = input.nodes[input.node]
        if input.kernelHasIPIP { ipip = own?.ipipTunnel(uplinkMTU: input.uplinkMTU) }
        for family in IPFamily.allCases {
            guard let tunnel = own?.tunnel(family, uplinkMTU: input.uplinkMTU) else { continue }
            tunnels[family] = tunnel
            peers.formUnion(nodes.lazy.filter { $0.name != input.node }.compactMap { $0.peer(family) })
        }
    }

    /// What this node's pods ask for and Felix allows; what it does not allow is told among `problems`.
    public mutating func setWishes(
        _ settings: FelixSettings, floating: Set<FloatingAddress>, allowedSources sources: Set<AllowedSource>
    ) {
        felix = settings
        problems += settings.problems
        self.floating = floating
        guard settings.allowsSources else {
            allowedSources = []
            guard let source = sources.min() else { return }
            problems.append(
                "\(source.interface): annotation \(AllowedSource.annotation) has no effect: FelixConfiguration default needs workloadSourceSpoofing: Any"
            )
            return
        }
        allowedSources = sources.filter { inner in
            !sources.contains {
                $0 != inner && $0.interface == inner.interface && $0.network.contains(inner.network)
            }
        }
    }

    /// Where pods live, and which of them leave with the node's address.
    ///
    /// - Parameter strays: blocks of no pool. Pods outlive their pool: they stay inside, and keep their way out.
    static func addressing(_ pools: [IPPool], strays: some Sequence<CIDR>) -> (inside: Set<CIDR>, outgoing: Set<CIDR>) {
        let pools = pools.filter { $0.allowedUses != [.loadBalancer] }
        let inside = pools.map(\.cidr) + strays
        let outgoing = pools.filter(\.natOutgoing).map(\.cidr) + strays
        return (withoutContained(inside), withoutContained(outgoing))
    }

    /// Networks of a set in nftables must not overlap.
    private static func withoutContained(_ networks: [CIDR]) -> Set<CIDR> {
        var kept: Set<CIDR> = []
        var last: CIDR?
        // In this order a network comes after whatever contains it, with nothing in between that does not.
        for network in networks.sorted(by: { ($0.first, $0.prefixLength) < ($1.first, $1.prefixLength) }) {
            if let last, last.contains(network) { continue }
            kept.insert(network)
            last = network
        }
        return kept
    }
}
