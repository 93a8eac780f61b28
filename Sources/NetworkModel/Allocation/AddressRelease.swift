// SPDX-License-Identifier: Apache-2.0

import Values

/// What becomes of blocks when addresses are given back or pools change.
public enum AddressRelease {
    public struct Step: Sendable {
        /// The block without the handle's addresses.
        public let block: IPAMBlock
        public let count: Int
        /// Empty and nobody's: to be deleted rather than written.
        public let isObsolete: Bool
    }

    /// The blocks that change when a handle is released.
    public static func steps(handleID: String, _ blocks: some Sequence<IPAMBlock>) -> [Step] {
        blocks.compactMap { block in
            var block = block
            let count = block.release(handleID: handleID)
            guard count > 0 else { return nil }
            return Step(block: block, count: count, isObsolete: block.isEmpty && block.affinity == nil)
        }
    }

    /// The node's claims that no longer serve: their block is empty (or missing), and no pool that selects the node
    /// contains it.
    public static func uselessClaims(of node: String, _ snapshot: IPAMSnapshot) -> [BlockAffinity] {
        guard let labels = snapshot.nodes[node] else { return [] }
        return snapshot.affinities.claims(of: .host(node)).filter { claim in
            let isEmpty = snapshot.blocks[claim.cidr]?.isEmpty ?? true
            guard isEmpty, !claim.isDeleted, claim.state != .pendingDeletion else { return isEmpty }
            return !snapshot.pools.contains { $0.cidr.contains(claim.cidr) && $0.nodeSelector.matches(labels) }
        }
    }
}
