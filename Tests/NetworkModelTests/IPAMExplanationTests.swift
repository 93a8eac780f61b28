// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Testing
import Values

@Suite struct IPAMExplanationTests {
    static let key = ObjectKey("default", "web")

    static func racks() throws -> IPAMSample {
        var sample = IPAMSample(
            [
                try IPAMSample.pool("rack-0", "10.0.0.0/29", block: 30, nodes: "rack == '0'"),
                try IPAMSample.pool("rack-1", "10.1.0.0/29", block: 30, nodes: "rack == '1'"),
            ], nodes: [])
        sample.snapshot.nodes = ["a": ["rack": "0"], "b": ["rack": "0"], "c": ["rack": "1"]]
        return sample
    }

    static func start(_ sample: inout IPAMSample, _ key: ObjectKey, _ node: String) throws {
        var request = IPAMSample.request(node, "h-\(key.name)")
        request.values = ["node": node, "pod": key.name, "namespace": "default", "timestamp": "T"]
        let address = try sample.assign(request).grants[0].address
        sample.world.pods[key] = PodUse(key, node: node, addresses: [address], controller: "ReplicaSet")
    }

    private func contains(_ text: String, _ parts: [String]) {
        for part in parts { #expect(text.contains(part), "\(part) is not in: \(text)") }
    }

    @Test func anOrdinaryPod() throws {
        var sample = try Self.racks()
        try Self.start(&sample, Self.key, "a")
        let why = IPAMExplanation.why(Self.key, sample.world, now: sample.now)
        contains(
            why.text,
            [
                "Pod default/web has 10.0.0.0 from pool rack-0 (10.0.0.0/29), because its nodeSelector rack == '0' selects the node: rack is \"0\"",
                "Block 10.0.0.0/30 belongs to node a", "- rack-1 (10.1.0.0/29): its nodeSelector",
                "kubectl label node a rack=1 --overwrite", "given out at T",
            ])
        #expect(why.json["addresses"][0]["pool"].string == "rack-0")
        let who = IPAMExplanation.who(IPAddress(10, 0, 0, 0), sample.world, now: sample.now)
        contains(who.text, ["held by pod default/web on node a since T (handle h-web)", "1 of its 4 addresses"])
        contains(
            IPAMExplanation.who(IPAddress(10, 0, 0, 2), sample.world, now: sample.now).text,
            ["10.0.0.2 is free: it is number 2 of the 3 free"])
        contains(
            IPAMExplanation.who(IPAddress(10, 1, 0, 2), sample.world, now: sample.now).text, ["no node has claimed"])
        contains(
            IPAMExplanation.who(IPAddress(10, 9, 0, 2), sample.world, now: sample.now).text,
            ["is in no pool; there are rack-0"])
    }

    @Test func aBorrowedAddress() throws {
        var sample = try Self.racks()
        try sample.take("a", "all", count: 8)
        try sample.release("all")
        sample.held = [:]
        try Self.start(&sample, Self.key, "b")
        let why = IPAMExplanation.why(Self.key, sample.world, now: sample.now)
        contains(why.text, ["It is borrowed: block 10.0.0.4/30 belongs to node a", "strictAffinity"])
        #expect(why.addresses.first?.isBorrowed == true)
    }

    @Test func aFullRack() throws {
        var sample = try Self.racks()
        try sample.take("a", "all", count: 8)
        sample.world.pods[Self.key] = PodUse(Self.key, node: "a")
        contains(
            IPAMExplanation.why(Self.key, sample.world, now: sample.now).text,
            ["has no address: no address for pod default/web", "all 2 blocks of /30 are taken (a has 2)"])
    }

    @Test func aFallbackIsTold() throws {
        var sample = IPAMSample(
            [
                try IPAMSample.pool("small", "10.0.0.0/30", block: 30, nodes: "rack == '0'"),
                try IPAMSample.pool("large", "10.1.0.0/24", block: 26, nodes: "rack == '1'"),
            ], nodes: [])
        sample.snapshot.nodes = ["a": ["rack": "0"], "c": ["rack": "1"]]
        sample.snapshot.pools[0].fallbackPools = ["large"]
        for number in 0..<4 { try Self.start(&sample, ObjectKey("default", "p\(number)"), "a") }
        try Self.start(&sample, Self.key, "a")
        let why = IPAMExplanation.why(Self.key, sample.world, now: sample.now)
        contains(
            why.text,
            [
                "has 10.1.0.0 from pool large (10.1.0.0/24), because pool small was exhausted",
                "+ large (10.1.0.0/24): pool small was exhausted and names it in catbird.dev/fallback-pools",
                "- small (10.0.0.0/30): its nodeSelector rack == '0' selects the node: rack is \"0\"; it had no address left",
            ])
    }

    @Test func whatOnlyANewPodWouldGet() throws {
        var sample = try Self.racks()
        try Self.start(&sample, Self.key, "a")
        sample.snapshot.nodes["a"] = ["rack": "1"]
        let why = IPAMExplanation.why(Self.key, sample.world, now: sample.now)
        contains(why.text, ["which would not be chosen today", "rack is \"1\"; a new pod would get an address of it"])
    }

    @Test func aPoolThatIsGone() throws {
        var sample = try Self.racks()
        try Self.start(&sample, Self.key, "a")
        sample.snapshot.pools.removeFirst()
        contains(
            IPAMExplanation.why(Self.key, sample.world, now: sample.now).text, ["in no pool today", "recreate the pod"])
    }
}

@Suite struct IPAMChangePlanTests {
    private func pools(_ sample: IPAMSample) -> [KubeObject] {
        sample.snapshot.pools.map {
            IPPoolValidationTests.pool(
                $0.name,
                [
                    "cidr": JSON("\($0.cidr)"), "blockSize": JSON($0.blockSize),
                    "nodeSelector": JSON("\($0.nodeSelector)"),
                ])
        }
    }

