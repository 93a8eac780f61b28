// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// How a pool is resized or moved without breaking running pods: `catbird ipam migrate`.
public struct PoolMigration: Sendable {
    public enum Step: Sendable {
        /// Write the new pool.
        case createPool(KubeObject)
        /// Set `spec.disabled` of the old pool: nothing new comes from it, and what it gave out keeps NAT and routes.
        case disablePool(String)
        /// Delete these pods, of one node, and wait until their controllers have made new ones that are ready.
        case recreatePods(node: String, [ObjectKey])
        /// The node's tunnel moves to an address of another pool.
        case moveTunnel(node: String, IPAddress)
        /// Give up the claim and delete the block once it is empty.
        case releaseBlock(BlockAffinity?, CIDR)
        /// Delete the old pool once no block of it is left.
        case deletePool(String)

        public var sentence: String {
            switch self {
            case .createPool(let pool): "create pool \(pool.name) (\(pool["spec"]["cidr"].string ?? ""))"
            case .disablePool(let name):
                "disable pool \(name): its pods keep their addresses, new ones come from elsewhere"
            case .recreatePods(let node, let pods):
                "recreate \(pods.count) pod(s) on node \(node): \(pods.map(\.description).joined(separator: ", "))"
            case .moveTunnel(let node, let address): "move the tunnel of node \(node) away from \(address)"
            case .releaseBlock(let claim, let cidr): "release block \(cidr)\(claim.map { " of \($0.node)" } ?? "")"
            case .deletePool(let name): "delete pool \(name)"
            }
        }
    }

    public private(set) var steps: [Step] = []
    /// Why it cannot be done.
    public private(set) var errors: [String] = []
    /// Pods that nobody makes again: they are left where they are unless the user says otherwise.
    public private(set) var unmanaged: [ObjectKey] = []
    /// What to know before it is begun.
    public private(set) var warnings: [String] = []

    /// - Parameters:
    ///   - old: the pool to drain.
    ///   - new: what takes its place; nil when other pools have room.
    ///   - existing: all pools as they are stored.
    ///   - includesUnmanaged: delete pods without a controller as well.
    ///   - wave: pods of one node that are recreated at once.
    public static func plan(
        from old: String, to new: KubeObject?, _ world: IPAMWorld, existing: [KubeObject],
        includesUnmanaged: Bool = false, wave: Int = 10
    ) -> PoolMigration {
        var migration = PoolMigration()
        guard let pool = world.snapshot.pools.first(where: { $0.name == old }) else {
            let names = world.snapshot.pools.map(\.label).joined(separator: ", ")
            migration.errors.append("there is no pool \(old)\(names.isEmpty ? "" : "; there are \(names)")")
            return migration
        }
        if let new { migration.create(new, old, world, existing) }
        guard migration.errors.isEmpty else { return migration }
        migration.checkRoom(pool, new, world)
        if !pool.isDisabled { migration.steps.append(.disablePool(old)) }
        migration.drain(pool, world, includesUnmanaged, max(1, wave))
        migration.steps.append(.deletePool(old))
        return migration
    }

    private mutating func create(_ new: KubeObject, _ old: String, _ world: IPAMWorld, _ existing: [KubeObject]) {
        if new.name == old {
            errors.append("the new pool needs a name of its own: \(old) is the pool that is drained")
            return
        }
        errors += IPPoolValidation.validate(new, existing: existing, old: nil)
            .map { "IPPool \(new.name): \($0.description)" }
        guard errors.isEmpty else { return }
        warnings += IPPoolValidation.warnings(new).map { "IPPool \(new.name): \($0)" }
        let stored = existing.first { $0.name == new.name }
        if stored == nil {
            do {
                let pool = try IPPool(new)
                let clash = world.snapshot.blocks.networks(overlapping: pool.cidr).first {
                    $0.prefixLength != pool.blockSize
                }
                if let clash {
                    errors.append(
                        "block \(clash) lies in \(pool.cidr) and is not of the size /\(pool.blockSize): release it first"
                    )
                    return
                }
            } catch {
                errors.append("\(error)")
                return
            }
            steps.append(.createPool(new))
        }
    }

    private mutating func checkRoom(_ old: IPPool, _ new: KubeObject?, _ world: IPAMWorld) {
        let others = world.snapshot.pools.filter {
            $0.name != old.name && $0.cidr.family == old.cidr.family && $0.isAutomatic
                && PoolJudge.unusable($0, .workload) == nil
        }
        let created = new.flatMap { try? IPPool($0) }
        let targets = others + (created.map { [$0] } ?? [])
        for (node, labels) in world.snapshot.nodes.sorted(by: { $0.key < $1.key })
        where old.nodeSelector.matches(labels) && !targets.contains(where: { $0.nodeSelector.matches(labels) }) {
            warnings.append("no other pool selects node \(node): its pods would get no address")
        }
        let used = world.snapshot.blocks.networks(within: old.cidr)
            .reduce(0) { $0 + (world.snapshot.blocks[$1]?.usedCount ?? 0) }
        let room = targets.reduce(UInt128(0)) { sum, pool in
            let taken = world.snapshot.blocks.networks(within: pool.cidr)
                .reduce(0) { $0 + (world.snapshot.blocks[$1]?.usedCount ?? 0) }
            let free = pool.cidr.count > UInt128(taken) ? pool.cidr.count - UInt128(taken) : 0
            return sum.addingReportingOverflow(free).overflow ? .max : sum + free
        }
        if room < UInt128(used) {
            warnings.append("\(used) addresses of \(old.label) are in use, and the other pools have \(room) free")
        }
    }

    private mutating func drain(_ old: IPPool, _ world: IPAMWorld, _ includesUnmanaged: Bool, _ wave: Int) {
        var byNode: [String: Set<ObjectKey>] = [:]
        var tunnels: [(node: String, address: IPAddress)] = []
        let blocks = world.snapshot.blocks.networks(within: old.cidr).compactMap { world.snapshot.blocks[$0] }
        for (address, attribute) in blocks.flatMap(\.assignments) {
            if let name = attribute.values["pod"], let namespace = attribute.values["namespace"] {
                let key = ObjectKey(namespace, name)
                guard let pod = world.pods[key], pod.addresses.contains(address) else { continue }
                if pod.controller == nil, !includesUnmanaged {
                    unmanaged.append(key)
                } else {
                    byNode[pod.node ?? "", default: []].insert(key)
                }
            } else if attribute.values["type"] != nil, let node = attribute.values["node"] {
                tunnels.append((node, address))
            }
        }
        unmanaged = Set(unmanaged).sorted()
        if !unmanaged.isEmpty {
            warnings.append(
                "\(unmanaged.count) pod(s) have no controller that would make them again and keep the pool from being deleted: \(unmanaged.prefix(8).map(\.description).joined(separator: ", "))"
            )
        }
        for (node, pods) in byNode.sorted(by: { $0.key < $1.key }) {
            let sorted = pods.sorted()
            for start in stride(from: 0, to: sorted.count, by: wave) {
                steps.append(.recreatePods(node: node, Array(sorted[start..<min(sorted.count, start + wave)])))
            }
        }
        for tunnel in tunnels.sorted(by: { $0.node < $1.node }) {
            steps.append(.moveTunnel(node: tunnel.node, tunnel.address))
        }
        for block in blocks {
            steps.append(.releaseBlock(block.owner.flatMap { world.snapshot.affinities[$0, block.cidr] }, block.cidr))
        }
    }
}
