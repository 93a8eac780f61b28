// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Testing
import Values

/// The scenarios of Calico's lib/ipam tests, as far as they are decisions.
@Suite struct IPAMScenarioTests {
    static func refusal(_ body: () throws -> Void) -> String {
        do { try body() } catch { return "\(error)" }
        Issue.record("it was not refused")
        return ""
    }

    @Test(arguments: [32, 26, 20]) func oneAddressAtBlockSize(size: Int) throws {
        var sample = IPAMSample([try IPAMSample.pool("p", "10.0.0.0/16", block: size)], nodes: ["a"])
        #expect(try sample.take("a", "h") == ["10.0.0.0"])
        sample.check("size \(size)")
    }

    @Test func fifoWrapsAround() throws {
        var sample = IPAMSample([try IPAMSample.pool("p", "10.0.0.0/30", block: 30)], nodes: ["a"])
        #expect(try sample.take("a", "1", count: 4).count == 4)
        try sample.release("1")
        #expect(try sample.take("a", "2") == ["10.0.0.0"])
        try sample.release("2")
        #expect(try sample.take("a", "3") == ["10.0.0.1"])
        #expect(try sample.take("a", "4", count: 3) == ["10.0.0.2", "10.0.0.3", "10.0.0.0"])
    }

    @Test func neverAssignsFromADeletingPool() throws {
        var pool = try IPAMSample.pool("p", "10.0.0.0/24")
        pool.isBeingDeleted = true
        var sample = IPAMSample([pool], nodes: ["a"])
        #expect(Self.refusal { try sample.take("a", "h") }.contains("being deleted"))
    }

