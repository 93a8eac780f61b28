// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeClientTesting
import KubeObjects
import NetworkModel
import Testing
import Values

/// Calico's ipam_block_reader_writer_test: each race brought about at its one moment.
@Suite struct BlockRaceTests {
    static func store(_ cidr: String, blockSize: Int = 29, nodes: [String] = ["a", "b"]) -> MemoryStore {
        let store = MemoryStore()
        store.make(IPAMChange(.create, .ipPools, Sample.pool("p", cidr, blockSize: blockSize)))
        for node in nodes { store.make(IPAMChange(.create, .nodes, Sample.node(node))) }
        return store
    }

    static func book(_ store: some IPAMStore, _ node: String, now: Timestamp = .now) -> AddressBook {
        AddressBook(store: store, node: node, now: { now })
    }

    /// A process of `node` to which something happens before a request of it.
    private static func book(
        _ store: MemoryStore, _ node: String, before verb: IPAMChange.Verb, _ resource: GroupVersionResource,
        now: Timestamp = .now, _ body: @escaping @Sendable () async throws -> Void
    ) -> (AddressBook, HookedStore) {
        let hooked = HookedStore(store, [.init(verb: verb, resource: resource, body: body)])
        return (book(hooked, node, now: now), hooked)
    }

    /// Blocks, claims and handles tell one story.
    static func check(_ store: MemoryStore, holding held: [String: [IPAddress]]) {
        let sandboxes = held.map { Truth.Sandbox(handleID: $0, node: "", phase: .live, addresses: $1) }
        #expect(Invariants.violations(store, sandboxes) == [])
    }

    private static func request(_ name: String, _ node: String) -> AddressRequest {
        AddressBookTests.request(name, node: node)
    }

