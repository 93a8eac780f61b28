// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Storage

/// What a store remembers of its latest events is bounded by their size too.
@Suite struct RecentEventsTests {
    private static func event(_ revision: Int64, bytes: Int) -> StoreEvent {
        StoreEvent(
            kind: .put, key: "/registry/core/configmaps/default/m", value: Array(repeating: 7, count: bytes),
            previousValue: nil, revision: revision, createRevision: 2)
    }

    @Test func largeEventsAreForgottenSooner() throws {
        let core = StoreCore(index: KeyIndex(), revision: 1, compacted: 0, recentBytesLimit: 1 << 20)
        for revision in 2...Int64(500) { core.apply([Self.event(revision, bytes: 64 << 10)]) }
        #expect(core.heldBytes <= 3 << 20)
        // Who comes late reads from the log, and who is close by from memory.
        #expect(try core.subscribe(prefix: "/", after: 2).missed == nil)
        #expect(try core.subscribe(prefix: "/", after: 495).missed?.map(\.revision) == [496, 497, 498, 499, 500])
    }

    @Test func anEventLargerThanTheLimitIsNotKept() throws {
        let core = StoreCore(index: KeyIndex(), revision: 1, compacted: 0, recentBytesLimit: 1 << 10)
        core.apply([Self.event(2, bytes: 4 << 10)])
        #expect(core.heldBytes == 0)
        #expect(try core.subscribe(prefix: "/", after: 1).missed == nil)
        #expect(try core.subscribe(prefix: "/", after: 2).missed == [])
    }

    @Test func smallOnesAreKeptByTheirNumber() throws {
        let core = StoreCore(index: KeyIndex(), revision: 1, compacted: 0, recentLimit: 64)
        for revision in 2...Int64(1000) { core.apply([Self.event(revision, bytes: 1)]) }
        #expect(try core.subscribe(prefix: "/", after: 937).missed?.count == 63)
        #expect(try core.subscribe(prefix: "/", after: 3).missed == nil)
    }
}
