// SPDX-License-Identifier: Apache-2.0

import Values

/// Which pools new addresses of a node may come from, and why the others do not serve it: the allocator's own judgement,
/// for those who ask before a pod does.
public struct NodePools: Sendable {
    /// A pool that nothing is taken from, and why.
    public struct Rejection: Sendable, Hashable {
        public let pool: IPPool
        /// In the words of a refused request: `it is disabled (spec.disabled is true)`.
        public let reason: String
    }

    /// By name.
    public let serving: [IPPool]
    public let rejected: [Rejection]
    /// What to do where no pool serves the node, as a command where there is one.
    public let nextStep: String

    /// Judges for pods of any namespace: a pool that some namespace may use serves the node.
    ///
    /// - Parameters:
    ///   - labels: those of the node.
    ///   - use: what the addresses are for.
    public init(node: String, labels: [String: String], _ pools: [IPPool], use: PoolUse = .workload) {
        let snapshot = IPAMSnapshot(pools: pools, nodes: [node: labels])
        let request = AddressRequest(node: node, use: use, handleID: "", values: [:], subject: "")
        var serving: [IPPool] = []
        var rejected: [Rejection] = []
        for pool in pools.sorted(by: { $0.name < $1.name }) {
            var open = pool
            open.namespaceSelector = nil
            if let reason = PoolJudge.unusable(pool, use) {
                rejected.append(Rejection(pool: pool, reason: reason))
            } else if case .failure(let rejection) = PoolJudge.selection(open, request, labels) {
                rejected.append(Rejection(pool: pool, reason: rejection.reason))
            } else {
                serving.append(pool)
            }
        }
        self.serving = serving
        self.rejected = rejected
        nextStep = AddressAllocator.nextStep(pools.first?.cidr.family ?? .v4, request, snapshot, hasQualified: false)
    }
}

extension IPPool {
    /// Whether the pool's nodeSelector selects a node with these labels. It says nothing about whether the pool is to be had.
    public func selects(_ labels: [String: String]) -> Bool { nodeSelector.matches(labels) }

    /// The labels that the nodeSelector asks about, by name.
    public var selectedLabels: [String] { Set(nodeSelector.labels).sorted() }

    /// Whether no pod and no node gets an address of it: its addresses are those of Services.
    public var isForServicesAlone: Bool { allowedUses == [.loadBalancer] }

    /// Whether nothing may be taken from it, whoever asks: it is disabled, being deleted or not allocatable. The reason is
    /// in the words of a refused request; nil for a pool that is to be had.
    public var outOfUse: String? { allowedUses.first.flatMap { PoolJudge.unusable(self, $0) } }
}
