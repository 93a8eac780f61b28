// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Linux
import NetworkModel
public import Values

/// The veth pair of one sandbox: Calico's addressing, in which the pod has a /32 and a /128. Its IPv4 gateway
/// 169.254.1.1 is nowhere, and the host's end answers for it by proxy ARP; its IPv6 gateway is the host end's link-local
/// address, which follows from that end's fixed MAC and so need not be waited for.
public struct PodLink: Sendable {
    /// The MAC of every host end.
    public static let hostMAC = MACAddress("ee:ee:ee:ee:ee:ee")
    /// `IFA_F_NODAD`: the address works at once, since nobody else can have it.
    static let withoutDetection: UInt32 = 0x02

    public let hostInterface: String
    public let podInterface: String
    /// Written as the host interface's alias: tells this sandbox's link from an earlier one of the same pod.
    public let handleID: String
    /// The pod's MAC (annotation `hwAddr`); nil leaves it to the kernel.
    public var mac: MACAddress?
    /// Whether the pod may forward packets (`container_settings.allow_ip_forwarding`).
    public var allowsForwarding: Bool
    /// Whom the host's routes to the sandbox belong to.
    var routeProtocol = RouteProtocol.calico

    public init(
        hostInterface: String, podInterface: String, handleID: String, mac: MACAddress? = nil,
        allowsForwarding: Bool = false
    ) {
        self.hostInterface = hostInterface
        self.podInterface = podInterface
        self.handleID = handleID
        self.mac = mac
        self.allowsForwarding = allowsForwarding
    }

    /// The pod's end as it is.
    public struct Wired: Sendable {
        public let mac: MACAddress?
        public let mtu: Int
    }

    /// What the pod sends everything to.
    public static func gateway(_ family: IPFamily) -> IPAddress {
        switch family {
        case .v4: IPAddress(169, 254, 1, 1)
        // fe80::ecee:eeff:feee:eeee
        case .v6: IPAddress(.v6, 0xfe80_0000_0000_0000_ecee_eeff_feee_eeee)
        }
    }

    /// Makes the pair, or finds it made. Runs in the node's network namespace, on a thread of its own.
    func connect(netns: Int32, addresses: [IPAddress], mtu: Int, host: NetlinkSocket) throws -> Wired {
        try refuseOwnNamespace(netns)
        if let existing = try host.link(hostInterface) {
            if existing.alias == handleID, let wired = try? inspect(netns: netns, addresses: addresses) {
                try configureHost(addresses, existing.index, host)
                return wired
            }
            // Left over from an earlier sandbox of the pod, or half made.
            try host.deleteLink(hostInterface)
        }
        do throws(Errno) {
            try host.addVeth(
                hostInterface, LinkOptions(mtu: mtu, mac: Self.hostMAC), peer: podInterface,
                peerOptions: LinkOptions(mtu: mtu, mac: mac, namespace: .fd(netns)))
        } catch {
            guard error.alreadyExists else { throw error }
            throw PodLinkProblem(
                description:
                    "the sandbox has an interface \(podInterface) already, which another plugin or an earlier run made: remove the container and start it again"
            )
        }
        do {
            let link = try host.requireLink(hostInterface)
            try host.setLink(link.index, LinkOptions(alias: handleID))
            let wired = try configurePod(netns: netns, addresses)
            try configureHost(addresses, link.index, host)
            return wired
        } catch {
            _ = try? host.deleteLink(hostInterface)
            throw error
        }
    }

    /// Puts back what somebody else took away: the pair where it is gone, else what is missing at its ends.
    func restore(netns: Int32, addresses: [IPAddress], mtu: Int, host: NetlinkSocket) throws {
        if let existing = try host.link(hostInterface), existing.alias == handleID {
            _ = try configurePod(netns: netns, addresses)
            try configureHost(addresses, existing.index, host)
        } else {
            _ = try connect(netns: netns, addresses: addresses, mtu: mtu, host: host)
        }
    }

    /// A sandbox that is the node itself would lose the node's own forwarding and default route.
    private func refuseOwnNamespace(_ netns: Int32) throws {
        let sandbox = try NamespaceRef.fd(netns).identity(.net)
        let node = try NamespaceRef.path("/proc/thread-self/ns/net").identity(.net)
        guard sandbox.device == node.device else {
            throw PodLinkProblem(description: "CNI_NETNS is a file that is no namespace")
        }
        guard sandbox != node else {
            throw PodLinkProblem(
                description: "CNI_NETNS is the node's own network namespace: a sandbox needs one of its own")
        }
    }

    // MARK: The host's side

