// SPDX-License-Identifier: Apache-2.0

public import Values

/// Decides which address a request gets: a pure function of what is stored.
public enum AddressAllocator {
    /// The decision, with a reason for every pool. Borrowing from other nodes' blocks and reservations are not part of
    /// it yet; where they would have helped the reason says so.
    public static func decide(_ request: AddressRequest, _ snapshot: IPAMSnapshot, now: Timestamp) -> AddressDecision {
        var verdicts: [PoolVerdict] = snapshot.problems.map { PoolVerdict($0.pool, $0.reason) }
        var qualified: [(pool: IPPool, reason: String)] = []
        let labels = snapshot.nodes[request.node] ?? [:]
        for (pool, chosen) in candidates(request, snapshot, &verdicts) {
            switch judge(pool, chosen: chosen, request, labels) {
            case .success(let reason): qualified.append((pool, reason))
            case .failure(let rejection): verdicts.append(PoolVerdict(pool.label, rejection.reason))
            }
        }
        // Own blocks of any pool come before a new block of any pool, as pools share a node's limit of blocks.
        for attempt in [ownBlock, newBlock] {
            for (index, candidate) in qualified.enumerated() {
                guard let (origin, block) = attempt(candidate.pool, qualified.map(\.pool), request, snapshot, now)
                else {
                    continue
                }
                var taken = block
                guard let ordinal = taken.allocate(handleID: request.handleID, values: request.values),
                    let address = taken.address(at: ordinal)
                else { continue }
                let others = qualified.enumerated().filter { $0.offset != index }
                    .map { PoolVerdict($0.element.pool.label, "\(candidate.pool.name) came first") }
                return .assign(
                    AddressPlan(
                        pool: candidate.pool, origin: origin, block: taken, address: address, reason: candidate.reason,
                        rejected: verdicts + others))
            }
        }
        for (pool, _) in qualified {
            verdicts.append(PoolVerdict(pool.label, shortage(pool, qualified.map(\.pool), request, snapshot)))
        }
        return .refuse(
            AddressRefusal(
                subject: request.subject, node: request.node, verdicts: verdicts,
                nextStep: nextStep(request, snapshot, hasQualified: !qualified.isEmpty)))
    }

    // MARK: Pools

    private struct Rejection: Error { let reason: String }

    /// The pools in the order of preference; those not asked for get their verdict here.
    private static func candidates(
        _ request: AddressRequest, _ snapshot: IPAMSnapshot, _ verdicts: inout [PoolVerdict]
    ) -> [(IPPool, chosen: Bool)] {
        let pools = snapshot.pools.filter { $0.cidr.family == .v4 }.sorted { $0.name < $1.name }
        for pool in snapshot.pools where pool.cidr.family == .v6 {
            verdicts.append(PoolVerdict(pool.label, "it is an IPv6 pool, and pods get IPv4 addresses only so far"))
        }
        guard let choice = request.choice else { return pools.map { ($0, false) } }
        var result: [(IPPool, chosen: Bool)] = []
        for wanted in choice.pools {
            let network = CIDR(wanted)?.network
            guard let pool = pools.first(where: { $0.name == wanted || $0.cidr == network }) else {
                verdicts.append(PoolVerdict("\"\(wanted)\"", "\(choice.source) names it, and there is no such pool"))
                continue
            }
            if !result.contains(where: { $0.0.name == pool.name }) { result.append((pool, true)) }
        }
        for pool in pools where !result.contains(where: { $0.0.name == pool.name }) {
            verdicts.append(PoolVerdict(pool.label, "\(choice.source) does not name it"))
        }
        return result
    }

