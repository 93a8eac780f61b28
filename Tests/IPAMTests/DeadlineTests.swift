// SPDX-License-Identifier: Apache-2.0

import Glibc
import IPAM
import KubeClientTesting
import KubeObjects
import Linux
import NetworkModel
import Testing
import Values

/// A store that does not answer, or answers conflicts for ever, and clocks that jump.
@Suite(.timeLimit(.minutes(1))) struct DeadlineTests {
    private static func request(_ name: String) -> AddressRequest { AddressBookTests.request(name, node: "a") }

    /// Opened once; whoever comes before waits.
    private final class Door: Sendable {
        private let (stream, continuation) = AsyncStream<Void>.makeStream()
        func open() { continuation.finish() }
        func wait() async { for await _ in stream {} }
    }

    /// A store with a pool and node a, and a process whose first write of a block stands before a closed door.
    private static func hanging(journal: ReleaseJournal? = nil) -> (MemoryStore, AddressBook, Door) {
        let store = BlockRaceTests.store("10.0.0.0/28")
        let door = Door()
        let hooked = HookedStore(store, [.init(verb: .create, resource: .ipamBlocks, body: { await door.wait() })])
        return (store, AddressBook(store: hooked, node: "a", journal: journal, deadline: .milliseconds(30)), door)
    }

    @Test func anOverdueAddressGoesBack() async throws {
        let (store, book, door) = Self.hanging()
        let error = try await #require(throws: AddressBook.Overdue.self) { try await book.assign(Self.request("x")) }
        #expect(error.description.contains("pod default/x"))
        #expect(error.description.contains("has not answered"))
        door.open()
        // The late answer is given back by itself; the book does one thing after the other.
        while try await book.addresses(ofHandle: "net.x") != nil {}
        BlockRaceTests.check(store, holding: [:])
        let address = try await book.assign(Self.request("y")).address
        BlockRaceTests.check(store, holding: ["net.y": [address]])
    }

    @Test func anOverdueReleaseIsWrittenDown() async throws {
        let path = "/tmp/catbird-deadline-\(getpid()).json"
        defer { unlink(path) }
        let (store, book, door) = Self.hanging(journal: try ReleaseJournal(path))
        await #expect(throws: AddressBook.Overdue.self) { try await book.assign(Self.request("x")) }
        // DEL answers although the store still hangs, and is made good when it does not.
        _ = try await book.release(handleIDs: ["net.x"])
        #expect(try ReleaseJournal(path).items == [ReleaseItem(handleID: "net.x")])
        door.open()
        while try await book.addresses(ofHandle: "net.x") != nil {}
        try await book.replay()
        #expect(try ReleaseJournal(path).items.isEmpty)
        BlockRaceTests.check(store, holding: [:])
    }

    /// Says conflict to every write.
    private struct Contested: IPAMStore {
        let backing: MemoryStore
        var objects: IPAMObjects { backing.objects }
        func get(_ resource: GroupVersionResource, _ name: String) async throws -> KubeObject? {
            try await backing.get(resource, name)
        }
        func apply(_ changes: [IPAMChange]) async throws -> [IPAMOutcome] {
            changes.map { $0.verb == .create ? .exists : .conflict }
        }
    }

    @Test func conflictsForEverEnd() async throws {
        let store = BlockRaceTests.store("10.0.0.0/28")
        let held = try await BlockRaceTests.book(store, "a").assign(Self.request("x")).address
        let book = AddressBook(store: Contested(backing: store), node: "a")
        let error = try await #require(throws: AddressBook.Contention.self) { try await book.assign(Self.request("y")) }
        #expect(error.description.contains("try again"))
        await #expect(throws: AddressBook.Contention.self) { try await book.release(handleIDs: ["net.x"]) }
        BlockRaceTests.check(store, holding: ["net.x": [held]])
    }

    @Test func clocksThatJumpTakeNothing() async throws {
        let store = BlockRaceTests.store("10.0.0.0/28")
        var held: [String: [IPAddress]] = [:]
        for (index, seconds) in [1_800_000_000, 0, 4_000_000_000, 1_700_000_000, -5_000_000_000].enumerated() {
            let book = BlockRaceTests.book(store, "a", now: Timestamp(seconds: Int64(seconds)))
            held["net.\(index)"] = [try await book.assign(Self.request("\(index)")).address]
            held["net.gone"] = [try await book.assign(Self.request("gone")).address]
            try await book.tidy()
            BlockRaceTests.check(store, holding: held)
            try await book.release(handleIDs: ["net.gone"])
            held["net.gone"] = nil
        }
        BlockRaceTests.check(store, holding: held)
    }
}
