// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeClientTesting
import KubeObjects
import NetworkModel
import Testing
import Values

/// Calico's ipam_test, the parts that need a store: releases, handles, claims and blocks.
@Suite struct IPAMScenarioTests {
    private static func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

    private static func request(_ name: String, count: Int = 1, explicit: [String] = []) throws -> AddressRequest {
        AddressRequest(
            node: "a", use: .workload, handleID: "net.\(name)", values: ["node": "a", "pod": name],
            subject: "pod default/\(name)", explicit: try explicit.map { try address($0) }, count: count)
    }

    /// A store, a process of node a, and `count` addresses that net.x holds.
    private static func holding(_ count: Int, pool: String = "10.0.0.0/28", blockSize: Int = 29) async throws -> (
        MemoryStore, AddressBook, [IPAddress]
    ) {
        let store = BlockRaceTests.store(pool, blockSize: blockSize)
        let book = BlockRaceTests.book(store, "a")
        guard count > 0 else { return (store, book, []) }
        return (store, book, try await book.assign(request("x", count: count)).addresses.map(\.address))
    }

    // MARK: ReleaseIPs

    enum Wanted: String, CaseIterable, Sendable {
        case address, withHandle, withHandleAndSequence, otherHandle, otherSequence, free, inNoBlock, inNoPool
    }

