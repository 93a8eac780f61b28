// SPDX-License-Identifier: Apache-2.0

public import Values

/// Decides which addresses a request gets: a pure function of what is stored.
///
/// The order is Calico's: the owner's blocks, a new block, an empty block of another node, an address borrowed from
/// another node's block; then, where Calico gives up, a little used block is handed over (under strictAffinity, which
/// forbids borrowing), and the pools that an exhausted pool names in `catbird.dev/fallback-pools` follow.
public enum AddressAllocator {
    /// An empty block may be taken from its node this many seconds after it was claimed.
    public static let reclaimAge = 60.0

    /// The decision, with a reason for every pool and every block that was looked at.
    public static func decide(_ request: AddressRequest, _ snapshot: IPAMSnapshot, now: Timestamp) -> AddressDecision {
        var search = BlockSearch(request, snapshot, now)
        var verdicts = snapshot.problems.map { PoolVerdict($0.pool, $0.reason) }
        if !request.explicit.isEmpty {
            for address in request.explicit {
                if let refusal = search.take(address) {
                    return .refuse(refusal)
                }
            }
            return .assign(AddressPlan(grants: search.grants, writes: search.writes, verdicts: []))
        }
        for family in request.families {
            if let missing = assign(family, request, snapshot, &search, &verdicts) {
                let isPartial = request.families.count > 1
                return .refuse(
                    AddressRefusal(
                        subject: request.subject, node: request.node, verdicts: verdicts, nextStep: missing,
                        family: isPartial ? family : nil))
            }
        }
        if Set(request.families).isDisjoint(with: [.v6]) {
            for pool in snapshot.pools where pool.cidr.family == .v6 {
                verdicts.append(PoolVerdict(pool.label, "it is an IPv6 pool, and an IPv4 address is asked for"))
            }
        }
        return .assign(AddressPlan(grants: search.grants, writes: search.writes, verdicts: verdicts))
    }

    /// Nil when all addresses of the family are found, else the next step for the user.
    private static func assign(
        _ family: IPFamily, _ request: AddressRequest, _ snapshot: IPAMSnapshot, _ search: inout BlockSearch,
        _ verdicts: inout [PoolVerdict]
    ) -> String? {
        var (qualified, rejected) = PoolJudge.pools(family, request, snapshot)
        verdicts += rejected
        let first = search.grants.count
        var considered = Set(qualified.map(\.pool.name))
        var tier = qualified
        while !tier.isEmpty {
            search.search(tier, missing: request.count - (search.grants.count - first))
            if search.grants.count - first == request.count { break }
            tier = PoolJudge.fallbacks(of: tier, &considered, request, snapshot, &verdicts)
            qualified += tier
        }
        let taken = search.grants[first...]
        let isDone = taken.count == request.count
        for candidate in qualified {
            let grants = taken.filter { $0.pool.name == candidate.pool.name }
            let blocks = search.blockVerdicts[candidate.pool.name] ?? []
            if let grant = grants.first, isDone {
                verdicts.append(PoolVerdict(candidate.pool.label, grant.reason, outcome: .taken, blocks: blocks))
            } else if isDone, let grant = taken.first, search.shortages[candidate.pool.name] == nil {
                verdicts.append(PoolVerdict(candidate.pool.label, "\(grant.pool.name) came first", blocks: blocks))
            } else {
                let reason = search.shortages[candidate.pool.name] ?? search.shortage(candidate.pool, [candidate.pool])
                verdicts.append(PoolVerdict(candidate.pool.label, reason, blocks: blocks))
            }
        }
        if isDone { return nil }
        if request.families == [.v4] {
            for pool in snapshot.pools where pool.cidr.family == .v6 {
                verdicts.append(PoolVerdict(pool.label, "it is an IPv6 pool, and an IPv4 address is asked for"))
            }
        }
        let step = nextStep(family, request, snapshot, hasQualified: !qualified.isEmpty)
        if taken.isEmpty { return step }
        return
            "Assigned \(taken.count) out of \(request.count) requested \(family.rawValue) addresses is not enough. \(step)"
    }

    static func nextStep(
        _ family: IPFamily, _ request: AddressRequest, _ snapshot: IPAMSnapshot, hasQualified: Bool
    ) -> String {
        if request.use == .loadBalancer {
            if let choice = request.choices[family], !hasQualified {
                return "Correct \(choice.source), or create the pool"
            }
            let pool = "\(family.rawValue) pool with allowedUses [LoadBalancer]"
            return "Make another \(pool), or delete a Service of the type"
        }
        let pools = snapshot.pools.filter { $0.cidr.family == family }
        let example = family == .v4 ? "192.168.0.0/24" : "fd00::/64"
        if pools.isEmpty {
            let used = snapshot.blocks.networks
            let free = CIDR(example).flatMap { FreeRange.suggestion(like: $0, avoiding: used) }
            let what = snapshot.pools.isEmpty ? "one" : "an \(family.rawValue) pool"
            return "Create \(what), for example with spec.cidr \(free.map { "\($0)" } ?? example)"
        }
        if hasQualified {
            let free = pools.first.flatMap {
                FreeRange.suggestion(like: $0.cidr, avoiding: snapshot.pools.map(\.cidr))
            }
            return "Make another pool for this node\(free.map { ", for example of \($0)" } ?? "")"
        }
        if let choice = request.choices[family] { return "Correct \(choice.source), or create the pool" }
        let open = pools.filter { $0.isAutomatic && !$0.isDisabled && !$0.isBeingDeleted }
        for pool in open where pool.allowedUses.contains(request.use) {
            if let (label, value) = pool.nodeSelector.singleRequirement {
                return "To use \(pool.name): kubectl label node \(request.node) \(label)=\(value) --overwrite"
            }
        }
        let labels = snapshot.nodes[request.node] ?? [:]
        for pool in open where !pool.isForServicesAlone && pool.nodeSelector.matches(labels) {
            if pool.allowedUses.contains(request.use) { continue }
            let uses = (pool.allowedUses + [request.use]).map { "\"\($0.rawValue)\"" }.joined(separator: ",")
            let patch = "{\"spec\":{\"allowedUses\":[\(uses)]}}"
            return "To use \(pool.name): kubectl patch ippool \(pool.name) --type=merge -p '\(patch)'"
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
