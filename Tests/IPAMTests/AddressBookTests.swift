// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeClient
import KubeClientTesting
import KubeObjects
import NetworkModel
import Synchronization
import Testing
import Values

@Suite struct AddressBookTests {
    static func book(_ api: MemoryAPI, _ node: String) -> AddressBook {
        AddressBook(
            store: WatchedStore(client: api.client) {
                IPAMObjects(
                    pools: api.objects(.ipPools), blocks: api.objects(.ipamBlocks),
                    affinities: api.objects(.blockAffinities),
                    nodes: api.objects(.nodes))
            }, node: node)
    }

    static func request(_ name: String, node: String) -> AddressRequest {
        AddressRequest(
            node: node, use: .workload, handleID: "net.\(name)", values: ["node": node, "pod": name],
            subject: "pod default/\(name)")
    }

    private func cluster(_ pools: [KubeObject], nodes: [KubeObject]) async throws -> MemoryAPI {
        let api = MemoryAPI()
        for pool in pools { try await api.client.create(.ipPools, pool) }
        for node in nodes { try await api.client.create(.nodes, node) }
        return api
    }

    /// Every address is held once, and block, handle and claim tell the same story.
    private func checkConsistency(_ api: MemoryAPI, expecting held: [String: IPAddress]) throws {
        var found: [String: IPAddress] = [:]
        for object in api.objects(.ipamBlocks) {
            let block = try IPAMBlock(object)
            #expect(block.usedCount + block.freeCount == block.cidr.count, "\(block.cidr) has lost addresses")
            for (address, attribute) in block.assignments {
                let handle = try #require(attribute.handleID)
                #expect(found.updateValue(address, forKey: handle) == nil, "\(handle) holds two addresses")
            }
            let owners = api.objects(.blockAffinities).compactMap { try? BlockAffinity($0) }.filter {
                $0.cidr == block.cidr
            }
            #expect(owners.map(\.node) == [block.node].compactMap(\.self))
        }
        #expect(found == held)
        #expect(Set(found.values).count == found.count)
        let handles = api.objects(.ipamHandles).map { IPAMHandle($0) }
        #expect(Set(handles.map(\.handleID)) == Set(held.keys))
    }

    @Test func theFirstAddressClaimsABlockInCalicosShape() async throws {
        let api = try await cluster(
            [Sample.pool("east", "192.168.0.0/24", selector: "zone == 'east'")],
            nodes: [Sample.node("a", ["zone": "east"])])
        let assigned = try await Self.book(api, "a").assign(Self.request("web", node: "a"))
        #expect("\(assigned.address)" == "192.168.0.0")
        #expect(assigned.explanation.contains("from pool east (192.168.0.0/24), block 192.168.0.0/26"))
        #expect(assigned.explanation.contains("zone is \"east\""))
        let block = try #require(api.objects(.ipamBlocks).first)
        #expect(block.name == "192-168-0-0-26")
        #expect(block["spec"]["affinity"].string == "host:a")
        #expect(block["spec"]["allocations"][0].int == 0)
        #expect(block["spec"]["unallocated"].array?.count == 63)
        #expect(block["spec"]["attributes"][0]["handle_id"].string == "net.web")
        let affinity = try #require(api.objects(.blockAffinities).first)
        #expect(affinity.name == "a-192-168-0-0-26")
        #expect(affinity["spec"]["state"].string == "confirmed")
        #expect(affinity["spec"]["deleted"].string == "false")
        #expect(affinity.labels["projectcalico.org/ip-version"] == "4")
        let handle = try #require(api.objects(.ipamHandles).first)
        #expect(handle["spec"]["block"]["192.168.0.0/26"].int == 1)
    }

    @Test func theSameSandboxKeepsItsAddress() async throws {
        let api = try await cluster([Sample.pool("p", "10.0.0.0/24")], nodes: [Sample.node("a")])
        let first = try await Self.book(api, "a").assign(Self.request("web", node: "a"))
        let again = try await Self.book(api, "a").assign(Self.request("web", node: "a"))
        #expect(again.address == first.address)
        #expect(!again.isNew)
        try checkConsistency(api, expecting: ["net.web": first.address])
    }

    @Test func manyAtOnceShareTheWritesOfTheirBlock() async throws {
        let api = try await cluster([Sample.pool("p", "10.0.0.0/24")], nodes: [Sample.node("a")])
        let book = Self.book(api, "a")
        let held = try await withThrowingTaskGroup(of: (String, IPAddress).self) { group in
            for index in 0..<100 {
                group.addTask { ("net.p\(index)", try await book.assign(Self.request("p\(index)", node: "a")).address) }
            }
            return try await group.reduce(into: [String: IPAddress]()) { $0[$1.0] = $1.1 }
        }
        try checkConsistency(api, expecting: held)
        #expect(api.requests.filter { $0.contains("ipamblocks") && !$0.hasPrefix("GET") }.count < 50)
        try await book.release(handleIDs: Array(held.keys))
        try checkConsistency(api, expecting: [:])
    }

