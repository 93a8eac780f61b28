// SPDX-License-Identifier: Apache-2.0

public import Linux
public import Logging
public import NetworkModel
import Synchronization
public import Values

/// Brings the kernel to what a plan says, by the difference: in one network namespace, the node's.
///
/// Calls block, and come from threads that may: the agent makes them on threads of their own.
public final class Dataplane: Sendable {
    public let namespace: NamespaceRef?
    let netlink: NetlinkSocket
    let state = Mutex(DataplaneState())
    let tables: [IPFamily: ServiceTable]
    let ownership: TableOwnership
    /// The Services that the tables serve.
    public let services: ServicePlane
    let logger: Logger

    /// - Parameters:
    ///   - namespace: nil is the namespace of the calling thread.
    ///   - node: whose endpoints of Services are local.
    public init(
        in namespace: NamespaceRef? = nil, node: String = "", logger: Logger = Logger(label: "dataplane")
    ) throws {
        self.namespace = namespace
        self.logger = logger
        netlink = if let namespace { try NetlinkSocket(in: namespace) } else { try NetlinkSocket() }
        ownership = try TableOwnership(of: Set(IPFamily.allCases.map { Self.table($0) }), in: namespace)
        services = ServicePlane(node: node)
        var tables: [IPFamily: ServiceTable] = [:]
        for family in IPFamily.allCases {
            tables[family] = ServiceTable(
                try namespace.map { try NFTables(in: $0) } ?? NFTables(), try NetfilterSocket(in: namespace), family,
                ownership, services, logger)
        }
        self.tables = tables
        try Namespaces.inNamespaces(net: namespace) { try Sysctl.write("net/ipv4/ip_forward", "1") }
    }

    static func table(_ family: IPFamily) -> String {
        "\(family == .v4 ? "ip" : "ip6") \(NFTPlan.table)"
    }

    // MARK: The node

    /// The node's addresses with their interfaces, as address detection wants them.
    public func interfaces() throws -> [NodeInterface] {
        let addresses = Dictionary(grouping: try netlink.addresses(), by: \.interface)
        return try netlink.links().map { link in
            NodeInterface(
                name: link.name, index: Int(link.index), mtu: link.mtu, isUp: link.isUp,
                isLoopback: link.isLoopback,
                addresses: (addresses[link.index] ?? []).filter { $0.scope == .universe }.map(\.address))
        }
    }

    /// The address that packets to `target` leave with, by the routes that are there.
    public func source(towards target: IPAddress) throws -> IPAddress? { try netlink.route(to: target)?.source }

    // MARK: Pods

    /// Tells of pods that were wired before this process started.
    public func adopt(_ workloads: [IPAddress: String]) {
        state.withLock { state in state.workloads.merge(workloads) { known, _ in known } }
    }

    /// Makes the sandbox's link and the routes to it. What fails leaves nothing behind.
    ///
    /// - Parameter netns: a descriptor of the sandbox's network namespace, which stays the caller's.
    public func connect(_ link: PodLink, netns: Int32, addresses: [IPAddress], mtu: Int) throws -> PodLink.Wired {
        // Known before the routes are there: whoever reconciles in between must not take them for strays.
        state.withLock { state in
            // What an earlier sandbox of this name had is not this one's.
            state.workloads = state.workloads.filter { $0.value != link.hostInterface }
            for address in addresses { state.workloads[address] = link.hostInterface }
            state.sandboxes[link.hostInterface] = nil
        }
        do {
            let wired = try Namespaces.inNamespaces(net: namespace) { [netlink] in
                try link.connect(netns: netns, addresses: addresses, mtu: mtu, host: netlink)
            }
            watchSandbox(link, netns: netns, addresses: addresses, mtu: mtu)
            return wired
        } catch {
            for address in addresses { forget(address, link.hostInterface) }
            throw error
        }
    }

    /// Removes the sandbox's link, and with it its routes. Not there is no error.
    public func disconnect(_ link: PodLink, addresses: [IPAddress]) throws {
        for address in addresses { forget(address, link.hostInterface) }
        state.withLock { state in
            if state.sandboxes[link.hostInterface]?.link.handleID == link.handleID {
                state.sandboxes[link.hostInterface] = nil
            }
        }
        // A socket of its own: the kernel answers when nothing uses the link any more, and others need not wait for that.
        let socket = try namespace.map { try NetlinkSocket(in: $0) } ?? NetlinkSocket()
        guard try link.disconnect(host: socket) else { return }
        // Also what the caller did not know of: addresses that IPAM has nothing to do with.
        state.withLock { state in state.workloads = state.workloads.filter { $0.value != link.hostInterface } }
    }

    private func forget(_ address: IPAddress, _ interface: String) {
        state.withLock { if $0.workloads[address] == interface { $0.workloads[address] = nil } }
    }

