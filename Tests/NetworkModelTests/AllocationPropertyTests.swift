// SPDX-License-Identifier: Apache-2.0

import NetworkModel
import Testing
import Values

@Suite struct AllocationPropertyTests {
    /// Allocations, releases, deaths of nodes, looks of the collector and changes of the configuration, in any order.
    @Test(arguments: UInt64(1)...6) func sequencesNeverDoubleAndNeverLose(seed: UInt64) throws {
        var random = SeededGenerator(state: seed)
        let nodes = ["a", "b", "c", "d", "e"]
        var sample = IPAMSample(
            [
                try IPAMSample.pool("one", "10.0.0.0/26", block: 28),
                try IPAMSample.pool("two", "10.1.0.0/28", block: 30),
                try IPAMSample.pool("six", "fd00::/120", block: 124),
            ], nodes: nodes)
        sample.snapshot.reservations = [IPReservation(name: "r", cidrs: [try #require(CIDR("10.0.0.5/32"))])]
        var next = 0
        for step in 0..<160 {
            let context = "seed \(seed), step \(step)"
            let node = try #require(nodes.randomElement(using: &random))
            sample.now = sample.now.adding(seconds: Double(Int.random(in: 0...40, using: &random)))
            switch Int.random(in: 0..<20, using: &random) {
            case 0..<10:
                next += 1
                var request = IPAMSample.request(node, "h\(next)", count: Int.random(in: 1...3, using: &random))
                if Bool.random(using: &random) { request.families = [.v4, .v6] }
                compare(request, sample, context)
                do { try sample.assign(request) } catch is AddressRefusal {}
            case 10..<16:
                if let handle = sample.held.keys.sorted().randomElement(using: &random) { try sample.release(handle) }
            case 16:
                sample.snapshot.config.strictAffinity.toggle()
            case 17:
                sample.snapshot.config.cooldownSeconds = Bool.random(using: &random) ? 0 : 60
            case 18:
                for claim in sample.snapshot.affinities.claims(of: .host(node)) { sample.drop(claim) }
            default:
                let outcome = AddressCollection.decide(sample.world, now: sample.now, grace: 60)
                for block in outcome.swept { sample.snapshot.blocks[block.cidr] = block }
                for claim in outcome.claims { sample.drop(claim.claim) }
                for cidr in outcome.obsoleteBlocks { sample.snapshot.blocks[cidr] = nil }
            }
            sample.check(context)
        }
    }

    /// What the decision must come to, worked out by looking at everything.
    private func compare(_ request: AddressRequest, _ sample: IPAMSample, _ context: String) {
        let snapshot = sample.snapshot
        let decision = AddressAllocator.decide(request, snapshot, now: sample.now)
        for family in request.families {
            let pools = snapshot.pools.filter { $0.cidr.family == family }
            var own = 0
            var others = 0
            var isAnyBlockFree = false
            for pool in pools {
                for index in 0..<pool.blockCount {
                    guard let cidr = pool.block(at: index) else { continue }
                    guard var block = snapshot.blocks[cidr] else {
                        isAnyBlockFree = isAnyBlockFree || !snapshot.reserved.covers(cidr)
                        continue
                    }
                    block.freeReleased(now: sample.now, cooldown: snapshot.config.cooldownSeconds)
                    let free = block.unallocated.count { ordinal in
                        block.address(at: ordinal).map { !snapshot.reserved.contains($0) } ?? false
                    }
                    if block.owner == .host(request.node) { own += free } else { others += free }
                }
            }
            switch decision {
            case .assign(let plan):
                let grants = plan.grants.filter { $0.address.family == family }
                if grants.count != request.count { Issue.record("\(context): \(grants.count) of \(request.count)") }
                let wasOwn = grants.count { $0.origin == .ownBlock || $0.origin == .unconfirmedBlock }
                if wasOwn != min(own, request.count) {
                    Issue.record("\(context): \(wasOwn) from own blocks, which have \(own)")
                }
                if grants.contains(where: \.isBorrowed), isAnyBlockFree || snapshot.config.strictAffinity {
                    Issue.record("\(context): borrowed without need")
                }
            case .refuse(let refusal):
                guard refusal.family == nil || refusal.family == family else { continue }
                if own >= request.count { Issue.record("\(context): refused, and the node has \(own): \(refusal)") }
                if !snapshot.config.strictAffinity, !isAnyBlockFree, own + others >= request.count {
                    Issue.record("\(context): refused, and \(others) could be borrowed: \(refusal)")
                }
            }
        }
    }

    @Test(arguments: UInt64(1)...20) func rangesAgreeWithASet(seed: UInt64) throws {
        var random = SeededGenerator(state: seed)
        var ranges = AddressRanges()
        var set: Set<UInt32> = []
        for _ in 0..<200 {
            let length = Int.random(in: 24...32, using: &random)
            let address = IPAddress(v4: UInt32.random(in: 0..<512, using: &random))
            let cidr = try #require(CIDR(address, length)).network
            let members = (0..<UInt32(cidr.count)).map { cidr.first.v4Bits + $0 }
            if Bool.random(using: &random) {
                ranges.insert(cidr)
                set.formUnion(members)
            } else {
                ranges.remove(cidr)
                set.subtract(members)
            }
            let probe = try #require(CIDR(IPAddress(v4: UInt32.random(in: 0..<512, using: &random)), 28)).network
            let inside = (0..<16).count { set.contains(probe.first.v4Bits + $0) }
            #expect(ranges.count(in: probe) == UInt128(inside))
            #expect(ranges.covers(probe) == (inside == 16))
            #expect((ranges.end(overlapping: probe) != nil) == (inside > 0))
            #expect(ranges.contains(probe.first) == set.contains(probe.first.v4Bits))
        }
    }
}
