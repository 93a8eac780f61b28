// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Testing
import Values

/// The steps of ``NetworkCalculation`` come to what ``NetworkPlan`` works out from everything.
@Suite struct NetworkCalculationTests {
    /// What the objects are, beside what the steps made of them.
    private struct World {
        var nodes: [String: NodeNetwork] = [:]
        var pools: [String: IPPool] = [:]
        var blocks: [CIDR: BlockRouting] = [:]
        var workloads: [IPAddress: String] = [:]
        var uplinkMTU = 1500
        let kernelHasIPIP: Bool

        var plan: NetworkPlan {
            var input = NetworkInput(
                node: "a", nodes: nodes, pools: Array(pools.values).shuffled(), blocks: [], workloads: workloads,
                kernelHasIPIP: kernelHasIPIP, uplinkMTU: uplinkMTU)
            input.blocks = Array(blocks.values).shuffled()
            return NetworkPlan(input)
        }

        mutating func take(_ event: NetworkEvent) {
            switch event {
            case .node(let name, let node): nodes[name] = node
            case .pool(let name, let pool): pools[name] = pool
            case .block(let cidr, let block): blocks[cidr] = block
            case .workload(let address, let interface): workloads[address] = interface
            case .uplink(let mtu): uplinkMTU = mtu
            }
        }
    }

    private static let names = ["a", "b", "c", "d"]

    private func node(_ random: inout SeededGenerator) throws -> NetworkEvent {
        let name = try #require(Self.names.randomElement(using: &random))
        guard Int.random(in: 0..<6, using: &random) > 0 else { return .node(name, nil) }
        // Sometimes the address of another, as after a node was made anew.
        let number = Int.random(in: 2...5, using: &random)
        let rack = Int.random(in: 49...50, using: &random)
        let mac = IPAMNames.vxlanMAC(node: name)
        var endpoints: [IPFamily: NodeNetwork.Endpoint] = [:]
        if Int.random(in: 0..<5, using: &random) > 0 {
            endpoints[.v4] = .init(
                address: try #require(CIDR("192.168.\(rack).\(number)/24")),
                tunnelAddress: Bool.random(using: &random) ? IPAddress("10.0.\(number).0") : nil, tunnelMAC: mac,
                ipipAddress: Bool.random(using: &random) ? IPAddress("10.0.\(number).1") : nil)
        }
        if Bool.random(using: &random) || endpoints.isEmpty {
            endpoints[.v6] = .init(
                address: try #require(CIDR("fd01:\(rack)::\(number)/64")),
                tunnelAddress: Bool.random(using: &random) ? IPAddress("fd00::\(number)00") : nil, tunnelMAC: mac)
        }
        return .node(name, NodeNetwork(name: name, endpoints: endpoints))
    }

    /// Of pools that lie in each other, too, which objects from before there was validation may be.
    private func pool(_ random: inout SeededGenerator) throws -> NetworkEvent {
        let number = Int.random(in: 0..<5, using: &random)
        guard Int.random(in: 0..<4, using: &random) > 0 else { return .pool("p\(number)", nil) }
        let networks = ["10.0.0.0/16", "10.0.0.0/22", "10.0.4.0/22", "10.0.2.0/23", "fd00::/64", "fd00::/112"]
        let modes = EncapsulationMode.allCases
        let pool = IPPool(
            name: "p\(number)", cidr: try #require(networks.randomElement(using: &random).flatMap { CIDR($0) }),
            ipipMode: try #require(modes.randomElement(using: &random)),
            vxlanMode: try #require(modes.randomElement(using: &random)), natOutgoing: Bool.random(using: &random),
            isDisabled: Bool.random(using: &random),
            allowedUses: Int.random(in: 0..<5, using: &random) == 0 ? [.loadBalancer] : [.workload, .tunnel])
        return .pool(pool.name, pool)
    }

    private func block(_ random: inout SeededGenerator) throws -> NetworkEvent {
        let isV4 = Int.random(in: 0..<3, using: &random) > 0
        let number = Int.random(in: 0..<8, using: &random)
        let texts =
            isV4 ? ["10.0.\(number).0/29", "10.0.\(number).0/30", "10.0.\(number).1/32"] : ["fd00::\(number)000/125"]
        let cidr = try #require(texts.randomElement(using: &random).flatMap { CIDR($0) })
        guard Int.random(in: 0..<5, using: &random) > 0 else { return .block(cidr, nil) }
        return .block(cidr, try BlockRouting(try object(cidr, &random)))
    }

    private func object(_ cidr: CIDR, _ random: inout SeededGenerator) throws -> KubeObject {
        let size = 1 << cidr.hostBits
        var allocations = [JSON](repeating: .null, count: size)
        var attributes: [JSON] = []
        for ordinal in 0..<size where Int.random(in: 0..<3, using: &random) == 0 {
            allocations[ordinal] = JSON(attributes.count)
            var values: JSON = ["pod": "p"]
            if let holder = (Self.names + ["gone"]).randomElement(using: &random) { values["node"] = JSON(holder) }
            if Bool.random(using: &random) { values["type"] = "vxlanTunnelAddress" }
            attributes.append(["handle_id": JSON("h\(ordinal)"), "secondary": values])
        }
        var object = KubeObject(.ipamBlocks, kind: "IPAMBlock", name: IPAMNames.block(cidr))
        object["spec"] = [
            "cidr": JSON("\(cidr)"), "allocations": .array(allocations), "attributes": .array(attributes),
            "unallocated": .array((0..<size).filter { allocations[$0] == .null }.map { JSON($0) }),
            "deleted": JSON(Int.random(in: 0..<8, using: &random) == 0),
        ]
        if let owner = (Self.names + ["gone", ""]).randomElement(using: &random), !owner.isEmpty {
            object["spec"]?["affinity"] = JSON("host:\(owner)")
        }
        return object
    }

