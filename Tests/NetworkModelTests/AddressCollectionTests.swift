// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Testing
import Values

@Suite struct AddressCollectionTests {
    /// One pod on node a, known or not, with an address of handle `h`.
    private func sample(pod: PodUse?, values: [String: String]? = nil) throws -> IPAMSample {
        var sample = IPAMSample([try IPAMSample.pool("p", "10.0.0.0/24", block: 30)], nodes: ["a"])
        var request = IPAMSample.request("a", "h")
        request.values = values ?? ["node": "a", "pod": "web", "namespace": "default"]
        try sample.assign(request)
        sample.world.handles = [handle("h", "10.0.0.0/30", 1)]
        if let pod { sample.world.pods[pod.key] = pod }
        return sample
    }

    private func handle(_ id: String, _ block: String, _ count: Int) -> IPAMHandle {
        var handle = IPAMHandle(handleID: id)
        if let cidr = CIDR(block) { handle.increment(cidr, by: count) }
        return handle
    }

    private func look(_ sample: IPAMSample, after: Double, grace: Double = 900) -> AddressCollection.Outcome {
        let first = AddressCollection.decide(sample.world, now: sample.now, grace: grace)
        return AddressCollection.decide(
            sample.world, now: sample.now.adding(seconds: after), grace: grace, seen: first.seen)
    }

    private let key = ObjectKey("default", "web")

    @Test func leakedAddressIsCleanedAfterGrace() throws {
        let sample = try sample(pod: nil)
        let early = look(sample, after: 899)
        #expect(early.releases.isEmpty)
        #expect(early.nextLook == 1)
        #expect(look(sample, after: 900).releases.map(\.reason) == ["pod default/web is gone"])
        #expect(look(sample, after: 9000, grace: 0).releases.isEmpty)
    }

    @Test func clocksThatJumpBackStartTheGraceAnew() throws {
        let sample = try sample(pod: nil)
        let first = AddressCollection.decide(sample.world, now: sample.now, grace: 900)
        let back = AddressCollection.decide(
            sample.world, now: sample.now.adding(seconds: -5000), grace: 900, seen: first.seen)
        #expect(back.releases.isEmpty)
        #expect(back.nextLook == 900)
    }

    static let pods: [(String, JSON, Bool)] = [
        ("its own", ["podIP": "10.0.0.0"], false),
        ("podIPs", ["podIPs": [["ip": "10.0.0.0"]]], false),
        ("no address yet", [:], false),
        ("another", ["podIP": "10.0.0.9"], true),
        ("finished", ["podIP": "10.0.0.0", "phase": "Succeeded"], true),
        ("evicted", ["phase": "Failed", "reason": "Evicted"], true),
    ]

    @Test(arguments: pods) func podsByTheirStatus(name: String, status: JSON, isLeaked: Bool) throws {
        var object = KubeObject(.init("", "v1", "pods"), kind: "Pod", name: "web", namespace: "default")
        object["spec"] = ["nodeName": "a"]
        object["status"] = status
        #expect(look(try sample(pod: PodUse(object)), after: 900).releases.isEmpty != isLeaked, "\(name)")
    }

    @Test func aPodOnAnotherNode() throws {
        var sample = try sample(pod: PodUse(key, node: "b", addresses: [IPAddress(10, 0, 0, 0)]))
        sample.snapshot.nodes["b"] = [:]
        #expect(look(sample, after: 900).releases.first?.reason.contains("is on node b") == true)
    }

    @Test func notCleanedWhileAHandleMateIsValid() throws {
        var sample = try sample(pod: PodUse(key, node: "a", addresses: [IPAddress(10, 0, 0, 0)]))
        var request = IPAMSample.request("a", "h")
        request.values = ["node": "a", "pod": "other", "namespace": "default"]
        try sample.assign(request)
        #expect(look(sample, after: 9000).releases.isEmpty)
    }

    @Test func otherAllocationsAreKept() throws {
        let sample = try sample(pod: nil, values: ["note": "by hand"])
        #expect(look(sample, after: 9000).releases.isEmpty)
    }

    @Test func tunnelsGoWithTheirNodeInOnePass() throws {
        var sample = try sample(pod: nil, values: ["node": "a", "type": "vxlanTunnelAddress"])
        #expect(look(sample, after: 9000).releases.isEmpty)
        sample.snapshot.nodes = [:]
        let outcome = AddressCollection.decide(sample.world, now: sample.now, grace: 900)
        #expect(outcome.releases.map(\.isCertain) == [true])
        #expect(outcome.claims.map(\.reason) == ["node a is gone"])
    }

    @Test func emptyBlocksButNeverTheLast() throws {
        var sample = try sample(pod: PodUse(key, node: "a", addresses: [IPAddress(10, 0, 0, 0)]))
        #expect(look(sample, after: 9000).claims.isEmpty)
        try sample.take("a", "more", count: 4)
        try sample.release("more")
        #expect(look(sample, after: 899).claims.isEmpty)
        #expect(look(sample, after: 900).claims.map { "\($0.claim.cidr)" } == ["10.0.0.4/30"])
        try sample.release("h")
        #expect(look(sample, after: 900).claims.count == 1)
    }