    /// The settings of the host's end, by family.
    private func hostSettings(_ family: IPFamily) -> [(name: String, value: String)] {
        switch family {
        case .v4:
            [
                ("net/ipv4/neigh/\(hostInterface)/proxy_delay", "0"),
                ("net/ipv4/conf/\(hostInterface)/proxy_arp", "1"),
                ("net/ipv4/conf/\(hostInterface)/forwarding", "1"),
                ("net/ipv4/conf/\(hostInterface)/route_localnet", "1"),
            ]
        case .v6:
            [
                ("net/ipv6/conf/\(hostInterface)/disable_ipv6", "0"),
                ("net/ipv6/conf/\(hostInterface)/accept_dad", "0"),
                ("net/ipv6/conf/\(hostInterface)/accept_ra", "0"),
                ("net/ipv6/conf/\(hostInterface)/proxy_ndp", "1"),
                ("net/ipv6/conf/\(hostInterface)/forwarding", "1"),
            ]
        }
    }

    private func families(_ addresses: [IPAddress]) -> [IPFamily] {
        IPFamily.allCases.filter { family in addresses.contains { $0.family == family } }
    }

    private func configureHost(_ addresses: [IPAddress], _ interface: Int32, _ host: NetlinkSocket) throws {
        for family in families(addresses) {
            for (name, value) in hostSettings(family) { try Sysctl.write(name, value) }
        }
        // Only now: the link-local address that the kernel makes when the link comes up is the gateway's own, and a
        // second of duplicate address detection would keep the node from asking for the pod.
        try host.setLink(interface, LinkOptions(up: true))
        if families(addresses).contains(.v6) {
            // A host interface forwards only where the node does.
            try Sysctl.write("net/ipv6/conf/all/forwarding", "1")
            if let gateway = CIDR(Self.gateway(.v6), 64) {
                try host.ensureAddress(
                    InterfaceAddress(
                        interface: interface, address: gateway, scope: .link, flags: Self.withoutDetection))
            }
        }
        for address in addresses {
            let route = Route(to: CIDR(host: address), interface: interface, scope: .link, protocol: routeProtocol)
            if case .held(let holder) = try host.claim(route) {
                throw PodLinkProblem(
                    description:
                        "the node has a route \(holder) that is not Catbird's: remove it, so that \(address) can be reached"
                )
            }
        }
    }

    /// Looks at the host's side: the link, its settings and the routes to the pod. Runs in the node's namespace.
    func inspectHost(addresses: [IPAddress], host: NetlinkSocket) throws {
        guard let link = try host.link(hostInterface) else {
            throw PodLinkProblem(description: "the node has no interface \(hostInterface)")
        }
        guard link.alias == handleID else {
            throw PodLinkProblem(
                description: "\(hostInterface) belongs to another sandbox (\(link.alias ?? "no alias"))")
        }
        guard link.isUp else { throw PodLinkProblem(description: "\(hostInterface) of the node is down") }
        for family in families(addresses) {
            for (name, value) in hostSettings(family) {
                let found = try Sysctl.read(name)
                guard found == value else {
                    throw PodLinkProblem(
                        description: "the node's setting \(name) is \(found), and has to be \(value)")
                }
            }
            let routes = try host.routes(family, protocol: routeProtocol)
            for address in addresses where address.family == family {
                guard routes.contains(where: { $0.destination == CIDR(host: address) && $0.interface == link.index })
                else {
                    throw PodLinkProblem(description: "the node has no route to \(address) through \(hostInterface)")
                }
            }
        }
    }

    /// Removes the pair if it is this sandbox's. Not there is no error.
    ///
    /// - Returns: false when it belongs to another sandbox, and stays.
    func disconnect(host: NetlinkSocket) throws -> Bool {
        guard let link = try host.link(hostInterface) else { return true }
        guard link.alias == handleID || link.alias == nil else { return false }
        try host.deleteLink(index: link.index)
        return true
    }

    // MARK: The pod's side

    private func configurePod(netns: Int32, _ addresses: [IPAddress]) throws -> Wired {
        try Namespaces.inNamespaces(net: .fd(netns)) {
            let pod = try NetlinkSocket()
            if let loopback = try pod.link("lo"), !loopback.isUp {
                try pod.setLink(loopback.index, LinkOptions(up: true))
            }
            let link = try pod.requireLink(podInterface)
            let families = families(addresses)
            for family in families { try writePodSettings(family) }
            try pod.setLink(link.index, LinkOptions(up: true))
            for address in addresses {
                try pod.ensureAddress(
                    InterfaceAddress(
                        interface: link.index, address: CIDR(host: address),
                        flags: address.family == .v6 ? Self.withoutDetection : 0))
            }
            for family in families { try route(family, link.index, pod) }
            return Wired(mac: link.mac, mtu: link.mtu)
        }
    }

