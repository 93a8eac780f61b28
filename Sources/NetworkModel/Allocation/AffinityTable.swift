// SPDX-License-Identifier: Apache-2.0

public import Values

/// Claims to blocks, by who claims.
public struct AffinityTable: Sendable, Sequence, ExpressibleByArrayLiteral {
    private var claims: [AffinityOwner: [CIDR: BlockAffinity]] = [:]

    public init() {}

    public init(_ claims: some Sequence<BlockAffinity>) {
        for claim in claims { insert(claim) }
    }

    public init(arrayLiteral elements: BlockAffinity...) { self.init(elements) }

    public mutating func insert(_ claim: BlockAffinity) { claims[claim.owner, default: [:]][claim.cidr] = claim }

    public mutating func remove(_ cidr: CIDR, of owner: AffinityOwner) {
        claims[owner]?[cidr] = nil
        if claims[owner]?.isEmpty == true { claims[owner] = nil }
    }

    public subscript(owner: AffinityOwner, cidr: CIDR) -> BlockAffinity? { claims[owner]?[cidr] }

    /// The claims of one owner by the names of their objects, which is the order in which Calico lists them.
    public func claims(of owner: AffinityOwner) -> [BlockAffinity] {
        (claims[owner] ?? [:]).values.sorted { $0.name < $1.name }
    }

    public var isEmpty: Bool { claims.isEmpty }
    public var count: Int { claims.values.reduce(0) { $0 + $1.count } }

    public func makeIterator() -> AnyIterator<BlockAffinity> {
        var rest = claims.values.lazy.flatMap(\.values).makeIterator()
        return AnyIterator { rest.next() }
    }
}
