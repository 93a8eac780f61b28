// SPDX-License-Identifier: Apache-2.0

import Glibc
import KubeObjects
import Linux
import NetworkAgent
import NetworkModel
import Synchronization
import Testing
import Values

/// Two nodes with a pod each, wired by the dataplane alone: Felix's scenarios of tunnels, routes, spoofing and NAT.
private struct Fabric {
    let laboratory: Laboratory
    let nodes: [String: NodeNetwork]
    let pools: [IPPool]
    let blocks: [IPAMBlock]
    let dataplanes: [String: Dataplane]
    static let pods = [
        "a": ["10.244.0.5", "fd00::5"].compactMap { IPAddress($0) },
        "b": ["10.244.0.69", "fd00::45"].compactMap { IPAddress($0) },
    ]

    init(vxlan: EncapsulationMode) throws {
        let laboratory = try Laboratory()
        for name in ["a", "b", "pod-a", "pod-b"] { try laboratory.makeNamespace(name) }
        try laboratory.cable(("a", "eth0", "172.30.0.2/24"), ("b", "eth0", "172.30.0.3/24"))
        var nodes: [String: NodeNetwork] = [:]
        var dataplanes: [String: Dataplane] = [:]
        for (name, number) in [("a", 2), ("b", 3)] {
            let netlink = try NetlinkSocket(in: laboratory.namespace(name))
            let v6 = try #require(CIDR("fd01::\(number)/64"))
            try netlink.addAddress(
                InterfaceAddress(interface: try netlink.requireLink("eth0").index, address: v6, flags: 0x02))
            let mac = IPAMNames.vxlanMAC(node: name)
            nodes[name] = NodeNetwork(
                name: name,
                endpoints: [
                    .v4: .init(
                        address: try #require(CIDR("172.30.0.\(number)/24")),
                        tunnelAddress: IPAddress(10, 244, 0, UInt8((number - 2) * 64)), tunnelMAC: mac),
                    .v6: .init(
                        address: v6, tunnelAddress: IPAddress("fd00::\(number == 2 ? "1" : "41")"), tunnelMAC: mac),
                ])
            dataplanes[name] = try Dataplane(in: laboratory.namespace(name))
        }
        self.laboratory = laboratory
        self.nodes = nodes
        self.dataplanes = dataplanes
        pools = try ["10.244.0.0/16", "fd00::/64"].map {
            IPPool(name: $0, cidr: try #require(CIDR($0)), vxlanMode: vxlan, natOutgoing: true)
        }
        blocks = try [
            ("10.244.0.0/26", "a"), ("10.244.0.64/26", "b"), ("fd00::/122", "a"), ("fd00::40/122", "b"),
        ].map { IPAMBlock(try #require(CIDR($0.0)), node: $0.1, now: Timestamp(seconds: 0)) }
        for name in ["a", "b"] {
            let netns = try FileDescriptor.open(laboratory.path("pod-\(name)"))
            _ = try dataplane(name).connect(
                PodLink(hostInterface: "cali\(name)", podInterface: "eth0", handleID: "h.\(name)"),
                netns: netns.rawValue, addresses: Self.pods[name] ?? [], mtu: 1400)
        }
        for name in ["a", "b"] { try apply(name) }
    }

    func dataplane(_ name: String) throws -> Dataplane { try #require(dataplanes[name]) }

    func plan(
        _ name: String, floating: Set<FloatingAddress> = [], felix: FelixSettings = FelixSettings(),
        allowedSources: Set<AllowedSource> = []
    ) -> NetworkPlan {
        var input = NetworkInput(
            node: name, nodes: nodes, pools: pools, blocks: blocks,
            workloads: Dictionary(uniqueKeysWithValues: (Self.pods[name] ?? []).map { ($0, "cali\(name)") }),
            kernelHasIPIP: false, floating: floating)
        input.felix = felix
        input.allowedSources = allowedSources
        return NetworkPlan(input)
    }

    func apply(
        _ name: String, floating: Set<FloatingAddress> = [], felix: FelixSettings = FelixSettings(),
        allowedSources: Set<AllowedSource> = []
    ) throws {
        let plan = plan(name, floating: floating, felix: felix, allowedSources: allowedSources)
        try dataplane(name).apply(plan)
        for family in IPFamily.allCases {
            try dataplane(name).apply(NFTPlan.content(plan, [], family), family)
        }
    }

    func netlink(_ name: String) throws -> NetlinkSocket { try NetlinkSocket(in: laboratory.namespace(name)) }
}

@Suite(.serialized, .enabled(if: geteuid() == 0)) struct DataplaneRootTests {
    @Test(arguments: [EncapsulationMode.always, .crossSubnet, .never])
    func podsReachEachOtherInBothFamilies(_ mode: EncapsulationMode) async throws {
        let fabric = try Fabric(vxlan: mode)
        for address in ["10.244.0.69", "fd00::45"] {
            #expect(try await fabric.laboratory.ping(address, from: "pod-a"), "\(address)")
            #expect(try await fabric.laboratory.ping(address, from: "a"), "\(address)")
        }
        let netlink = try fabric.netlink("a")
        let tunnel = try netlink.requireLink("vxlan.calico")
        let route = try netlink.routes(protocol: .calico).first { $0.destination == CIDR("10.244.0.64/26") }
        #expect((route?.interface == tunnel.index) == (mode == .always))
        #expect(try netlink.requireLink("vxlan-v6.calico").mtu == 1430)
        #expect(tunnel.mtu == 1450)
        let blackholes = try netlink.routes(.v6, protocol: .calico).filter { $0.kind == .blackhole }
        #expect(blackholes.map(\.destination) == [CIDR("fd00::/122")])
    }

    @Test func spoofedSourcesAreDropped() async throws {
        let fabric = try Fabric(vxlan: .never)
        for (spoofed, target) in [("10.244.0.6/32", "172.30.0.3"), ("fd00::6/128", "fd01::3")] {
            let pod = try fabric.netlink("pod-a")
            let eth0 = try pod.requireLink("eth0").index
            let address = InterfaceAddress(interface: eth0, address: try #require(CIDR(spoofed)), flags: 0x02)
            try pod.addAddress(address)
            let source = address.address.address
            let output = try await fabric.laboratory.run(
                "/usr/bin/busybox", ["ping", "-c", "1", "-W", "1", "-I", "\(source)", target], in: "pod-a")
            #expect(!output.status.isSuccess)
            // With an address of its own the pod is let through.
            try pod.deleteAddress(address)
            #expect(try await fabric.laboratory.ping(target, from: "pod-a"), "\(target)")
        }
    }

    /// The annotation's networks are let through where FelixConfiguration allows it, and its flag works at once.
    @Test func sourcesThatFelixAllowsAreLetThrough() async throws {
        let fabric = try Fabric(vxlan: .never)
        let felix = FelixSettings(felixObject(["workloadSourceSpoofing": "Any"]))
        for (network, spoofed, target) in [
            ("10.99.0.0/24", "10.99.0.6/32", "172.30.0.3"), ("fd99::/64", "fd99::6/128", "fd01::3"),
        ] {
            let pod = try fabric.netlink("pod-a")
            let eth0 = try pod.requireLink("eth0").index
            let address = InterfaceAddress(interface: eth0, address: try #require(CIDR(spoofed)), flags: 0x02)
            try pod.addAddress(address)
            let source = address.address.address
            // The answers' way back is the user's to make.
            let next = source.family == .v4 ? IPAddress(172, 30, 0, 2) : IPAddress("fd01::2")
            try fabric.netlink("b").addRoute(Route(to: address.address, via: next, protocol: .static))
            func ping() async throws -> Bool {
                let output = try await fabric.laboratory.run(
                    "/usr/bin/busybox", ["ping", "-c", "1", "-W", "1", "-I", "\(source)", target], in: "pod-a")
                return output.status.isSuccess
            }
            let allowed = AllowedSource(interface: "calia", network: try #require(CIDR(network)))
            try fabric.apply("a", allowedSources: [allowed])
            #expect(!(try await ping()), "\(source) without Felix's leave")
            try fabric.apply("a", felix: felix, allowedSources: [allowed])
            let back = try fabric.netlink("a")
            let way = Route(to: address.address, interface: try back.requireLink("calia").index, protocol: .static)
            try back.addRoute(way)
            #expect(try await ping(), "\(source) with Felix's leave")
            try back.deleteRoute(way)
            try pod.deleteAddress(address)
        }
    }

    private func felixObject(_ spec: JSON) -> KubeObject {
        KubeObject(["kind": "FelixConfiguration", "metadata": ["name": "default"], "spec": spec])
    }

    /// Pods leave with the address and the ports that FelixConfiguration names, and keep their own towards nodes where it
    /// says so.
    @Test func outgoingNATFollowsFelix() async throws {
        let fabric = try Fabric(vxlan: .never)
        let laboratory = fabric.laboratory
        let netlink = try fabric.netlink("a")
        let eth0 = try netlink.requireLink("eth0").index
        try netlink.addAddress(InterfaceAddress(interface: eth0, address: try #require(CIDR("172.30.0.77/32"))))
        let listener = try Greeting.serve("b", port: 8080, in: laboratory.namespace("b"))
        defer { Greeting.stop(listener) }
        func seen() async throws -> String {
            try await Greeting.read("172.30.0.3", 8080, from: laboratory.namespace("pod-a"))
        }
        #expect(try await seen() == "b 172.30.0.2")
        try fabric.apply(
            "a",
            felix: FelixSettings(felixObject(["natOutgoingAddress": "172.30.0.77", "natPortRange": "40000:40010"])))
        #expect(try await seen() == "b 172.30.0.77")
        try fabric.apply("a", felix: FelixSettings(felixObject(["natOutgoingExclusions": "IPPoolsAndHostIPs"])))
        #expect(try await seen() == "b 10.244.0.5")
        try fabric.apply("a", felix: FelixSettings(felixObject(["natPortRange": 40000])))
        #expect(try await seen() == "b 172.30.0.2")
    }

    @Test func entriesOfTheTunnelComeBack() async throws {
        let fabric = try Fabric(vxlan: .always)
        let dataplane = try fabric.dataplane("a")
        let changes = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let watching = Task { try await dataplane.watch { changes.continuation.yield() } }
        defer { watching.cancel() }
        let keeping = Task { for await _ in changes.stream { try fabric.apply("a") } }
        defer { keeping.cancel() }
        let netlink = try fabric.netlink("a")
        for family in IPFamily.allCases {
            let tunnel = try netlink.requireLink(NetworkPlan.Tunnel.interface(family)).index
            let neighbour = try #require(
                try netlink.neighbours(family, interface: tunnel).first { $0.state.contains(.permanent) })
            try await fabric.laboratory.waitForChange(in: "a") {
                try netlink.deleteNeighbour(neighbour)
            } until: {
                try netlink.neighbours(family, interface: tunnel).contains {
                    $0.address == neighbour.address && $0.mac == neighbour.mac
                }
            }
            let entry = try #require(
                try netlink.forwardingEntries(interface: tunnel).first { $0.mac == neighbour.mac && $0.address != nil })
            try await fabric.laboratory.waitForChange(in: "a") {
                try netlink.deleteForwardingEntry(entry)
            } until: {
                try netlink.forwardingEntries(interface: tunnel).contains {
                    $0.mac == entry.mac && $0.address == entry.address
                }
            }
        }
        #expect(try await fabric.laboratory.ping("10.244.0.69", from: "pod-a"))
    }

    @Test func routesAndLinksThatSomebodyTookAwayComeBack() async throws {
        let fabric = try Fabric(vxlan: .always)
        let dataplane = try fabric.dataplane("a")
        let changes = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let watching = Task { try await dataplane.watch { changes.continuation.yield() } }
        defer { watching.cancel() }
        let keeping = Task { for await _ in changes.stream { try fabric.apply("a") } }
        defer { keeping.cancel() }
        let netlink = try fabric.netlink("a")
        for family in IPFamily.allCases {
            let destination = try #require(CIDR(family == .v4 ? "10.244.0.64/26" : "fd00::40/122"))
            let route = try #require(
                try netlink.routes(family, protocol: .calico).first { $0.destination == destination })
            try await fabric.laboratory.waitForChange(in: "a") {
                try netlink.deleteRoute(route)
            } until: {
                try netlink.routes(family, protocol: .calico).contains { $0.destination == destination }
            }
        }
        let index = try netlink.requireLink("vxlan.calico").index
        try await fabric.laboratory.waitForChange(in: "a") {
            try netlink.deleteLink("vxlan.calico")
        } until: {
            guard let link = try netlink.link("vxlan.calico"), link.index != index else { return false }
            return try netlink.routes(protocol: .calico).contains { $0.interface == link.index }
        }
        #expect(try await fabric.laboratory.ping("10.244.0.69", from: "pod-a"))
    }

    @Test func whatIsSomebodyElsesStays() async throws {
        let fabric = try Fabric(vxlan: .always)
        let netlink = try fabric.netlink("a")
        let eth0 = try netlink.requireLink("eth0").index
        let route = Route(to: try #require(CIDR("10.99.0.0/24")), via: IPAddress(172, 30, 0, 3), protocol: .static)
        let route6 = Route(to: try #require(CIDR("fd99::/64")), via: IPAddress("fd01::3"), protocol: .static)
        let rule = RoutingRule(priority: 1000, source: CIDR("10.99.0.0/24"), table: 254)
        let neighbour = Neighbour(
            interface: eth0, address: IPAddress(172, 30, 0, 9), mac: MACAddress("02:00:00:00:00:09"))
        try netlink.addVXLAN("other", VXLAN(id: 7, port: 4790), LinkOptions(up: true))
        let other = try netlink.requireLink("other").index
        let entry = Neighbour(
            interface: other, address: IPAddress(172, 30, 0, 9), mac: MACAddress("02:00:00:00:00:0a"), flags: .ownTable)
        try netlink.addRoute(route)
        try netlink.addRoute(route6)
        try netlink.addRule(rule)
        try netlink.setNeighbour(neighbour)
        try netlink.setForwardingEntry(entry)
        try Namespaces.inNamespaces(net: fabric.laboratory.namespace("a")) {
            var tables = try NFTables()
            try tables.run("add table ip foreign\nadd table ip6 foreign\n")
        }
        // An agent that starts anew, and then loses all its routes.
        let fresh = try Dataplane(in: fabric.laboratory.namespace("a"))
        let plan = fabric.plan("a")
        try fresh.apply(plan)
        for family in IPFamily.allCases { try fresh.apply(NFTPlan.content(plan, [], family), family) }
        try fresh.apply(NetworkPlan())
        for family in IPFamily.allCases { try fresh.apply(nil, family) }
        #expect(try netlink.routes(protocol: .calico).isEmpty)
        #expect(try netlink.routes(protocol: .static).map(\.destination) == [route.destination])
        #expect(try netlink.routes(.v6, protocol: .static).map(\.destination) == [route6.destination])
        #expect(try netlink.rules().contains { $0.priority == 1000 })
        #expect(try netlink.neighbours(interface: eth0).contains { $0.address == neighbour.address })
        #expect(try netlink.forwardingEntries(interface: other).contains { $0.mac == entry.mac })
        let names = try Namespaces.inNamespaces(net: fabric.laboratory.namespace("a")) {
            var tables = try NFTables()
            return try tables.tables().map { "\($0.family) \($0.name)" }.sorted()
        }
        #expect(names == ["ip foreign", "ip6 foreign"])
    }

    @Test func floatingAddressesLeadToTheirPod() async throws {
        let fabric = try Fabric(vxlan: .never)
        let floating = try [("172.30.9.9", "10.244.0.69"), ("fd09::9", "fd00::45")].map {
            let (external, pod) = (try #require(IPAddress($0.0)), try #require(IPAddress($0.1)))
            return try #require(FloatingAddress(external: external, pod: pod))
        }
        try fabric.apply("b", floating: Set(floating))
        // Nothing announces the address: a route is the user's to make.
        let netlink = try fabric.netlink("a")
        try netlink.addRoute(
            Route(to: try #require(CIDR("172.30.9.9/32")), via: IPAddress(172, 30, 0, 3), protocol: .static))
        try netlink.addRoute(
            Route(to: try #require(CIDR("fd09::9/128")), via: IPAddress("fd01::3"), protocol: .static))
        for address in ["172.30.9.9", "fd09::9"] {
            #expect(try await fabric.laboratory.ping(address, from: "a"), "\(address)")
            // The pod reaches itself by it.
            #expect(try await fabric.laboratory.ping(address, from: "pod-b"), "\(address)")
        }
    }
}

extension Laboratory {
    /// Makes a change and waits until it has been put right.
    func waitForChange(
        in name: String, _ change: () throws -> Void, until condition: @escaping @Sendable () throws -> Bool
    ) async throws {
        let monitor = try NetlinkMonitor([.links, .routes, .routes6, .neighbours], in: namespace(name))
        try change()
        if try condition() { return }
        for await _ in monitor.events where try condition() { return }
    }
}
