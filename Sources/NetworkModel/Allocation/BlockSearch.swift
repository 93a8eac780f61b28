// SPDX-License-Identifier: Apache-2.0

import Values

/// Looks for addresses in the blocks of qualified pools, and keeps what it takes until the decision is complete: one
/// request may take several addresses, of one block or of many.
struct BlockSearch {
    let request: AddressRequest
    let snapshot: IPAMSnapshot
    let now: Timestamp
    let owner: AffinityOwner

    private(set) var grants: [Grant] = []
    /// Blocks with what this decision changed, by network, and their order.
    private var changed: [CIDR: BlockWrite] = [:]
    private var order: [CIDR] = []
    /// What was looked at, by pool.
    var blockVerdicts: [String: [BlockVerdict]] = [:]
    /// Why pools had no address (or not enough), by name.
    private(set) var shortages: [String: String] = [:]

    init(_ request: AddressRequest, _ snapshot: IPAMSnapshot, _ now: Timestamp) {
        self.request = request
        self.snapshot = snapshot
        self.now = now
        owner = request.owner
    }

    var writes: [BlockWrite] { order.compactMap { changed[$0] } }
    /// Services are no host: maxBlocksPerHost does not count for them.
    var limit: Int { min(request.maxBlocks ?? .max, owner.node == nil ? .max : snapshot.config.maxBlocksPerHost) }
    /// Whose the owner's blocks are, for people.
    var whose: String { owner.node == nil ? "the Services'" : "the node's" }

    /// Takes up to `missing` addresses from pools of one tier: each kind of source of every pool before the next kind.
    mutating func search(_ tier: [PoolJudge.Candidate], missing: Int) {
        let pools = tier.map(\.pool)
        let target = grants.count + missing
        let sources: [(BlockSearch) -> (IPPool, [IPPool]) -> Find?] = [
            BlockSearch.newBlock, BlockSearch.emptyBlock,
        ]
        for candidate in tier where grants.count < target { takeOwn(candidate, target) }
        var mayClaim = snapshot.config.autoAllocateBlocks
        while mayClaim, grants.count < target, ownedCount(pools) < limit {
            var found = false
            search: for source in sources {
                for candidate in tier {
                    guard let find = source(self)(candidate.pool, pools) else { continue }
                    found = take(find, candidate, upTo: target)
                    if found { break search }
                }
            }
            mayClaim = found
        }
        // At its limit of blocks, or where blocks are given out by hand, a node does not borrow either.
        if grants.count < target, snapshot.config.autoAllocateBlocks, ownedCount(pools) < limit {
            for candidate in tier {
                if snapshot.config.strictAffinity {
                    while grants.count < target, let find = handOver(candidate.pool) {
                        if !take(find, candidate, upTo: target) { break }
                    }
                } else {
                    borrow(candidate, target)
                }
            }
        }
        guard grants.count < target else { return }
        for pool in pools { shortages[pool.name] = shortage(pool, pools) }
    }

    /// How many blocks of the pools the owner has, those of this decision included.
    func ownedCount(_ pools: [IPPool]) -> Int {
        let stored = snapshot.blocks.networks(of: owner)
        let more = changed.values.filter { $0.block.owner == owner && snapshot.blocks[$0.block.cidr]?.owner != owner }
        return (stored + more.map(\.block.cidr)).count { cidr in pools.contains { $0.cidr.contains(cidr) } }
    }

    // MARK: Taking

    /// A block that may have an address, and what taking it means.
    struct Find {
        let origin: Grant.Origin
        let block: IPAMBlock
        var claim: BlockAffinity?
        var formerClaim: BlockAffinity?
    }

    /// The block as this decision has left it so far, with the addresses free whose cooldown is over.
    func current(_ cidr: CIDR) -> IPAMBlock? {
        if let write = changed[cidr] { return write.block }
        guard var block = snapshot.blocks[cidr] else { return nil }
        block.freeReleased(now: now, cooldown: snapshot.config.cooldownSeconds)
        return block
    }

    func isChanged(_ cidr: CIDR) -> Bool { changed[cidr] != nil }

    /// Takes addresses of the block until there are `target`; false when there was none.
    mutating func take(_ find: Find, _ candidate: PoolJudge.Candidate, upTo target: Int) -> Bool {
        var block = changed[find.block.cidr]?.block ?? find.block
        var count = 0
        while grants.count < target,
            let ordinal = block.allocate(
                handleID: request.handleID, values: request.values, avoiding: snapshot.reserved),
            let address = block.address(at: ordinal)
        {
            grants.append(
                Grant(
                    address: address, pool: candidate.pool, block: block.cidr, origin: find.origin,
                    reason: candidate.reason, viaFallback: candidate.viaFallback))
            count += 1
        }
        guard count > 0 else { return false }
        note(find, block, count)
        blockVerdicts[candidate.pool.name, default: []].append(
            BlockVerdict(block: block.cidr, outcome: .taken, reason: words(find.origin)))
        return true
    }