    @Test func aLockedDatastoreIsLeftAlone() throws {
        var sample = try sample(pod: nil)
        sample.world.isLocked = true
        let outcome = look(sample, after: 9000)
        #expect(outcome.releases.isEmpty && outcome.skipped?.contains("datastoreReady") == true)
    }

    @Test func handlesWithoutAddresses() throws {
        var sample = try sample(pod: PodUse(key, node: "a", addresses: [IPAddress(10, 0, 0, 0)]))
        sample.world.handles.append(handle("gone", "10.0.0.0/30", 1))
        #expect(look(sample, after: 59, grace: 1).handles.isEmpty)
        #expect(look(sample, after: 60, grace: 1).handles.map(\.handle.handleID) == ["gone"])
    }

    @Test func coldAddressesAreFreed() throws {
        var sample = try sample(pod: nil)
        sample.snapshot.config.cooldownSeconds = 30
        try sample.release("h")
        #expect(AddressCollection.decide(sample.world, now: sample.now, grace: 900).swept.isEmpty)
        let later = AddressCollection.decide(sample.world, now: sample.now.adding(seconds: 30), grace: 900)
        #expect(later.swept.map(\.freeCount) == [4])
    }
}

@Suite struct IPAMCheckTests {
    private func sound() throws -> IPAMSample {
        var sample = IPAMSample([try IPAMSample.pool("p", "10.0.0.0/24", block: 30)], nodes: ["a"])
        var request = IPAMSample.request("a", "h")
        request.values = ["node": "a", "pod": "web", "namespace": "default"]
        try sample.assign(request)
        var handle = IPAMHandle(handleID: "h")
        handle.increment(try #require(CIDR("10.0.0.0/30")))
        sample.world.handles = [handle]
        let pod = PodUse(ObjectKey("default", "web"), node: "a", addresses: [IPAddress(10, 0, 0, 0)])
        sample.world.pods[pod.key] = pod
        return sample
    }

    private func kinds(_ sample: IPAMSample) -> [IPAMCheck.Kind] {
        IPAMCheck.check(sample.world, now: sample.now).map(\.kind)
    }

    @Test func soundIsSound() throws { #expect(kinds(try sound()) == []) }

    @Test func handles() throws {
        var sample = try sound()
        sample.world.handles = []
        #expect(kinds(sample) == [.missingHandle])
        sample.world.handles = [IPAMHandle(handleID: "h"), IPAMHandle(handleID: "stray")]
        #expect(kinds(sample) == [.wrongHandleCount, .strayHandle])
    }

    @Test func claimsAndBlocks() throws {
        var sample = try sound()
        let cidr = try #require(CIDR("10.0.0.0/30"))
        sample.snapshot.affinities = [BlockAffinity(node: "a", cidr: cidr, state: .pending)]
        #expect(kinds(sample) == [.unconfirmedClaim])
        sample.snapshot.affinities = [BlockAffinity(node: "b", cidr: cidr, state: .confirmed)]
        #expect(kinds(sample) == [.missingClaim, .claimOfAnothersBlock])
        sample = try sound()
        sample.snapshot.affinities.insert(
            BlockAffinity(node: "a", cidr: try #require(CIDR("10.0.0.8/30")), state: .confirmed))
        #expect(kinds(sample) == [.claimWithoutBlock])
        let wide = try #require(CIDR("10.0.0.0/29"))
        sample = try sound()
        sample.snapshot.blocks[wide] = IPAMBlock(wide, node: nil, now: sample.now)
        #expect(kinds(sample) == [.wrongBlockSize, .overlappingBlocks])
        sample = try sound()
        sample.snapshot.pools = []
        #expect(kinds(sample) == [.blockOutsidePools, .addressOutsidePools])
    }

    @Test func lostAddressesAreFound() throws {
        var sample = try sound()
        let cidr = try #require(CIDR("10.0.0.0/30"))
        var object = try #require(sample.snapshot.blocks[cidr]).encodedForWrite()
        object["spec"]["unallocated"] = [1]
        sample.snapshot.blocks[cidr] = try IPAMBlock(object)
        let findings = IPAMCheck.check(sample.world, now: sample.now)
        #expect(findings.map(\.kind) == [.lostAddress])
        guard case .writeBlock(let block)? = findings.first?.repair else {
            Issue.record("no repair")
            return
        }
        #expect(block.unallocated == [1, 2, 3])
        sample.snapshot.blocks[cidr] = block
        #expect(kinds(sample) == [])
    }

    @Test func podsAndAddresses() throws {
        var sample = try sound()
        let other = PodUse(ObjectKey("default", "zwei"), node: "a", addresses: [IPAddress(10, 0, 0, 0)])
        sample.world.pods[other.key] = other
        #expect(kinds(sample) == [.sharedAddress])
        sample.world.pods[other.key]?.addresses = [IPAddress(10, 0, 0, 3)]
        #expect(kinds(sample) == [.unallocatedAddress])
        sample.world.pods = [:]
        #expect(kinds(sample) == [.leakedAddress])
    }
}