    @Test func aPoolWithHostBitsIsPlannedAsItsNetwork() throws {
        let sample = try IPAMExplanationTests.racks()
        let new = IPPoolValidationTests.pool("new", ["cidr": "10.77.0.9/24", "nodeSelector": "rack == '9'"])
        let plan = IPAMChangePlan.make(.init(pools: [new]), sample.world, existing: pools(sample), now: sample.now)
        #expect(plan.errors.isEmpty)
        #expect(
            plan.warnings.contains(
                "IPPool new: spec.cidr 10.77.0.9/24 has host bits set: the pool is the network 10.77.0.0/24"))
        let twin = IPPoolValidationTests.pool("twin", ["cidr": "10.77.0.1/24", "nodeSelector": "rack == '9'"])
        let both = IPAMChangePlan.make(
            .init(pools: [new, twin]), sample.world, existing: pools(sample), now: sample.now)
        #expect(both.errors.count == 1 && both.errors[0].contains("is the network of pool new"), "\(both.errors)")
    }

    @Test func podsKeepMoveOrAreStranded() throws {
        var sample = try IPAMExplanationTests.racks()
        let moving = ObjectKey("default", "moving")
        try IPAMExplanationTests.start(&sample, IPAMExplanationTests.key, "a")
        try IPAMExplanationTests.start(&sample, moving, "b")
        let plan = IPAMChangePlan.make(
            .init(nodes: ["b": ["rack": "1"]]), sample.world, existing: pools(sample), now: sample.now)
        #expect(plan.pods.map(\.fate) == [.moves, .keeps])
        #expect(plan.pods.first?.to == "rack-1")
        let deletion = IPAMChangePlan.make(
            .init(pools: [IPPoolValidationTests.pool("new", ["cidr": "10.2.0.0/24"])], deletedPools: ["rack-0"]),
            sample.world, existing: pools(sample), now: sample.now)
        #expect(deletion.pods.map(\.fate) == [.stranded, .stranded])
    }

