// SPDX-License-Identifier: Apache-2.0

public import Values

/// A set of addresses as sorted, disjoint ranges that do not touch: what is asked of it takes the time of a binary
/// search, however many addresses it has.
public struct AddressRanges: Sendable, Hashable {
    private var v4: [ClosedRange<UInt128>] = []
    private var v6: [ClosedRange<UInt128>] = []

    public init() {}

    public init(_ cidrs: some Sequence<CIDR>) {
        for cidr in cidrs { insert(cidr) }
    }

    public var isEmpty: Bool { v4.isEmpty && v6.isEmpty }

    public func contains(_ address: IPAddress) -> Bool { range(of: address) != nil }

    /// Whether every address of the network is in the set.
    public func covers(_ cidr: CIDR) -> Bool {
        range(of: cidr.first).map { $0.upperBound >= cidr.last.bits } ?? false
    }

    /// The last address of the first range that has an address of the network; nil when none has.
    public func end(overlapping cidr: CIDR) -> IPAddress? {
        let ranges = ranges(cidr.family)
        let index = Self.index(in: ranges, endingFrom: cidr.first.bits)
        guard index < ranges.count, ranges[index].lowerBound <= cidr.last.bits else { return nil }
        return IPAddress(cidr.family, ranges[index].upperBound)
    }

    /// How many addresses of the network are in the set.
    public func count(in cidr: CIDR) -> UInt128 {
        let ranges = ranges(cidr.family)
        let (first, last) = (cidr.first.bits, cidr.last.bits)
        var index = Self.index(in: ranges, endingFrom: first)
        var count: UInt128 = 0
        while index < ranges.count, ranges[index].lowerBound <= last {
            let low = max(ranges[index].lowerBound, first)
            let high = min(ranges[index].upperBound, last)
            count &+= high - low &+ 1
            index += 1
        }
        return count
    }

    public mutating func insert(_ cidr: CIDR) {
        var (low, high) = (cidr.first.bits, cidr.last.bits)
        let ranges = ranges(cidr.family)
        // Ranges that touch become one.
        let start = Self.index(in: ranges, endingFrom: low == 0 ? 0 : low - 1)
        var end = start
        while end < ranges.count, ranges[end].lowerBound <= (high == .max ? high : high + 1) {
            low = min(low, ranges[end].lowerBound)
            high = max(high, ranges[end].upperBound)
            end += 1
        }
        replace(cidr.family, start..<end, [low...high])
    }

    public mutating func remove(_ cidr: CIDR) {
        let (low, high) = (cidr.first.bits, cidr.last.bits)
        let ranges = ranges(cidr.family)
        let start = Self.index(in: ranges, endingFrom: low)
        var end = start
        var left: [ClosedRange<UInt128>] = []
        while end < ranges.count, ranges[end].lowerBound <= high {
            if ranges[end].lowerBound < low { left.append(ranges[end].lowerBound...(low - 1)) }
            if ranges[end].upperBound > high { left.append((high + 1)...ranges[end].upperBound) }
            end += 1
        }
        replace(cidr.family, start..<end, left)
    }

    private func ranges(_ family: IPFamily) -> [ClosedRange<UInt128>] { family == .v4 ? v4 : v6 }

    private mutating func replace(_ family: IPFamily, _ span: Swift.Range<Int>, _ new: [ClosedRange<UInt128>]) {
        if family == .v4 { v4.replaceSubrange(span, with: new) } else { v6.replaceSubrange(span, with: new) }
    }

    private func range(of address: IPAddress) -> ClosedRange<UInt128>? {
        let ranges = ranges(address.family)
        let index = Self.index(in: ranges, endingFrom: address.bits)
        guard index < ranges.count, ranges[index].contains(address.bits) else { return nil }
        return ranges[index]
    }

    /// The first range whose end is at or behind `bits`.
    private static func index(in ranges: [ClosedRange<UInt128>], endingFrom bits: UInt128) -> Int {
        ranges.partition { $0.upperBound >= bits }
    }
}

extension RandomAccessCollection where Index == Int {
    /// The first index from which on `isBehind` holds, in a collection where it holds of a tail.
    func partition(_ isBehind: (Element) -> Bool) -> Int {
        var (low, high) = (startIndex, endIndex)
        while low < high {
            let middle = low + (high - low) / 2
            if isBehind(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
