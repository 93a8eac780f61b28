// SPDX-License-Identifier: Apache-2.0

import Storage
import Testing

@Suite struct SortedEntriesTests {
    struct Entry: KeyedEntry, Sendable, Equatable {
        let key: String
        let value: Int
    }

    /// Keys that share beginnings, end early, and hold bytes that Unicode and memory order otherwise.
    static func key(_ generator: inout some RandomNumberGenerator) -> String {
        let folders = ["a/", "a/b/", "b/", "é/", "e\u{301}/", ""]
        return (folders.randomElement(using: &generator) ?? "") + String(Int.random(in: 0..<900, using: &generator))
    }

    @Test(arguments: 1...8) func doesWhatASortedDictionaryWould(seed: UInt64) {
        var generator = SplitMix(state: seed)
        var entries = SortedEntries<Entry>()
        var reference: [[UInt8]: Entry] = [:]
        for step in 0..<4000 {
            let entry = Entry(key: Self.key(&generator), value: step)
            let bytes = Array(entry.key.utf8)
            // The number of entries grows, then shrinks.
            if Int.random(in: 0..<4000, using: &generator) > step {
                #expect(entries.set(entry) == reference.updateValue(entry, forKey: bytes))
            } else {
                #expect(entries.remove(entry.key) == reference.removeValue(forKey: bytes))
            }
            #expect(entries.count == reference.count)
            #expect(entries[entry.key] == reference[bytes])
            guard step % 50 == 0 else { continue }
            let prefix = ["a/", "a/b/", "é/", "", "zz"].randomElement(using: &generator) ?? ""
            let start = Bool.random(using: &generator) ? Self.key(&generator) : nil
            let limit = Bool.random(using: &generator) ? Int.random(in: 0..<700, using: &generator) : nil
            let first = Array((start ?? "").utf8)
            let all = reference.keys.filter { $0.starts(with: prefix.utf8) && !$0.lexicographicallyPrecedes(first) }
                .sorted { $0.lexicographicallyPrecedes($1) }.compactMap { reference[$0] }
            let found = entries.range(prefix: prefix, from: start, limit: limit)
            #expect(found.entries == Array(all.prefix(limit ?? .max)))
            #expect(found.remaining == all.count - found.entries.count)
        }
    }

    @Test func aCopyStaysAsItWas() {
        var entries = SortedEntries<Entry>()
        for number in 0..<5000 { entries.set(Entry(key: "k/\(number)", value: number)) }
        let copy = entries
        for number in 0..<5000 where number % 3 == 0 { entries.remove("k/\(number)") }
        for number in 0..<5000 { entries.set(Entry(key: "k/\(number)", value: -1)) }
        #expect(copy.count == 5000)
        #expect(copy.range(prefix: "k/").entries.allSatisfy { $0.value >= 0 })
    }

    @Test func keysAreBytes() {
        // One text to Unicode, two keys to a store.
        #expect("é" == "e\u{301}")
        #expect(!Keys.isSame("é", "e\u{301}"))
        #expect(Keys.precedes("e\u{301}", "é"))
        #expect(Keys.precedes("a", "a/") && !Keys.precedes("a/", "a") && !Keys.precedes("a", "a"))
        #expect(Keys.has("a/b", prefix: "a/") && Keys.has("a", prefix: "") && !Keys.has("a", prefix: "a/"))
    }
}