    @Test func podsThatWaitAreInThePlan() throws {
        var sample = try IPAMExplanationTests.racks()
        for number in 0..<8 { try IPAMExplanationTests.start(&sample, ObjectKey("default", "p\(number)"), "a") }
        sample.world.pods[IPAMExplanationTests.key] = PodUse(
            IPAMExplanationTests.key, node: "a", controller: "ReplicaSet")
        let plan = IPAMChangePlan.make(.init(), sample.world, existing: pools(sample), now: sample.now)
        #expect(plan.pools.map(\.isFull) == [true, false])
        #expect(
            plan.warnings.contains { $0.hasPrefix("on node a no address now and none after the change: default/web: ") }
        )
    }

    @Test func whenAPoolRunsOut() throws {
        let sample = try IPAMExplanationTests.racks()
        let plan = IPAMChangePlan.make(
            .init(nodeCount: 6, podCount: 30), sample.world, existing: pools(sample), now: sample.now)
        #expect(plan.simulatedNodes == 6)
        #expect(plan.pools.map(\.runsShortAt).contains { $0 != nil })
        #expect(plan.firstRefusal != nil)
        #expect(plan.warnings.contains { $0.contains("2 blocks of /30, and its nodeSelector selects 2") } == false)
    }

    @Test func mistakesAreErrorsAndCapacityWarns() throws {
        var sample = try IPAMExplanationTests.racks()
        let overlap = IPAMChangePlan.make(
            .init(pools: [IPPoolValidationTests.pool("new", ["cidr": "10.0.0.0/24"])], deletedPools: ["none"]),
            sample.world, existing: pools(sample), now: sample.now)
        #expect(overlap.errors.count == 2)
        sample.snapshot.nodes["d"] = ["rack": "0"]
        let pool = sample.snapshot.pools[0]
        let text = PoolCapacity.warnings(pool, sample.snapshot).joined()
        #expect(text.contains("has 2 blocks of /30, and its nodeSelector selects 3 nodes: 1 node(s) get no block"))
        #expect(text.contains("blockSize 31 gives one to each"))
        sample.snapshot.nodes = ["x": ["rack": "7"]]
        #expect(
            PoolCapacity.warnings(pool, sample.snapshot).joined().contains(
                "none of the 1 nodes (rack is \"7\" on nodes)"))
    }

    @Test func migration() throws {
        var sample = try IPAMExplanationTests.racks()
        try IPAMExplanationTests.start(&sample, IPAMExplanationTests.key, "a")
        let bare = ObjectKey("default", "bare")
        try IPAMExplanationTests.start(&sample, bare, "a")
        sample.world.pods[bare]?.controller = nil
        let new = IPPoolValidationTests.pool("wide", ["cidr": "10.3.0.0/24", "nodeSelector": "rack == '0'"])
        let plan = PoolMigration.plan(from: "rack-0", to: new, sample.world, existing: pools(sample))
        #expect(plan.errors == [])
        #expect(plan.unmanaged == [bare])
        #expect(
            plan.steps.map(\.sentence) == [
                "create pool wide (10.3.0.0/24)",
                "disable pool rack-0: its pods keep their addresses, new ones come from elsewhere",
                "recreate 1 pod(s) on node a: default/web", "release block 10.0.0.0/30 of a", "delete pool rack-0",
            ])
        let gone = PoolMigration.plan(from: "none", to: nil, sample.world, existing: pools(sample))
        #expect(gone.errors.first?.contains("there is no pool none") == true)
    }
}

@Suite struct PoolStatusTests {
    private func pool(_ name: String, _ cidr: String, _ created: String, status: String? = nil, disabled: Bool = false)
        -> KubeObject
    {
        var object = IPPoolValidationTests.pool(name, ["cidr": JSON(cidr), "disabled": JSON(disabled)])
        object["metadata"]["creationTimestamp"] = JSON(created)
        if let status { object["status"] = ["conditions": [["type": "Allocatable", "status": JSON(status)]]] }
        return object
    }

    @Test func sortOrder() {
        let early = "2024-01-01T00:00:00Z"
        let late = "2024-01-02T00:00:00Z"
        var deleted = pool("deleted", "10.0.0.0/24", early)
        deleted["metadata"]["deletionTimestamp"] = JSON(late)
        let all = [
            pool("new-b", "10.0.0.0/24", early), pool("new-a", "10.0.0.0/24", early),
            pool("newer", "10.0.0.0/24", late),
            pool("off", "10.0.0.0/24", early, disabled: true), deleted,
            pool("active", "10.0.0.0/24", late, status: "True"),
        ]
        let verdicts = PoolStatus.verdicts(all, blocks: [:])
        #expect(verdicts.map(\.pool) == ["active", "deleted", "off", "new-a", "new-b", "newer"])
        #expect(verdicts.map(\.isAllocatable) == [true, false, false, false, false, false])
        #expect(verdicts.dropFirst().allSatisfy { $0.reason == .overlap && !$0.hasFinalizer })
    }

    @Test func aPoolInUseIsNotRemoved() throws {
        var object = pool("p", "10.0.0.0/24", "2024-01-01T00:00:00Z")
        object["metadata"]["deletionTimestamp"] = "2024-01-02T00:00:00Z"
        object["metadata"]["finalizers"] = [JSON(PoolStatus.finalizer)]
        let cidr = try #require(CIDR("10.0.0.0/26"))
        let used = PoolStatus.verdicts([object], blocks: [cidr: IPAMBlock(cidr, node: "a", now: .init(seconds: 0))])
        #expect(used.map(\.hasFinalizer) == [true] && used.map(\.releasesClaims) == [true])
        #expect(PoolStatus.verdicts([object], blocks: [:]).map(\.hasFinalizer) == [false])
    }
}