    @Test func reservationsBeforeAndAfter() throws {
        var sample = IPAMSample([try IPAMSample.pool("p", "10.0.0.0/29", block: 30)], nodes: ["a"])
        #expect(try sample.take("a", "1") == ["10.0.0.0"])
        sample.snapshot.reservations = [
            IPReservation(name: "r", cidrs: [try #require(CIDR("10.0.0.0/31")), try #require(CIDR("10.0.0.4/30"))])
        ]
        #expect(try sample.take("a", "2", count: 2) == ["10.0.0.2", "10.0.0.3"])
        #expect(Self.refusal { try sample.take("a", "3") }.contains("reserved"))
        let wanted = try #require(IPAddress("10.0.0.1"))
        let plan = try sample.assign(IPAMSample.request("a", "4", explicit: [wanted]))
        #expect(plan.grants.map(\.address) == [wanted])
        sample.snapshot.reservations = []
        #expect(try sample.take("a", "5") == ["10.0.0.4"])
        sample.check("reservations")
    }

    @Test func attributesAndSequenceSurviveReallocation() throws {
        var sample = IPAMSample([try IPAMSample.pool("p", "10.0.0.0/26")], nodes: ["a"])
        try sample.take("a", "h")
        let cidr = try #require(sample.snapshot.blocks.networks.first)
        let first = sample.snapshot.blocks[cidr]?.sequenceNumberForAllocation["0"]
        try sample.release("h")
        try sample.assign(IPAMSample.request("a", "h", explicit: [try #require(IPAddress("10.0.0.0"))]))
        let second = sample.snapshot.blocks[cidr]?.sequenceNumberForAllocation["0"]
        #expect(first != nil && second != nil && first != second)
    }

    static let uses: [([PoolUse], PoolUse, Bool)] = [
        ([.workload], .tunnel, false), ([.tunnel], .workload, false), ([.workload, .tunnel], .tunnel, true),
        ([.loadBalancer], .workload, false), ([.loadBalancer], .loadBalancer, true), ([.workload], .workload, true),
    ]

    @Test(arguments: uses) func allowedUses(allowed: [PoolUse], use: PoolUse, isAllowed: Bool) throws {
        let pool = try IPAMSample.pool("p", "10.0.0.0/24", uses: allowed)
        let address = try #require(IPAddress("10.0.0.9"))
        for explicit in [[], [address]] {
            var sample = IPAMSample([pool], nodes: ["a"])
            let request = IPAMSample.request("a", "h", use: use, explicit: explicit)
            if isAllowed {
                let plan = try sample.assign(request)
                let owner: AffinityOwner = use == .loadBalancer ? .loadBalancer : .host("a")
                #expect(plan.writes.first?.claim?.owner == owner)
            } else {
                #expect(Self.refusal { try sample.assign(request) }.contains("leave out \(use.rawValue)"))
            }
        }
    }

    @Test func strictAffinityToggledLive() throws {
        var sample = IPAMSample([try IPAMSample.pool("p", "10.0.0.0/30", block: 30)], nodes: ["a", "b"])
        try sample.take("a", "1", count: 2)
        let plan = try sample.assign(IPAMSample.request("b", "2"))
        #expect(plan.grants.first?.origin == .borrowed(from: "a"))
        #expect(plan.writes.first?.claim == nil)
        sample.snapshot.config.strictAffinity = true
        #expect(Self.refusal { try sample.take("b", "3") }.contains("strictAffinity"))
        let explicit = IPAMSample.request("b", "4", explicit: [try #require(IPAddress("10.0.0.3"))])
        #expect(Self.refusal { try sample.assign(explicit) }.contains("host:a's and strictAffinity is on"))
        sample.snapshot.config.strictAffinity = false
        #expect(try sample.take("b", "5").count == 1)
        try sample.release("2")
        #expect(try sample.take("a", "6").count == 1)
        sample.check("borrow and return")
    }

    @Test func maxBlocksPerHost() throws {
        var sample = IPAMSample([try IPAMSample.pool("p", "10.0.0.0/27", block: 30)], nodes: ["a", "b"])
        sample.snapshot.config.maxBlocksPerHost = 4
        for index in 0..<16 { try sample.take("a", "h\(index)") }
        #expect(sample.snapshot.blocks.networks(of: .host("a")).count == 4)
        let text = Self.refusal { try sample.take("a", "h16") }
        #expect(text.contains("limit of 4 blocks (maxBlocksPerHost)"), "\(text)")
        #expect(try sample.take("b", "other", count: 16).count == 16)
        #expect(sample.snapshot.blocks.networks(of: .host("b")).count == 4)
    }

    @Test func requestLimitAgainstGlobal() throws {
        var sample = IPAMSample([try IPAMSample.pool("p", "10.0.0.0/24", block: 30)], nodes: ["a"])
        let text = Self.refusal { try sample.assign(IPAMSample.request("a", "h", count: 5, max: 1)) }
        #expect(text.contains("Assigned 4 out of 5 requested IPv4 addresses"), "\(text)")
        #expect(text.contains("limit of 1 blocks (the request)"))
        sample.check("nothing is kept of a part")
        #expect(sample.snapshot.blocks.isEmpty)
    }

    @Test func requestedPoolsInTheirOrder() throws {
        var sample = IPAMSample(
            [
                try IPAMSample.pool("one", "10.0.0.0/26"), try IPAMSample.pool("two", "10.1.0.0/26"),
                try IPAMSample.pool("three", "10.2.0.0/26"), try IPAMSample.pool("six", "fd00::/64"),
            ], nodes: ["a"])
        let both = IPAMSample.request("a", "h", count: 100, pools: ["two", "one"])
        let grants = try sample.assign(both).grants
        #expect(grants.count { $0.pool.name == "two" } == 64 && grants.count { $0.pool.name == "one" } == 36)
        let more = IPAMSample.request("a", "i", count: 64, pools: ["two", "one"])
        #expect(Self.refusal { try sample.assign(more) }.contains("Assigned 28 out of 64"))
        let six = IPAMSample.request("a", "j", pools: ["six"])
        #expect(Self.refusal { try sample.assign(six) }.contains("it is no IPv4 pool"))
        sample.snapshot.pools[2].isDisabled = true
        let disabled = IPAMSample.request("a", "k", pools: ["three"])
        #expect(Self.refusal { try sample.assign(disabled) }.contains("three (10.2.0.0/26): it is disabled"))
    }

    @Test func selectorsSwappedBetweenNodesWithNoFreeBlocks() throws {
        let pools = [
            try IPAMSample.pool("r0", "10.0.0.0/30", block: 30, nodes: "rack == '0'"),
            try IPAMSample.pool("r1", "10.0.1.0/30", block: 30, nodes: "rack == '1'"),
        ]
        var sample = IPAMSample(pools, nodes: [])
        sample.snapshot.nodes = ["a": ["rack": "0"], "b": ["rack": "1"]]
        try sample.take("a", "1")
        try sample.take("b", "2")
        sample.snapshot.nodes = ["a": ["rack": "1"], "b": ["rack": "0"]]
        let plan = try sample.assign(IPAMSample.request("a", "3"))
        #expect(plan.grants.first?.pool.name == "r1")
        #expect(plan.grants.first?.origin == .borrowed(from: "b"))
        #expect(AddressRelease.uselessClaims(of: "a", sample.snapshot).isEmpty)
        try sample.release("1")
        #expect(AddressRelease.uselessClaims(of: "a", sample.snapshot).map { "\($0.cidr)" } == ["10.0.0.0/30"])
    }

    static let spaces: [(String?, [String: String], Bool)] = [
        (nil, [:], true), ("all()", [:], true), ("team == 'red'", ["team": "red"], true),
        ("team == 'red'", ["team": "blue"], false), ("team == 'red'", [:], false), ("!has(team)", [:], true),
        ("team in {'red','blue'}", ["team": "blue"], true),
    ]

    @Test(arguments: spaces) func namespaceSelector(selector: String?, labels: [String: String], matches: Bool) throws {
        let sample = IPAMSample([try IPAMSample.pool("p", "10.0.0.0/24", namespaces: selector)], nodes: ["a"])
        var request = IPAMSample.request("a", "h")
        request.namespaceLabels = labels
        #expect(((try? sample.decide(request)) != nil) == matches)
        request.choice = .init(["p"], source: "an annotation")
        #expect((try? sample.decide(request)) != nil)
    }

    @Test func emptyBlocksAreReclaimedAfterAMinute() throws {
        var sample = IPAMSample([try IPAMSample.pool("p", "10.0.0.0/30", block: 30)], nodes: ["a", "b"])
        sample.snapshot.config.strictAffinity = true
        try sample.take("a", "1")
        try sample.release("1")
        #expect(Self.refusal { try sample.take("b", "2") }.contains("a has 1"))
        sample.now = sample.now.adding(seconds: 60)
        let plan = try sample.assign(IPAMSample.request("b", "2"))
        #expect(plan.grants.first?.origin == .reclaimedBlock(from: "a"))
        #expect(plan.writes.first?.formerClaim?.node == "a")
        #expect(sample.snapshot.blocks.networks(of: .host("a")).isEmpty)
    }

    @Test func littleUsedBlocksAreHandedOver() throws {
        var sample = IPAMSample([try IPAMSample.pool("p", "10.0.0.0/29", block: 30)], nodes: ["a", "b"])
        sample.snapshot.config.strictAffinity = true
        try sample.take("a", "1", count: 4)
        try sample.take("a", "2")
        sample.now = sample.now.adding(seconds: 61)
        let plan = try sample.assign(IPAMSample.request("b", "3"))
        #expect(plan.grants.first?.origin == .handedOverBlock(from: "a"))
        #expect(plan.explanation.contains("a keeps the addresses it has"))
        sample.check("hand-over")
        #expect(sample.held["2"]?.count == 1)
    }

    @Test func aFullRackFallsBackVisibly() throws {
        var pools = [
            try IPAMSample.pool("r0", "10.0.0.0/30", block: 30, nodes: "rack == '0'"),
            try IPAMSample.pool("r1", "10.0.1.0/30", block: 30, nodes: "rack == '1'"),
        ]
        var sample = IPAMSample(pools, nodes: [])
        sample.snapshot.nodes = ["a": ["rack": "0"]]
        try sample.take("a", "1", count: 4)
        #expect(Self.refusal { try sample.take("a", "2") }.contains("rack is \"0\""))
        pools[0].fallbackPools = ["gone", "r1"]
        sample.snapshot.pools = pools
        let plan = try sample.assign(IPAMSample.request("a", "2"))
        #expect(plan.grants.first?.viaFallback == "r0")
        #expect(plan.explanation.contains("pool r0 is exhausted and names it in catbird.dev/fallback-pools"))
        #expect(plan.explanation.contains("gone: r0 falls back to it, and there is no such pool"))
        #expect(Self.refusal { try sample.assign(IPAMSample.request("a", "3", pools: ["r0"])) }.contains("r0"))
    }

    @Test func dualStackIsAllOrNothing() throws {
        var sample = IPAMSample(
            [try IPAMSample.pool("four", "10.0.0.0/24"), try IPAMSample.pool("six", "fd00::/128", block: 128)],
            nodes: ["a"])
        let plan = try sample.assign(IPAMSample.request("a", "1", families: [.v4, .v6]))
        #expect(plan.grants.map { $0.address.family } == [.v4, .v6])
        let text = Self.refusal { try sample.assign(IPAMSample.request("a", "2", count: 2, families: [.v4, .v6])) }
        #expect(text.contains("no IPv6 address, and so none at all"))
        sample.check("dual stack")
    }

    @Test func cooldownKeepsAddressesBack() throws {
        var sample = IPAMSample([try IPAMSample.pool("p", "10.0.0.0/31", block: 31)], nodes: ["a"])
        sample.snapshot.config.cooldownSeconds = 30
        try sample.take("a", "1", count: 2)
        try sample.release("1")
        #expect(Self.refusal { try sample.take("a", "2") }.contains("all 1 blocks"))
        sample.now = sample.now.adding(seconds: 30)
        #expect(try sample.take("a", "2").count == 1)
        sample.check("cooldown")
    }

    @Test func theSameExplicitAddressTwice() throws {
        var sample = IPAMSample([try IPAMSample.pool("p", "10.0.0.0/24")], nodes: ["a", "b"])
        let address = try #require(IPAddress("10.0.0.77"))
        let plan = try sample.assign(IPAMSample.request("a", "1", explicit: [address]))
        #expect(plan.grants.first?.block.description == "10.0.0.64/26")
        #expect(plan.writes.first?.claim?.node == "a")
        let text = Self.refusal { try sample.assign(IPAMSample.request("b", "2", explicit: [address])) }
        #expect(text.contains("10.0.0.77 is assigned in block 10.0.0.64/26 to handle 1"), "\(text)")
        let outside = IPAMSample.request("a", "3", explicit: [try #require(IPAddress("10.9.0.1"))])
        #expect(Self.refusal { try sample.assign(outside) }.contains("does not contain 10.9.0.1"))
    }

    @Test func aLimitOfNoBlocksLeavesOnlyOwn() throws {
        var sample = IPAMSample([try IPAMSample.pool("p", "10.0.0.0/24")], nodes: ["a"])
        sample.snapshot.config.autoAllocateBlocks = false
        #expect(Self.refusal { try sample.take("a", "1") }.contains("autoAllocateBlocks is off"))
    }

    @Test func manyNodesAndAnExhaustedPool() throws {
        let names = (0..<256).map { "n\($0)" }
        var sample = IPAMSample([try IPAMSample.pool("p", "10.0.0.0/18", block: 26)], nodes: names)
        for name in names {
            #expect(try sample.assign(IPAMSample.request(name, name)).grants.first?.origin == .newBlock)
        }
        #expect(sample.snapshot.blocks.count == 256)
        sample.snapshot.nodes["late"] = [:]
        #expect(try sample.assign(IPAMSample.request("late", "late")).grants.first?.isBorrowed == true)
    }

    @Test func tunnels() throws {
        var pool = try IPAMSample.pool("p", "10.0.0.0/24", nodes: "rack == '0'")
        pool.vxlanMode = .always
        pool.isAutomatic = false
        var sample = IPAMSample([pool], nodes: [])
        sample.snapshot.nodes = ["a": ["rack": "0"]]
        guard
            case .assign(let pools, false) = TunnelKind.vxlan.action(
                node: "a", held: [], sample.snapshot, kernelHasIPIP: true)
        else {
            Issue.record("no address is wanted")
            return
        }
        let address = try sample.assign(TunnelKind.vxlan.request(node: "a", pools: pools)).grants[0].address
        #expect(sample.held["vxlan-tunnel-addr-a"] == [address])
        #expect(
            TunnelKind.vxlan.action(node: "a", held: [address], sample.snapshot, kernelHasIPIP: true) == .keep(address))
        #expect(TunnelKind.ipip.action(node: "a", held: [], sample.snapshot, kernelHasIPIP: true) == .nothing)
        #expect(TunnelKind.wireguard.action(node: "a", held: [], sample.snapshot, kernelHasIPIP: true) == .nothing)
        sample.snapshot.nodes = ["a": ["rack": "1"]]
        #expect(TunnelKind.vxlan.action(node: "a", held: [address], sample.snapshot, kernelHasIPIP: true) == .release)
    }
}
