// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// What a change to pools, labels or configuration would do, before it is made.
public struct IPAMChangePlan: Sendable, Hashable {
    /// A change: what is named here replaces what is there.
    public struct Change: Sendable {
        /// Pools created or changed, by name.
        public var pools: [KubeObject]
        public var deletedPools: [String]
        /// All labels of a node, by name; a name that is new is a new node.
        public var nodes: [String: [String: String]]
        public var deletedNodes: [String]
        public var config: IPAMConfig?
        /// Nodes to plan for, those there are included.
        public var nodeCount: Int?
        /// Pods to plan for, those there are included.
        public var podCount: Int?

        public init(
            pools: [KubeObject] = [], deletedPools: [String] = [], nodes: [String: [String: String]] = [:],
            deletedNodes: [String] = [], config: IPAMConfig? = nil, nodeCount: Int? = nil, podCount: Int? = nil
        ) {
            self.pools = pools
            self.deletedPools = deletedPools
            self.nodes = nodes
            self.deletedNodes = deletedNodes
            self.config = config
            self.nodeCount = nodeCount
            self.podCount = podCount
        }
    }

    public enum Fate: String, Sendable, Hashable {
        /// The pod keeps its address, and one made anew gets one of the same pool.
        case keeps
        /// It keeps its address while it runs; made anew it gets one of another pool.
        case moves
        /// It keeps its address while it runs, which is in no pool: no NAT, no encapsulation.
        case stranded
        /// Made anew it gets no address.
        case refused
    }

    public struct PodFate: Sendable, Hashable {
        public let pod: ObjectKey
        public let address: IPAddress
        public let fate: Fate
        public let from: String?
        public let to: String?
        public let reason: String
    }

    public struct PoolOutlook: Sendable, Hashable {
        public let pool: String
        public let addresses: UInt128
        public let blocks: UInt128
        public let usedAddresses: Int
        public let usedBlocks: Int
        /// Nodes that it selects.
        public let nodes: Int
        /// Of the simulated pods, the number of the one at which the pool had no own block left for a node: addresses
        /// are borrowed, handed over or taken elsewhere from there on. Nil if that does not happen.
        public let runsShortAt: Int?

        /// Whether not one address of it is free.
        public var isFull: Bool { UInt128(max(0, usedAddresses)) >= addresses }
    }

    public internal(set) var errors: [String] = []
    public internal(set) var warnings: [String] = []
    public internal(set) var pods: [PodFate] = []
    public internal(set) var pools: [PoolOutlook] = []
    /// Of `--pods`, the first that gets no address, and why.
    public internal(set) var firstRefusal: (pod: Int, reason: String)? {
        get { refusedAt.map { ($0, refusedBecause) } }
        set {
            refusedAt = newValue?.pod
            refusedBecause = newValue?.reason ?? ""
        }
    }
    private var refusedAt: Int?
    private var refusedBecause = ""
    public internal(set) var simulatedNodes = 0
    public internal(set) var simulatedPods = 0

    /// The plan of the change; with errors the change would be refused, and nothing else is worked out.
    public static func make(_ change: Change, _ world: IPAMWorld, existing: [KubeObject], now: Timestamp)
        -> IPAMChangePlan
    {
        var plan = IPAMChangePlan()
        let after = plan.apply(change, world, existing)
        guard plan.errors.isEmpty else { return plan }
        plan.warnings = change.pools.flatMap { pool in
            IPPoolValidation.warnings(pool).map { "IPPool \(pool.name): \($0)" }
        }
        plan.warnings += after.snapshot.pools.flatMap { PoolCapacity.warnings($0, after.snapshot) }
        plan.judgePods(world, after, now)
        plan.judgeWaiting(after, now)
        plan.simulate(change, after, now)
        return plan
    }

