// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeClientTesting
import KubeObjects
import NetworkModel
import Testing
import Values

/// Calico's kube-controllers node/ipam_test, the parts in which what was decided meets a store that went on.
@Suite struct CollectionTests {
    private static let start = Timestamp(seconds: 1_800_000_000)

    /// Carries out what is due when every suspect has been one for long.
    private static func collect(
        _ book: AddressBook, _ store: MemoryStore, pods: [PodUse] = [],
        isStillTrue: @escaping @Sendable (AddressCollection.Release) async throws -> Bool = { _ in true },
        between: @Sendable () async throws -> Void = {}
    ) async throws -> Collected {
        let snapshot = await book.snapshot()
        let world = IPAMWorld(
            snapshot: snapshot, handles: store.all(.ipamHandles).map { IPAMHandle($0) }, pods: pods)
        let seen = AddressCollection.decide(world, now: start, grace: 60).seen
        let later = Timestamp(seconds: start.seconds + 100)
        let outcome = AddressCollection.decide(world, now: later, grace: 60, seen: seen)
        try await between()
        return try await book.collect(
            outcome, decidedFrom: snapshot, isStillTrue: isStillTrue,
            nodeExists: { name in store[.nodes, name] != nil })
    }

    private static func request(_ name: String, _ node: String = "a") -> AddressRequest {
        var request = AddressBookTests.request(name, node: node)
        request.values["namespace"] = "default"
        return request
    }

    @Test func whatIsNotTrueAnyMoreIsNotReleased() async throws {
        let store = BlockRaceTests.store("10.0.0.0/28")
        let book = BlockRaceTests.book(store, "a")
        let held = try await book.assign(Self.request("x")).address
        let collected = try await Self.collect(book, store, isStillTrue: { _ in false })
        #expect(collected.addresses == 0)
        BlockRaceTests.check(store, holding: ["net.x": [held]])
        #expect(try await Self.collect(book, store).addresses == 1)
        BlockRaceTests.check(store, holding: [:])
    }

    @Test func anAddressGivenOutAgainSinceIsSpared() async throws {
        let store = BlockRaceTests.store("10.0.0.0/32")
        var pool = try #require(store[.ipPools, "p"])
        pool["spec"]["blockSize"] = 32
        store.make(IPAMChange(.update, .ipPools, pool))
        let node = BlockRaceTests.book(store, "a")
        let held = try await node.assign(Self.request("x")).address
        let collector = BlockRaceTests.book(store, "")
        let collected = try await Self.collect(
            collector, store,
            between: {
                try await node.release(handleIDs: ["net.x"])
                let again = try await node.assign(Self.request("x")).address
                #expect(again == held)
            })
        #expect(collected.addresses == 0)
        BlockRaceTests.check(store, holding: ["net.x": [held]])
    }

    @Test func aConflictIsTriedAgain() async throws {
        let store = BlockRaceTests.store("10.0.0.0/28")
        let node = BlockRaceTests.book(store, "a")
        _ = try await node.assign(Self.request("x"))
        let hooked = HookedStore(
            store,
            [
                .init(verb: .update, resource: .ipamBlocks) { _ = try await node.assign(Self.request("y")) },
                .init(verb: .update, resource: .ipamBlocks) { _ = try await node.assign(Self.request("z")) },
            ])
        let collected = try await Self.collect(BlockRaceTests.book(hooked, ""), store)
        #expect(hooked.isDone)
        #expect(collected.addresses == 1)
        BlockRaceTests.check(
            store,
            holding: [
                "net.y": [try #require(IPAddress("10.0.0.1"))], "net.z": [try #require(IPAddress("10.0.0.2"))],
            ])
    }

    /// Calico's #8643: what is left of a node must not keep the rest of it from being cleaned.
    @Test func aCleanupIsNotStuckByWhatIsMissing() async throws {
        let store = BlockRaceTests.store("10.0.0.0/28")
        let book = BlockRaceTests.book(store, "a")
        for name in ["x", "y"] { _ = try await book.assign(Self.request(name)) }
        let visitor = try await book.assign(Self.request("z", "b"))
        store.make(IPAMChange(.delete, .ipamHandles, try #require(store[.ipamHandles, "net.x"])))
        store.make(
            IPAMChange(
                .delete, .blockAffinities, try #require(store.all(.blockAffinities).first { $0.name.hasPrefix("a-") })))
        store.make(IPAMChange(.delete, .nodes, try #require(store[.nodes, "a"])))
        let pods = [PodUse(ObjectKey("default", "z"), node: "b", addresses: [visitor.address])]
        let collector = BlockRaceTests.book(store, "")
        #expect(try await Self.collect(collector, store, pods: pods).addresses == 2)
        #expect(Set(store.all(.ipamHandles).map(\.name)) == ["net.z"])
        let kept = try store.all(.ipamBlocks).flatMap { try IPAMBlock($0).assignments.map(\.address) }
        #expect(kept == [visitor.address])
    }

    @Test func aHandleWithoutAddressesGoesAndOneInUseStays() async throws {
        let store = BlockRaceTests.store("10.0.0.0/28")
        let book = BlockRaceTests.book(store, "a")
        let held = try await book.assign(Self.request("x")).address
        store.make(IPAMChange(.create, .ipamHandles, IPAMHandle(handleID: "net.orphan").encoded()))
        let pods = [PodUse(ObjectKey("default", "x"), node: "a", addresses: [held])]
        #expect(try await Self.collect(book, store, pods: pods).handles == 1)
        BlockRaceTests.check(store, holding: ["net.x": [held]])
    }

    @Test func manyNodesAreCleanedInOnePass() async throws {
        let nodes = (0..<100).map { "n\($0)" }
        let store = BlockRaceTests.store("10.0.0.0/22", nodes: nodes)
        let book = BlockRaceTests.book(store, "n0")
        for node in nodes {
            for pod in 0..<3 { _ = try await book.assign(Self.request("\(node)-\(pod)", node)) }
        }
        for node in nodes { store.make(IPAMChange(.delete, .nodes, try #require(store[.nodes, node]))) }
        let collected = try await Self.collect(BlockRaceTests.book(store, ""), store)
        #expect(collected.addresses == 300)
        #expect(collected.claims == 100)
        #expect(store.all(.ipamBlocks).isEmpty)
        #expect(store.all(.blockAffinities).isEmpty)
        #expect(store.all(.ipamHandles).isEmpty)
    }
}
