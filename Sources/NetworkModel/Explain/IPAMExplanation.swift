// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// Why a pod has its address, and who has an address: as sentences and as JSON.
public struct IPAMExplanation: Sendable, Hashable {
    /// One address that was asked about, or that a pod has.
    public struct Address: Sendable, Hashable {
        public let address: IPAddress
        public let pool: String?
        public let block: CIDR?
        /// The node or virtual owner of the block.
        public let owner: String?
        /// `pod default/web`; nil for a free address.
        public let holder: String?
        public let handleID: String?
        /// When it was given out.
        public let since: String?
        public let isBorrowed: Bool
    }

    public let subject: String
    public internal(set) var addresses: [Address] = []
    /// The answer, in the order of reading.
    public internal(set) var sentences: [String] = []
    /// Pools considered, as they are now.
    public internal(set) var verdicts: [PoolVerdict] = []
    /// What would make it different.
    public internal(set) var alternatives: [String] = []

    public var text: String {
        var lines = sentences
        if !verdicts.isEmpty {
            lines.append("Pools considered:")
            for verdict in verdicts {
                lines.append("  \(verdict.outcome == .taken ? "+" : "-") \(verdict.pool): \(verdict.reason)")
                for block in verdict.blocks {
                    lines.append("      block \(block.block) \(block.outcome.rawValue): \(block.reason)")
                }
            }
        }
        if !alternatives.isEmpty {
            lines.append("What would make it different:")
            lines += alternatives.map { "  \($0)" }
        }
        return lines.joined(separator: "\n")
    }

    public var json: JSON {
        [
            "subject": JSON(subject), "sentences": JSON(sentences),
            "addresses": .array(addresses.map(\.json)),
            "pools": .array(
                verdicts.map { verdict in
                    [
                        "pool": JSON(verdict.pool), "outcome": JSON(verdict.outcome.rawValue),
                        "reason": JSON(verdict.reason),
                        "blocks": .array(
                            verdict.blocks.map {
                                [
                                    "block": JSON("\($0.block)"), "outcome": JSON($0.outcome.rawValue),
                                    "reason": JSON($0.reason),
                                ]
                            }),
                    ]
                }),
            "alternatives": JSON(alternatives),
        ]
    }

    // MARK: Who has an address

    /// Who holds the address, since when, from which pool and block, or why it is free.
    public static func who(_ address: IPAddress, _ world: IPAMWorld, now: Timestamp) -> IPAMExplanation {
        var result = IPAMExplanation(subject: "\(address)")
        let pool = world.snapshot.pools.first { $0.cidr.contains(address) }
        let block = world.snapshot.blocks.block(containing: address)
        let attribute = block.flatMap { block in block.ordinal(of: address).flatMap { block.attribute(of: $0) } }
        result.addresses = [facts(address, pool, block, attribute)]
        let reservation = world.snapshot.reservations.first { $0.cidrs.contains { $0.contains(address) } }
        let users = world.pods.values.filter { $0.addresses.contains(address) && !$0.isFinished && !$0.isHostNetwork }
            .sorted { $0.key < $1.key }

        if let attribute, !attribute.isReleased {
            var text = "\(address) is held by \(Holder.words(attribute))"
            if let node = attribute.values["node"] { text += " on node \(node)" }
            if let time = attribute.values["timestamp"] { text += " since \(time)" }
            if let handle = attribute.handleID { text += " (handle \(handle))" }
            result.sentences.append(text + ".")
            if let leak = AddressCollection.leak(address, attribute, world) {
                result.sentences.append("It is leaked: \(leak.reason); the garbage collector takes it back.")
                result.alternatives.append("catbird ipam check --fix takes it back at once")
            }
        } else if let attribute {
            result.sentences.append(
                "\(address) is free but not given out yet: it was released at \(attribute.releasedAt ?? "") and cools down for \(world.snapshot.config.cooldownSeconds) s (ipCooldownSeconds)."
            )
        } else if let block, let ordinal = block.ordinal(of: address) {
            var text = "\(address) is free"
            if let place = block.unallocated.firstIndex(of: ordinal) {
                text += ": it is number \(place + 1) of the \(block.freeCount) free addresses of its block"
            } else {
                text += ", and its block does not list it as free: it is lost until catbird ipam check --fix"
            }
            result.sentences.append(text + ".")
        } else if pool != nil {
            result.sentences.append("\(address) is free: no node has claimed a block with it yet.")
        } else {
            let pools = world.snapshot.pools.map(\.label).joined(separator: ", ")
            result.sentences.append(
                "\(address) is in no pool\(pools.isEmpty ? ": there is none" : "; there are \(pools)").")
        }
        if let block {
            let owner = block.owner.map { "belongs to \($0.name)" } ?? "belongs to nobody"
            let since = block.claimTime.map { " since \($0)" } ?? ""
            result.sentences.append(
                "Block \(block.cidr) \(owner)\(since); \(block.usedCount) of its \(block.allocations.count) addresses are in use."
            )
        }
        if let pool {
            var text = "Pool \(pool.label) has blocks of /\(pool.blockSize)"
            if pool.isDisabled { text += "; it is disabled, and gives out nothing new" }
            result.sentences.append(text + ".")
        } else if block != nil {
            result.sentences.append("No pool has the block any more: its pods have no NAT and no encapsulation.")
        }
        if result.addresses.first?.isBorrowed == true, let owner = block?.owner {
            result.sentences.append(
                "It is borrowed: the block is \(owner.name)'s, and the address has a route of its own.")
        }
        if let reservation {
            result.sentences.append("IPReservation \(reservation.name) keeps it from new pods.")
        }
        for node in world.nodeAnnotations.sorted(by: { $0.key < $1.key }) {
            for (key, value) in node.value where value == "\(address)" {
                result.sentences.append("Node \(node.key) has it in \(key).")
            }
        }
        for user in users where attribute?.values["pod"] != user.key.name {
            result.sentences.append("Pod \(user.key) reports it as its own, which IPAM does not know.")
        }
        return result
    }

