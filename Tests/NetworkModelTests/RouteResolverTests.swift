// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Testing
import Values

/// The scenarios of Felix's route resolver and of its managers of routes: what a node needs for which blocks.
@Suite struct RouteResolverTests {
    private struct Cluster {
        var nodes: [String: NodeNetwork] = [:]
        var pools: [IPPool] = []
        var blocks: [IPAMBlock] = []

        init() throws {
            for (name, v4, v6, ordinal) in [
                ("a", "192.168.49.2/24", "fd01::2/64", 0), ("b", "192.168.49.3/24", "fd01::3/64", 1),
                ("c", "192.168.50.2/24", "fd02::2/64", 2),
            ] {
                let mac = IPAMNames.vxlanMAC(node: name)
                nodes[name] = NodeNetwork(
                    name: name,
                    endpoints: [
                        .v4: .init(
                            address: try #require(CIDR(v4)), tunnelAddress: IPAddress(10, 0, 0, UInt8(ordinal * 64)),
                            tunnelMAC: mac, ipipAddress: IPAddress(10, 0, 0, UInt8(ordinal * 64 + 1))),
                        .v6: .init(
                            address: try #require(CIDR(v6)), tunnelAddress: IPAddress("fd00::\(ordinal)00"),
                            tunnelMAC: mac),
                    ])
            }
        }

        mutating func add(
            _ cidr: String, vxlan: EncapsulationMode = .never, ipip: EncapsulationMode = .never, nat: Bool = false,
            disabled: Bool = false, uses: [PoolUse] = [.workload, .tunnel]
        ) throws {
            pools.append(
                IPPool(
                    name: "p\(pools.count)", cidr: try #require(CIDR(cidr)), ipipMode: ipip, vxlanMode: vxlan,
                    natOutgoing: nat, isDisabled: disabled, allowedUses: uses))
        }

        /// Addresses of the block that nodes hold, by their place in it.
        mutating func add(block: String, of node: String?, _ holders: [Int: String] = [:]) throws {
            let cidr = try #require(CIDR(block))
            let size = 1 << cidr.hostBits
            var allocations = [JSON](repeating: .null, count: size)
            var attributes: [JSON] = []
            for (ordinal, holder) in holders.sorted(by: { $0.key < $1.key }) {
                allocations[ordinal] = JSON(attributes.count)
                attributes.append(["handle_id": JSON("h\(ordinal)"), "secondary": ["node": JSON(holder)]])
            }
            var object = KubeObject(.ipamBlocks, kind: "IPAMBlock", name: IPAMNames.block(cidr))
            object["spec"] = [
                "cidr": JSON(block), "allocations": .array(allocations), "attributes": .array(attributes),
                "unallocated": .array((0..<size).filter { holders[$0] == nil }.map { JSON($0) }), "deleted": false,
            ]
            if let node { object["spec"]?["affinity"] = JSON("host:\(node)") }
            blocks.append(try IPAMBlock(object))
        }

        func plan(of node: String = "a", hasIPIP: Bool = false, uplinkMTU: Int = 1500) -> NetworkPlan {
            NetworkPlan(
                NetworkInput(
                    node: node, nodes: nodes, pools: pools, blocks: blocks, kernelHasIPIP: hasIPIP,
                    uplinkMTU: uplinkMTU))
        }

        func routes(of node: String = "a", hasIPIP: Bool = false) -> [String] {
            plan(of: node, hasIPIP: hasIPIP).routes.map { "\($0.destination) \($0.hop)" }.sorted()
        }
    }

    @Test func aBlockOfOneAddressHasNoBlackhole() throws {
        var cluster = try Cluster()
        try cluster.add("10.0.0.0/16")
        try cluster.add("fd00::/48")
        try cluster.add(block: "10.0.9.1/32", of: "a")
        try cluster.add(block: "fd00::9/128", of: "a")
        try cluster.add(block: "10.0.8.0/26", of: "a")
        try cluster.add(block: "fd00::800/122", of: "a")
        #expect(cluster.routes() == ["10.0.8.0/26 blackhole", "fd00::800/122 blackhole"])
    }

