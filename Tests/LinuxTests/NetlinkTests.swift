// SPDX-License-Identifier: Apache-2.0
import Glibc
import Linux
import Testing
import Values

@Suite(.enabled(if: geteuid() == 0)) struct NetlinkTests {
    /// Runs `body` in a new network namespace of its own, with loopback up.
    private func inside(_ body: @escaping @Sendable (NetlinkSocket) throws -> Void) throws {
        try Namespaces.inNew([.net]) {
            let socket = try NetlinkSocket()
            try socket.setUp("lo")
            try body(socket)
        }
    }

    private static func cidr(_ text: String) throws -> CIDR { try #require(CIDR(text)) }
    private static func ip(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

    @Test func linksAreMadeChangedAndRemoved() throws {
        try inside { socket in
            let mac = try #require(MACAddress("02:00:00:00:00:07"))
            try socket.addVeth(
                "left", LinkOptions(mtu: 1400, mac: mac), peer: "right", peerOptions: LinkOptions(up: true))
            try socket.addBridge("bridge", LinkOptions(up: true))
            let bridge = try #require(try socket.link("bridge"))
            #expect(bridge.kind == "bridge" && bridge.isUp)
            var left = try #require(try socket.link("left"))
            #expect(left.kind == "veth" && left.mtu == 1400 && left.mac == mac && !left.isUp)
            try socket.setLink(
                left.index, LinkOptions(master: bridge.index, up: true, alias: "a port", name: "renamed"))
            left = try #require(try socket.link(index: left.index))
            #expect(left.name == "renamed" && left.master == bridge.index && left.alias == "a port" && left.isUp)
            try socket.setBridgePort(left.index, hairpin: true)
            #expect(try Files.text("/proc/thread-self/net/dev").contains("renamed"))
            try socket.clearMaster(left.index)
            #expect(try socket.link("renamed")?.master == nil)
            #expect(try socket.deleteLink("renamed"))
            #expect(try !socket.deleteLink("renamed"))
            #expect(try socket.link("right") == nil)
            #expect(Set(try socket.links().map(\.name)).isSuperset(of: ["lo", "bridge"]))
        }
    }

    @Test func vethSpansNamespaces() throws {
        let folder = try TemporaryFolder()
        let pinned = "\(folder.path)/net"
        try Namespaces.createPinned([.net: pinned])
        defer { try? Namespaces.unpin(pinned) }
        try inside { socket in
            try socket.addVeth(
                "outer", LinkOptions(up: true), peer: "eth0",
                peerOptions: LinkOptions(up: true, namespace: .path(pinned)))
            let other = try NetlinkSocket(in: .path(pinned))
            let inner = try other.requireLink("eth0")
            #expect(inner.isUp && inner.peerNamespaceID != nil)
            #expect(try socket.link("eth0") == nil)
        }
    }

    @Test func kernelsWordsAreInTheError() throws {
        try inside { socket in
            let error = #expect(throws: Errno.self) {
                try socket.addRoute(Route(to: Self.cidr("10.1.0.0/16"), via: Self.ip("10.9.9.9")))
            }
            #expect(error?.code == ENETUNREACH)
            #expect(error?.detail.contains("Nexthop has invalid gateway") == true)
            let duplicate = #expect(throws: Errno.self) {
                try socket.addBridge("one")
                try socket.addBridge("one")
            }
            #expect(duplicate?.alreadyExists == true)
            #expect(throws: Errno.self) { try socket.addBridge("a name that is too long") }
            #expect(throws: Errno.self) { _ = try socket.requireLink("absent") }
        }
    }

    @Test func vxlanWithForwarding() throws {
        try inside { socket in
            let local = try Self.ip("10.0.0.1")
            try socket.addBridge("under", LinkOptions(up: true))
            let under = try socket.requireLink("under").index
            try socket.addAddress(InterfaceAddress(interface: under, address: Self.cidr("10.0.0.1/24")))
            try socket.addVXLAN(
                "vxlan.test", VXLAN(id: 4096, port: 4789, local: local, device: under), LinkOptions(mtu: 1350, up: true)
            )
            let tunnel = try socket.requireLink("vxlan.test")
            #expect(tunnel.vxlan == VXLAN(id: 4096, port: 4789, local: local, device: under))
            let mac = try #require(MACAddress("66:00:00:00:00:01"))
            let entry = Neighbour(interface: tunnel.index, address: try Self.ip("10.0.0.2"), mac: mac)
            try socket.setForwardingEntry(entry)
            try socket.setForwardingEntry(entry)
            let found = try socket.forwardingEntries(interface: tunnel.index).filter { $0.mac == mac }
            #expect(found.map(\.address) == [entry.address])
            try socket.deleteForwardingEntry(entry)
            try socket.deleteForwardingEntry(entry)
            #expect(try socket.forwardingEntries(interface: tunnel.index).allSatisfy { $0.mac != mac })
            let neighbour = Neighbour(interface: tunnel.index, address: try Self.ip("10.244.1.0"), mac: mac)
            try socket.setNeighbour(neighbour)
            #expect(try socket.neighbours(interface: tunnel.index).contains(neighbour))
            try socket.addRoute(
                Route(
                    to: Self.cidr("10.244.1.0/26"), via: Self.ip("10.244.1.0"), interface: tunnel.index,
                    protocol: .calico, onlink: true))
            let routes = try socket.routes(protocol: .calico)
            #expect(routes.count == 1 && routes[0].onlink && routes[0].gateway == neighbour.address)
            try socket.deleteNeighbour(neighbour)
            try socket.deleteNeighbour(neighbour)
        }
    }

    @Test func routesOfAllKinds() throws {
        try inside { socket in
            try socket.addBridge("d", LinkOptions(up: true))
            let index = try socket.requireLink("d").index
            let address = InterfaceAddress(interface: index, address: try Self.cidr("192.0.2.1/24"))
            try socket.addAddress(address)
            try socket.ensureAddress(address)
            #expect(try socket.addresses(interface: index).contains { $0.address == address.address })
            let hole = Route(to: try Self.cidr("10.244.0.64/26"), kind: .blackhole, protocol: .calico)
            try socket.replaceRoute(hole)
            try socket.replaceRoute(hole)
            let pod = Route(to: try Self.cidr("10.244.0.65/32"), interface: index, protocol: .calico)
            try socket.addRoute(pod)
            try socket.addRoute(Route(to: Self.cidr("0.0.0.0/0"), via: Self.ip("192.0.2.2"), mtu: 1300))
            try socket.addRoute(Route(to: Self.cidr("10.7.0.0/16"), via: Self.ip("192.0.2.3"), table: 1000))
            let main = try socket.routes()
            #expect(main.contains(hole) && main.contains(pod))
            #expect(main.first { $0.destination.prefixLength == 0 }?.mtu == 1300)
            #expect(try socket.routes(table: 1000).map(\.gateway) == [Self.ip("192.0.2.3")])
            #expect(try socket.routes(table: 4242).isEmpty)
            #expect(try socket.routes(protocol: .calico).count == 2)
            #expect(try socket.route(to: Self.ip("10.244.0.65"))?.interface == index)
            #expect(try socket.route(to: Self.ip("10.244.0.66")) == nil)
            #expect(try socket.deleteRoute(hole))
            #expect(try !socket.deleteRoute(hole))
            try socket.deleteAddress(address)
            try socket.deleteAddress(address)
            let rule = RoutingRule(priority: 99, source: try Self.cidr("10.244.0.0/16"), table: 1000)
            try socket.addRule(rule)
            #expect(try socket.rules().contains(rule))
            try socket.deleteRule(rule)
            try socket.deleteRule(rule)
            #expect(try !socket.rules().contains(rule))
        }
    }

    @Test func manyRoutesAreListedWhole() throws {
        try inside { socket in
            for index in 0..<2000 {
                let address = try #require(try Self.ip("10.0.0.0").advanced(by: UInt128(index)))
                try socket.addRoute(Route(to: CIDR(host: address), kind: .blackhole, protocol: .calico))
            }
            #expect(try socket.routes(protocol: .calico).count == 2000)
        }
    }

    @Test func monitorTells() async throws {
        let folder = try TemporaryFolder()
        let pinned = "\(folder.path)/net"
        try Namespaces.createPinned([.net: pinned])
        defer { try? Namespaces.unpin(pinned) }
        let monitor = try NetlinkMonitor([.links, .routes], in: .path(pinned))
        let socket = try NetlinkSocket(in: .path(pinned))
        try socket.addBridge("seen", LinkOptions(up: true))
        try socket.addRoute(Route(to: Self.cidr("10.3.0.0/16"), kind: .blackhole))
        try socket.deleteLink("seen")
        var names: Set<String> = []
        var routed = false
        var removed = false
        for await batch in monitor.events {
            for event in batch {
                switch event {
                case .link(let link): names.insert(link.name)
                case .linkRemoved(let link): removed = removed || link.name == "seen"
                case .route(let route): routed = routed || route.kind == .blackhole
                default: break
                }
            }
            if removed, routed { break }
        }
        #expect(names.contains("seen"))
    }

    @Test func brokenMessagesEndTheList() {
        #expect(NetlinkReply.parse([]).isEmpty)
        #expect(NetlinkReply.parse([255, 255, 0, 0] + [UInt8](repeating: 0, count: 12)).isEmpty)
        var message = NetlinkMessage(type: 16, flags: 1)
        message.attribute(3, string: "abc")
        message.nested(18) { $0.attribute(1, number: UInt32(7)) }
        let bytes = message.finished(sequence: 9)
        let reply = NetlinkReply.parse(bytes)
        #expect(reply.count == 1 && reply[0].sequence == 9)
        let attributes = reply[0].attributes(after: 0)
        #expect(attributes.string(3) == "abc")
        #expect(attributes.nested(18)?.number(1, as: UInt32.self) == 7)
        for cut in 0..<bytes.count { _ = NetlinkReply.parse(Array(bytes.prefix(cut))) }
        #expect(NetlinkAttributes([3, 0, 1, 0]).list.isEmpty)
        #expect(NetlinkAttributes([200, 0, 1, 0, 5]).list.isEmpty)
        #expect(attributes.number(3, as: UInt64.self) == nil)
    }
}
