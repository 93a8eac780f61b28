// SPDX-License-Identifier: Apache-2.0

public import Values

/// All blocks by their network, with what decisions ask about them kept ready: no question looks at all blocks.
public struct BlockTable: Sendable, Sequence, ExpressibleByDictionaryLiteral {
    private var blocks: [CIDR: IPAMBlock] = [:]
    /// The networks of all blocks, sorted.
    public private(set) var networks: [CIDR] = []
    /// Blocks that have a free address, or one that may be free after its cooldown.
    private(set) var open: [CIDR] = []
    /// Blocks of somebody's without an address in use.
    private(set) var empty: [CIDR] = []
    private var owned: [AffinityOwner: [CIDR]] = [:]
    /// What blocks of any size cover.
    private(set) var covered = AddressRanges()

    public init() {}

    public init(_ blocks: some Sequence<IPAMBlock>) {
        for block in blocks { self[block.cidr] = block }
    }

    public init(dictionaryLiteral elements: (CIDR, IPAMBlock)...) {
        for (cidr, block) in elements { self[cidr] = block }
    }

    public var count: Int { blocks.count }
    public var isEmpty: Bool { blocks.isEmpty }
    public var keys: Dictionary<CIDR, IPAMBlock>.Keys { blocks.keys }
    public var values: Dictionary<CIDR, IPAMBlock>.Values { blocks.values }
    public func makeIterator() -> Dictionary<CIDR, IPAMBlock>.Iterator { blocks.makeIterator() }

    public subscript(cidr: CIDR) -> IPAMBlock? {
        get { blocks[cidr] }
        set {
            let old = blocks.updateValue(newValue, at: cidr)
            Self.note(&networks, cidr, old != nil, newValue != nil)
            Self.note(&open, cidr, old.map(Self.isOpen) ?? false, newValue.map(Self.isOpen) ?? false)
            Self.note(&empty, cidr, old.map(Self.isSpare) ?? false, newValue.map(Self.isSpare) ?? false)
            if old?.owner != newValue?.owner {
                if let owner = old?.owner { Self.note(&owned[owner, default: []], cidr, true, false) }
                if let owner = newValue?.owner { Self.note(&owned[owner, default: []], cidr, false, true) }
                if let owner = old?.owner, owned[owner]?.isEmpty == true { owned[owner] = nil }
            }
            if old == nil, newValue != nil {
                covered.insert(cidr)
            } else if old != nil, newValue == nil {
                covered.remove(cidr)
                // A block of another size may lie over it; there are none but after mistakes.
                for other in networks(overlapping: cidr) { covered.insert(other) }
            }
        }
    }

    /// The blocks of an owner, by network.
    public func networks(of owner: AffinityOwner) -> [CIDR] { owned[owner] ?? [] }

    /// Who owns blocks.
    public var owners: Dictionary<AffinityOwner, [CIDR]>.Keys { owned.keys }

    /// The blocks inside of `cidr`, by network.
    public func networks(within cidr: CIDR) -> ArraySlice<CIDR> { Self.slice(networks, cidr) }

    /// The block that has the address: of several, which are a mistake, the smallest.
    public func block(containing address: IPAddress) -> IPAMBlock? {
        guard covered.contains(address) else { return nil }
        return IPPool.blockSizes(address.family).reversed().lazy
            .compactMap { CIDR(address, $0).flatMap { self.blocks[$0.network] } }.first
            ?? blocks.values.first { $0.cidr.contains(address) }
    }

    /// Blocks of any size that share an address with `cidr`.
    public func networks(overlapping cidr: CIDR) -> [CIDR] {
        guard covered.end(overlapping: cidr) != nil else { return [] }
        let wider = (0..<cidr.prefixLength).compactMap { CIDR(cidr.address, $0)?.network }.filter { blocks[$0] != nil }
        return wider + Self.slice(networks, cidr)
    }

    static func slice(_ sorted: [CIDR], _ cidr: CIDR) -> ArraySlice<CIDR> {
        let (first, last) = (cidr.first, cidr.last)
        let low = sorted.partition { $0.address >= first }
        var start = low
        // Wider networks that begin at the same address are not inside.
        while start < sorted.count, sorted[start].address == first, sorted[start].prefixLength < cidr.prefixLength {
            start += 1
        }
        return sorted[start..<Swift.max(start, sorted.partition { $0.address > last })]
    }

    private static func isOpen(_ block: IPAMBlock) -> Bool {
        !block.isDeleted && (block.freeCount > 0 || block.isCoolingDown)
    }

    private static func isSpare(_ block: IPAMBlock) -> Bool { block.owner != nil && block.isEmpty }

    private static func note(_ sorted: inout [CIDR], _ cidr: CIDR, _ was: Bool, _ isNow: Bool) {
        guard was != isNow else { return }
        let index = sorted.partition { $0 >= cidr }
        if isNow { sorted.insert(cidr, at: index) } else { sorted.remove(at: index) }
    }
}

extension Dictionary {
    fileprivate mutating func updateValue(_ value: Value?, at key: Key) -> Value? {
        if let value { updateValue(value, forKey: key) } else { removeValue(forKey: key) }
    }
}