    @Test func borrowedAddressesLeadToTheirHolder() throws {
        var cluster = try Cluster()
        try cluster.add("10.0.0.0/16")
        // Of the own block, of another's, of nobody's; and one whose holder is not told, which gets no route.
        try cluster.add(block: "10.0.1.0/30", of: "a", [1: "b", 2: "a"])
        try cluster.add(block: "10.0.2.0/30", of: "b", [1: "a", 2: "b"])
        try cluster.add(block: "10.0.3.0/30", of: nil, [1: "b"])
        #expect(
            cluster.routes() == [
                "10.0.1.0/30 blackhole", "10.0.1.1/32 node(192.168.49.3)", "10.0.2.0/30 node(192.168.49.3)",
                "10.0.3.1/32 node(192.168.49.3)",
            ])
        // The owner of the block routes the borrowed address to its holder.
        #expect(cluster.routes(of: "b").contains("10.0.2.1/32 node(192.168.49.2)"))
    }

    @Test func crossSubnetIsDecidedForEachPeerInEachFamily() throws {
        var cluster = try Cluster()
        try cluster.add("10.0.0.0/16", vxlan: .crossSubnet)
        try cluster.add("fd00::/48", vxlan: .crossSubnet)
        for (node, number) in [("b", 1), ("c", 2)] {
            try cluster.add(block: "10.0.\(number).0/26", of: node)
            try cluster.add(block: "fd00::\(number)000/122", of: node)
        }
        #expect(
            cluster.routes() == [
                "10.0.1.0/26 node(192.168.49.3)", "10.0.2.0/26 tunnel(10.0.0.128)", "fd00::1000/122 node(fd01::3)",
                "fd00::2000/122 tunnel(fd00::200)",
            ])
        #expect(Set(cluster.plan().tunnels.keys) == [.v4, .v6])
        #expect(cluster.plan().tunnels[.v6]?.interface == "vxlan-v6.calico")
        #expect(cluster.plan().tunnels[.v4]?.mtu == 1450)
        #expect(cluster.plan().tunnels[.v6]?.mtu == 1430)
        #expect(cluster.plan().peers.count == 4)
    }

    @Test func ipipWhereTheKernelHasItAndVXLANWhereNot() throws {
        var cluster = try Cluster()
        try cluster.add("10.0.0.0/16", ipip: .always)
        try cluster.add(block: "10.0.1.0/26", of: "b")
        #expect(cluster.routes(hasIPIP: true) == ["10.0.1.0/26 ipip(192.168.49.3)"])
        #expect(cluster.plan(hasIPIP: true).ipip?.mtu == 1480)
        #expect(cluster.routes(hasIPIP: false) == ["10.0.1.0/26 tunnel(10.0.0.64)"])
        #expect(cluster.plan().ipip == nil)
        #expect(cluster.pools[0].encapsulationNote(kernelHasIPIP: true) == nil)
        #expect(cluster.pools[0].encapsulationNote(kernelHasIPIP: false)?.contains("no ipip module") == true)
    }

    @Test func withoutTheNodesIPv6AddressItsIPv4RoutesStay() throws {
        var cluster = try Cluster()
        try cluster.add("10.0.0.0/16")
        try cluster.add("fd00::/48")
        cluster.nodes["a"]?.endpoints[.v6] = nil
        try cluster.add(block: "10.0.1.0/26", of: "b")
        try cluster.add(block: "fd00::1000/122", of: "b")
        #expect(cluster.routes() == ["10.0.1.0/26 node(192.168.49.3)"])
        #expect(cluster.plan().problems == ["node a has no IPv6 address yet: no routes to other nodes"])
    }

    @Test func outgoingNATOfPools() throws {
        var cluster = try Cluster()
        try cluster.add("10.0.0.0/16", nat: true)
        try cluster.add("10.1.0.0/16")
        try cluster.add("192.168.0.0/16", disabled: true)  // spares a network outside from NAT
        try cluster.add("172.20.0.0/24", nat: true, uses: [.loadBalancer])
        try cluster.add("fd00::/48", nat: true)
        let plan = cluster.plan()
        #expect(plan.masqueraded.map(\.description).sorted() == ["10.0.0.0/16", "fd00::/48"])
        #expect(
            plan.podNetworks.map(\.description).sorted() == [
                "10.0.0.0/16", "10.1.0.0/16", "192.168.0.0/16", "fd00::/48",
            ])
        let content = NFTPlan.content(plan, [], .v6)
        #expect(content.table == "ip6 catbird")
        #expect(content.sets["masqueraded"]?.elements == ["fd00::/48": ""])
        #expect(!NFTPlan.isNeeded(.v6, NetworkPlan(), hasServices: false))
    }

    @Test func floatingAddressesNeedAPodAddressOfTheirFamily() throws {
        var pod = KubeObject(.pods, kind: "Pod", name: "p", namespace: "d")
        pod["metadata"]?["annotations"] = [
            "cni.projectcalico.org/floatingIPs": "[\"172.16.0.9\", \"fd09::9\", \"nonsense\"]"
        ]
        #expect(FloatingAddress.read(pod).isEmpty)
        pod["status"] = ["podIP": "10.0.0.5", "podIPs": [["ip": "10.0.0.5"]]]
        let floating = FloatingAddress.read(pod)
        #expect(floating.map { "\($0.external) \($0.pod)" } == ["172.16.0.9 10.0.0.5"])
        var plan = NetworkPlan()
        plan.floating = Set(floating)
        let content = NFTPlan.content(plan, [])
        #expect(content.sets["floating"]?.elements == ["172.16.0.9": "10.0.0.5"])
        #expect(content.sets["floating-sources"]?.elements == ["10.0.0.5": "172.16.0.9"])
        pod["status"]?["phase"] = "Succeeded"
        #expect(FloatingAddress.read(pod).isEmpty)
    }
}

