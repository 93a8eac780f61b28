// SPDX-License-Identifier: Apache-2.0

public import Values

/// The answer to a request for an address.
public enum AddressDecision: Sendable {
    case assign(AddressPlan)
    case refuse(AddressRefusal)
}

/// Where the address comes from, why, and what has to be written for it.
public struct AddressPlan: Sendable {
    public enum Origin: Sendable, Hashable {
        /// The node's own block, its claim confirmed.
        case ownBlock
        /// The node's own block whose claim was never confirmed: the writer died in between.
        case unconfirmedBlock(BlockAffinity)
        /// A block that nobody owns yet.
        case newBlock(BlockAffinity)
    }

    public let pool: IPPool
    public let origin: Origin
    /// The block as it is to be written, with the address given out.
    public let block: IPAMBlock
    public let address: IPAddress
    /// Why this pool, in one clause.
    public let reason: String
    /// The other pools, and why each was not taken.
    public let rejected: [PoolVerdict]

    /// For the pod's event: "192.168.0.0 from pool ..., block ..., because ...".
    public var explanation: String {
        var text = "\(address) from pool \(pool.label), block \(block.cidr), because \(reason)"
        switch origin {
        case .ownBlock, .unconfirmedBlock: break
        case .newBlock: text += "; the block is new to the node"
        }
        guard !rejected.isEmpty else { return text }
        return text + ". Not " + rejected.map { "\($0.pool): \($0.reason)" }.joined(separator: "; ")
    }
}

/// A pool that was considered and not taken.
public struct PoolVerdict: Sendable, Hashable {
    /// Name and network.
    public let pool: String
    public let reason: String

    public init(_ pool: String, _ reason: String) {
        self.pool = pool
        self.reason = reason
    }
}

/// Why there is no address.
public struct AddressRefusal: Error, Sendable, Hashable, CustomStringConvertible {
    public let subject: String
    public let node: String
    public let verdicts: [PoolVerdict]
    /// What to do about it, as a command where there is one.
    public let nextStep: String

    public var description: String {
        let head = "no address for \(subject) on node \(node)"
        guard !verdicts.isEmpty else { return "\(head): there is no IPPool. \(nextStep)" }
        let count = verdicts.count == 1 ? "1 pool was considered" : "\(verdicts.count) pools were considered"
        let list = verdicts.map { "\($0.pool): \($0.reason)" }.joined(separator: "; ")
        return "\(head); \(count): \(list). \(nextStep)"
    }
}
