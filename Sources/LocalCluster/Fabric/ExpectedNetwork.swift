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

    /// What of a network an event of the kernel's may have changed.
    enum Touched: Hashable {
        case nothing
        /// One interface: how it is, and its address.
        case interface(String)
        case anything
    }

    /// Compares with the kernel.
    public func differences() throws -> [Difference] {
        let socket = try socket()
        let links = Dictionary(try socket.links().map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let addresses = Dictionary(grouping: try socket.addresses(), by: \.interface)
        var result: [Difference] = []
        for interface in interfaces {
            let link = links[interface.name]
            result += Self.differences(
                of: interface, link, bridge: interface.bridge.flatMap { links[$0] },
                addresses: link.flatMap { addresses[$0.index] } ?? [])
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

    /// Compares one interface with the kernel, and asks it for nothing else.
    func differences(of interface: Interface) throws -> [Difference] {
        let socket = try socket()
        let link = try socket.link(interface.name)
        var addresses: [InterfaceAddress] = []
        if let link, interface.address != nil { addresses = try socket.addresses(interface: link.index) }
        return Self.differences(
            of: interface, link, bridge: try interface.bridge.flatMap { try socket.link($0) }, addresses: addresses)
    }

    private func socket() throws -> NetlinkSocket {
        try namespace.map { try NetlinkSocket(in: $0) } ?? NetlinkSocket()
    }

    private static func differences(
        of interface: Interface, _ link: Link?, bridge: Link?, addresses: [InterfaceAddress]
    ) -> [Difference] {
        var result: [Difference] = []
        func add(_ text: String) { result.append(Difference(description: text, node: interface.node)) }
        guard let link else {
            add("interface \(interface.name) is missing")
            return result
        }
        if !link.isUp { add("interface \(interface.name) is down") }
        if let name = interface.bridge, link.master == nil || link.master != bridge?.index {
            add("interface \(interface.name) is no port of \(name)")
        }
        if let address = interface.address, !addresses.contains(where: { $0.address == address }) {
            add("\(interface.name) has not the address \(address)")
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

/// An ``ExpectedNetwork`` by what the kernel's events name: each is judged without a look at all nodes' cables.
struct WatchedNetwork {
    let network: ExpectedNetwork
    private let interfaces: [String: ExpectedNetwork.Interface]
    private let addresses: Set<CIDR>
    private let ways: Set<CIDR>

    init(_ network: ExpectedNetwork) {
        self.network = network
        interfaces = Dictionary(network.interfaces.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        addresses = Set(network.interfaces.compactMap(\.address))
        ways = Set(network.ways.map(\.destination))
    }

    func interface(_ name: String) -> ExpectedNetwork.Interface? { interfaces[name] }

    /// What may be other than before. Looks at nothing but the event.
    func touched(by event: NetlinkEvent) -> ExpectedNetwork.Touched {
        switch event {
        case .linkRemoved(let link):
            guard let interface = interfaces[link.name] else { return .nothing }
            return touched(interface)
        case .link(let link):
            guard let interface = interfaces[link.name], !link.isUp || (interface.bridge != nil && link.master == nil)
            else { return .nothing }
            return touched(interface)
        case .addressRemoved(let address): return addresses.contains(address.address) ? .anything : .nothing
        case .route(let route), .routeRemoved(let route):
            return route.table == Route.mainTable && ways.contains(route.destination) ? .anything : .nothing
        case .overflow: return .anything
        case .address, .neighbour, .neighbourRemoved: return .nothing
        }
    }

    /// With a cable goes nothing else; with any other interface may go addresses, ways and the ports of a bridge.
    private func touched(_ interface: ExpectedNetwork.Interface) -> ExpectedNetwork.Touched {
        interface.node != nil && network.place == .fabric ? .interface(interface.name) : .anything
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