    /// Why a pool qualifies, or why not. A pool that was asked for is not asked for its selectors.
    private static func judge(
        _ pool: IPPool, chosen: Bool, _ request: AddressRequest, _ labels: [String: String]
    ) -> Result<String, Rejection> {
        func no(_ reason: String) -> Result<String, Rejection> { .failure(Rejection(reason: reason)) }
        if pool.isBeingDeleted { return no("it is being deleted") }
        if pool.isDisabled { return no("it is disabled (spec.disabled is true)") }
        if let message = pool.notAllocatable { return no("its status says Allocatable=False: \(message)") }
        guard pool.allowedUses.contains(request.use) else {
            return no(
                "its allowedUses (\(pool.allowedUses.map(\.rawValue).joined(separator: ", "))) leave out \(request.use.rawValue)"
            )
        }
        if chosen { return .success("\(request.choice?.source ?? "the request") names it") }
        if !pool.isAutomatic {
            return no("its assignmentMode is Manual: a pod or namespace has to name it in \(CalicoKeys.ipv4Pools)")
        }
        guard pool.nodeSelector.matches(labels) else {
            return no(
                "its nodeSelector \(pool.nodeSelector) does not select the node: \(pool.nodeSelector.facts(about: labels))"
            )
        }
        var reason: String
        if pool.nodeSelector.labels.isEmpty {
            reason = "it is for all nodes"
        } else {
            reason = "its nodeSelector \(pool.nodeSelector) selects the node: \(pool.nodeSelector.facts(about: labels))"
        }
        if let selector = pool.namespaceSelector, request.use == .workload {
            let facts = selector.facts(about: request.namespaceLabels)
            guard selector.matches(request.namespaceLabels) else {
                return no(
                    "its namespaceSelector \(selector) does not select namespace \(request.namespace ?? ""): \(facts)")
            }
            reason += ", and its namespaceSelector \(selector) the namespace: \(facts)"
        }
        return .success(reason)
    }

    // MARK: Blocks

    private typealias Find = (AddressPlan.Origin, IPAMBlock)

    /// A block of the pool that the node owns already and that has a free address.
    private static func ownBlock(
        _ pool: IPPool, _ pools: [IPPool], _ request: AddressRequest, _ snapshot: IPAMSnapshot, _ now: Timestamp
    ) -> Find? {
        let claims = snapshot.affinities.filter {
            $0.node == request.node && $0.type == "host" && pool.cidr.contains($0.cidr)
        }
        .sorted { $0.name < $1.name }
        for claim in claims where !claim.isDeleted {
            if let block = snapshot.blocks[claim.cidr] {
                guard block.node == request.node, !block.isDeleted, block.freeCount > 0 else { continue }
                return (claim.state == .confirmed ? .ownBlock : .unconfirmedBlock(claim), block)
            }
            // The claim was written and its block was not: the writer died in between.
            guard claim.cidr.prefixLength == pool.blockSize else { continue }
            var pending = claim
            pending.state = .pending
            return (.unconfirmedBlock(pending), IPAMBlock(claim.cidr, node: request.node, now: now))
        }
        // The block is ours and no claim says so: make the claim good.
        let claimed = Set(claims.map(\.cidr))
        let strays = snapshot.blocks.values.filter {
            $0.node == request.node && !$0.isDeleted && pool.cidr.contains($0.cidr) && !claimed.contains($0.cidr)
                && $0.freeCount > 0
        }
        guard let block = strays.min(by: { $0.cidr < $1.cidr }) else { return nil }
        return (.unconfirmedBlock(BlockAffinity(node: request.node, cidr: block.cidr, state: .pending)), block)
    }

    /// A block of the pool that nobody has.
    private static func newBlock(
        _ pool: IPPool, _ pools: [IPPool], _ request: AddressRequest, _ snapshot: IPAMSnapshot, _ now: Timestamp
    ) -> Find? {
        guard mayClaim(pools, request, snapshot), let cidr = freeBlock(pool, request, snapshot) else { return nil }
        let claim =
            snapshot.affinities.first { $0.node == request.node && $0.cidr == cidr }
            ?? BlockAffinity(node: request.node, cidr: cidr, state: .pending)
        return (.newBlock(claim), IPAMBlock(cidr, node: request.node, now: now))
    }

    private static func mayClaim(_ pools: [IPPool], _ request: AddressRequest, _ snapshot: IPAMSnapshot) -> Bool {
        snapshot.config.autoAllocateBlocks && ownedCount(pools, request, snapshot) < snapshot.config.maxBlocksPerHost
    }

    private static func ownedCount(_ pools: [IPPool], _ request: AddressRequest, _ snapshot: IPAMSnapshot) -> Int {
        snapshot.blocks.values.count { block in
            block.node == request.node && pools.contains { $0.cidr.contains(block.cidr) }
        }
    }