    private mutating func note(_ find: Find, _ block: IPAMBlock, _ count: Int) {
        if changed[block.cidr] == nil {
            order.append(block.cidr)
            changed[block.cidr] = BlockWrite(
                block: block, claim: find.claim, formerClaim: find.formerClaim, origin: find.origin, handles: [:])
        }
        changed[block.cidr]?.block = block
        changed[block.cidr]?.handles[request.handleID, default: 0] += count
    }

    private func words(_ origin: Grant.Origin) -> String {
        switch origin {
        case .ownBlock: "\(whose) own, with a free address"
        case .unconfirmedBlock: "\(whose) own, its claim not confirmed yet"
        case .newBlock: "nobody's so far"
        case .reclaimedBlock(let node): "\(node)'s, and empty"
        case .handedOverBlock(let node): "\(node)'s, and little used"
        case .borrowed(let node): "\(node.map { "\($0)'s" } ?? "nobody's"), with a free address to borrow"
        case .explicit: "it holds the address that was asked for"
        }
    }

    // MARK: A given address

    /// Takes exactly this address; why not, if not.
    mutating func take(_ address: IPAddress) -> AddressRefusal? {
        func refusal(_ verdicts: [PoolVerdict], _ nextStep: String) -> AddressRefusal {
            AddressRefusal(
                subject: "\(request.subject) (address \(address))", node: request.node, verdicts: verdicts,
                nextStep: nextStep, family: nil)
        }
        let pools = snapshot.pools.filter { $0.cidr.family == address.family }
        let holding = pools.filter { $0.cidr.contains(address) }
        guard let pool = holding.first(where: { PoolJudge.unusable($0, request.use) == nil }) else {
            let verdicts =
                holding.map { PoolVerdict($0.label, PoolJudge.unusable($0, request.use) ?? "") }
                + (holding.isEmpty ? pools.map { PoolVerdict($0.label, "it does not contain \(address)") } : [])
            return refusal(verdicts, "Ask for an address of a pool that is enabled for \(request.use.rawValue)")
        }
        let covering =
            changed.values.first { $0.block.cidr.contains(address) }?.block
            ?? snapshot.blocks.block(containing: address)
        let find: Find
        if let stored = covering, let block = current(stored.cidr) {
            let isForeign = block.owner != owner
            if isForeign, snapshot.config.strictAffinity {
                let holder = block.owner.map { "\($0)" } ?? "nobody"
                return refusal(
                    [PoolVerdict(pool.label, "block \(block.cidr) is \(holder)'s and strictAffinity is on")],
                    request.use == .loadBalancer
                        ? "Ask for another address" : "Start the pod on that node, or ask for another address")
            }
            find = Find(
                origin: .explicit(owner: isForeign ? block.owner.map { "\($0)" } ?? "nobody" : nil), block: block,
                claim: isForeign ? nil : claimToConfirm(block.cidr))
        } else {
            guard let cidr = CIDR(address, pool.blockSize)?.network,
                snapshot.blocks.networks(overlapping: cidr).isEmpty
            else {
                return refusal(
                    [PoolVerdict(pool.label, "a block of another size overlaps the block that \(address) belongs to")],
                    "See catbird ipam show, and migrate the old blocks with catbird ipam migrate")
            }
            find = Find(
                origin: .explicit(owner: nil), block: IPAMBlock(cidr, owner: owner, now: now), claim: claim(for: cidr))
        }
        var block = find.block
        guard let ordinal = block.ordinal(of: address),
            block.allocate(ordinal: ordinal, handleID: request.handleID, values: request.values)
        else {
            let attribute = block.ordinal(of: address).flatMap { block.attribute(of: $0) }
            return refusal(
                [
                    PoolVerdict(
                        pool.label, "\(address) is assigned in block \(block.cidr) to \(Holder.words(attribute))")
                ],
                "Release it first, or ask for another address")
        }
        grants.append(
            Grant(
                address: address, pool: pool, block: block.cidr, origin: find.origin,
                reason: "the request names the address", viaFallback: nil))
        note(find, block, 1)
        return nil
    }
}

/// Words for who holds an address.
enum Holder {
    static func words(_ attribute: IPAMBlock.Attribute?) -> String {
        guard let attribute else { return "nobody" }
        if attribute.isReleased { return "nobody: it was released at \(attribute.releasedAt ?? "") and cools down" }
        if let pod = attribute.values["pod"] { return "pod \(attribute.values["namespace"] ?? "")/\(pod)" }
        if let service = attribute.values["service"] {
            return "Service \(attribute.values["namespace"] ?? "")/\(service)"
        }
        if let type = attribute.values["type"] { return "\(type) of node \(attribute.values["node"] ?? "")" }
        return attribute.handleID.map { "handle \($0)" } ?? "somebody without a handle"
    }
}
