// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import NetworkAgent
import Testing
import Values

/// A pod's veth pair between two namespaces, wired without an API.
@Suite(.serialized, .enabled(if: geteuid() == 0)) struct PodLinkRootTests {
    private let laboratory: Laboratory
    private let dataplane: Dataplane
    private let addresses = ["10.244.0.5", "fd00::5"].compactMap { IPAddress($0) }

    init() throws {
        laboratory = try Laboratory()
        for name in ["node", "pod"] { try laboratory.makeNamespace(name) }
        let node = try NetlinkSocket(in: laboratory.namespace("node"))
        try node.addBridge("uplink", LinkOptions(up: true))
        let uplink = try node.requireLink("uplink").index
        for text in ["172.30.0.2/24", "fd01::2/64"] {
            try node.addAddress(InterfaceAddress(interface: uplink, address: try #require(CIDR(text)), flags: 0x02))
        }
        dataplane = try Dataplane(in: laboratory.namespace("node"))
    }

    private func link(_ handle: String = "h.1", mac: String? = nil, forwarding: Bool = false) -> PodLink {
        PodLink(
            hostInterface: "cali0123456789a", podInterface: "eth0", handleID: handle,
            mac: mac.flatMap { MACAddress($0) }, allowsForwarding: forwarding)
    }

    private func connect(_ link: PodLink) throws -> PodLink.Wired {
        let netns = try FileDescriptor.open(laboratory.path("pod"))
        return try dataplane.connect(link, netns: netns.rawValue, addresses: addresses, mtu: 1400)
    }

    private func problem(_ link: PodLink) throws -> String? {
        let netns = try FileDescriptor.open(laboratory.path("pod"))
        do {
            try dataplane.inspect(link, netns: netns.rawValue, addresses: addresses)
            return nil
        } catch let problem as PodLinkProblem {
            return problem.description
        }
    }

    private func sysctl(_ name: String, _ value: String? = nil, in space: String) throws -> String {
        try Namespaces.inNamespaces(net: laboratory.namespace(space)) {
            if let value { try Sysctl.write(name, value) }
            return try Sysctl.read(name)
        }
    }

    @Test func bothFamiliesWorkAtOnce() async throws {
        let wired = try connect(link(mac: "02:00:00:00:00:07"))
        #expect(wired.mtu == 1400)
        #expect(wired.mac == MACAddress("02:00:00:00:00:07"))
        // No address waits for duplicate address detection.
        let pod = try NetlinkSocket(in: laboratory.namespace("pod"))
        let eth0 = try pod.requireLink("eth0").index
        let held = try pod.addresses(interface: eth0).filter { $0.scope == .universe }
        #expect(held.count == 2 && held.allSatisfy { $0.flags & 0x40 == 0 })
        // Nor does the gateway's, without which the node cannot ask for the pod.
        let node = try NetlinkSocket(in: laboratory.namespace("node"))
        let ours = try node.addresses(interface: try node.requireLink("cali0123456789a").index)
        #expect(ours.count == 1 && ours.allSatisfy { $0.flags & 0x40 == 0 }, "\(ours)")
        #expect(try await laboratory.ping("172.30.0.2", from: "pod"))
        #expect(try await laboratory.ping("fd01::2", from: "pod"))
        #expect(try await laboratory.ping("10.244.0.5", from: "node"))
        #expect(try await laboratory.ping("fd00::5", from: "node"))
        #expect(try problem(link(mac: "02:00:00:00:00:07")) == nil)
        #expect(try sysctl("net/ipv4/ip_forward", in: "pod") == "0")
    }

    @Test func forwardingOnRequest() throws {
        _ = try connect(link(forwarding: true))
        #expect(try sysctl("net/ipv4/ip_forward", in: "pod") == "1")
        #expect(try sysctl("net/ipv6/conf/all/forwarding", in: "pod") == "1")
    }

    @Test func inspectionNamesWhatIsMissing() throws {
        let wired = link()
        _ = try connect(wired)
        #expect(try problem(link("h.2"))?.contains("belongs to another sandbox (h.1)") == true)
        #expect(try problem(link(mac: "02:00:00:00:00:09"))?.contains("not 02:00:00:00:00:09") == true)

        _ = try sysctl("net/ipv4/conf/cali0123456789a/proxy_arp", "0", in: "node")
        #expect(try problem(wired)?.contains("proxy_arp is 0, and has to be 1") == true)
        // A repeated ADD puts everything right, without a new link.
        let index = try NetlinkSocket(in: laboratory.namespace("node")).requireLink("cali0123456789a").index
        _ = try connect(wired)
        #expect(try problem(wired) == nil)
        let node = try NetlinkSocket(in: laboratory.namespace("node"))
        #expect(try node.requireLink("cali0123456789a").index == index)

        let route = Route(to: try #require(CIDR("fd00::5/128")), interface: index, protocol: .calico)
        try node.deleteRoute(route)
        #expect(try problem(wired)?.contains("no route to fd00::5") == true)
        _ = try connect(wired)

        let pod = try NetlinkSocket(in: laboratory.namespace("pod"))
        let eth0 = try pod.requireLink("eth0").index
        try pod.deleteAddress(InterfaceAddress(interface: eth0, address: try #require(CIDR("10.244.0.5/32"))))
        #expect(try problem(wired)?.contains("has not the address 10.244.0.5") == true)
        _ = try connect(wired)

        try pod.setLink(try pod.requireLink("eth0").index, LinkOptions(up: false))
        #expect(try problem(wired)?.contains("eth0 of the sandbox is down") == true)
        try dataplane.disconnect(wired, addresses: addresses)
        #expect(try problem(wired)?.contains("the node has no interface cali0123456789a") == true)
    }

    /// `existing route tolerated`, and one that is somebody else's named instead of overwritten.
    @Test func aForeignRouteIsNamedAndStays() throws {
        let node = try NetlinkSocket(in: laboratory.namespace("node"))
        let foreign = Route(
            to: try #require(CIDR("10.244.0.5/32")), interface: try node.requireLink("uplink").index, protocol: .static)
        try node.addRoute(foreign)
        #expect(throws: PodLinkProblem.self) { try connect(link()) }
        #expect(try node.routes(protocol: .static).map(\.destination) == [foreign.destination])
        #expect(try node.link("cali0123456789a") == nil)
    }
}