@Suite struct MTUPlanTests {
    @Test(arguments: [
        ("eth0", true), ("enp3s0", true), ("ens5", true), ("enX0", false), ("wlan1", true), ("ib0", false),
        ("ibp4s0", true), ("cali123", false), ("vxlan.calico", false), ("en", false), ("slo", true), ("docker0", false),
    ]) func uplinksByName(_ name: String, _ expected: Bool) {
        #expect(MTUPlan.isUplink(name) == expected)
    }

    @Test func smallestUplinkLessTheLargestOverhead() throws {
        let uplink = MTUPlan.uplink(of: [
            ("eth0", 9000, true), ("eth1", 8000, true), ("eth2", 500, false), ("cali1", 400, true),
        ])
        #expect(uplink == 8000)
        func pool(_ cidr: String, _ vxlan: EncapsulationMode, _ ipip: EncapsulationMode = .never) throws -> IPPool {
            IPPool(name: "p", cidr: try #require(CIDR(cidr)), ipipMode: ipip, vxlanMode: vxlan)
        }
        let v4 = try pool("10.0.0.0/16", .always)
        let v6 = try pool("fd00::/48", .crossSubnet)
        let ipip = try pool("10.1.0.0/16", .never, .always)
        let plain = try pool("10.2.0.0/16", .never)
        #expect(MTUPlan.pods(uplink: 8000, pools: [plain], kernelHasIPIP: false) == 8000)
        #expect(MTUPlan.pods(uplink: 8000, pools: [plain, v4], kernelHasIPIP: false) == 7950)
        #expect(MTUPlan.pods(uplink: 8000, pools: [v4, v6], kernelHasIPIP: false) == 7930)
        #expect(MTUPlan.pods(uplink: 8000, pools: [ipip], kernelHasIPIP: true) == 7980)
        #expect(MTUPlan.pods(uplink: 8000, pools: [ipip], kernelHasIPIP: false) == 7950)
        #expect(MTUPlan.pods(uplink: 600, pools: [v4], kernelHasIPIP: false) == 576)
        #expect(MTUPlan.pods(uplink: 1300, pools: [v6], kernelHasIPIP: false) == 1280)
    }
}

@Suite struct AddressDetectionTests {
    private let interfaces = [
        ("lo", "127.0.0.1/8"), ("docker0", "172.17.0.1/16"), ("cali1", "169.254.0.1/32"), ("eth0", "10.1.0.2/24"),
        ("eth1", "192.168.49.2/24"), ("eth2", "fd01::2/64"),
    ].enumerated().map { index, entry in
        NodeInterface(
            name: entry.0, index: index + 1, mtu: 1500, isUp: true, isLoopback: entry.0 == "lo",
            addresses: [CIDR(entry.1)].compactMap(\.self))
    }

    private func find(_ method: String, _ family: IPFamily = .v4) throws -> String? {
        try AddressDetection(method).find(
            family, in: interfaces, reported: family == .v4 ? IPAddress("192.168.49.2") : nil
        ) { $0 == "192.0.2.1" ? IPAddress("10.1.0.2") : nil }.map { "\($0.address) \($0.interface.name)" }
    }

    @Test func methods() throws {
        #expect(try find("first-found") == "10.1.0.2/24 eth0")
        #expect(try find("") == "10.1.0.2/24 eth0")
        #expect(try find("first-found", .v6) == "fd01::2/64 eth2")
        #expect(try find("kubernetes-internal-ip") == "192.168.49.2/24 eth1")
        #expect(try find("kubernetes-internal-ip", .v6) == nil)
        #expect(try find("can-reach=192.0.2.1") == "10.1.0.2/24 eth0")
        #expect(try find("can-reach=203.0.113.1") == nil)
        #expect(try find("interface=eth1") == "192.168.49.2/24 eth1")
        #expect(try find("interface=wlan.*,eth[1-9]") == "192.168.49.2/24 eth1")
        #expect(try find("skip-interface=eth0,eno.*") == "192.168.49.2/24 eth1")
        #expect(try find("cidr=192.168.0.0/16,10.9.0.0/16") == "192.168.49.2/24 eth1")
        #expect(try find("cidr=172.17.0.0/16") == nil)
    }

    @Test(arguments: ["nonsense", "interface=", "interface=(", "cidr=x", "can-reach="]) func refused(_ text: String) {
        #expect(throws: AddressDetection.Problem.self) { try AddressDetection(text) }
    }

    @Test(arguments: [
        ("eth.*", "eth0", true), ("eth.*", "xeth0", false), ("^eth0$", "eth0", true), ("eth[02]", "eth1", false),
        ("eth[^0]", "eth1", true), ("en.?p+s*", "enpps", true), ("a|b", "b", true), ("br\\.1", "br.1", true),
        ("br\\.1", "brx1", false), ("e.*0", "eth10", true),
    ]) func patterns(_ pattern: String, _ name: String, _ expected: Bool) throws {
        #expect(try #require(NamePattern(pattern)).matches(name) == expected)
    }
}