    // MARK: Why a pod has its address

    /// Why the pod has the addresses it has, or why it has none.
    public static func why(_ key: ObjectKey, _ world: IPAMWorld, now: Timestamp) -> IPAMExplanation {
        var result = IPAMExplanation(subject: "pod \(key)")
        guard let pod = world.pods[key] else {
            result.sentences.append("There is no pod \(key).")
            return result
        }
        if pod.isHostNetwork {
            result.sentences.append("Pod \(key) uses its node's network (hostNetwork) and has no address of its own.")
            return result
        }
        guard let node = pod.node else {
            result.sentences.append("Pod \(key) has no node yet: it gets its address on the node it is scheduled to.")
            return result
        }
        let request: AddressRequest
        do { request = try world.request(for: pod) } catch {
            result.sentences.append("Pod \(key) has no address: \(error).")
            return result
        }
        for address in pod.addresses { result.explain(address, pod, node, request, world) }
        if pod.addresses.isEmpty {
            switch AddressAllocator.decide(request, world.snapshot, now: now) {
            case .assign(let plan):
                result.sentences.append(
                    "Pod \(key) has no address yet; node \(node) would give it \(plan.explanation).")
                result.verdicts = plan.verdicts
            case .refuse(let refusal):
                result.sentences.append("Pod \(key) has no address: \(refusal)")
                result.verdicts = refusal.verdicts
                result.alternatives.append(refusal.nextStep)
            }
        }
        result.propose(request, world)
        return result
    }