    private func event(_ random: inout SeededGenerator) throws -> NetworkEvent {
        switch Int.random(in: 0..<20, using: &random) {
        case 0..<6: return try node(&random)
        case 6..<9: return try pool(&random)
        case 9..<17: return try block(&random)
        case 17..<19:
            let address = try #require(IPAddress("10.0.\(Int.random(in: 0..<4, using: &random)).1"))
            return .workload(
                address, Bool.random(using: &random) ? "cali\(Int.random(in: 0..<3, using: &random))" : nil)
        default: return .uplink(mtu: Bool.random(using: &random) ? 1500 : 9000)
        }
    }

    @Test(arguments: UInt64(1)...24) func stepsComeToTheWhole(seed: UInt64) throws {
        var random = SeededGenerator(state: seed)
        let kernelHasIPIP = Bool.random(using: &random)
        var world = World(kernelHasIPIP: kernelHasIPIP)
        var calculation = NetworkCalculation(node: "a", kernelHasIPIP: kernelHasIPIP)
        var sum = NetworkPlan()
        for step in 0..<200 {
            var events: [NetworkEvent] = []
            for _ in 0..<Int.random(in: 1...3, using: &random) { events.append(try event(&random)) }
            // What is told twice changes nothing twice.
            if Int.random(in: 0..<4, using: &random) == 0 { events += events }
            for event in events { world.take(event) }
            let changes = calculation.take(events)
            sum.apply(changes)
            var whole = world.plan
            #expect(calculation.problems == whole.problems, "seed \(seed), step \(step)")
            whole.problems = []
            #expect(NetworkChanges(from: whole, to: sum).isEmpty, "seed \(seed), step \(step)")
            try #require(sum == whole, "seed \(seed), step \(step)")
            let last = try #require(events.last)
            #expect(calculation.take([last]).isEmpty, "seed \(seed), step \(step): told again")
        }
    }

    /// However the last state of each object is told, the node's network is the same.
    @Test(arguments: UInt64(1)...8) func theOrderDoesNotMatter(seed: UInt64) throws {
        var random = SeededGenerator(state: seed)
        var world = World(kernelHasIPIP: true)
        for _ in 0..<120 { world.take(try event(&random)) }
        var last: [NetworkEvent] = [.uplink(mtu: world.uplinkMTU)]
        last += world.nodes.map { .node($0.key, $0.value) }
        last += world.pools.map { .pool($0.key, $0.value) }
        last += world.blocks.map { .block($0.key, $0.value) }
        last += world.workloads.map { .workload($0.key, $0.value) }
        for _ in 0..<8 {
            var calculation = NetworkCalculation(node: "a", kernelHasIPIP: true)
            var sum = NetworkPlan()
            var changes = NetworkChanges()
            for event in last.shuffled(using: &random) { changes.append(calculation.take([event])) }
            sum.apply(changes)
            sum.problems = calculation.problems
            #expect(sum == world.plan, "seed \(seed)")
        }
    }

    @Test(arguments: UInt64(1)...4) func blocksAreReadAsIPAMReadsThem(seed: UInt64) throws {
        var random = SeededGenerator(state: seed)
        for text in ["10.0.0.0/26", "10.0.0.1/32", "fd00::/122"] {
            let object = try object(try #require(CIDR(text)), &random)
            #expect(try BlockRouting(object) == BlockRouting(try IPAMBlock(object)), "seed \(seed)")
        }
    }

    /// An event is answered by what it changes, however many nodes and blocks there are.
    @Test func anEventChangesWhatItConcerns() throws {
        var calculation = NetworkCalculation(node: "n0", kernelHasIPIP: false)
        let pool = IPPool(name: "p", cidr: try #require(CIDR("10.0.0.0/8")), vxlanMode: .always)
        var events: [NetworkEvent] = [.pool("p", pool)]
        func node(_ number: Int) throws -> NodeNetwork {
            NodeNetwork(
                name: "n\(number)", address: try #require(CIDR("192.168.\(number / 200).\(number % 200 + 1)/16")),
                tunnelAddress: IPAddress("10.\(number / 200).\(number % 200).0"),
                tunnelMAC: IPAMNames.vxlanMAC(node: "n\(number)"))
        }
        for number in 0..<400 {
            events.append(.node("n\(number)", try node(number)))
            let cidr = try #require(CIDR("10.\(number / 200).\(number % 200).0/26"))
            events.append(
                .block(cidr, BlockRouting(IPAMBlock(cidr, node: "n\(number)", now: Timestamp(seconds: 0)))))
        }
        let first = calculation.take(events)
        #expect(first.routes.count == 400)
        #expect(first.peers.count == 399)
        let cidr = try #require(CIDR("10.9.0.0/26"))
        let block = BlockRouting(IPAMBlock(cidr, node: "n7", now: Timestamp(seconds: 0)))
        let added = calculation.take([.block(cidr, block)])
        #expect(added.routes == [cidr: .tunnel(IPAddress(10, 0, 7, 0))])
        #expect(!added.concernTables && added.peers.isEmpty)
        let gone = calculation.take([.node("n7", nil)])
        #expect(gone.routes.count == 2)
        #expect(gone.peers.count == 1)
        #expect(calculation.problems.count == 2)
    }
}
