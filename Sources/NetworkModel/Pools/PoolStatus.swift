// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
import Values

/// What the pool controller decides: which pools may be allocated from, and which keep a deletion waiting.
public enum PoolStatus {
    public static let finalizer = "projectcalico.org/ippool-finalizer"

    public enum Reason: String, Sendable, Hashable {
        case ok = "OK"
        case overlap = "CIDROverlap"
        case terminating = "Terminating"
        case disabled = "PoolDisabled"
    }

    public struct Verdict: Sendable, Hashable {
        public let pool: String
        public let isAllocatable: Bool
        public let reason: Reason
        public let message: String
        /// Whether the pool is to carry the finalizer: true keeps a deletion waiting, false lets it go.
        public let hasFinalizer: Bool
        /// Claims in the pool are to be given up: it is being deleted.
        public let releasesClaims: Bool
    }

    /// A verdict for each pool that has a network. Of pools that overlap one wins: an active one before one that is
    /// being deleted before a disabled one before a new one; then the older; then by name.
    public static func verdicts(_ pools: [KubeObject], blocks: BlockTable) -> [Verdict] {
        let ranked = pools.compactMap { object in
            object["spec"]["cidr"].string.flatMap { CIDR($0) }.map {
                (object: object, cidr: $0.network, rank: rank(object))
            }
        }.sorted { $0.rank < $1.rank }
        var winners: [(name: String, cidr: CIDR)] = []
        return ranked.map { object, cidr, _ in
            let isDeleted = object.isBeingDeleted
            let left = blocks.networks(within: cidr).count
            if let winner = winners.first(where: { $0.cidr.overlaps(cidr) }) {
                // A pool that is waiting for its blocks keeps its finalizer, whoever overlaps it.
                let waits = isDeleted && object.finalizers.contains(finalizer) && left > 0
                return Verdict(
                    pool: object.name, isAllocatable: false, reason: .overlap,
                    message: "\(cidr) overlaps pool \(winner.name) (\(winner.cidr)), which came first",
                    hasFinalizer: waits, releasesClaims: waits)
            }
            winners.append((object.name, cidr))
            if isDeleted {
                return Verdict(
                    pool: object.name, isAllocatable: false, reason: .terminating,
                    message: left == 0
                        ? "it is being deleted" : "it is being deleted when its last \(left) block(s) are empty",
                    hasFinalizer: left > 0 && object.finalizers.contains(finalizer), releasesClaims: true)
            }
            if object["spec"]["disabled"].bool == true {
                return Verdict(
                    pool: object.name, isAllocatable: false, reason: .disabled, message: "spec.disabled is true",
                    hasFinalizer: true, releasesClaims: false)
            }
            return Verdict(
                pool: object.name, isAllocatable: true, reason: .ok, message: "addresses may be allocated",
                hasFinalizer: true, releasesClaims: false)
        }
    }

    private struct Rank: Comparable {
        let standing: Int
        let seconds: Int64
        let nanoseconds: Int32
        let name: String

        static func < (left: Rank, right: Rank) -> Bool {
            (left.standing, left.seconds, left.nanoseconds, left.name)
                < (right.standing, right.seconds, right.nanoseconds, right.name)
        }
    }

    private static func rank(_ object: KubeObject) -> Rank {
        let condition = object["status"]["conditions"].array?.first { $0["type"].string == "Allocatable" }
        let standing: Int
        if object.isBeingDeleted {
            standing = 1
        } else if object["spec"]["disabled"].bool == true {
            standing = 2
        } else if condition?["status"].string == "True" {
            standing = 0
        } else {
            standing = 3
        }
        let time = object.creationTimestamp
        return Rank(
            standing: standing, seconds: time?.seconds ?? .max, nanoseconds: time?.nanoseconds ?? 0, name: object.name)
    }
}
