// SPDX-License-Identifier: Apache-2.0
import Glibc
public import Linux
import Values

/// The network between the nodes of a cluster: one network namespace with a bridge a rack, a router between them, and
/// a cable to the host, that is a port of the first rack.
///
/// Everything is made so that doing it again changes nothing, and is found by name: a fabric outlives the process that
/// made it.
public struct Fabric: Sendable {
    public let names: FabricNames
    public let plan: FabricPlan
    public let resolvers: Resolvers
    /// What cables carry at most.
    public static let mtu = 1500

    public init(
        profile: ProfileName, plan: FabricPlan, runDirectory: String = "/run/catbird",
        stateDirectory: String = "/var/lib/catbird", resolvers: Resolvers? = nil
    ) {
        names = FabricNames(profile: profile, runDirectory: runDirectory, stateDirectory: stateDirectory)
        self.plan = plan
        self.resolvers = resolvers ?? Resolvers.ofHost(hostAddress: plan.hostAddress)
    }

    /// Where the fabric itself lives.
    public var namespace: NamespaceRef { .path(names.fabricNamespace) }

    /// Makes what is not there yet. When it fails, what it made is removed.
    ///
    /// - Parameter ownership: tells the watcher of the machine's table that it is this process that writes it.
    public func create(_ ownership: TableOwnership? = nil) throws {
        // The machine's settings are changed and put back by all profiles.
        let machine = try FolderLock.hold(names.stateDirectory)
        defer { machine.release() }
        let isNew = !Namespaces.isPinned(names.fabricNamespace)
        do {
            if isNew { try Namespaces.createPinned([.net: names.fabricNamespace]) { try Self.prepareNamespace() } }
            let fabric = try NetlinkSocket(in: namespace)
            let host = try NetlinkSocket()
            for rack in plan.racks { try createRack(rack, fabric) }
            try connectHost(host, fabric)
            try routeLoadBalancers(host, fabric)
            try prepareHost(host, ownership)
        } catch {
            if isNew { try? Self.removeFabricHoldingLock(names) }
            throw error
        }
    }

    private static func prepareNamespace() throws {
        try NetlinkSocket().setUp("lo")
        try Sysctl.write("net.ipv4.ip_forward", "1")
        // Nodes of the first rack send through the router what the host could get directly; that is meant so.
        for scope in ["all", "default"] {
            try Sysctl.write("net.ipv4.conf.\(scope).send_redirects", "0")
            try Sysctl.write("net.ipv4.conf.\(scope).rp_filter", "0")
        }
    }

    private func createRack(_ rack: FabricPlan.Rack, _ fabric: NetlinkSocket) throws {
        if try fabric.link(rack.name) == nil {
            try fabric.addBridge(rack.name, LinkOptions(mtu: Self.mtu, mac: FabricNames.mac(rack.router)))
        }
        let bridge = try fabric.requireLink(rack.name)
        try fabric.ensureAddress(
            InterfaceAddress(interface: bridge.index, address: try cidr(rack.router, rack.subnet)))
        try fabric.setLink(bridge.index, LinkOptions(up: true))
        let setting = "net.ipv4.conf.\(rack.name).send_redirects"
        try Namespaces.inNamespaces(net: namespace) { try Sysctl.write(setting, "0") }
    }

    private func cidr(_ address: IPAddress, _ subnet: CIDR) throws -> CIDR {
        guard let result = CIDR(address, subnet.prefixLength) else {
            throw FabricError("\(address) is no address of \(subnet)")
        }
        return result
    }

