// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Linux
import NetworkModel
import Values

/// The veth pair of one sandbox: Calico's addressing, in which the pod has a /32, its gateway 169.254.1.1 is nowhere,
/// and the host's end answers for it by proxy ARP.
struct PodLink: Sendable {
    static let gateway = IPAddress(169, 254, 1, 1)
    static let hostMAC = MACAddress("ee:ee:ee:ee:ee:ee")

    let hostInterface: String
    let podInterface: String
    /// Written as the host interface's alias: tells this sandbox's link from an earlier one of the same pod.
    let handleID: String

    struct Wired: Sendable {
        let mac: MACAddress?
        let mtu: Int
    }

    /// Makes the pair, or finds it made. Runs in the node's network namespace, on a thread of its own.
    func connect(netns: Int32, address: IPAddress, mtu: Int, host: NetlinkSocket) throws -> Wired {
        if let existing = try host.link(hostInterface) {
            if existing.alias == handleID, let wired = try? inspect(netns: netns, address: address) {
                try addRoute(to: address, existing.index, host)
                return wired
            }
            // Left over from an earlier sandbox of the pod, or half made.
            try host.deleteLink(hostInterface)
        }
        try host.addVeth(
            hostInterface, LinkOptions(mtu: mtu, mac: Self.hostMAC, up: true), peer: podInterface,
            peerOptions: LinkOptions(mtu: mtu, namespace: .fd(netns)))
        do {
            let link = try host.requireLink(hostInterface)
            try host.setLink(link.index, LinkOptions(alias: handleID))
            for (name, value) in [
                ("neigh/\(hostInterface)/proxy_delay", "0"), ("conf/\(hostInterface)/proxy_arp", "1"),
                ("conf/\(hostInterface)/forwarding", "1"), ("conf/\(hostInterface)/route_localnet", "1"),
            ] {
                try Sysctl.write("net/ipv4/\(name)", value)
            }
            let wired = try configurePod(netns: netns, address: address)
            try addRoute(to: address, link.index, host)
            return wired
        } catch {
            _ = try? host.deleteLink(hostInterface)
            throw error
        }
    }

    private func addRoute(to address: IPAddress, _ interface: Int32, _ host: NetlinkSocket) throws {
        try host.replaceRoute(Route(to: CIDR(host: address), interface: interface, scope: .link, protocol: .calico))
    }

    private func configurePod(netns: Int32, address: IPAddress) throws -> Wired {
        let podInterface = podInterface
        return try Namespaces.inNamespaces(net: .fd(netns)) {
            let pod = try NetlinkSocket()
            if let loopback = try pod.link("lo"), !loopback.isUp {
                try pod.setLink(loopback.index, LinkOptions(up: true))
            }
            let link = try pod.requireLink(podInterface)
            try Sysctl.write("net/ipv4/ip_forward", "0")
            try pod.setLink(link.index, LinkOptions(up: true))
            try pod.ensureAddress(InterfaceAddress(interface: link.index, address: CIDR(host: address)))
            try pod.replaceRoute(Route(to: CIDR(host: Self.gateway), interface: link.index, scope: .link))
            // Known beforehand: the first packet need not ask, and a node without a default route, whose proxy ARP stays
            // silent, is a gateway as well.
            try pod.setNeighbour(Neighbour(interface: link.index, address: Self.gateway, mac: Self.hostMAC))
            if let everything = CIDR("0.0.0.0/0") {
                try pod.replaceRoute(Route(to: everything, via: Self.gateway, interface: link.index))
            }
            return Wired(mac: link.mac, mtu: link.mtu)
        }
    }

    /// Looks whether the pod has what `connect` gave it; the error names what is missing.
    func inspect(netns: Int32, address: IPAddress) throws -> Wired {
        let podInterface = podInterface
        return try Namespaces.inNamespaces(net: .fd(netns)) {
            let pod = try NetlinkSocket()
            guard let link = try pod.link(podInterface) else {
                throw PodLinkProblem(description: "the sandbox has no interface \(podInterface)")
            }
            guard link.isUp else { throw PodLinkProblem(description: "\(podInterface) of the sandbox is down") }
            guard try pod.addresses(interface: link.index).contains(where: { $0.address.address == address }) else {
                throw PodLinkProblem(description: "\(podInterface) of the sandbox has not the address \(address)")
            }
            guard try pod.routes().contains(where: { $0.destination.prefixLength == 0 && $0.gateway == Self.gateway })
            else { throw PodLinkProblem(description: "the sandbox has no default route via \(Self.gateway)") }
            return Wired(mac: link.mac, mtu: link.mtu)
        }
    }

    /// Looks at the host's side.
    func inspectHost(address: IPAddress, host: NetlinkSocket) throws {
        guard let link = try host.link(hostInterface) else {
            throw PodLinkProblem(description: "the node has no interface \(hostInterface)")
        }
        guard link.alias == handleID else {
            throw PodLinkProblem(
                description: "\(hostInterface) belongs to another sandbox (\(link.alias ?? "no alias"))")
        }
        let routes = try host.routes(protocol: .calico)
        guard routes.contains(where: { $0.destination == CIDR(host: address) && $0.interface == link.index }) else {
            throw PodLinkProblem(description: "the node has no route to \(address) through \(hostInterface)")
        }
    }

    /// Removes the pair if it is this sandbox's. Not there is no error.
    func disconnect(host: NetlinkSocket) throws {
        guard let link = try host.link(hostInterface), link.alias == handleID || link.alias == nil else { return }
        try host.deleteLink(index: link.index)
    }
}

struct PodLinkProblem: Error, Sendable, CustomStringConvertible {
    let description: String
}
