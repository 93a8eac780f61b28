// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Testing
import Values

@Suite struct AddressAllocatorTests {
    static let now = Timestamp(seconds: 1_700_000_000)

    private func request(_ node: String = "a", choice: AddressRequest.PoolChoice? = nil, labels: [String: String] = [:])
        -> AddressRequest
    {
        AddressRequest(
            node: node, use: .workload, handleID: "net.c", values: ["node": node], subject: "pod default/web",
            namespace: "default", namespaceLabels: labels, choice: choice)
    }

    private func pool(_ name: String, _ cidr: String, _ selector: String = "all()") throws -> IPPool {
        IPPool(name: name, cidr: try #require(CIDR(cidr)), nodeSelector: try Selector(selector))
    }

    private func plan(_ request: AddressRequest, _ snapshot: IPAMSnapshot) throws -> AddressPlan {
        switch AddressAllocator.decide(request, snapshot, now: Self.now) {
        case .assign(let plan): return plan
        case .refuse(let refusal): throw refusal
        }
    }

    @Test func nodesBeginAtBlocksOfTheirOwn() throws {
        var snapshot = IPAMSnapshot(pools: [try pool("p", "10.244.0.0/16")])
        for node in ["a", "b", "c"] { snapshot.nodes[node] = [:] }
        let blocks = try ["a", "b", "c"].map { try plan(request($0), snapshot).grants[0].block.description }
        #expect(blocks == ["10.244.0.0/26", "10.244.0.64/26", "10.244.0.128/26"])
    }

    @Test func ownBlocksComeBeforeNewOnes() throws {
        let cidr = try #require(CIDR("10.2.0.0/26"))
        let snapshot = IPAMSnapshot(
            pools: [try pool("first", "10.1.0.0/24"), try pool("second", "10.2.0.0/24")],
            blocks: [cidr: IPAMBlock(cidr, node: "a", now: Self.now)],
            affinities: [BlockAffinity(node: "a", cidr: cidr, state: .confirmed)], nodes: ["a": [:]])
        #expect(try plan(request(), snapshot).grants[0].block == cidr)
    }

    @Test func annotationsOverruleSelectorsAndOrder() throws {
        let snapshot = IPAMSnapshot(
            pools: [try pool("a-pool", "10.1.0.0/24"), try pool("z-pool", "10.2.0.0/24", "has(never)")],
            nodes: ["a": [:]])
        for name in ["z-pool", "10.2.0.0/24"] {
            let result = try plan(request(choice: .init([name, "a-pool"], source: "the annotation")), snapshot)
            #expect(result.grants[0].pool.name == "z-pool")
            #expect(result.explanation.contains("the annotation names it"))
        }
    }

    @Test func blocksOfAnotherSizeAreNotOverlapped() throws {
        let odd = try #require(CIDR("10.1.0.0/28"))
        let snapshot = IPAMSnapshot(
            pools: [try pool("p", "10.1.0.0/24")], blocks: [odd: IPAMBlock(odd, node: "b", now: Self.now)],
            nodes: ["a": [:]])
        #expect(try plan(request(), snapshot).grants[0].block.description == "10.1.0.64/26")
    }

    @Test func aFullBlockLeadsToTheNext() throws {
        let cidr = try #require(CIDR("10.1.0.0/26"))
        var full = IPAMBlock(cidr, node: "a", now: Self.now)
        while full.allocate(handleID: "x", values: [:]) != nil {}
        var snapshot = IPAMSnapshot(
            pools: [try pool("p", "10.1.0.0/24")], blocks: [cidr: full],
            affinities: [BlockAffinity(node: "a", cidr: cidr, state: .confirmed)], nodes: ["a": [:]])
        #expect(try plan(request(), snapshot).grants[0].block.description == "10.1.0.64/26")
        snapshot.config.maxBlocksPerHost = 1
        let error = #expect(throws: AddressRefusal.self) { try plan(request(), snapshot) }
        #expect(error?.description.contains("limit of 1 blocks") == true)
    }

    @Test func everyReasonIsSaid() throws {
        var pools = [
            try pool("disabled", "10.1.0.0/24"), try pool("manual", "10.2.0.0/24"), try pool("deleting", "10.3.0.0/24"),
            try pool("tunnel", "10.4.0.0/24"), try pool("spaces", "10.5.0.0/24"),
            try pool("zone", "10.6.0.0/24", "zone == 'x'"),
            try pool("six", "fd00::/64"),
        ]
        pools[0].isDisabled = true
        pools[1].isAutomatic = false
        pools[2].isBeingDeleted = true
        pools[3].allowedUses = [.tunnel]
        pools[4].namespaceSelector = try Selector("team == 'red'")
        let broken = IPPool.read([KubeObject(.ipPools, kind: "IPPool", name: "broken")]).problems
        let snapshot = IPAMSnapshot(pools: pools, problems: broken, nodes: ["a": ["zone": "y"]])
        let error = #expect(throws: AddressRefusal.self) { try plan(request(labels: ["team": "blue"]), snapshot) }
        let text = error?.description ?? ""
        for part in [
            "8 pools", "it is disabled", "assignmentMode is Manual", "it is being deleted", "leave out Workload",
            "namespace default: team is \"blue\"", "zone is \"y\"", "IPv6", "broken: spec.cidr null",
            "kubectl label node a zone=x --overwrite",
        ] { #expect(text.contains(part), "\(part) is not in: \(text)") }
        #expect(AddressAllocatorTests.message(try plan(request(), IPAMSnapshot())).contains("there is no IPPool"))
    }

    private static func message(_ body: @autoclosure () throws -> AddressPlan) -> String {
        do { return try body().explanation } catch { return "\(error)" }
    }

    @Test(arguments: ["pool", "[]", "[1]", "{}"]) func malformedAnnotationsAreQuoted(text: String) {
        let error = #expect(throws: AddressRequest.PoolChoice.Malformed.self) {
            try AddressRequest.PoolChoice(
                podName: "web", podAnnotations: [:], namespace: "default",
                namespaceAnnotations: [CalicoKeys.ipv4Pools: text])
        }
        #expect(error?.description.contains("of namespace default is \(text)") == true)
    }
}

@Suite struct IPAMBlockTests {
    @Test func freedAddressesGoToTheEndOfTheQueue() throws {
        var block = IPAMBlock(try #require(CIDR("10.0.0.0/30")), node: "a", now: AddressAllocatorTests.now)
        #expect((0..<5).map { _ in block.allocate(handleID: "h", values: ["k": "v"]) } == [0, 1, 2, 3, nil])
        #expect(block.attributes.count == 1)
        block.release(ordinals: [2, 0, 2, 99])
        #expect(block.allocate(handleID: "i", values: [:]) == 2)
        #expect(block.release(handleID: "h") == 2)
        #expect(block.attributes.map(\.handleID) == ["i"])
        #expect(block.unallocated == [0, 1, 3])
    }

    @Test func whatIsStoredIsReadBack() throws {
        var block = IPAMBlock(try #require(CIDR("10.0.0.0/30")), node: "a", now: AddressAllocatorTests.now)
        _ = block.allocate(handleID: "h", values: ["node": "a"])
        var object = block.encodedForWrite()
        object["spec"]["attributes"] = [["handle_id": "h", "secondary": ["node": "a"], "releasedAt": "then"]]
        var again = try IPAMBlock(object)
        #expect(again.attribute(of: 0)?.values == ["node": "a"])
        #expect(again.sequenceNumber == block.sequenceNumber + 1)
        _ = again.allocate(handleID: "i", values: [:])
        let written = again.encodedForWrite()
        #expect(written["spec"]["attributes"][0]["releasedAt"].string == "then")
        #expect(written["spec"]["allocations"] == [0, 1, nil, nil])
        #expect(written["spec"]["strictAffinity"] == false)
    }

    static let broken: [JSON] = [
        ["cidr": "10.0.0.1/30"], ["cidr": "10.0.0.0/8", "allocations": []],
        ["cidr": "10.0.0.0/31", "allocations": [nil]],
        ["cidr": "10.0.0.0/31", "allocations": [3, nil], "attributes": []],
        ["cidr": "10.0.0.0/31", "allocations": [nil, nil], "unallocated": [0, 0]],
        ["cidr": "10.0.0.0/31", "allocations": [nil, nil], "unallocated": [7]],
    ]

    @Test(arguments: broken) func damagedBlocksAreRefused(spec: JSON) {
        var object = KubeObject(.ipamBlocks, kind: "IPAMBlock", name: "b")
        object["spec"] = spec
        #expect(throws: IPAMObjectProblem.self) { try IPAMBlock(object) }
    }
}
