// SPDX-License-Identifier: Apache-2.0
public import Linux
public import Values

/// What one network namespace should hold of a fabric: the machine's, the fabric's own, or a node's. The fabric is made
/// by it, watched by it, and looked at by it when something is wrong.
public struct ExpectedNetwork: Sendable {
    public struct Interface: Sendable, Hashable {
        public let name: String
        public var address: CIDR?
        /// The bridge that it is a port of.
        public var bridge: String?
        /// The node whose cable it is.
        public var node: String?
    }

    /// A way that leads through an interface of the fabric.
    public struct Way: Sendable, Hashable {
        public let destination: CIDR
        public let gateway: IPAddress
    }

    /// What is not as it should be.
    public struct Difference: Sendable, Hashable {
        public let description: String
        /// The node whose cable it is about, where it is about one.
        public var node: String?
    }

    public enum Place: Sendable, Hashable, CustomStringConvertible {
        case machine
        case fabric
        case node(String)

        public var description: String {
            switch self {
            case .machine: "the machine"
            case .fabric: "the network between the nodes"
            case .node(let name): "node \(name)"
            }
        }
    }

    public let place: Place
    /// Nil is the calling thread's.
    public let namespace: NamespaceRef?
    public var interfaces: [Interface] = []
    public var ways: [Way] = []
    /// nftables' table, as `ip catbird-lab`, with the commands that make it.
    public var table: (name: String, commands: String)?

    /// Whether what the kernel tells may have made a difference. Looks at nothing but the event.
    func isTouched(by event: NetlinkEvent) -> Bool {
        switch event {
        case .linkRemoved(let link): interfaces.contains { $0.name == link.name }
        case .link(let link):
            interfaces.contains { $0.name == link.name && (!link.isUp || ($0.bridge != nil && link.master == nil)) }
        case .addressRemoved(let address): interfaces.contains { $0.address == address.address }
        case .route(let route), .routeRemoved(let route):
            route.table == Route.mainTable && ways.contains { $0.destination == route.destination }
        case .overflow: true
        case .address, .neighbour, .neighbourRemoved: false
        }
    }

    /// Compares with the kernel.
    public func differences() throws -> [Difference] {
        let socket = if let namespace { try NetlinkSocket(in: namespace) } else { try NetlinkSocket() }
        let links = Dictionary(try socket.links().map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let addresses = Dictionary(grouping: try socket.addresses(), by: \.interface)
        var result: [Difference] = []
        for interface in interfaces {
            func add(_ text: String) { result.append(Difference(description: text, node: interface.node)) }
            guard let link = links[interface.name] else {
                add("interface \(interface.name) is missing")
                continue
            }
            if !link.isUp { add("interface \(interface.name) is down") }
            if let bridge = interface.bridge, link.master == nil || link.master != links[bridge]?.index {
                add("interface \(interface.name) is no port of \(bridge)")
            }
            if let address = interface.address,
                !(addresses[link.index] ?? []).contains(where: { $0.address == address })
            {
                add("\(interface.name) has not the address \(address)")
            }
        }
        let routes = ways.isEmpty ? [] : try socket.routes(.v4)
        for way in ways
        where !routes.contains(where: { $0.destination == way.destination && $0.gateway == way.gateway }) {
            result.append(Difference(description: "there is no route to \(way.destination) by \(way.gateway)"))
        }
        if let table {
            result += try Self.differences(of: table.name, table.commands, in: namespace)
                .map { Difference(description: $0) }
        }
        return result
    }

    private static func differences(
        of table: String, _ commands: String, in namespace: NamespaceRef?
    ) throws -> [String] {
        let others = Set([Fabric.openPorts])
        var tables = try namespace.map { try NFTables(in: $0) } ?? NFTables()
        guard let content = try tables.content(of: table, withoutElements: others) else {
            return ["nftables' table \(table) is missing"]
        }
        guard let wanted = try NFTables.content(of: table, madeBy: commands, withoutElements: others) else { return [] }
        return content.differences(from: wanted).map { "\($0) of nftables' table \(table) is not as it was made" }
    }
}

extension Fabric {
    /// What the machine, the fabric's namespace and the given nodes' should hold.
    ///
    /// - Parameters:
    ///   - podRanges: what the machine reaches through the first node.
    ///   - host: the network namespace that plays the machine; nil for the calling thread's.
    public func expected(
        _ place: ExpectedNetwork.Place, nodes: [(node: FabricPlan.Node, namespace: NamespaceRef)],
        podRanges: [CIDR] = [], host: NamespaceRef? = nil
    ) -> ExpectedNetwork? {
        let first = plan.racks[0]
        switch place {
        case .machine:
            var network = ExpectedNetwork(place: place, namespace: host)
            network.interfaces = [
                .init(name: names.hostLink, address: CIDR(plan.hostAddress, first.subnet.prefixLength))
            ]
            network.ways = plan.racks.dropFirst().map { .init(destination: $0.subnet, gateway: first.router) }
            network.ways += firstNodeWays(podRanges)
            network.table = (
                "ip \(names.table)", Self.hostRules(names: names, plan: plan, resolvers: resolvers)
            )
            return network
        case .fabric:
            var network = ExpectedNetwork(place: place, namespace: namespace)
            network.interfaces = plan.racks.map {
                .init(name: $0.name, address: CIDR($0.router, $0.subnet.prefixLength))
            }
            network.interfaces.append(.init(name: "uplink", bridge: first.name))
            for (node, _) in nodes {
                guard let rack = plan.rack(of: node) else { continue }
                network.interfaces.append(
                    .init(name: FabricNames.port(node.address), bridge: rack.name, node: node.name))
            }
            network.ways = [.init(destination: Self.everything, gateway: plan.hostAddress)]
            network.ways += firstNodeWays([])
            return network
        case .node(let name):
            guard let (node, namespace) = nodes.first(where: { $0.node.name == name }),
                let rack = plan.rack(of: node)
            else { return nil }
            var network = ExpectedNetwork(place: place, namespace: namespace)
            network.interfaces = [
                .init(name: "eth0", address: CIDR(node.address, rack.subnet.prefixLength), node: name)
            ]
            network.ways = [.init(destination: Self.everything, gateway: rack.router)]
            return network
        }
    }
}
