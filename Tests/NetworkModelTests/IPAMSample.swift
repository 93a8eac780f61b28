// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Testing
import Values

/// A store in memory that decisions are applied to, and its invariants.
struct IPAMSample {
    var world: IPAMWorld
    var snapshot: IPAMSnapshot {
        get { world.snapshot }
        set { world.snapshot = newValue }
    }
    /// What each handle was given.
    var held: [String: [IPAddress]] = [:]
    var now = Timestamp(seconds: 1_700_000_000)

    init(_ pools: [IPPool], nodes: [String]) {
        world = IPAMWorld(
            snapshot: IPAMSnapshot(pools: pools, nodes: Dictionary(uniqueKeysWithValues: nodes.map { ($0, [:]) })))
    }

    static func pool(
        _ name: String, _ cidr: String, block: Int? = nil, nodes: String = "all()", namespaces: String? = nil,
        uses: [PoolUse] = [.workload, .tunnel]
    ) throws -> IPPool {
        IPPool(
            name: name, cidr: try #require(CIDR(cidr)), blockSize: block, nodeSelector: try Selector(nodes),
            namespaceSelector: try namespaces.map { try Selector($0) }, allowedUses: uses)
    }

    static func request(
        _ node: String, _ handle: String, count: Int = 1, families: [IPFamily] = [.v4], use: PoolUse = .workload,
        explicit: [IPAddress] = [], pools: [String]? = nil, max: Int? = nil
    ) -> AddressRequest {
        var choices: [IPFamily: AddressRequest.PoolChoice] = [:]
        if let pools { for family in families { choices[family] = .init(pools, source: "the request") } }
        return AddressRequest(
            node: node, use: use, handleID: handle, values: ["node": node], subject: "handle \(handle)",
            families: families, choices: choices, explicit: explicit, count: count, maxBlocks: max)
    }

    func decide(_ request: AddressRequest) throws -> AddressPlan {
        switch AddressAllocator.decide(request, snapshot, now: now) {
        case .assign(let plan): return plan
        case .refuse(let refusal): throw refusal
        }
    }

    /// Decides, and applies what is to be written.
    @discardableResult
    mutating func assign(_ request: AddressRequest) throws -> AddressPlan {
        let plan = try decide(request)
        for write in plan.writes {
            if let former = write.formerClaim { snapshot.affinities.remove(former.cidr, of: former.owner) }
            if var claim = write.claim {
                claim.state = .confirmed
                snapshot.affinities.insert(claim)
            }
            snapshot.blocks[write.block.cidr] = try IPAMBlock(write.block.encodedForWrite())
        }
        held[request.handleID, default: []] += plan.grants.map(\.address)
        return plan
    }

    @discardableResult
    mutating func take(_ node: String, _ handle: String, count: Int = 1) throws -> [String] {
        try assign(Self.request(node, handle, count: count)).grants.map { "\($0.address)" }
    }

    mutating func release(_ handle: String) throws {
        for cidr in snapshot.blocks.networks {
            guard var block = snapshot.blocks[cidr] else { continue }
            let ordinals = block.ordinals(ofHandle: handle)
            guard !ordinals.isEmpty else { continue }
            block.release(ordinals: ordinals, now: now, cooldown: snapshot.config.cooldownSeconds)
            let isObsolete = block.isEmpty && block.affinity == nil
            snapshot.blocks[cidr] = isObsolete ? nil : try IPAMBlock(block.encodedForWrite())
        }
        held[handle] = nil
    }

    mutating func drop(_ claim: BlockAffinity) {
        snapshot.affinities.remove(claim.cidr, of: claim.owner)
        guard var block = snapshot.blocks[claim.cidr], block.owner == claim.owner else { return }
        block.affinity = nil
        snapshot.blocks[claim.cidr] = block.isEmpty ? nil : block
    }

    /// Nothing doubled, nothing lost, no two blocks over each other, the tables true to the blocks.
    func check(_ context: String) {
        var seen: [IPAddress: String] = [:]
        for block in snapshot.blocks.values {
            for (address, attribute) in block.assignments where !attribute.isReleased {
                let other = seen.updateValue(attribute.handleID ?? "", forKey: address)
                if let other { Issue.record("\(context): \(address) is \(other)'s twice") }
            }
            let rest = Set(block.unallocated).union(block.allocations.indices.filter { block.allocations[$0] != nil })
            if rest.count != block.allocations.count { Issue.record("\(context): \(block.cidr) lost addresses") }
            if snapshot.blocks.networks(overlapping: block.cidr) != [block.cidr] {
                Issue.record("\(context): \(block.cidr) overlaps \(snapshot.blocks.networks(overlapping: block.cidr))")
            }
            if let owner = block.owner, !snapshot.blocks.networks(of: owner).contains(block.cidr) {
                Issue.record("\(context): \(block.cidr) is not listed as \(owner)'s")
            }
        }
        let expected = held.flatMap { handle, addresses in addresses.map { ($0, handle) } }
        if seen != Dictionary(expected, uniquingKeysWith: { _, second in second }) || expected.count != seen.count {
            Issue.record("\(context): the blocks hold \(seen.count) addresses, and \(expected.count) were given out")
        }
    }
}

/// A generator whose runs can be played again.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