    @Test func claimsFromDifferentHosts() async throws {
        let store = Self.store("10.0.0.0/29")
        let (a, hooked) = Self.book(store, "a", before: .create, .ipamBlocks) {
            _ = try await Self.book(store, "b").assign(Self.request("y", "b"))
        }
        let first = try await a.assign(Self.request("x", "a"))
        #expect(hooked.isDone)
        #expect("\(first.address)" == "10.0.0.1")
        #expect(store.all(.ipamBlocks).first?["spec"]["affinity"].string == "host:b")
        #expect(store.all(.blockAffinities).map(\.name) == ["b-10-0-0-0-29"])
        Self.check(store, holding: ["net.x": [first.address], "net.y": [try #require(IPAddress("10.0.0.0"))]])
    }

    @Test func claimsFromTheSameHost() async throws {
        let store = Self.store("10.0.0.0/28")
        let (a, _) = Self.book(store, "a", before: .create, .ipamBlocks) {
            _ = try await Self.book(store, "a").assign(Self.request("y", "a"))
        }
        let first = try await a.assign(Self.request("x", "a"))
        #expect(store.all(.ipamBlocks).count == 1)
        #expect(store.all(.blockAffinities).first?["spec"]["state"].string == "confirmed")
        Self.check(store, holding: ["net.x": [first.address], "net.y": [try #require(IPAddress("10.0.0.0"))]])
    }

    @Test func claimsOfTheSameAffinity() async throws {
        let store = Self.store("10.0.0.0/28")
        let cidr = try #require(CIDR("10.0.0.0/29"))
        let (a, _) = Self.book(store, "a", before: .create, .blockAffinities) {
            let other = try await Self.book(store, "a").claim(cidr, for: "a")
            #expect(other.claimed == [cidr])
        }
        #expect(try await a.claim(cidr, for: "a").claimed == [cidr])
        Self.check(store, holding: [:])
    }

    @Test func releaseOfABlockWhileAnotherUsesIt() async throws {
        let store = Self.store("10.0.0.0/28")
        let cidr = try #require(CIDR("10.0.0.0/29"))
        _ = try await Self.book(store, "a").claim(cidr, for: "a")
        let (a, _) = Self.book(store, "a", before: .update, .ipamBlocks) {
            _ = try await Self.book(store, "a").assign(Self.request("x", "a"))
        }
        _ = try await a.giveUpClaims(in: cidr)
        // The block changed hands to nobody, and its address stays.
        #expect(store.all(.blockAffinities).isEmpty)
        Self.check(store, holding: ["net.x": [try #require(IPAddress("10.0.0.0"))]])
    }

    @Test func aBlockThatAnotherProcessJustUsedIsNotDeleted() async throws {
        let store = Self.store("10.0.0.0/28")
        _ = try await Self.book(store, "a").assign(Self.request("x", "a"))
        try await Self.book(store, "a").release(handleIDs: ["net.x"])
        // No pool wants the node to keep its block any more, but a process that does not know that uses it.
        let pool = try #require(store[.ipPools, "p"])
        let (a, hooked) = Self.book(store, "a", before: .delete, .ipamBlocks) {
            var block = try IPAMBlock(try #require(store.all(.ipamBlocks).first))
            block.isDeleted = false
            let ordinal = block.allocate(handleID: "net.y", values: [:])
            #expect(ordinal != nil)
            store.make(IPAMChange(.update, .ipamBlocks, block.encodedForWrite()))
        }
        store.make(IPAMChange(.delete, .ipPools, pool))
        try await a.tidy()
        #expect(hooked.isDone)
        let left = try #require(store.all(.ipamBlocks).first)
        #expect(try IPAMBlock(left).assignments.map(\.attribute.handleID) == ["net.y"])
    }

    @Test func claimWhileTheBlockIsBeingDeleted() async throws {
        let store = Self.store("10.0.0.0/29")
        let (a, _) = Self.book(store, "a", before: .delete, .ipamBlocks) { throw Killed() }
        let cidr = try #require(CIDR("10.0.0.0/29"))
        _ = try await Self.book(store, "a").claim(cidr, for: "a")
        await #expect(throws: Killed.self) { try await a.giveUpClaims(in: cidr) }
        #expect(try IPAMBlock(try #require(store.all(.ipamBlocks).first)).isDeleted)
        // The next one finishes what the killed one began, and claims the block anew.
        let b = Self.book(store, "b")
        try await b.tidy()
        let address = try await b.assign(Self.request("y", "b")).address
        try await Self.book(store, "a").giveUpClaims(in: cidr)
        #expect(store.all(.ipamBlocks).count == 1)
        #expect("\(address)" == "10.0.0.0")
    }

    @Test func manyClaimsAtOnce() async throws {
        let nodes = (0..<8).map { "n\($0)" }
        let store = Self.store("10.0.0.0/25", nodes: nodes)
        let network = try #require(CIDR("10.0.0.0/25"))
        let books = nodes.map { ($0, Self.book(store, $0)) } + nodes.map { ($0, Self.book(store, $0)) }
        let results = try await withThrowingTaskGroup(of: ClaimedBlocks.self) { group in
            for (node, book) in books { group.addTask { try await book.claim(network, for: node) } }
            var results: [ClaimedBlocks] = []
            for try await result in group { results.append(result) }
            return results
        }
        #expect(Set(results.flatMap(\.claimed)).count == 16)
        Self.check(store, holding: [:])
    }

    @Test func anEmptyBlockIsReclaimed() async throws {
        let store = Self.store("10.0.0.0/29")
        let start = Timestamp(seconds: 1_800_000_000)
        let cidr = try #require(CIDR("10.0.0.0/29"))
        _ = try await Self.book(store, "a", now: start).claim(cidr, for: "a")
        let later = Timestamp(seconds: start.seconds + 61)
        let address = try await Self.book(store, "b", now: later).assign(Self.request("y", "b")).address
        #expect(store.all(.blockAffinities).map(\.name) == ["b-10-0-0-0-29"])
        Self.check(store, holding: ["net.y": [address]])
    }

    @Test func reclaimingFailsWhenTheOwnerIsFaster() async throws {
        let store = Self.store("10.0.0.0/29")
        let start = Timestamp(seconds: 1_800_000_000)
        let cidr = try #require(CIDR("10.0.0.0/29"))
        _ = try await Self.book(store, "a", now: start).claim(cidr, for: "a")
        let later = Timestamp(seconds: start.seconds + 61)
        let (b, hooked) = Self.book(store, "b", before: .update, .ipamBlocks, now: later) {
            _ = try await Self.book(store, "a", now: later).assign(Self.request("x", "a"))
        }
        let address = try await b.assign(Self.request("y", "b")).address
        #expect(hooked.isDone)
        #expect(store.all(.ipamBlocks).first?["spec"]["affinity"].string == "host:a")
        Self.check(store, holding: ["net.y": [address], "net.x": [try #require(IPAddress("10.0.0.0"))]])
    }

    @Test func theUIDIsRespectedOnDelete() async throws {
        let store = Self.store("10.0.0.0/29")
        let cidr = try #require(CIDR("10.0.0.0/29"))
        _ = try await Self.book(store, "a").claim(cidr, for: "a")
        let old = try #require(store.all(.ipamBlocks).first)
        store.make(IPAMChange(.delete, .ipamBlocks, old))
        store.make(IPAMChange(.create, .ipamBlocks, IPAMBlock(cidr, node: "b", now: .now).encodedForWrite()))
        var sameVersion = old
        sameVersion["metadata"]["resourceVersion"] = nil
        guard case .conflict = store.make(IPAMChange(.delete, .ipamBlocks, sameVersion)) else {
            Issue.record("another block of the name was deleted")
            return
        }
        #expect(store.all(.ipamBlocks).first?["spec"]["affinity"].string == "host:b")
    }
}
