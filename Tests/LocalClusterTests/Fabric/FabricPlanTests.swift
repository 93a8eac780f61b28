// SPDX-License-Identifier: Apache-2.0
import LocalCluster
import Testing
import Values

@Suite struct FabricPlanTests {
    private func range(_ text: String) throws -> CIDR { try #require(CIDR(text)) }

    @Test func usualRangesWhenFree() throws {
        let plan = try FabricPlan.choose(racks: 2, occupied: [OccupiedRange(try range("10.0.0.0/8"), "a VPN")])
        #expect(plan.racks.map { "\($0.subnet)" } == ["192.168.49.0/24", "192.168.50.0/24"])
        #expect(plan.racks.map { "\($0.router)" } == ["192.168.49.191", "192.168.50.1"])
        #expect("\(plan.hostAddress)" == "192.168.49.1")
        #expect("\(plan.loadBalancerRange)" == "192.168.49.192/26")
        #expect(plan.notes.isEmpty)
    }

    @Test func conflictsMoveAllRacksAndSayWhy() throws {
        let occupied = [OccupiedRange(try range("192.168.50.0/23"), "the route 192.168.50.0/23 dev docker0")]
        let plan = try FabricPlan.choose(racks: 3, occupied: occupied)
        #expect("\(plan.racks[0].subnet)" == "192.168.59.0/24")
        #expect(
            plan.notes == [
                "192.168.50.0/24 is in use on this machine: the route 192.168.50.0/23 dev docker0",
                "the racks begin at 192.168.59.0/24 instead",
            ])
    }

    @Test func everythingTakenIsAnError() throws {
        let all = OccupiedRange(try range("0.0.0.0/1"), "one half")
        let rest = OccupiedRange(try range("128.0.0.0/1"), "the other half")
        let error = #expect(throws: FabricError.self) { _ = try FabricPlan.choose(racks: 1, occupied: [all, rest]) }
        #expect(error?.description.contains("one half") == true || error?.description.contains("other half") == true)
        #expect(throws: FabricError.self) { _ = try FabricPlan.choose(racks: 0, occupied: []) }
        #expect(throws: FabricError.self) { _ = try FabricPlan.choose(racks: 1000, occupied: []) }
        let most = try FabricPlan.choose(racks: FabricPlan.maximumRacks, occupied: [])
        #expect(Set(most.racks.map(\.subnet)).count == FabricPlan.maximumRacks)
    }

    @Test func nodesKeepTheirAddresses() throws {
        var plan = try FabricPlan.choose(racks: 2, occupied: [])
        #expect("\(try plan.addNode("lab").address)" == "192.168.49.2")
        #expect("\(try plan.addNode("lab-m02").address)" == "192.168.50.2")
        #expect("\(try plan.addNode("lab-m03", rack: 1).address)" == "192.168.49.3")
        plan.removeNode("lab")
        #expect("\(try plan.addNode("lab-m03").address)" == "192.168.49.3")
        #expect("\(try plan.addNode("lab-m04", rack: 1).address)" == "192.168.49.2")
        #expect(throws: FabricError.self) { try plan.addNode("x", rack: 3) }
        #expect(try FabricPlan(JSON(parsing: plan.json.text())) == plan)
        #expect(throws: FabricError.self) { _ = try FabricPlan(["racks": [["number": 1]]]) }
        #expect(throws: FabricError.self) { _ = try FabricPlan([:]) }
    }

    @Test func fullRackSaysSo() throws {
        var plan = try FabricPlan.choose(racks: 1, occupied: [])
        for index in 0..<189 { try plan.addNode("n\(index)") }
        #expect(plan.nodes.allSatisfy { !plan.loadBalancerRange.contains($0.address) })
        let error = #expect(throws: FabricError.self) { try plan.addNode("one-too-many") }
        #expect(error?.description.contains("189 nodes") == true)
    }

    @Test func linkNamesFit() throws {
        for profile in [
            "lab", "ab", "exactlyten", "a-profile-with-a-very-long-name", "a-profile-with-a-very-long-nam2",
        ] {
            let name = try FabricNames(profile: ProfileName(profile)).hostLink
            #expect(name.utf8.count <= 15 && name.hasPrefix(FabricNames.linkPrefix))
        }
        let similar = try ["a-profile-with-a-very-long-name", "a-profile-with-a-very-long-nam2"].map {
            try FabricNames(profile: ProfileName($0)).hostLink
        }
        #expect(similar[0] != similar[1])
        #expect(FabricNames.port(IPAddress(192, 168, 149, 200)).utf8.count <= 15)
    }

    @Test func resolversThatNodesCanReach() {
        let host = IPAddress(192, 168, 49, 1)
        let plain = Resolvers.forNodes(
            host: "# c\nsearch a.example b.example\nnameserver 10.0.0.53\nnameserver 127.0.0.1\noptions ndots:2\n",
            behindStub: nil, hostAddress: host)
        #expect(plain.resolvConf == "nameserver 10.0.0.53\nsearch a.example b.example\noptions ndots:2\n")
        let stub = Resolvers.forNodes(
            host: "nameserver 127.0.0.53\n", behindStub: "nameserver 198.51.100.1\n", hostAddress: host)
        #expect(stub.resolvConf == "nameserver 198.51.100.1\n" && stub.loopback == nil)
        let local = Resolvers.forNodes(host: "nameserver 127.0.0.1\n", behindStub: nil, hostAddress: host)
        #expect(local.resolvConf == "nameserver 192.168.49.1\n" && local.loopback == IPAddress(127, 0, 0, 1))
        #expect(Resolvers.forNodes(host: "", behindStub: nil, hostAddress: host).loopback == IPAddress(127, 0, 0, 1))
    }
}
