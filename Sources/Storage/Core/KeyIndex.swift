// SPDX-License-Identifier: Apache-2.0

/// The present keys in the order of their bytes.
///
/// A sorted array: finding is a binary search, and inserting moves a few hundred kilobytes at ten thousand keys, which
/// is little beside the write to disk that goes with it.
struct KeyIndex: Sendable {
    private(set) var entries: [KeyValue] = []

    /// Strings compare by Unicode, keys by their bytes, as SQLite and etcd compare them.
    static func precedes(_ left: String, _ right: String) -> Bool {
        left.utf8.lexicographicallyPrecedes(right.utf8)
    }

    private static func isSame(_ left: String, _ right: String) -> Bool { left.utf8.elementsEqual(right.utf8) }

    /// Where the key is, or would be.
    private func position(of key: String) -> Int {
        partition { Self.precedes($0.key, key) }
    }

    /// The first entry of which `isBefore` does not hold.
    private func partition(_ isBefore: (KeyValue) -> Bool) -> Int {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = low + (high - low) / 2
            if isBefore(entries[middle]) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    subscript(key: String) -> KeyValue? {
        let position = position(of: key)
        guard position < entries.count, Self.isSame(entries[position].key, key) else { return nil }
        return entries[position]
    }

    /// The entries below the prefix, from `startKey` on.
    func range(prefix: String, from startKey: String?) -> ArraySlice<KeyValue> {
        let first = startKey.map { Self.precedes(prefix, $0) ? $0 : prefix } ?? prefix
        let start = position(of: first)
        let end = partition { Self.precedes($0.key, prefix) || Self.has($0.key, prefix: prefix) }
        return entries[min(start, end)..<end]
    }

    static func has(_ key: String, prefix: String) -> Bool { key.utf8.starts(with: prefix.utf8) }

    mutating func set(_ entry: KeyValue) {
        // Loading from a database appends in order.
        if let last = entries.last, Self.precedes(last.key, entry.key) { return entries.append(entry) }
        let position = position(of: entry.key)
        if position < entries.count, Self.isSame(entries[position].key, entry.key) {
            entries[position] = entry
        } else {
            entries.insert(entry, at: position)
        }
    }

    mutating func remove(_ key: String) {
        let position = position(of: key)
        guard position < entries.count, Self.isSame(entries[position].key, key) else { return }
        entries.remove(at: position)
    }
}
