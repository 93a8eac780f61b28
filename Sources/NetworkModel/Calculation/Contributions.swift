// SPDX-License-Identifier: Apache-2.0

/// Values that several sources have for one key, as two nodes that say they have one address: the first source's counts,
/// whichever spoke first, so that the outcome does not depend on the order of events.
public struct Contributions<Key: Hashable & Sendable, Source: Comparable & Sendable, Value: Hashable & Sendable>:
    Sendable
{
    private struct Entry: Sendable {
        let source: Source
        var value: Value
    }

    /// By source; nearly always one.
    private var entries: [Key: [Entry]] = [:]
    /// What counted before the first change since ``takeChanges()``.
    private var before: [Key: Value?] = [:]

    public init() {}

    /// What counts for the key.
    public subscript(key: Key) -> Value? { entries[key]?.first?.value }

    /// Whose value counts.
    public func source(of key: Key) -> Source? { entries[key]?.first?.source }

    /// All keys that have a value.
    public var keys: some Collection<Key> { entries.keys }

    public mutating func set(_ key: Key, from source: Source, to value: Value?) {
        var list = entries[key] ?? []
        let old = list.first?.value
        let place = list.firstIndex { $0.source >= source } ?? list.endIndex
        let isThere = place < list.endIndex && list[place].source == source
        switch (value, isThere) {
        case (let value?, true): list[place].value = value
        case (let value?, false): list.insert(Entry(source: source, value: value), at: place)
        case (nil, true): list.remove(at: place)
        case (nil, false): return
        }
        entries[key] = list.isEmpty ? nil : list
        if list.first?.value != old, before[key] == nil { before[key] = .some(old) }
    }

    /// The keys for which another value counts than at the last call, with that value; nil where none is left.
    public mutating func takeChanges() -> [Key: Value?] {
        defer { before.removeAll() }
        var changes: [Key: Value?] = [:]
        for (key, old) in before {
            let now = self[key]
            if now != old { changes[key] = .some(now) }
        }
        return changes
    }
}