    private mutating func apply(_ change: Change, _ world: IPAMWorld, _ existing: [KubeObject]) -> IPAMWorld {
        var objects = existing.filter { !change.deletedPools.contains($0.name) }
        for name in change.deletedPools where !existing.contains(where: { $0.name == name }) {
            errors.append("IPPool \(name) is to be deleted and does not exist")
        }
        for pool in change.pools {
            let old = objects.first { $0.name == pool.name }
            errors += IPPoolValidation.validate(pool, existing: objects, old: old)
                .map { "IPPool \(pool.name): \($0.description)" }
            objects.removeAll { $0.name == pool.name }
            objects.append(pool)
        }
        var after = world
        (after.snapshot.pools, after.snapshot.problems) = IPPool.read(objects)
        if let config = change.config { after.snapshot.config = config }
        var nodes = after.snapshot.nodes
        for (name, labels) in change.nodes { nodes[name] = labels }
        for name in change.deletedNodes { nodes[name] = nil }
        after.snapshot.nodes = nodes
        return after
    }

    private mutating func judgePods(_ world: IPAMWorld, _ after: IPAMWorld, _ now: Timestamp) {
        for pod in after.pods.values.sorted(by: { $0.key < $1.key }) where !pod.isFinished && !pod.isHostNetwork {
            guard pod.node != nil else { continue }
            for address in pod.addresses {
                let before = world.snapshot.pools.first { $0.cidr.contains(address) }
                let holding = after.snapshot.pools.first { $0.cidr.contains(address) }
                func note(_ fate: Fate, to: String?, _ reason: String) {
                    pods.append(
                        PodFate(
                            pod: pod.key, address: address, fate: fate, from: before?.name, to: to, reason: reason))
                }
                guard var request = try? after.request(for: pod) else {
                    note(.refused, to: nil, "its annotations cannot be read")
                    continue
                }
                request.families = [address.family]
                request.explicit = []
                let (qualified, _) = PoolJudge.pools(address.family, request, after.snapshot)
                if let same = qualified.first(where: { $0.pool.name == holding?.name }) {
                    note(.keeps, to: same.pool.name, same.reason)
                    continue
                }
                switch AddressAllocator.decide(request, after.snapshot, now: now) {
                case .assign(let plan):
                    let grant = plan.grants.first
                    note(
                        holding == nil ? .stranded : .moves, to: grant?.pool.name,
                        holding == nil
                            ? "\(address) is in no pool after the change; made anew the pod gets an address of \(grant?.pool.label ?? "")"
                            : "made anew the pod gets an address of \(grant?.pool.label ?? ""), because \(grant?.reason ?? "")"
                    )
                case .refuse(let refusal): note(.refused, to: nil, "\(refusal)")
                }
            }
        }
    }

    /// Pods that are on a node and have no address yet: who gets none after the change either.
    private mutating func judgeWaiting(_ after: IPAMWorld, _ now: Timestamp) {
        var refusals: [String: (pods: [ObjectKey], reason: String)] = [:]
        for pod in after.pods.values.sorted(by: { $0.key < $1.key })
        where !pod.isFinished && !pod.isHostNetwork && pod.addresses.isEmpty {
            guard let node = pod.node, let request = try? after.request(for: pod),
                case .refuse(let refusal) = AddressAllocator.decide(request, after.snapshot, now: now)
            else { continue }
            refusals[node, default: ([], "\(refusal)")].pods.append(pod.key)
        }
        for (node, refused) in refusals.sorted(by: { $0.key < $1.key }) {
            let names = refused.pods.prefix(3).map { "\($0)" }.joined(separator: ", ")
            let others = refused.pods.count > 3 ? " and \(refused.pods.count - 3) more" : ""
            warnings.append(
                "on node \(node) no address now and none after the change: \(names)\(others): \(refused.reason)")
        }
    }