    @Test func whatIsBorrowedNamesEveryPool() async throws {
        let api = try await cluster(
            [
                Sample.pool("east", "192.168.0.0/24", selector: "zone == \"east\""),
                Sample.pool("tiny", "192.168.9.0/26"), Sample.pool("west", "192.168.1.0/24", selector: "has(west)"),
            ], nodes: [Sample.node("a"), Sample.node("b")])
        _ = try await Self.book(api, "b").assign(Self.request("other", node: "b"))
        let text = try await Self.book(api, "a").assign(Self.request("web", node: "a")).explanation
        for part in [
            "192.168.9.1 from pool tiny (192.168.9.0/26)", "borrowed: the block stays b's",
            "east (192.168.0.0/24): its nodeSelector zone == \"east\"", "zone is not set", "west (192.168.1.0/24)",
        ] { #expect(text.contains(part), "\(part) is not in: \(text)") }
        #expect(api.objects(.ipamHandles).count == 2)
    }

    @Test func emptyBlocksOfDeletedPoolsAreGivenUp() async throws {
        let api = try await cluster([Sample.pool("old", "10.0.0.0/24")], nodes: [Sample.node("a")])
        let book = Self.book(api, "a")
        let first = try await book.assign(Self.request("web", node: "a"))
        try await api.client.delete(.ipPools, "old")
        try await book.tidy()
        try checkConsistency(api, expecting: ["net.web": first.address])
        #expect(try await book.release(handleIDs: ["net.web", "net.unknown"]) == [first.address])
        try await book.tidy()
        #expect(api.objects(.ipamBlocks).isEmpty)
        #expect(api.objects(.blockAffinities).isEmpty)
        #expect(api.objects(.ipamHandles).isEmpty)
    }

    @Test func aClaimWithoutBlockIsFinishedByTheNextRun() async throws {
        let api = try await cluster([Sample.pool("p", "10.0.0.0/24")], nodes: [Sample.node("a")])
        let cidr = try #require(CIDR("10.0.0.64/26"))
        try await api.client.create(.blockAffinities, BlockAffinity(node: "a", cidr: cidr, state: .pending).encoded())
        let assigned = try await Self.book(api, "a").assign(Self.request("web", node: "a"))
        #expect(assigned.block == cidr)
        try checkConsistency(api, expecting: ["net.web": assigned.address])
        #expect(api.objects(.blockAffinities).first?["spec"]["state"].string == "confirmed")
    }

    @Test func aFailingAPILeavesNoHandle() async throws {
        let api = try await cluster([Sample.pool("p", "10.0.0.0/24")], nodes: [Sample.node("a")])
        api.interfere {
            $0.method != "GET" && $0.path.contains("ipamblocks") ? MemoryAPI.failure(500, "InternalError") : nil
        }
        await #expect(throws: APIError.self) { try await Self.book(api, "a").assign(Self.request("web", node: "a")) }
        api.interfere(nil)
        #expect(api.objects(.ipamHandles).isEmpty)
        #expect(api.objects(.ipamBlocks).isEmpty)
    }

    /// Four nodes take and give back at random from a pool that is nearly too small, through a server that now and
    /// then says Conflict for no reason, each seeing the objects of a while ago: no address is given twice or lost.
    @Test(arguments: 1...6) func nothingIsGivenTwiceOrLost(seed: UInt64) async throws {
        let nodes = ["a", "b", "c", "d"]
        let api = try await cluster(
            [Sample.pool("p", "10.0.0.0/27", blockSize: 29)], nodes: nodes.map { Sample.node($0) })
        let chaos = Guarded(SplitMix(seed))
        api.interfere { request in
            guard request.method == "PUT" || request.method == "POST",
                request.path.contains("ipam") || request.path.contains("affin")
            else { return nil }
            return chaos.withLock { $0.next() % 5 == 0 } ? MemoryAPI.failure(409, "Conflict") : nil
        }
        let stale = Guarded(IPAMObjects())
        let refresh = { @Sendable in
            let now = IPAMObjects(
                pools: api.objects(.ipPools), blocks: api.objects(.ipamBlocks),
                affinities: api.objects(.blockAffinities),
                nodes: api.objects(.nodes))
            stale.withLock { $0 = now }
        }
        refresh()
        let held = try await withThrowingTaskGroup(of: [String: IPAddress].self) { group in
            for (index, node) in nodes.enumerated() {
                group.addTask {
                    var random = SplitMix(seed &* 31 &+ UInt64(index))
                    let book = AddressBook(
                        store: WatchedStore(client: api.client) { stale.withLock { $0 } }, node: node)
                    var mine: [String: IPAddress] = [:]
                    for step in 0..<60 {
                        if random.next() % 3 == 0 { refresh() }
                        if random.next() % 2 == 0, let handle = mine.keys.sorted().first {
                            _ = try await book.release(handleIDs: [handle])
                            mine[handle] = nil
                        } else {
                            let name = "\(node)-\(step)"
                            do {
                                mine["net.\(name)"] = try await book.assign(Self.request(name, node: node)).address
                            } catch is AddressRefusal {
                                refresh()
                            }
                        }
                    }
                    return mine
                }
            }
            return try await group.reduce(into: [String: IPAddress]()) { $0.merge($1) { first, _ in first } }
        }
        api.interfere(nil)
        try checkConsistency(api, expecting: held)
    }
}

/// A value that several tasks share.
final class Guarded<Value: Sendable>: Sendable {
    private let value: Mutex<Value>
    init(_ value: Value) { self.value = Mutex(value) }
    func withLock<Result: Sendable>(_ body: (inout Value) -> Result) -> Result { value.withLock { body(&$0) } }
}

struct SplitMix: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
