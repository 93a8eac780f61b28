// SPDX-License-Identifier: Apache-2.0

import Values

/// Where blocks come from, one function a kind.
extension BlockSearch {
    /// Everything that the owner's blocks of the pool have, in the order in which Calico lists claims.
    mutating func takeOwn(_ candidate: PoolJudge.Candidate, _ target: Int) {
        let pool = candidate.pool
        let claims = snapshot.affinities.claims(of: owner).filter { pool.cidr.contains($0.cidr) }
        for claim in claims where !claim.isDeleted && grants.count < target {
            guard let block = current(claim.cidr) else {
                // The claim was written and its block was not: the writer died in between.
                guard claim.cidr.prefixLength == pool.blockSize,
                    snapshot.blocks.networks(overlapping: claim.cidr).isEmpty
                else { continue }
                var pending = claim
                pending.state = .pending
                let new = IPAMBlock(claim.cidr, owner: owner, now: now)
                _ = take(Find(origin: .unconfirmedBlock, block: new, claim: pending), candidate, upTo: target)
                continue
            }
            guard block.owner == owner else {
                let holder = block.owner.map { "\($0)'s" } ?? "nobody's"
                reject(pool, block.cidr, "the node claims it, and it is \(holder)")
                continue
            }
            takeOwn(block, claim.state == .confirmed ? nil : claim, candidate, target)
        }
        guard grants.count < target else { return }
        // A block that is the owner's without a claim that says so: make the claim good.
        for cidr in BlockTable.slice(snapshot.blocks.networks(of: owner), pool.cidr)
        where grants.count < target && snapshot.affinities[owner, cidr] == nil {
            guard let block = current(cidr) else { continue }
            takeOwn(block, BlockAffinity(owner: owner, cidr: cidr, state: .pending), candidate, target)
        }
    }

    private mutating func takeOwn(
        _ block: IPAMBlock, _ claim: BlockAffinity?, _ candidate: PoolJudge.Candidate, _ target: Int
    ) {
        guard !block.isDeleted else { return reject(candidate.pool, block.cidr, "it is being deleted") }
        let origin: Grant.Origin = claim == nil ? .ownBlock : .unconfirmedBlock
        if take(Find(origin: origin, block: block, claim: claim), candidate, upTo: target) { return }
        let reason: String
        if block.freeCount > 0 {
            reason = "\(whose) own; its \(block.freeCount) free addresses are reserved"
        } else if block.isCoolingDown {
            let waiting = block.assignments.count { $0.attribute.isReleased }
            reason = "\(whose) own, and full: \(waiting) of its addresses cool down"
        } else {
            reason = "\(whose) own, and full"
        }
        reject(candidate.pool, block.cidr, reason)
    }

    /// A block of the pool that nobody has. Blocks of another size count as well: a pool may have been made again with
    /// another block size.
    func newBlock(_ pool: IPPool, _ pools: [IPPool]) -> Find? {
        guard let begin = pool.block(at: start(pool)), let first = pool.block(at: 0) else { return nil }
        guard let cidr = free(from: begin, in: pool) ?? free(from: first, in: pool) else { return nil }
        return Find(
            origin: .newBlock, block: IPAMBlock(cidr, owner: owner, now: now), claim: claim(for: cidr))
    }

    /// Walks from block to block, over each taken or reserved stretch as a whole.
    private func free(from begin: CIDR, in pool: IPPool) -> CIDR? {
        var candidate: CIDR? = begin
        while let cidr = candidate, pool.cidr.contains(cidr) {
            let end: IPAddress?
            if let taken = snapshot.blocks.covered.end(overlapping: cidr) {
                end = max(taken, cidr.last)
            } else if snapshot.reserved.covers(cidr) {
                end = snapshot.reserved.end(overlapping: cidr)
            } else if isChanged(cidr) {
                end = cidr.last
            } else {
                return cidr
            }
            candidate = end?.advanced(by: 1).flatMap { next in
                // The stretch may end within a block.
                guard let holding = CIDR(next, pool.blockSize)?.network else { return nil }
                return holding.first == next
                    ? holding : holding.last.advanced(by: 1).flatMap { CIDR($0, pool.blockSize) }
            }
        }
        return nil
    }

    /// An empty block of another node that has had it for a while; a node that has just claimed one is about to use it.
    func emptyBlock(_ pool: IPPool, _ pools: [IPPool]) -> Find? {
        for cidr in rotated(BlockTable.slice(snapshot.blocks.empty, pool.cidr), pool) {
            guard cidr.prefixLength == pool.blockSize, !isChanged(cidr), !snapshot.reserved.covers(cidr),
                var block = snapshot.blocks[cidr], let former = block.owner, former != owner,
                isSettled(block)
            else { continue }
            block.affinity = owner.description
            block.claimTime = now.description
            block.isDeleted = false
            return Find(
                origin: .reclaimedBlock(from: former.name), block: block, claim: claim(for: cidr),
                formerClaim: snapshot.affinities[former, cidr])
        }
        return nil
    }

    /// Takes free addresses of blocks that are and stay another's.
    mutating func borrow(_ candidate: PoolJudge.Candidate, _ target: Int) {
        for cidr in rotated(BlockTable.slice(snapshot.blocks.open, candidate.pool.cidr), candidate.pool) {
            guard grants.count < target else { return }
            guard let block = current(cidr), block.owner != owner, !block.isDeleted else { continue }
            _ = take(
                Find(origin: .borrowed(from: block.owner?.name), block: block), candidate, upTo: target)
        }
    }

