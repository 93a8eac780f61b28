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
        let events = state.withLock { state in
            workloads.flatMap { address, interface in
                state.workloads[address] == nil ? state.workloads.set(address, to: interface) : []
            }
        }
        tell(events)
    }

    /// Has `listener` told of each pod's address that comes to a link or leaves it, before the link has routes: the
    /// listener says by ``want(_:)`` which. Those that are known already are told at once.
    func onWorkloads(_ listener: @escaping @Sendable ([NetworkEvent]) -> Void) {
        let known = state.withLock { state in
            state.onWorkloads = listener
            return state.workloads.all.map { NetworkEvent.workload($0.key, $0.value) }
        }
        if !known.isEmpty { listener(known) }
    }

    func tell(_ events: [NetworkEvent]) {
        guard !events.isEmpty else { return }
        state.withLock { $0.onWorkloads }?(events)
    }

    /// Makes the sandbox's link and the routes to it. What fails leaves nothing behind.
    ///
    /// - Parameter netns: a descriptor of the sandbox's network namespace, which stays the caller's.
    public func connect(_ link: PodLink, netns: Int32, addresses: [IPAddress], mtu: Int) throws -> PodLink.Wired {
        // Known before the routes are there: whoever reconciles in between must not take them for strays.
        let events = state.withLock { state in
            // What an earlier sandbox of this name had is not this one's.
            var events = state.workloads.removeAll(of: link.hostInterface)
            for address in addresses { events += state.workloads.set(address, to: link.hostInterface) }
            state.sandboxes[link.hostInterface] = nil
            return events
        }
        tell(events)
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

    /// Removes the sandbox's link, and with it its routes. Not there is no error. When a later sandbox of the pod has the
    /// interface, nothing of that one's is touched: it may also have the addresses that this one had.
    public func disconnect(_ link: PodLink, addresses: [IPAddress]) throws {
        state.withLock { state in
            if state.sandboxes[link.hostInterface]?.link.handleID == link.handleID {
                state.sandboxes[link.hostInterface] = nil
            }
        }
        // A socket of its own: the kernel answers when nothing uses the link any more, and others need not wait for that.
        let socket = try namespace.map { try NetlinkSocket(in: $0) } ?? NetlinkSocket()
        guard try link.disconnect(host: socket) else { return }
        for address in addresses { forget(address, link.hostInterface) }
        // Also what the caller did not know of: addresses that IPAM has nothing to do with.
        tell(state.withLock { $0.workloads.removeAll(of: link.hostInterface) })
    }

    private func forget(_ address: IPAddress, _ interface: String) {
        tell(
            state.withLock { state in
                state.workloads[address] == interface ? state.workloads.set(address, to: nil) : []
            })
    }

    /// The host interface that an address of this node leads to; nil for one that is no sandbox's.
    func owner(of address: IPAddress) -> String? { state.withLock { $0.workloads[address] } }

    /// How many sandboxes are wired here.
    var sandboxCount: Int { state.withLock { $0.workloads.interfaceCount } }

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

    /// Takes over what is wanted now; ``write()`` writes it.
    public func want(_ changes: NetworkChanges) {
        state.withLock { $0.want(changes) }
    }

    /// Brings routes and tunnels to what is wanted: looks at what has changed since, whether it is what is wanted or what
    /// the kernel told of, and at everything the first time. What fails is tried again by the next call.
    public func write() throws {
        try state.withLock { state in try write(&state) }
    }

    /// Makes routes and tunnels what `plan` says, as ``want(_:)`` and ``write()`` do.
    public func apply(_ plan: NetworkPlan) throws {
        try state.withLock { state in
            state.want(plan)
            try write(&state)
        }
    }

    private func write(_ state: inout DataplaneState) throws {
        if state.mustForwardIPv6 {
            try Namespaces.inNamespaces(net: namespace) { try Sysctl.write("net/ipv6/conf/all/forwarding", "1") }
            state.mustForwardIPv6 = false
        }
        // A tunnel that cannot be made keeps no other route from being written.
        var failure: (any Error)?
        for family in IPFamily.allCases where state.tunnels[family].isPending {
            do {
                guard try device(family).apply(&state.tunnels[family]) else { continue }
                state.routes[family].doubt { if case .tunnel = $0 { true } else { false } }
            } catch {
                failure = failure ?? error
            }
        }
        do throws(Errno) {
            if state.ipip.isPending, try IPIPDevice(netlink: netlink).apply(&state.ipip) {
                state.routes[.v4].doubt { if case .ipip = $0 { true } else { false } }
            }
        } catch {
            failure = failure ?? error
        }
        let links = try links(of: state)
        for family in IPFamily.allCases {
            let (tunnel, ipip) = (state.tunnels[family].interface, state.ipip.interface)
            do throws(Errno) {
                if state.routes[family].isPending {
                    let restored = try state.routes[family].apply(netlink, logger) { destination, hop in
                        route(destination, hop, links, tunnel, ipip)
                    }
                    state.repairs += restored.map { "route \($0.destination)" }
                }
                if state.tunnels[family].isPending { try device(family).dropStrangers(&state.tunnels[family]) }
            } catch {
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
        for family in IPFamily.allCases {
            state.repairs += state.tunnels[family].losses
            state.tunnels[family].losses = []
        }
    }

    /// The links that pending routes of pods need, those that are up: asked for by name while they are few.
    private func links(of state: DataplaneState) throws -> [String: Int32] {
        let names = state.routes[.v4].pendingInterfaces.union(state.routes[.v6].pendingInterfaces)
        if names.count > 8 {
            return Dictionary(
                try netlink.links().filter(\.isUp).map { ($0.name, $0.index) }, uniquingKeysWith: { first, _ in first })
        }
        var links: [String: Int32] = [:]
        for name in names {
            if let link = try netlink.link(name), link.isUp { links[name] = link.index }
        }
        return links
    }

    private func device(_ family: IPFamily) -> TunnelDevice {
        TunnelDevice(family: family, namespace: namespace, netlink: netlink, logger: logger)
    }

    private func route(
        _ destination: CIDR, _ hop: PlannedRoute.Hop, _ links: [String: Int32], _ tunnel: Int32?, _ ipip: Int32?
    ) -> Route? {
        switch hop {
        case .workload(let interface):
            // Without its interface, or while that is down, the pod is gone or not wired yet.
            guard let index = links[interface] else { return nil }
            return Route(to: destination, interface: index, scope: .link, protocol: .calico)
        case .node(let address):
            return Route(to: destination, via: address, protocol: .calico)
        case .tunnel(let address):
            guard let tunnel else { return nil }
            return Route(to: destination, via: address, interface: tunnel, protocol: .calico, onlink: true)
        case .ipip(let address):
            guard let ipip else { return nil }
            return Route(to: destination, via: address, interface: ipip, protocol: .calico, onlink: true)
        case .blackhole:
            return Route(to: destination, kind: .blackhole, protocol: .calico)
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