    /// Starts pods, one node after the other, until there are as many as asked for.
    private mutating func simulate(_ change: Change, _ world: IPAMWorld, _ now: Timestamp) {
        var snapshot = world.snapshot
        let existing = snapshot.nodes.keys.sorted()
        var nodes = snapshot.nodes
        // New nodes are like those there are, turn by turn.
        for index in 0..<max(0, (change.nodeCount ?? 0) - existing.count) {
            nodes["planned-\(index + 1)"] = existing.isEmpty ? [:] : snapshot.nodes[existing[index % existing.count]]
        }
        snapshot.nodes = nodes
        let names =
            existing
            + nodes.keys.filter { $0.hasPrefix("planned-") && !existing.contains($0) }.sorted {
                ($0.utf8.count, $0) < ($1.utf8.count, $1)
            }
        var short: [String: Int] = [:]
        let running = world.pods.values.count { !$0.isFinished && !$0.isHostNetwork }
        simulatedNodes = names.count
        simulatedPods = max(running, change.podCount ?? running)
        for number in running..<simulatedPods where !names.isEmpty {
            let node = names[number % names.count]
            let request = AddressRequest(
                node: node, use: .workload, handleID: "planned.\(number)", values: ["node": node],
                subject: "pod number \(number + 1)")
            switch AddressAllocator.decide(request, snapshot, now: now) {
            case .assign(let plan):
                for write in plan.writes {
                    snapshot.blocks[write.block.cidr] = write.block
                    if let former = write.formerClaim { snapshot.affinities.remove(former.cidr, of: former.owner) }
                    if var claim = write.claim {
                        claim.state = .confirmed
                        snapshot.affinities.insert(claim)
                    }
                }
                guard let grant = plan.grants.first else { continue }
                switch grant.origin {
                case .borrowed, .handedOverBlock: short[grant.pool.name] = short[grant.pool.name] ?? number + 1
                default: break
                }
                if let source = grant.viaFallback { short[source] = short[source] ?? number + 1 }
            case .refuse(let refusal):
                firstRefusal = (number + 1, "\(refusal)")
                for (pool, _) in PoolJudge.pools(.v4, request, snapshot).qualified.map({ ($0.pool, $0.reason) }) {
                    short[pool.name] = short[pool.name] ?? number + 1
                }
            }
            if firstRefusal != nil { break }
        }
        for pool in snapshot.pools {
            let blocks = snapshot.blocks.networks(within: pool.cidr)
            pools.append(
                PoolOutlook(
                    pool: pool.label, addresses: pool.cidr.count, blocks: pool.blockCount,
                    usedAddresses: blocks.reduce(0) { $0 + (snapshot.blocks[$1]?.usedCount ?? 0) },
                    usedBlocks: blocks.count, nodes: snapshot.nodes.values.count { pool.nodeSelector.matches($0) },
                    runsShortAt: short[pool.name]))
        }
    }
}

/// Whether a pool is large enough for the nodes that it selects.
public enum PoolCapacity {
    /// What to know of the pool when it is made: nothing forbids it.
    public static func warnings(_ pool: IPPool, _ snapshot: IPAMSnapshot) -> [String] {
        guard pool.allowedUses != [.loadBalancer], !pool.isDisabled else { return [] }
        var warnings: [String] = []
        let nodes = snapshot.nodes.filter { pool.nodeSelector.matches($0.value) }.keys.sorted()
        if nodes.isEmpty, !snapshot.nodes.isEmpty {
            let known = pool.nodeSelector.labels.map { label in
                let values = Set(snapshot.nodes.values.compactMap { $0[label] }).sorted()
                return values.isEmpty
                    ? "no node has label \(label)"
                    : "\(label) is \(values.prefix(8).map { "\"\($0)\"" }.joined(separator: ", ")) on nodes"
            }
            warnings.append(
                "pool \(pool.label): its nodeSelector \(pool.nodeSelector) selects none of the \(snapshot.nodes.count) nodes (\(known.joined(separator: "; ")))"
            )
        }
        if UInt128(nodes.count) > pool.blockCount {
            let lack = UInt128(nodes.count) - pool.blockCount
            let size = (pool.blockSize...IPPool.blockSizes(pool.cidr.family).upperBound).first {
                UInt128(1) << UInt128(max(0, $0 - pool.cidr.prefixLength)) >= UInt128(nodes.count)
            }
            var text =
                "pool \(pool.label) has \(pool.blockCount) blocks of /\(pool.blockSize), and its nodeSelector selects \(nodes.count) nodes: \(lack) node(s) get no block and "
            text += snapshot.config.strictAffinity ? "no address (strictAffinity is on)" : "borrow each address"
            if let size { text += "; blockSize \(size) gives one to each" }
            warnings.append(text)
        }
        for name in pool.fallbackPools where !snapshot.pools.contains(where: { $0.name == name }) {
            warnings.append("pool \(pool.label) falls back to \(name), which does not exist")
        }
        return warnings
    }
}
