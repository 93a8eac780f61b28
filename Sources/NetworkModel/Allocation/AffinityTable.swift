// SPDX-License-Identifier: Apache-2.0

public import Values

/// Claims to blocks, by who claims.
public struct AffinityTable: Sendable, Sequence, ExpressibleByArrayLiteral {
    /// By the names of their objects, which is the order in which Calico lists them.
    private var claims: [AffinityOwner: [BlockAffinity]] = [:]

    public init() {}

    public init(_ claims: some Sequence<BlockAffinity>) {
        for claim in claims { insert(claim) }
    }

    public init(arrayLiteral elements: BlockAffinity...) { self.init(elements) }

    /// Adds the claim, or puts it in place of the one to the same block.
    public mutating func insert(_ claim: BlockAffinity) {
        let owner = claim.owner
        if let index = claims[owner]?.firstIndex(where: { $0.cidr == claim.cidr }) {
            claims[owner]?[index] = claim
            return
        }
        let name = claim.name
        let index = claims[owner]?.partition { $0.name >= name } ?? 0
        claims[owner, default: []].insert(claim, at: index)
    }

    public mutating func remove(_ cidr: CIDR, of owner: AffinityOwner) {
        claims[owner]?.removeAll { $0.cidr == cidr }
        if claims[owner]?.isEmpty == true { claims[owner] = nil }
    }

    public subscript(owner: AffinityOwner, cidr: CIDR) -> BlockAffinity? {
        claims[owner]?.first { $0.cidr == cidr }
    }

    /// The claims of one owner in the order of their names.
    public func claims(of owner: AffinityOwner) -> [BlockAffinity] { claims[owner] ?? [] }

    public var isEmpty: Bool { claims.isEmpty }
    public var count: Int { claims.values.reduce(0) { $0 + $1.count } }

    public func makeIterator() -> FlattenSequence<Dictionary<AffinityOwner, [BlockAffinity]>.Values>.Iterator {
        claims.values.joined().makeIterator()
    }
}