    /// Walks the pool's blocks from a start of the node's own, so that nodes do not race for the same one: the node's
    /// place among the nodes that the pool selects.
    private static func freeBlock(_ pool: IPPool, _ request: AddressRequest, _ snapshot: IPAMSnapshot) -> CIDR? {
        let count = pool.blockCount
        let peers = snapshot.nodes.filter { pool.nodeSelector.matches($0.value) }.keys.sorted()
        let start = UInt128(peers.firstIndex(of: request.node) ?? 0) % count
        // Blocks of another size count as well: a pool may have been made again with another block size.
        let taken = snapshot.blocks.values.map(\.cidr).filter { $0.overlaps(pool.cidr) }
        let sameSize = Set(taken.filter { $0.prefixLength == pool.blockSize })
        let odd = taken.filter { $0.prefixLength != pool.blockSize }
        // Among more blocks than are taken, a free one is found after as many steps at the latest.
        let steps = min(count, UInt128(taken.reduce(0) { $0 + (1 << max(0, pool.blockSize - $1.prefixLength)) }) + 1)
        for step in 0..<steps {
            guard let cidr = pool.block(at: (start + step) % count) else { return nil }
            if !sameSize.contains(cidr), !odd.contains(where: { $0.overlaps(cidr) }) { return cidr }
        }
        return nil
    }

    // MARK: Words

    private static func shortage(
        _ pool: IPPool, _ pools: [IPPool], _ request: AddressRequest, _ snapshot: IPAMSnapshot
    ) -> String {
        let blocks = snapshot.blocks.values.filter { pool.cidr.contains($0.cidr) }
        let own = blocks.filter { $0.node == request.node }
        let ownText = "the node's \(own.count) block(s) of it are full"
        if !snapshot.config.autoAllocateBlocks { return "\(ownText), and autoAllocateBlocks is off" }
        if !mayClaim(pools, request, snapshot) {
            return
                "\(ownText), and the node has reached its limit of \(snapshot.config.maxBlocksPerHost) blocks (maxBlocksPerHost)"
        }
        var owners: [String: Int] = [:]
        for block in blocks { owners[block.node ?? "no node", default: 0] += 1 }
        let list = owners.sorted { $0.key < $1.key }.map { "\($0.key) has \($0.value)" }.joined(separator: ", ")
        let free = blocks.reduce(0) { $0 + ($1.node == request.node ? 0 : $1.freeCount) }
        var text = own.isEmpty ? "" : "\(ownText); "
        text += "all \(pool.blockCount) blocks of /\(pool.blockSize) are taken"
        if !list.isEmpty { text += " (\(list))" }
        if free > 0 { text += "; \(free) free addresses are in blocks of other nodes, which are not borrowed yet" }
        return text
    }

    private static func nextStep(_ request: AddressRequest, _ snapshot: IPAMSnapshot, hasQualified: Bool) -> String {
        if snapshot.pools.isEmpty {
            let used = snapshot.blocks.values.map(\.cidr)
            let free = CIDR("192.168.0.0/24").flatMap { FreeRange.suggestion(like: $0, avoiding: used) }
            return "Create one, for example with spec.cidr \(free.map { "\($0)" } ?? "192.168.0.0/24")"
        }
        if hasQualified {
            let used = snapshot.pools.map(\.cidr)
            let free = snapshot.pools.first.flatMap { FreeRange.suggestion(like: $0.cidr, avoiding: used) }
            return "Make another pool for this node\(free.map { ", for example of \($0)" } ?? "")"
        }
        if let choice = request.choice { return "Correct \(choice.source), or create the pool" }
        for pool in snapshot.pools where pool.isAutomatic && !pool.isDisabled && !pool.isBeingDeleted {
            if let (label, value) = pool.nodeSelector.singleRequirement {
                return "To use \(pool.name): kubectl label node \(request.node) \(label)=\(value) --overwrite"
            }
        }
        return "Make a pool whose nodeSelector selects the node, or label the node"
    }
}

extension Selector {
    /// The label and value of a selector that asks for just that.
    var singleRequirement: (label: String, value: String)? {
        if case .equals(let label, let value) = root { (label, value) } else { nil }
    }
}
