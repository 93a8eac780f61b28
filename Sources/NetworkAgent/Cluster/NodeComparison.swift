// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Linux
import NetworkModel
import Values

/// Compares what a node's kernel holds with what the objects say: for whoever looks from outside of the agent.
public struct NodeComparison: Sendable {
    /// What a node's network follows from.
    public struct Objects: Sendable {
        public var nodes: [KubeObject] = []
        public var pools: [KubeObject] = []
        public var blocks: [KubeObject] = []
        public var pods: [KubeObject] = []
        public var services: [KubeObject] = []
        public var endpointSlices: [KubeObject] = []
        /// FelixConfiguration `default`.
        public var felix: KubeObject?

        public init() {}
    }

    private let node: String
    private let plan: NetworkPlan
    private let ports: [ServicePort]

    public init(node: String, _ objects: Objects, kernelHasIPIP: Bool) {
        self.node = node
        let nodes = objects.nodes.compactMap { NodeNetwork($0) }
        let blocks = objects.blocks.compactMap { try? IPAMBlock($0) }
        var input = NetworkInput(
            node: node, nodes: Dictionary(nodes.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first }),
            pools: IPPool.read(objects.pools).pools, blocks: blocks, kernelHasIPIP: kernelHasIPIP)
        for block in blocks where !block.isDeleted {
            for (address, attribute) in block.assignments where attribute.values["node"] == node {
                input.workloads[address] = Sandbox.hostInterface(attribute.values)
            }
        }
        input.felix = FelixSettings(objects.felix)
        let own = objects.pods.filter { $0["spec"]["nodeName"].string == node }
        if input.felix.hasFloatingAddresses { input.floating = Set(own.flatMap { FloatingAddress.read($0) }) }
        plan = NetworkPlan(input)
        let slices = Dictionary(grouping: objects.endpointSlices) { slice in
            ObjectKey(slice.namespace, slice.labels["kubernetes.io/service-name"] ?? "")
        }
        ports = objects.services.flatMap { ServiceModel.ports(of: $0, slices: slices[$0.key] ?? []) }
    }

    /// What the kernel lacks, a sentence each; empty when it holds what it should.
    public func differences(in namespace: NamespaceRef) throws -> [String] {
        let netlink = try NetlinkSocket(in: namespace)
        let links = Dictionary(try netlink.links().map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        var result: [String] = []
        for tunnel in plan.tunnels.values.sorted(by: { $0.interface < $1.interface }) {
            guard let link = links[tunnel.interface], link.isUp else {
                result.append("interface \(tunnel.interface) is missing or down")
                continue
            }
            let held = try netlink.addresses(interface: link.index).map(\.address.address)
            if !held.contains(tunnel.address) {
                result.append("\(tunnel.interface) has not the address \(tunnel.address)")
            }
            let known = Set(
                try netlink.neighbours(tunnel.address.family, interface: link.index).filter {
                    $0.state.contains(.permanent)
                }.compactMap(\.address))
            for peer in plan.peers where peer.nodeAddress.family == tunnel.address.family {
                if !known.contains(peer.tunnelAddress) {
                    result.append("\(tunnel.interface) has no entry for node \(peer.node)")
                }
            }
        }
        for family in IPFamily.allCases {
            let present = Dictionary(
                try netlink.routes(family, protocol: .calico).map { ($0.destination, $0) },
                uniquingKeysWith: { first, _ in first })
            for route in plan.routes where route.destination.family == family {
                if let problem = Self.problem(of: route, present[route.destination], links) { result.append(problem) }
            }
            if NFTPlan.isNeeded(family, plan, hasServices: ports.contains { $0.family == family }) {
                result += try Self.problems(of: NFTPlan.content(plan, ports, family, node: node), in: namespace)
            }
        }
        return result
    }

    private static func problem(of route: PlannedRoute, _ found: Route?, _ links: [String: Link]) -> String? {
        let missing = "there is no route to \(route.destination)"
        switch route.hop {
        case .workload(let interface):
            guard let link = links[interface] else { return "the pod's interface \(interface) is missing" }
            return found?.interface == link.index ? nil : "\(missing) through \(interface)"
        case .node(let address), .tunnel(let address), .ipip(let address):
            return found?.gateway == address ? nil : "\(missing) by \(address)"
        case .blackhole: return found?.kind == .blackhole ? nil : "\(missing), which should be a blackhole"
        }
    }

    /// Chains by the number of their rules, sets by that of their elements: how nft writes a rule is its own affair.
    private static func problems(of content: NFTContent, in namespace: NamespaceRef) throws -> [String] {
        var tables = try NFTables(in: namespace)
        let words = content.table.split(separator: " ").map(String.init)
        guard words.count == 2, try tables.tables(family: words[0]).contains(where: { $0.name == words[1] }) else {
            return ["nftables' table \(content.table) is missing"]
        }
        var rules: [String: Int] = [:]
        var elements: [String: Int] = [:]
        for entry in try tables.list("list table \(content.table)") {
            if let chain = entry["rule"]?["chain"]?.string { rules[chain, default: 0] += 1 }
            if let set = entry["set"] ?? entry["map"], let name = set["name"]?.string {
                elements[name] = set["elem"]?.array?.count ?? 0
            }
        }
        var result: [String] = []
        for (name, chain) in content.chains.sorted(by: { $0.key < $1.key })
        where (rules[name] ?? 0) != chain.rules.count {
            result.append(
                "chain \(name) of nftables' table \(content.table) has \(rules[name] ?? 0) rules instead of \(chain.rules.count)"
            )
        }
        // Ports of the node that pods have are known to the agent alone: what is there beyond the rest is theirs.
        for (name, set) in content.sets.sorted(by: { $0.key < $1.key }) {
            let count = elements[name] ?? 0
            if count < set.elements.count {
                result.append(
                    "\(set.keyword) \(name) of nftables' table \(content.table) has \(count) elements instead of \(set.elements.count)"
                )
            }
        }
        return result
    }
}