    private func connectHost(_ host: NetlinkSocket, _ fabric: NetlinkSocket) throws {
        if try host.link(names.hostLink) == nil || fabric.link("uplink") == nil {
            try host.deleteLink(names.hostLink)
            try fabric.deleteLink("uplink")
            try host.addVeth(
                names.hostLink,
                LinkOptions(mtu: Self.mtu, mac: FabricNames.mac(plan.hostAddress), alias: names.linkAlias),
                peer: "uplink",
                peerOptions: LinkOptions(mtu: Self.mtu, namespace: namespace))
        }
        let first = try fabric.requireLink(plan.racks[0].name)
        try fabric.setLink(try fabric.requireLink("uplink").index, LinkOptions(master: first.index, up: true))
        let link = try host.requireLink(names.hostLink)
        try host.setLink(link.index, LinkOptions(up: true))
        try host.ensureAddress(
            InterfaceAddress(interface: link.index, address: try cidr(plan.hostAddress, plan.racks[0].subnet)))
        for rack in plan.racks.dropFirst() {
            try host.replaceRoute(
                Route(to: rack.subnet, via: plan.racks[0].router, interface: link.index, protocol: .static))
        }
        try fabric.replaceRoute(
            Route(to: Self.everything, via: plan.hostAddress, interface: first.index, protocol: .static))
    }

    static let everything = CIDR(IPAddress(0, 0, 0, 0), 0) ?? CIDR(host: IPAddress(0, 0, 0, 0))

    /// What leads to the first node, from the machine and from all racks.
    func firstNodeWays(_ ranges: [CIDR]) -> [ExpectedNetwork.Way] {
        guard let first = plan.nodes.first, first.rack == 1 else { return [] }
        return ([plan.loadBalancerRange] + ranges).map { .init(destination: $0, gateway: first.address) }
    }

    private func routeLoadBalancers(_ host: NetlinkSocket, _ fabric: NetlinkSocket) throws {
        for (socket, name) in [(host, names.hostLink), (fabric, plan.racks[0].name)] {
            let link = try socket.requireLink(name)
            for way in firstNodeWays([]) {
                try socket.replaceRoute(
                    Route(to: way.destination, via: way.gateway, interface: link.index, protocol: .static))
            }
        }
    }

    /// Gives the machine a way to the pods' addresses, through the first node.
    func routePods(_ ranges: [CIDR]) throws {
        let host = try NetlinkSocket()
        let link = try host.requireLink(names.hostLink)
        for way in firstNodeWays(ranges) {
            try host.replaceRoute(
                Route(to: way.destination, via: way.gateway, interface: link.index, protocol: .static))
        }
    }

    /// Takes such a way away again.
    func dropRoute(to range: CIDR) throws {
        let host = try NetlinkSocket()
        guard let link = try host.link(names.hostLink), let gateway = plan.nodes.first?.address else { return }
        try host.deleteRoute(Route(to: range, via: gateway, interface: link.index, protocol: .static))
    }

    /// Puts a node on its rack: `eth0` with its address in the node's network namespace, and the way out.
    public func attach(_ node: FabricPlan.Node, to namespace: NamespaceRef) throws {
        guard let rack = plan.rack(of: node) else {
            throw FabricError("node \(node.name): there is no rack \(node.rack)")
        }
        let fabric = try NetlinkSocket(in: self.namespace)
        let inside = try NetlinkSocket(in: namespace)
        let port = FabricNames.port(node.address)
        let existing = try inside.link("eth0")
        if try fabric.link(port) == nil || existing == nil {
            try fabric.deleteLink(port)
            if let existing { try inside.deleteLink(index: existing.index) }
            try fabric.addVeth(
                port, LinkOptions(mtu: Self.mtu, alias: "node \(node.name)"), peer: "eth0",
                peerOptions: LinkOptions(mtu: Self.mtu, mac: FabricNames.mac(node.address), namespace: namespace))
        }
        let bridge = try fabric.requireLink(rack.name)
        try fabric.setLink(try fabric.requireLink(port).index, LinkOptions(master: bridge.index, up: true))
        let device = try inside.requireLink("eth0").index
        try inside.setLink(device, LinkOptions(up: true))
        try inside.ensureAddress(
            InterfaceAddress(interface: device, address: try cidr(node.address, rack.subnet)))
        try inside.replaceRoute(Route(to: Self.everything, via: rack.router, interface: device, protocol: .static))
    }

    /// Takes a node off its rack. One that is not on it is no error.
    public func detach(_ node: FabricPlan.Node) throws {
        guard Namespaces.isPinned(names.fabricNamespace) else { return }
        try NetlinkSocket(in: namespace).deleteLink(FabricNames.port(node.address))
    }
}