    /// The least used block of another node that can spare it. Under strictAffinity nothing is borrowed: the block
    /// changes hands, and the addresses that its holder has in it stay its own, each with a route.
    func handOver(_ pool: IPPool) -> Find? {
        var best: IPAMBlock?
        for cidr in BlockTable.slice(snapshot.blocks.open, pool.cidr) where !isChanged(cidr) {
            guard let block = current(cidr), block.owner != owner, !block.isDeleted, block.freeCount > 0,
                isSettled(block), block.owner?.node != nil || block.owner == nil,
                block.freeCount > block.usedCount, best.map({ block.usedCount < $0.usedCount }) ?? true
            else { continue }
            best = block
        }
        guard var block = best else { return nil }
        let former = block.owner
        block.affinity = owner.description
        block.claimTime = now.description
        return Find(
            origin: .handedOverBlock(from: former?.name ?? "nobody"), block: block, claim: claim(for: block.cidr),
            formerClaim: former.flatMap { snapshot.affinities[$0, block.cidr] })
    }

    // MARK: Parts

    /// Whether the block was claimed long enough ago to be taken away. Without a time it is from before times were kept.
    func isSettled(_ block: IPAMBlock) -> Bool {
        guard let time = block.claimTime.flatMap({ Timestamp($0) }) else { return true }
        return now.seconds(since: time) >= AddressAllocator.reclaimAge
    }

    /// The claim to a block as it is stored, or a new one.
    func claim(for cidr: CIDR) -> BlockAffinity {
        snapshot.affinities[owner, cidr] ?? BlockAffinity(owner: owner, cidr: cidr, state: .pending)
    }

    /// The claim to an own block, if it still has to be confirmed.
    func claimToConfirm(_ cidr: CIDR) -> BlockAffinity? {
        let claim = claim(for: cidr)
        return claim.state == .confirmed && !claim.isDeleted ? nil : claim
    }

    /// Nodes begin their walks at blocks of their own, so that they do not race for the same one: at the node's place
    /// among the nodes that the pool selects.
    private func start(_ pool: IPPool) -> UInt128 {
        guard let node = owner.node else { return 0 }
        return UInt128(snapshot.place(of: node, among: pool.nodeSelector)) % pool.blockCount
    }

    /// The sorted networks from the node's start on, once round.
    private func rotated(_ sorted: ArraySlice<CIDR>, _ pool: IPPool) -> [CIDR] {
        guard let begin = pool.block(at: start(pool)) else { return Array(sorted) }
        let middle = sorted.partition { $0.address >= begin.address }
        return Array(sorted[middle...]) + Array(sorted[..<middle])
    }

    mutating func reject(_ pool: IPPool, _ block: CIDR, _ reason: String) {
        blockVerdicts[pool.name, default: []].append(
            BlockVerdict(block: block, outcome: .rejected, reason: reason))
    }

    // MARK: Words

    /// How many owners and blocks are named where there are more.
    private static let named = 8

    /// Why the pool has no address for the node.
    mutating func shortage(_ pool: IPPool, _ pools: [IPPool]) -> String {
        let blocks = snapshot.blocks.networks(within: pool.cidr)
        let own = BlockTable.slice(snapshot.blocks.networks(of: owner), pool.cidr).count
        let ownText = "\(whose) \(own) block(s) of it are full"
        if !snapshot.config.autoAllocateBlocks { return "\(ownText), and autoAllocateBlocks is off" }
        if ownedCount(pools) >= limit {
            let field =
                (request.maxBlocks ?? .max) < snapshot.config.maxBlocksPerHost ? "the request" : "maxBlocksPerHost"
            return "\(ownText), and the node has reached its limit of \(limit) blocks (\(field))"
        }
        var owners: [String: Int] = [:]
        for cidr in blocks.prefix(256) { owners[snapshot.blocks[cidr]?.owner?.name ?? "no node", default: 0] += 1 }
        let sorted = owners.sorted { $0.key < $1.key }
        var list = sorted.prefix(Self.named).map { "\($0.key) has \($0.value)" }.joined(separator: ", ")
        if sorted.count > Self.named || blocks.count > 256 { list += " and others" }
        var text = own == 0 ? "" : "\(ownText); "
        text += "all \(pool.blockCount) blocks of /\(pool.blockSize) are taken"
        if snapshot.reserved.count(in: pool.cidr) > 0 {
            text += " or reserved (\(snapshot.reserved.count(in: pool.cidr)) addresses are)"
        }
        if !list.isEmpty { text += " (\(list))" }
        let open = BlockTable.slice(snapshot.blocks.open, pool.cidr)
        var free = 0
        for cidr in open.prefix(256) {
            guard let block = snapshot.blocks[cidr], block.owner != owner else { continue }
            free += block.freeCount
            if (blockVerdicts[pool.name] ?? []).count < Self.named {
                reject(pool, cidr, "\(block.owner?.name ?? "nobody")'s, \(block.freeCount) free")
            }
        }
        if free > 0 {
            let why =
                snapshot.config.strictAffinity
                ? "which strictAffinity keeps for their nodes" : "which are reserved"
            text +=
                "; \(open.count > 256 ? "at least " : "")\(free) free addresses are in blocks of other nodes, \(why)"
        }
        return text
    }
}
