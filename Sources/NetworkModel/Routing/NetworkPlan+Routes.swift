// SPDX-License-Identifier: Apache-2.0

import Values

extension NetworkPlan {
    public init(_ input: NetworkInput) {
        self.init()
        let blocks = input.blocks.filter { !$0.isDeleted }
        planNAT(input.pools, blocks)
        felix = input.felix
        problems += felix.problems
        floating = input.floating
        nodeAddresses = Set(input.nodes.values.flatMap { $0.endpoints.values.map { CIDR(host: $0.address.address) } })
        for node in input.nodes.values {
            for endpoint in node.endpoints.values {
                let ends = [endpoint.address.address, endpoint.tunnelAddress, endpoint.ipipAddress]
                for address in ends.compactMap(\.self) { nodeNames[address] = node.name }
            }
        }
        if felix.allowsSources {
            allowedSources = input.allowedSources.filter { inner in
                !input.allowedSources.contains {
                    $0 != inner && $0.interface == inner.interface && $0.network.contains(inner.network)
                }
            }
        } else if let source = input.allowedSources.min() {
            problems.append(
                "\(source.interface): annotation \(AllowedSource.annotation) has no effect: FelixConfiguration default needs workloadSourceSpoofing: Any"
            )
        }
        for (address, interface) in input.workloads {
            routes.insert(PlannedRoute(CIDR(host: address), .workload(interface: interface)))
        }
        for family in IPFamily.allCases {
            let blocks = blocks.filter { $0.cidr.family == family }
            let pools = input.pools.filter { $0.cidr.family == family }
            guard let own = input.nodes[input.node]?[family] else {
                if family == .v4 || !blocks.isEmpty {
                    problems.append(
                        "node \(input.node) has no \(family.rawValue) address yet: no routes to other nodes")
                }
                continue
            }
            planTunnels(family, own, pools, input)
            for block in blocks {
                planRoutes(block, pools.first { $0.cidr.contains(block.cidr) }, own, input)
            }
        }
    }

    private mutating func planTunnels(
        _ family: IPFamily, _ own: NodeNetwork.Endpoint, _ pools: [IPPool], _ input: NetworkInput
    ) {
        if let address = own.ipipAddress, input.kernelHasIPIP {
            ipip = IPIPTunnel(address: address, mtu: max(576, input.uplinkMTU - MTUPlan.ipipOverhead))
        }
        guard let address = own.tunnelAddress, let mac = own.tunnelMAC else { return }
        tunnels[family] = Tunnel(
            address: address, mac: mac, underlay: own.address.address,
            mtu: MTUPlan.tunnel(uplink: input.uplinkMTU, family))
        for peer in input.nodes.values where peer.name != input.node {
            guard let there = peer[family], let tunnelAddress = there.tunnelAddress, let mac = there.tunnelMAC else {
                continue
            }
            peers.insert(
                TunnelPeer(
                    node: peer.name, nodeAddress: there.address.address, tunnelAddress: tunnelAddress, mac: mac))
        }
    }

    private mutating func planRoutes(
        _ block: IPAMBlock, _ pool: IPPool?, _ own: NodeNetwork.Endpoint, _ input: NetworkInput
    ) {
        if block.node == input.node {
            // A block of one address has no room between blackhole and pod (calico #2624).
            if block.cidr.hostBits > 0 { routes.insert(PlannedRoute(block.cidr, .blackhole)) }
        } else if let owner = block.node {
            route(block.cidr, to: owner, pool, own, input)
        }
        // Addresses that another node than the owner uses: borrowed, or left over in a block without owner.
        for (address, attribute) in block.assignments {
            guard let holder = attribute.values["node"], holder != block.node, holder != input.node else { continue }
            route(CIDR(host: address), to: holder, pool, own, input)
        }
    }

    private mutating func route(
        _ destination: CIDR, to owner: String, _ pool: IPPool?, _ own: NodeNetwork.Endpoint, _ input: NetworkInput
    ) {
        guard let peer = input.nodes[owner]?[destination.family] else {
            problems.append(
                "\(destination) belongs to node \(owner), which has no \(destination.family.rawValue) address or does not exist"
            )
            return
        }
        let isNeighbour = own.address.contains(peer.address.address)
        // Where the pool is gone its pods are not: they are reached by whichever way works.
        let carrier = pool?.carrier(kernelHasIPIP: input.kernelHasIPIP) ?? .vxlan(.crossSubnet)
        func isTunnelled(_ mode: EncapsulationMode) -> Bool {
            mode == .always || (mode == .crossSubnet && !isNeighbour)
        }
        let reason: String
        switch carrier {
        case .vxlan(let mode) where isTunnelled(mode):
            if own.tunnelAddress != nil, let remote = peer.tunnelAddress, peer.tunnelMAC != nil {
                routes.insert(PlannedRoute(destination, .tunnel(remote)))
                return
            }
            reason = "the tunnel of node \(own.tunnelAddress == nil ? input.node : owner) has no address yet"
        case .ipip(let mode) where isTunnelled(mode):
            if own.ipipAddress != nil {
                routes.insert(PlannedRoute(destination, .ipip(peer.address.address)))
                return
            }
            reason = "the IP in IP tunnel of node \(input.node) has no address yet"
        default:
            reason =
                "its pool has no encapsulation, and node \(owner) (\(peer.address)) is not in the subnet of \(own.address)"
        }
        if isNeighbour {
            routes.insert(PlannedRoute(destination, .node(peer.address.address)))
        } else {
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