    @Test(arguments: Wanted.allCases) func releaseOptions(_ wanted: Wanted) async throws {
        let (store, book, held) = try await Self.holding(1)
        let address = try #require(held.first)
        let block = try IPAMBlock(try #require(store.all(.ipamBlocks).first))
        let sequence = try #require(block.sequenceNumberForAllocation["0"])
        let item: ReleaseItem =
            switch wanted {
            case .address: ReleaseItem(address: address)
            case .withHandle: ReleaseItem(address: address, handleID: "net.x")
            case .withHandleAndSequence: ReleaseItem(address: address, handleID: "net.x", sequence: sequence)
            case .otherHandle: ReleaseItem(address: address, handleID: "net.y")
            case .otherSequence: ReleaseItem(address: address, handleID: "net.x", sequence: sequence - 1)
            case .free: ReleaseItem(address: try Self.address("10.0.0.5"))
            case .inNoBlock: ReleaseItem(address: try Self.address("10.0.0.9"))
            case .inNoPool: ReleaseItem(address: try Self.address("192.168.0.1"))
            }
        let outcomes = try await book.release([item])
        switch wanted {
        case .address, .withHandle, .withHandleAndSequence:
            #expect(outcomes == [.released([address])])
            BlockRaceTests.check(store, holding: [:])
        case .otherHandle, .otherSequence:
            #expect(outcomes == [.heldByAnother(handleID: "net.x")])
            BlockRaceTests.check(store, holding: ["net.x": held])
        case .free, .inNoBlock, .inNoPool:
            #expect(outcomes == [.released([])])
            BlockRaceTests.check(store, holding: ["net.x": held])
        }
    }

    @Test func duplicatesInARequestAreReleasedOnce() async throws {
        let (store, book, held) = try await Self.holding(1)
        let item = ReleaseItem(address: try #require(held.first))
        let byHandle = ReleaseItem(address: try #require(held.first), handleID: "net.x")
        let outcomes = try await book.release([item, item, byHandle])
        #expect(Set(outcomes.flatMap(\.addresses)) == Set(held))
        BlockRaceTests.check(store, holding: [:])
    }

    @Test func manyAreReleasedOverSeveralBlocksWithOneWriteEach() async throws {
        let (store, book, held) = try await Self.holding(16)
        #expect(store.all(.ipamBlocks).count == 2)
        let writes = store.writes
        let outcomes = try await book.release(held.map { ReleaseItem(address: $0) })
        #expect(outcomes.allSatisfy { $0.addresses.count == 1 })
        // Two blocks and the handle.
        #expect(store.writes == writes + 3)
        BlockRaceTests.check(store, holding: [:])
    }

    @Test func aBlockOfADisabledPoolIsReleasedInto() async throws {
        let (store, book, held) = try await Self.holding(1)
        var pool = try #require(store[.ipPools, "p"])
        pool["spec"]["disabled"] = true
        store.make(IPAMChange(.update, .ipPools, pool))
        #expect(try await book.release(held.map { ReleaseItem(address: $0) }) == [.released(held)])
    }

    @Test func theSameHandleAgainIsProtectedBySequence() async throws {
        let (store, book, held) = try await Self.holding(1, pool: "10.0.0.0/32", blockSize: 32)
        let first = try IPAMBlock(try #require(store.all(.ipamBlocks).first))
        let old = ReleaseItem(
            address: try #require(held.first), handleID: "net.x", sequence: first.sequenceNumberForAllocation["0"])
        try await book.release(handleIDs: ["net.x"])
        let again = try await book.assign(Self.request("x")).address
        #expect([again] == held)
        #expect(try await book.release([old]) == [.heldByAnother(handleID: "net.x")])
        BlockRaceTests.check(store, holding: ["net.x": held])
    }

    @Test func theSameHandleAgainIsProtectedWhenTheBlockWasDeletedBetween() async throws {
        let (store, book, held) = try await Self.holding(1, pool: "10.0.0.0/29")
        let first = try IPAMBlock(try #require(store.all(.ipamBlocks).first))
        let old = ReleaseItem(
            address: try #require(held.first), handleID: "net.x", sequence: first.sequenceNumberForAllocation["0"])
        try await book.release(handleIDs: ["net.x"])
        try await book.removeHost("a")
        #expect(store.all(.ipamBlocks).isEmpty)
        // A new block begins with the time in nanoseconds, and so after all that the old one gave.
        let later = BlockRaceTests.book(store, "a", now: Timestamp(seconds: Timestamp.now.seconds + 1))
        _ = try await later.assign(Self.request("x"))
        #expect(try await later.release([old]) == [.heldByAnother(handleID: "net.x")])
        BlockRaceTests.check(store, holding: ["net.x": held])
    }

    // MARK: Handles

    @Test func queryAndReleaseByHandle() async throws {
        let (store, book, held) = try await Self.holding(3)
        let stranger = BlockRaceTests.book(store, "b")
        #expect(try await stranger.addresses(ofHandle: "net.x")?.map(\.address) == held)
        #expect(try await stranger.addresses(ofHandle: "net.unknown") == nil)
        #expect(try await stranger.release(handleIDs: ["net.x"]).count == 3)
        #expect(try await book.release(handleIDs: ["net.x"]).isEmpty)
        #expect(try await book.addresses(ofHandle: "net.x") == nil)
        BlockRaceTests.check(store, holding: [:])
    }

    @Test func maxAddressesOfAHandle() async throws {
        let (store, book, two) = try await Self.holding(2)
        let again = try await book.assign(Self.request("x", count: 2))
        #expect(again.addresses.map(\.address) == two)
        #expect(!again.isNew)
        let three = try await book.assign(Self.request("x", count: 3)).addresses.map(\.address)
        #expect(three.count == 3)
        #expect(Array(three.prefix(2)) == two)
        BlockRaceTests.check(store, holding: ["net.x": three])
    }

    // MARK: AssignIP

    enum Explicit: String, CaseIterable, Sendable {
        case ofANewBlock, ofTheOwnBlock, ofAnothersBlock, ofAnothersBlockStrictly, taken, heldAlready, ofNoPool
    }

    @Test(arguments: Explicit.allCases) func assignAddress(_ kind: Explicit) async throws {
        let (store, book, held) = try await Self.holding(1)
        if kind == .ofAnothersBlockStrictly {
            var config = KubeObject(.ipamConfigs, kind: "IPAMConfig", name: "default")
            config["spec"] = ["strictAffinity": true, "autoAllocateBlocks": true]
            store.make(IPAMChange(.create, .ipamConfigs, config))
        }
        if kind == .ofAnothersBlock || kind == .ofAnothersBlockStrictly {
            _ = try await book.claim(try #require(CIDR("10.0.0.8/29")), for: "b")
        }
        let (name, wanted) =
            switch kind {
            case .ofANewBlock, .ofAnothersBlock, .ofAnothersBlockStrictly: ("y", "10.0.0.9")
            case .ofTheOwnBlock: ("y", "10.0.0.5")
            case .taken: ("y", "10.0.0.0")
            case .heldAlready: ("x", "10.0.0.0")
            case .ofNoPool: ("y", "10.9.0.0")
            }
        let request = try Self.request(name, explicit: [wanted])
        switch kind {
        case .taken, .ofNoPool, .ofAnothersBlockStrictly:
            await #expect(throws: AddressRefusal.self) { try await book.assign(request) }
            BlockRaceTests.check(store, holding: ["net.x": held])
        case .heldAlready:
            #expect(try await book.assign(request).isNew == false)
            BlockRaceTests.check(store, holding: ["net.x": held])
        case .ofANewBlock, .ofTheOwnBlock, .ofAnothersBlock:
            let address = try await book.assign(request).address
            #expect("\(address)" == wanted)
            BlockRaceTests.check(store, holding: ["net.x": held, "net.y": [address]])
            let owner = kind == .ofAnothersBlock ? "host:b" : "host:a"
            #expect(store.all(.ipamBlocks).last?["spec"]["affinity"].string == owner)
        }
    }

    // MARK: ClaimAffinity, EnsureBlock, RemoveIPAMHost

    @Test(arguments: [
        ("10.0.0.0/28", ["10.0.0.0/29", "10.0.0.8/29"], [] as [String]), ("10.0.0.8/29", ["10.0.0.8/29"], []),
        ("10.0.0.0/27", ["10.0.0.0/29", "10.0.0.8/29", "10.0.0.24/29"], ["10.0.0.16/29"]),
    ])
    func claimAffinity(network: String, claimed: [String], refused: [String]) async throws {
        let store = BlockRaceTests.store("10.0.0.0/27")
        let book = BlockRaceTests.book(store, "a")
        _ = try await BlockRaceTests.book(store, "b").claim(try #require(CIDR("10.0.0.16/29")), for: "b")
        for _ in 0..<2 {
            let result = try await book.claim(try #require(CIDR(network)), for: "a")
            #expect(result.claimed.map { "\($0)" } == claimed)
            #expect(result.refused.map { "\($0)" } == refused)
        }
        BlockRaceTests.check(store, holding: [:])
    }

    @Test(arguments: ["10.0.0.0/30", "10.0.1.0/28", "10.0.0.0/24"]) func unclaimable(network: String) async throws {
        let book = BlockRaceTests.book(BlockRaceTests.store("10.0.0.0/27"), "a")
        let cidr = try #require(CIDR(network))
        let error = await #expect(throws: UnclaimableNetwork.self) { try await book.claim(cidr, for: "a") }
        #expect(error?.description.contains(network) == true)
    }

    @Test func ensureBlock() async throws {
        let (store, book, _) = try await Self.holding(0)
        let request = try Self.request("y")
        let first = try await book.ensureBlock(request)
        #expect(try await book.ensureBlock(request) == first)
        #expect(store.all(.ipamBlocks).count == 1)
        #expect(store.all(.ipamHandles).isEmpty)
        // Full: another one; and then there is none left.
        _ = try await book.assign(Self.request("x", count: 8))
        let second = try await book.ensureBlock(request)
        #expect(second != first)
        _ = try await book.assign(Self.request("z", count: 8))
        await #expect(throws: AddressRefusal.self) { try await book.ensureBlock(request) }
    }

    @Test func removeHost() async throws {
        let (store, book, held) = try await Self.holding(1)
        _ = try await book.claim(try #require(CIDR("10.0.0.8/29")), for: "a")
        #expect(try await book.removeHost("unknown") == 0)
        #expect(try await book.removeHost("a") == 2)
        // The empty one is gone, the other stays as nobody's until its address is released.
        #expect(store.all(.ipamBlocks).map { $0["spec"]["affinity"].string } == [nil])
        BlockRaceTests.check(store, holding: ["net.x": held])
        try await book.release(handleIDs: ["net.x"])
        #expect(store.all(.ipamBlocks).isEmpty)
    }

    // MARK: Pools

    @Test func aPoolIsDeletedThenAddressesAreAssigned() async throws {
        let (store, book, held) = try await Self.holding(1)
        store.make(IPAMChange(.delete, .ipPools, try #require(store[.ipPools, "p"])))
        let error = try await #require(throws: AddressRefusal.self) { try await book.assign(Self.request("y")) }
        #expect(error.description.contains("there is no IPPool"))
        store.make(IPAMChange(.create, .ipPools, Sample.pool("q", "10.1.0.0/28", blockSize: 29)))
        let other = try await book.assign(Self.request("y")).address
        #expect("\(other)" == "10.1.0.0")
        // The sandbox of the deleted pool keeps what it has.
        #expect(try await book.assign(Self.request("x")).address == held.first)
        BlockRaceTests.check(store, holding: ["net.x": held, "net.y": [other]])
    }

    @Test func theConfigurationIsNotWrittenByReading() async throws {
        let (store, _, _) = try await Self.holding(1)
        #expect(store.all(.ipamConfigs).isEmpty)
    }

    @Test func aLabelChangeMovesTheAffinities() async throws {
        let store = MemoryStore()
        for (rack, cidr) in [("0", "10.0.0.0/28"), ("1", "10.0.1.0/28")] {
            store.make(
                IPAMChange(
                    .create, .ipPools, Sample.pool("rack-\(rack)", cidr, selector: "rack == '\(rack)'", blockSize: 29)))
        }
        store.make(IPAMChange(.create, .nodes, Sample.node("a", ["rack": "0"])))
        let book = BlockRaceTests.book(store, "a")
        let old = try await book.assign(Self.request("x")).address
        _ = try await book.claim(try #require(CIDR("10.0.0.8/29")), for: "a")
        var node = try #require(store[.nodes, "a"])
        node.metadata["labels"] = ["rack": "1"]
        store.make(IPAMChange(.update, .nodes, node))
        try await book.tidy()
        // The empty block of the old rack is given up at once, the other with its last address.
        #expect(store.all(.blockAffinities).map(\.name) == ["a-10-0-0-0-29"])
        let new = try await book.assign(Self.request("y")).address
        #expect("\(new)" == "10.0.1.0")
        BlockRaceTests.check(store, holding: ["net.x": [old], "net.y": [new]])
        try await book.release(handleIDs: ["net.x"])
        try await book.tidy()
        #expect(store.all(.blockAffinities).map(\.name) == ["a-10-0-1-0-29"])
    }
}