    /// The host interface that an address of this node leads to; nil for one that is no sandbox's.
    func owner(of address: IPAddress) -> String? { state.withLock { $0.workloads[address] } }

    /// How many sandboxes are wired here.
    var sandboxCount: Int { state.withLock { Set($0.workloads.values).count } }

    /// The sandboxes' links that are there, by their host ends.
    func sandboxLinks() throws -> [PodLink] {
        try netlink.links().filter { $0.name.hasPrefix("cali") }.compactMap { link in
            link.alias.map { PodLink(hostInterface: link.name, podInterface: "", handleID: $0) }
        }
    }

    /// Looks whether the link is as `connect` made it: interface, addresses, routes, settings, at both ends. The error,
    /// a `PodLinkProblem`, names what is not.
    public func inspect(_ link: PodLink, netns: Int32, addresses: [IPAddress]) throws {
        try Namespaces.inNamespaces(net: namespace) { [netlink] in
            try link.inspectHost(addresses: addresses, host: netlink)
        }
        _ = try link.inspect(netns: netns, addresses: addresses)
    }

    // MARK: Routes and tunnels

    /// Makes routes and tunnels what `plan` says of the given pods of this node, writing only what differs.
    public func apply(_ plan: (_ workloads: [IPAddress: String]) -> NetworkPlan) throws {
        try state.withLock { state in
            let plan = plan(state.workloads)
            do {
                try apply(plan, &state)
            } catch {
                // What was written before the failure is not known.
                state.forget()
                throw error
            }
        }
    }

    private func apply(_ plan: NetworkPlan, _ state: inout DataplaneState) throws {
        if plan.podNetworks.contains(where: { $0.family == .v6 }) {
            try Namespaces.inNamespaces(net: namespace) { try Sysctl.write("net/ipv6/conf/all/forwarding", "1") }
        }
        let before = state.tunnels
        for family in IPFamily.allCases {
            state.tunnels[family] = try device(family).apply(
                plan.tunnels[family], peers: plan.peers.filter { $0.nodeAddress.family == family },
                known: before[family])
            if state.doubted.remove(family) != nil, let now = state.tunnels[family], now.wasWritten {
                state.tunnelLosses.append("interface \(now.tunnel.interface)'s settings")
            }
        }
        let ipip = try IPIPDevice(netlink: netlink).apply(plan.ipip)
        state.ipip = ipip
        let links = Dictionary(
            try netlink.links().filter(\.isUp).map { ($0.name, $0.index) }, uniquingKeysWith: { first, _ in first })
        var wanted: [IPFamily: [CIDR: Route]] = [:]
        for planned in plan.routes {
            let tunnel = state.tunnels[planned.destination.family]?.interface
            guard let route = route(planned, links, tunnel, ipip) else { continue }
            wanted[planned.destination.family, default: [:]][route.destination] = route
        }
        for family in IPFamily.allCases {
            let restored = try state.routes[family]?.apply(wanted[family] ?? [:], netlink, logger) ?? []
            state.repairs += restored.map { "route \($0.destination)" }
            if let now = state.tunnels[family] { try device(family).dropStrangers(now, before: before[family]) }
        }
        state.repairs += state.tunnelLosses
        state.tunnelLosses = []
    }

    private func device(_ family: IPFamily) -> TunnelDevice {
        TunnelDevice(family: family, namespace: namespace, netlink: netlink, logger: logger)
    }

    private func route(_ planned: PlannedRoute, _ links: [String: Int32], _ tunnel: Int32?, _ ipip: Int32?) -> Route? {
        switch planned.hop {
        case .workload(let interface):
            // Without its interface, or while that is down, the pod is gone or not wired yet.
            guard let index = links[interface] else { return nil }
            return Route(to: planned.destination, interface: index, scope: .link, protocol: .calico)
        case .node(let address):
            return Route(to: planned.destination, via: address, protocol: .calico)
        case .tunnel(let address):
            guard let tunnel else { return nil }
            return Route(to: planned.destination, via: address, interface: tunnel, protocol: .calico, onlink: true)
        case .ipip(let address):
            guard let ipip else { return nil }
            return Route(to: planned.destination, via: address, interface: ipip, protocol: .calico, onlink: true)
        case .blackhole:
            return Route(to: planned.destination, kind: .blackhole, protocol: .calico)
        }
    }

    // MARK: nftables

    /// Writes what the Services that ``services`` has taken change, where their tables are.
    public func applyServices() throws {
        for family in IPFamily.allCases { try tables[family]?.applyServices() }
    }

    /// Makes the family's table `catbird` what `content` says, and with it what Services put in it: the first time as a
    /// whole, in one transaction, then by what differs. Nil takes the table away.
    public func apply(_ content: NFTContent?, _ family: IPFamily) throws {
        try tables[family]?.apply(content)
        state.withLock { state in
            if let loss = state.tableLosses.removeValue(forKey: family) { state.repairs.append(loss) }
        }
    }
}