    private func writePodSettings(_ family: IPFamily) throws {
        let forwarding = allowsForwarding ? "1" : "0"
        switch family {
        case .v4: try Sysctl.write("net/ipv4/ip_forward", forwarding)
        case .v6:
            guard Sysctl.exists("net/ipv6/conf/all/disable_ipv6") else {
                throw PodLinkProblem(
                    description: "this kernel has no IPv6: take the IPv6 pools away, or boot without ipv6.disable=1")
            }
            for name in ["all", "default", "lo", podInterface] {
                try Sysctl.write("net/ipv6/conf/\(name)/disable_ipv6", "0")
            }
            try Sysctl.write("net/ipv6/conf/\(podInterface)/accept_dad", "0")
            try Sysctl.write("net/ipv6/conf/all/forwarding", forwarding)
        }
    }

    private func route(_ family: IPFamily, _ interface: Int32, _ pod: NetlinkSocket) throws {
        let gateway = Self.gateway(family)
        if family == .v4 {
            try pod.replaceRoute(Route(to: CIDR(host: gateway), interface: interface, scope: .link))
        }
        // Known beforehand: the first packet need not ask, and a node without a default route, whose proxy ARP stays
        // silent, is a gateway as well.
        try pod.setNeighbour(Neighbour(interface: interface, address: gateway, mac: Self.hostMAC))
        // A further network leaves the first one's default route alone.
        let isTaken = try pod.routes(family).contains {
            $0.destination.prefixLength == 0 && $0.interface != interface && $0.kind == .unicast
        }
        if !isTaken, let everything = CIDR(IPAddress(family, 0), 0) {
            try pod.replaceRoute(Route(to: everything, via: gateway, interface: interface))
        }
    }

    /// Looks whether the pod has what `connect` gave it; the error names what is missing.
    func inspect(netns: Int32, addresses: [IPAddress]) throws -> Wired {
        try Namespaces.inNamespaces(net: .fd(netns)) {
            let pod = try NetlinkSocket()
            guard let link = try pod.link(podInterface) else {
                throw PodLinkProblem(description: "the sandbox has no interface \(podInterface)")
            }
            guard link.isUp else { throw PodLinkProblem(description: "\(podInterface) of the sandbox is down") }
            if let mac, link.mac != mac {
                throw PodLinkProblem(
                    description:
                        "\(podInterface) of the sandbox has MAC \(link.mac.map { "\($0)" } ?? "none"), not \(mac)")
            }
            let held = Set(try pod.addresses(interface: link.index).map(\.address.address))
            for address in addresses where !held.contains(address) {
                throw PodLinkProblem(description: "\(podInterface) of the sandbox has not the address \(address)")
            }
            for family in families(addresses) {
                let gateway = Self.gateway(family)
                guard
                    try pod.routes(family).contains(where: {
                        $0.destination.prefixLength == 0 && $0.kind == .unicast
                            && ($0.gateway == gateway || $0.interface != link.index)
                    })
                else { throw PodLinkProblem(description: "the sandbox has no default route via \(gateway)") }
                if family == .v6 {
                    let name = "net/ipv6/conf/\(podInterface)/disable_ipv6"
                    guard try Sysctl.read(name) == "0" else {
                        throw PodLinkProblem(description: "the sandbox's setting \(name) is not 0: it has no IPv6")
                    }
                }
            }
            return Wired(mac: link.mac, mtu: link.mtu)
        }
    }
}

/// What a sandbox's link lacks, or what is in its way.
public struct PodLinkProblem: Error, Sendable, CustomStringConvertible {
    public let description: String
}

/// What came of wanting a route.
enum RouteClaim {
    /// It was missing, or another.
    case written
    case present
    case held(by: Route)
}

extension NetlinkSocket {
    /// Makes a route of Catbird's what it should be. What somebody else keeps to the same destination stays.
    func claim(_ route: Route) throws(Errno) -> RouteClaim {
        do throws(Errno) {
            try addRoute(route)
            return .written
        } catch {
            guard error.alreadyExists else { throw error }
            let present = try routes(route.destination.family).filter { $0.destination == route.destination }
            if let holder = present.first(where: { $0.protocol == route.protocol }) {
                if RouteTable.isSame(holder, route) { return .present }
                try replaceRoute(route)
                return .written
            }
            return .held(by: present.first ?? route)
        }
    }
}
