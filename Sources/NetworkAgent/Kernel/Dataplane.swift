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
    private struct State {
        /// The pods that are wired here, by address.
        var workloads: [IPAddress: String] = [:]
        /// Foreign routes in the way that were told about.
        var reported: Set<String> = []
    }

    public let namespace: NamespaceRef?
    let netlink: NetlinkSocket
    private let state = Mutex(State())
    private let table: ServiceTable
    private let logger: Logger

    /// - Parameter namespace: nil is the namespace of the calling thread.
    public init(in namespace: NamespaceRef? = nil, logger: Logger = Logger(label: "dataplane")) throws {
        self.namespace = namespace
        self.logger = logger
        if let namespace {
            netlink = try NetlinkSocket(in: namespace)
            table = ServiceTable(try NFTables(in: namespace), logger)
        } else {
            netlink = try NetlinkSocket()
            table = ServiceTable(try NFTables(), logger)
        }
        try Namespaces.inNamespaces(net: namespace) { try Sysctl.write("net/ipv4/ip_forward", "1") }
    }

    // MARK: The node

    /// The interface that carries `address`, the address with its subnet, and the interface's MTU.
    public func underlay(_ address: IPAddress) throws -> (interface: Int32, address: CIDR, mtu: Int)? {
        guard let found = try netlink.addresses().first(where: { $0.address.address == address }),
            let link = try netlink.link(index: found.interface)
        else { return nil }
        return (link.index, found.address, link.mtu)
    }

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
        state.withLock { for address in addresses { $0.workloads[address] = link.hostInterface } }
        do {
            return try Namespaces.inNamespaces(net: namespace) { [netlink] in
                try link.connect(netns: netns, addresses: addresses, mtu: mtu, host: netlink)
            }
        } catch {
            for address in addresses { forget(address, link.hostInterface) }
            throw error
        }
    }

    /// Removes the sandbox's link, and with it its routes. Not there is no error.
    public func disconnect(_ link: PodLink, addresses: [IPAddress]) throws {
        for address in addresses { forget(address, link.hostInterface) }
        try link.disconnect(host: netlink)
    }

    private func forget(_ address: IPAddress, _ interface: String) {
        state.withLock { if $0.workloads[address] == interface { $0.workloads[address] = nil } }
    }

    /// Looks whether the link is as `connect` made it: interface, addresses, routes, settings, at both ends. The error,
    /// a `PodLinkProblem`, names what is not.
    public func inspect(_ link: PodLink, netns: Int32, addresses: [IPAddress]) throws {
        try Namespaces.inNamespaces(net: namespace) { [netlink] in
            try link.inspectHost(addresses: addresses, host: netlink)
        }
        _ = try link.inspect(netns: netns, addresses: addresses)
    }

    // MARK: Routes and tunnel

    /// Makes routes and tunnel what `plan` says of the given pods of this node.
    public func apply(_ plan: (_ workloads: [IPAddress: String]) -> NetworkPlan, tunnelMTU: Int) throws {
        try state.withLock { state in
            let plan = plan(state.workloads)
            let tunnel = try applyTunnel(plan, mtu: tunnelMTU)
            try applyRoutes(plan, tunnel: tunnel, &state.reported)
            // Neighbours that are no longer needed go after the routes that needed them.
            if let tunnel { try dropNeighbours(plan, tunnel) }
        }
    }

    private func applyTunnel(_ plan: NetworkPlan, mtu: Int) throws -> Int32? {
        let name = NetworkPlan.Tunnel.interface
        guard let tunnel = plan.tunnel else {
            try netlink.deleteLink(name)
            return nil
        }
        let wanted = VXLAN(
            id: UInt32(NetworkPlan.Tunnel.networkIdentifier), port: UInt16(NetworkPlan.Tunnel.port),
            local: tunnel.underlay)
        var link = try netlink.link(name)
        if let found = link,
            found.vxlan?.id != wanted.id || found.vxlan?.port != wanted.port
                || found.vxlan?.local != wanted.local
        {
            logger.notice("\(name) is made anew: it was made for another address or tunnel")
            try netlink.deleteLink(name)
            link = nil
        }
        if link == nil {
            try netlink.addVXLAN(name, wanted, LinkOptions(mtu: mtu, mac: tunnel.mac, up: true))
            link = try netlink.requireLink(name)
        }
        guard let link else { return nil }
        if link.mac != tunnel.mac { try netlink.setLink(link.index, LinkOptions(mac: tunnel.mac)) }
        if link.mtu != mtu || !link.isUp { try netlink.setLink(link.index, LinkOptions(mtu: mtu, up: true)) }
        let addresses = try netlink.addresses(interface: link.index).filter { $0.address.family == .v4 }
        if !addresses.contains(where: { $0.address == CIDR(host: tunnel.address) }) {
            try netlink.ensureAddress(InterfaceAddress(interface: link.index, address: CIDR(host: tunnel.address)))
        }
        for address in addresses where address.address.address != tunnel.address { try netlink.deleteAddress(address) }
        let neighbours = Set(try netlink.neighbours(interface: link.index))
        let entries = Set(try netlink.forwardingEntries(interface: link.index))
        for peer in plan.peers {
            let neighbour = Neighbour(interface: link.index, address: peer.tunnelAddress, mac: peer.mac)
            if !neighbours.contains(neighbour) { try netlink.setNeighbour(neighbour) }
            if !entries.contains(where: { $0.mac == peer.mac && $0.address == peer.nodeAddress }) {
                for old in entries where old.mac == peer.mac { try netlink.deleteForwardingEntry(old) }
                try netlink.setForwardingEntry(
                    Neighbour(interface: link.index, address: peer.nodeAddress, mac: peer.mac, flags: .ownTable))
            }
        }
        return link.index
    }

    private func dropNeighbours(_ plan: NetworkPlan, _ tunnel: Int32) throws {
        let addresses = Set(plan.peers.map(\.tunnelAddress))
        let macs = Set(plan.peers.map(\.mac))
        for neighbour in try netlink.neighbours(interface: tunnel) where neighbour.state.contains(.permanent) {
            if let address = neighbour.address, !addresses.contains(address) { try netlink.deleteNeighbour(neighbour) }
        }
        for entry in try netlink.forwardingEntries(interface: tunnel) {
            if let mac = entry.mac, !macs.contains(mac), entry.address != nil {
                try netlink.deleteForwardingEntry(entry)
            }
        }
    }

    private func applyRoutes(_ plan: NetworkPlan, tunnel: Int32?, _ reported: inout Set<String>) throws {
        let links = Dictionary(
            try netlink.links().filter(\.isUp).map { ($0.name, $0.index) }, uniquingKeysWith: { first, _ in first })
        let actual = try netlink.routes(protocol: .calico)
        let current = Dictionary(actual.map { ($0.destination, $0) }, uniquingKeysWith: { first, _ in first })
        var wanted: [CIDR: Route] = [:]
        for planned in plan.routes {
            guard let route = route(planned, links, tunnel) else { continue }
            wanted[route.destination] = route
        }
        // Narrow routes first, so that a block's blackhole never swallows what was meant for a pod.
        for route in wanted.values.sorted(by: { $0.destination.prefixLength > $1.destination.prefixLength }) {
            if let found = current[route.destination] {
                if !Self.isSame(found, route) { try netlink.replaceRoute(route) }
                continue
            }
            if try !add(route), reported.insert("\(route.destination)").inserted {
                logger.error(
                    "a route to \(route.destination) that is not Catbird's is in the way, and stays: remove it for pods to be reached"
                )
            }
        }
        for route in actual where wanted[route.destination] == nil { try netlink.deleteRoute(route) }
    }

    /// False when a route to the same destination is there that is somebody else's. One of ours may have come in
    /// between: a pod that is being wired gets its route at once.
    private func add(_ route: Route) throws(Errno) -> Bool {
        do throws(Errno) {
            try netlink.addRoute(route)
            return true
        } catch {
            guard error.alreadyExists else { throw error }
            guard try netlink.routes(protocol: .calico).contains(where: { $0.destination == route.destination }) else {
                return false
            }
            try netlink.replaceRoute(route)
            return true
        }
    }

    private func route(_ planned: PlannedRoute, _ links: [String: Int32], _ tunnel: Int32?) -> Route? {
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
        case .blackhole:
            return Route(to: planned.destination, kind: .blackhole, protocol: .calico)
        }
    }

    private static func isSame(_ found: Route, _ wanted: Route) -> Bool {
        found.kind == wanted.kind && found.gateway == wanted.gateway
            && (wanted.interface == nil || found.interface == wanted.interface)
    }

    // MARK: nftables

    /// Makes table `ip catbird` what `content` says: the first time as a whole, in one transaction, then by what differs.
    public func apply(_ content: NFTContent) throws { try table.apply(content) }
}
