// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Something that stands under a key.
public protocol KeyedEntry {
    var key: String { get }
}

/// Entries in the order of the bytes of their keys, each key once.
///
/// They lie in short runs. A change moves what lies in one run; a copy that somebody still reads costs the list of runs
/// and that one run, not everything. So a list of a million objects may be read while others are written.
public struct SortedEntries<Entry: KeyedEntry & Sendable>: Sendable {
    /// None of them is empty.
    @usableFromInline var runs: [[Entry]] = []
    @usableFromInline var size = 0

    @inlinable
    public init() {}

    @inlinable
    public var count: Int { size }

    /// A run that grows past this is cut in two.
    @inlinable
    static var runLimit: Int { 512 }

    /// The first run whose last entry comes at or behind a place, and where in it the first such entry stands.
    @inlinable
    func position(_ isBefore: (String) -> Bool) -> (run: Int, index: Int) {
        var low = 0
        var high = runs.count
        while low < high {
            let middle = low + (high - low) / 2
            if let last = runs[middle].last, isBefore(last.key) { low = middle + 1 } else { high = middle }
        }
        guard low < runs.count else { return (low, 0) }
        let run = low
        low = 0
        high = runs[run].count
        while low < high {
            let middle = low + (high - low) / 2
            if isBefore(runs[run][middle].key) { low = middle + 1 } else { high = middle }
        }
        return (run, low)
    }

    /// Where the key is, or would be.
    @inlinable
    func position(of key: String) -> (run: Int, index: Int) { position { Keys.precedes($0, key) } }

    @inlinable
    func holds(_ key: String, at position: (run: Int, index: Int)) -> Bool {
        position.run < runs.count && position.index < runs[position.run].count
            && Keys.isSame(runs[position.run][position.index].key, key)
    }

    @inlinable
    public subscript(key: String) -> Entry? {
        let position = position(of: key)
        return holds(key, at: position) ? runs[position.run][position.index] : nil
    }

    /// Puts the entry under its key; returns what stood there.
    @inlinable
    @discardableResult
    public mutating func set(_ entry: Entry) -> Entry? {
        // Filling from a database appends in order.
        if let last = runs.last?.last, Keys.precedes(last.key, entry.key) {
            insert(entry, at: (runs.count - 1, runs[runs.count - 1].count))
            return nil
        }
        let position = position(of: entry.key)
        if holds(entry.key, at: position) {
            let old = runs[position.run][position.index]
            runs[position.run][position.index] = entry
            return old
        }
        insert(entry, at: position)
        return nil
    }

    @inlinable
    mutating func insert(_ entry: Entry, at position: (run: Int, index: Int)) {
        size += 1
        guard position.run < runs.count else { return runs.append([entry]) }
        runs[position.run].insert(entry, at: position.index)
        let length = runs[position.run].count
        guard length > Self.runLimit else { return }
        // What is appended at the end leaves full runs behind.
        let isAtEnd = position.run == runs.count - 1 && position.index == length - 1
        let cut = isAtEnd ? length - 1 : length / 2
        let upper = Array(runs[position.run][cut...])
        runs[position.run].removeSubrange(cut...)
        runs.insert(upper, at: position.run + 1)
    }

    /// Takes the entry of a key away; returns what stood there.
    @inlinable
    @discardableResult
    public mutating func remove(_ key: String) -> Entry? {
        let position = position(of: key)
        guard holds(key, at: position) else { return nil }
        size -= 1
        let old = runs[position.run].remove(at: position.index)
        if runs[position.run].isEmpty { runs.remove(at: position.run) }
        return old
    }

    /// The first entries, at most `limit`, whose keys begin with the prefix and do not precede `start`; and how many
    /// more come after them.
    @inlinable
    public func range(
        prefix: String, from start: String? = nil, limit: Int? = nil
    ) -> (entries: [Entry], remaining: Int) {
        let first = start.map { Keys.precedes(prefix, $0) ? $0 : prefix } ?? prefix
        let begin = position(of: first)
        let end = position { Keys.precedes($0, prefix) || Keys.has($0, prefix: prefix) }
        let all = distance(begin, end)
        guard all > 0 else { return ([], 0) }
        let wanted = min(all, max(0, limit ?? all))
        var entries: [Entry] = []
        entries.reserveCapacity(wanted)
        var run = begin.run
        var index = begin.index
        while entries.count < wanted {
            entries.append(contentsOf: runs[run][index...].prefix(wanted - entries.count))
            run += 1
            index = 0
        }
        return (entries, all - wanted)
    }

    /// How many entries lie between two positions; negative when they stand the other way round.
    @inlinable
    func distance(_ begin: (run: Int, index: Int), _ end: (run: Int, index: Int)) -> Int {
        guard begin.run <= end.run else { return -1 }
        if begin.run == end.run { return end.index - begin.index }
        var count = runs[begin.run].count - begin.index + end.index
        for run in (begin.run + 1)..<end.run { count += runs[run].count }
        return count
    }
}

extension KeyValue: KeyedEntry {}

/// Keys are bytes: strings compare by Unicode, SQLite and etcd do not.
public enum Keys {
    public static func precedes(_ left: String, _ right: String) -> Bool {
        left.utf8.withContiguousStorageIfAvailable { left in
            right.utf8.withContiguousStorageIfAvailable { right in
                guard let first = left.baseAddress, let second = right.baseAddress else {
                    return left.count < right.count
                }
                let order = memcmp(first, second, min(left.count, right.count))
                return order == 0 ? left.count < right.count : order < 0
            }
        }.flatMap(\.self) ?? left.utf8.lexicographicallyPrecedes(right.utf8)
    }

    /// Whether a key begins with the bytes of a prefix.
    public static func has(_ key: String, prefix: String) -> Bool {
        key.utf8.withContiguousStorageIfAvailable { key in
            prefix.utf8.withContiguousStorageIfAvailable { prefix in
                guard prefix.count <= key.count else { return false }
                guard let first = key.baseAddress, let second = prefix.baseAddress else { return prefix.isEmpty }
                return memcmp(first, second, prefix.count) == 0
            }
        }.flatMap(\.self) ?? key.utf8.starts(with: prefix.utf8)
    }

    public static func isSame(_ left: String, _ right: String) -> Bool {
        left.utf8.count == right.utf8.count && has(left, prefix: right)
    }
}