    private mutating func explain(
        _ address: IPAddress, _ pod: PodUse, _ node: String, _ request: AddressRequest, _ world: IPAMWorld
    ) {
        let pool = world.snapshot.pools.first { $0.cidr.contains(address) }
        let block = world.snapshot.blocks.block(containing: address)
        let attribute = block.flatMap { block in block.ordinal(of: address).flatMap { block.attribute(of: $0) } }
        let facts = Self.facts(address, pool, block, attribute)
        addresses.append(facts)
        let (qualified, rejected) = PoolJudge.pools(address.family, request, world.snapshot)
        verdicts += rejected.filter { verdict in verdict.pool != pool?.label }
        var text = "Pod \(pod.key) has \(address)"
        let held = block.map { [Self.verdict($0, node)] } ?? []
        let isQualified = qualified.contains { $0.pool.name == pool?.name }
        // The pool that was full, where a fallback of it was taken.
        let source = isQualified ? nil : qualified.first { $0.pool.fallbackPools.contains(pool?.name ?? "") }
        if let pool {
            text += " from pool \(pool.label)"
            if request.explicit.contains(address) {
                text += ", because annotation \(CalicoKeys.ipAddresses) asks for it"
            } else if let candidate = qualified.first(where: { $0.pool.name == pool.name }) {
                text += ", because \(candidate.reason)"
            } else if let source {
                let reason = "pool \(source.pool.name) was exhausted and names it in \(CalicoKeys.fallbackPools)"
                text += ", because \(reason)"
                verdicts.append(PoolVerdict(pool.label, reason, outcome: .taken, blocks: held))
            } else {
                let now = rejected.first { $0.pool == pool.label }?.reason ?? "it does not qualify"
                text += ", which would not be chosen today: \(now)"
                alternatives.append("a new pod in its place would move to another pool")
            }
        } else {
            text += ", which is in no pool today: the pool was deleted or moved after the pod got it"
            alternatives.append(
                "recreate the pod: it gets an address of a pool that exists, with its NAT and encapsulation")
        }
        sentences.append(text + ".")
        for candidate in qualified {
            let isTaken = candidate.pool.name == pool?.name
            var reason = candidate.reason
            if candidate.pool.name == source?.pool.name {
                reason += "; it had no address left"
            } else if !isTaken {
                reason +=
                    isQualified
                    ? "; \(pool?.name ?? "another") was taken before it" : "; a new pod would get an address of it"
            }
            verdicts.append(
                PoolVerdict(
                    candidate.pool.label, reason, outcome: isTaken ? .taken : .rejected, blocks: isTaken ? held : []))
        }
        guard let block else {
            sentences.append("No block has \(address): IPAM does not know of it, and another pod may get it.")
            alternatives.append("catbird ipam check --fix notes the address as the pod's")
            return
        }
        if facts.isBorrowed {
            let owner = block.owner.map { "node \($0.name)" } ?? "nobody"
            sentences.append(
                "It is borrowed: block \(block.cidr) belongs to \(owner), and no block was left for \(node); the address has a route of its own."
            )
            alternatives.append("strictAffinity (IPAMConfig default) forbids borrowing")
        } else {
            sentences.append(
                "Block \(block.cidr) belongs to node \(node)\(block.claimTime.map { " since \($0)" } ?? ""): the node's own blocks come before new ones. \(block.usedCount) of its \(block.allocations.count) addresses are in use."
            )
        }
        if let time = attribute?.values["timestamp"] { sentences.append("It was given out at \(time).") }
        if attribute == nil || attribute?.values["pod"] != pod.key.name {
            sentences.append("The block says that \(address) is held by \(Holder.words(attribute)).")
        }
    }

    private static func verdict(_ block: IPAMBlock, _ node: String) -> BlockVerdict {
        let whose = block.node == node ? "the node's own" : block.owner.map { "\($0.name)'s" } ?? "nobody's"
        return BlockVerdict(block: block.cidr, outcome: .taken, reason: "\(whose), \(block.freeCount) free")
    }

    private static func facts(
        _ address: IPAddress, _ pool: IPPool?, _ block: IPAMBlock?, _ attribute: IPAMBlock.Attribute?
    ) -> Address {
        let isHeld = attribute.map { !$0.isReleased } ?? false
        let node = attribute?.values["node"]
        return Address(
            address: address, pool: pool?.name, block: block?.cidr, owner: block?.owner?.name,
            holder: isHeld ? Holder.words(attribute) : nil, handleID: isHeld ? attribute?.handleID : nil,
            since: attribute?.values["timestamp"], isBorrowed: isHeld && node != nil && block?.node != node)
    }

    /// What would make the answer another one.
    private mutating func propose(_ request: AddressRequest, _ world: IPAMWorld) {
        let labels = world.snapshot.nodes[request.node] ?? [:]
        for pool in world.snapshot.pools where !addresses.contains(where: { $0.pool == pool.name }) {
            guard PoolJudge.unusable(pool, .workload) == nil else { continue }
            let key = pool.cidr.family == .v4 ? CalicoKeys.ipv4Pools : CalicoKeys.ipv6Pools
            if !pool.isAutomatic {
                alternatives.append(
                    "annotation \(key): [\"\(pool.name)\"] on the pod or its namespace takes \(pool.name)")
            } else if !pool.nodeSelector.matches(labels) {
                if let (label, value) = pool.nodeSelector.singleRequirement {
                    alternatives.append(
                        "kubectl label node \(request.node) \(label)=\(value) --overwrite makes the node one of \(pool.name)"
                    )
                } else {
                    alternatives.append("a node that \(pool.nodeSelector) selects gives addresses of \(pool.name)")
                }
            } else if let selector = pool.namespaceSelector, !selector.matches(request.namespaceLabels) {
                alternatives.append("a namespace that \(selector) selects gives addresses of \(pool.name)")
            }
        }
    }
}

extension IPAMExplanation.Address {
    var json: JSON {
        var object: JSON = ["address": JSON("\(address)"), "borrowed": JSON(isBorrowed)]
        for (key, value) in [
            ("pool", pool), ("block", block.map { "\($0)" }), ("owner", owner), ("holder", holder),
            ("handleID", handleID), ("since", since),
        ] {
            if let value { object[key] = JSON(value) }
        }
        return object
    }
}
