// SPDX-License-Identifier: Apache-2.0

public import Values

/// The answer to a request for addresses.
public enum AddressDecision: Sendable {
    case assign(AddressPlan)
    case refuse(AddressRefusal)
}

/// One address, where it comes from, and why.
public struct Grant: Sendable, Hashable {
    public enum Origin: Sendable, Hashable {
        /// The node's own block, its claim confirmed.
        case ownBlock
        /// The node's own block whose claim was never confirmed: the writer died in between.
        case unconfirmedBlock
        /// A block that nobody owned.
        case newBlock
        /// An empty block of another node.
        case reclaimedBlock(from: String)
        /// A little used block of another node, which keeps the addresses that it has in it.
        case handedOverBlock(from: String)
        /// A block that stays another node's, or nobody's.
        case borrowed(from: String?)
        /// The address was asked for; `owner` is whose block it is in, if it is not the node's.
        case explicit(owner: String?)
    }

    public let address: IPAddress
    public let pool: IPPool
    public let block: CIDR
    public let origin: Origin
    /// Why this pool and block, in one clause.
    public let reason: String
    /// The exhausted pool whose `catbird.dev/fallback-pools` led here.
    public let viaFallback: String?

    /// Whether the address is in a block of another node and needs a route of its own.
    public var isBorrowed: Bool {
        switch origin {
        case .borrowed: true
        case .explicit(let owner): owner != nil
        default: false
        }
    }

    /// "192.168.0.0 from pool ..., block ..., because ..."
    public var sentence: String {
        var text = "\(address) from pool \(pool.label), block \(block), because \(reason)"
        if let viaFallback { text += "; pool \(viaFallback) is exhausted and names it in \(CalicoKeys.fallbackPools)" }
        switch origin {
        case .ownBlock: break
        case .unconfirmedBlock: text += "; the node's claim to the block is confirmed with it"
        case .newBlock: text += "; the block is new to the node"
        case .reclaimedBlock(let owner): text += "; the block was \(owner)'s and empty, and is the node's now"
        case .handedOverBlock(let owner):
            text +=
                "; the block was \(owner)'s and little used, and is the node's now; \(owner) keeps the addresses it has"
        case .borrowed(let owner):
            text += "; the address is borrowed: the block stays \(owner.map { "\($0)'s" } ?? "nobody's")"
        case .explicit(let owner):
            if let owner { text += "; the address is borrowed: the block stays \(owner)" }
        }
        return text
    }
}

/// What has to be written for a block, as one compare-and-swap with its claim and handles around it: the claim as
/// pending, the handles, the block, the claim confirmed, the former holder's claim deleted.
public struct BlockWrite: Sendable {
    /// As it is to be written, with all addresses given out; without a resourceVersion it is to be created.
    public internal(set) var block: IPAMBlock
    /// The claim to make, or to confirm; nil for a block that is the owner's already, and for borrowed addresses.
    public let claim: BlockAffinity?
    /// The claim of whom the block is taken from, to be deleted after the block is written.
    public let formerClaim: BlockAffinity?
    public let origin: Grant.Origin
    /// How many addresses of the block each handle gets.
    public internal(set) var handles: [String: Int]
}

/// The addresses, why, and what has to be written for them.
public struct AddressPlan: Sendable {
    public let grants: [Grant]
    /// In the order in which they are to be committed.
    public let writes: [BlockWrite]
    /// Every pool that was considered, in the order of consideration, and every block looked at.
    public let verdicts: [PoolVerdict]

    /// For the pod's event: where the addresses come from, and why not from elsewhere.
    public var explanation: String {
        let text = grants.map(\.sentence).joined(separator: "; ")
        let rejected = verdicts.filter { $0.outcome == .rejected }
        guard !rejected.isEmpty else { return text }
        return text + ". Not " + rejected.map { "\($0.pool): \($0.reason)" }.joined(separator: "; ")
    }
}

/// A pool that was considered.
public struct PoolVerdict: Sendable, Hashable {
    public enum Outcome: String, Sendable, Hashable {
        case taken
        case rejected
    }

    /// Name and network.
    public let pool: String
    public let outcome: Outcome
    public let reason: String
    /// The blocks of it that were looked at; of many of one kind some.
    public let blocks: [BlockVerdict]

    public init(_ pool: String, _ reason: String, outcome: Outcome = .rejected, blocks: [BlockVerdict] = []) {
        self.pool = pool
        self.outcome = outcome
        self.reason = reason
        self.blocks = blocks
    }
}

/// A block that was considered.
public struct BlockVerdict: Sendable, Hashable {
    public let block: CIDR
    public let outcome: PoolVerdict.Outcome
    public let reason: String
}

/// Why there is no address.
public struct AddressRefusal: Error, Sendable, Hashable, CustomStringConvertible {
    public let subject: String
    /// Empty for what is no node's.
    public let node: String
    public let verdicts: [PoolVerdict]
    /// What to do about it, as a command where there is one.
    public let nextStep: String
    /// The family there was no address of, where several were asked for.
    public let family: IPFamily?

    public var description: String {
        let what = family.map { "no \($0.rawValue) address, and so none at all," } ?? "no address"
        let head = "\(what) for \(subject)\(node.isEmpty ? "" : " on node \(node)")"
        guard !verdicts.isEmpty else { return "\(head): there is no IPPool. \(nextStep)" }
        let count = verdicts.count == 1 ? "1 pool was considered" : "\(verdicts.count) pools were considered"
        let list = verdicts.map { "\($0.pool): \($0.reason)" }.joined(separator: "; ")
        return "\(head); \(count): \(list). \(nextStep)"
    }
}
