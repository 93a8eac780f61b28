// SPDX-License-Identifier: Apache-2.0

import Glibc
import IPAM
import KubeClient
import KubeClientTesting
import KubeObjects
import Linux
import NetworkModel
import Testing
import Values

/// DEL while the API is down: success now, made good later, and nobody else's address with it.
@Suite struct ReleaseJournalTests {
    private func withJournal(_ body: (MemoryAPI, String) async throws -> Void) async throws {
        let folder = "/tmp/catbird-journal-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        defer { try? Files.removeTree(folder) }
        let api = MemoryAPI()
        try await api.client.create(.ipPools, Sample.pool("p", "10.0.0.0/29", blockSize: 29))
        try await api.client.create(.nodes, Sample.node("a"))
        try await body(api, "\(folder)/state/releases.json")
    }

    private func book(_ api: MemoryAPI, _ path: String) throws -> AddressBook {
        AddressBook(
            store: WatchedStore(client: api.client) {
                IPAMObjects(
                    pools: api.objects(.ipPools), blocks: api.objects(.ipamBlocks),
                    affinities: api.objects(.blockAffinities), nodes: api.objects(.nodes))
            }, node: "a", journal: try ReleaseJournal(path))
    }

    private func down(_ api: MemoryAPI) { api.interfere { _ in MemoryAPI.failure(503, "ServiceUnavailable") } }

    @Test func aReleaseWaitsOnDiskAndIsMadeGoodByTheNextProcess() async throws {
        try await withJournal { api, path in
            let first = try await book(api, path).assign(AddressBookTests.request("web", node: "a"))
            down(api)
            #expect(try await book(api, path).release(handleIDs: ["net.web"]) == [first.address])
            #expect(try ReleaseJournal(path).items.map(\.handleID) == ["net.web"])
            let next = try book(api, path)
            await #expect(throws: APIError.self) { try await next.replay() }
            api.interfere(nil)
            try await next.replay()
            #expect(try ReleaseJournal(path).items.isEmpty)
            #expect(await next.held("net.web").isEmpty)
            #expect(api.objects(.ipamHandles).isEmpty)
        }
    }

    @Test func anAddressThatWasGivenOutAgainSinceIsLeftAlone() async throws {
        try await withJournal { api, path in
            let agent = try book(api, path)
            let first = try await agent.assign(AddressBookTests.request("web", node: "a"))
            down(api)
            try await agent.release(handleIDs: ["net.web"])
            api.interfere(nil)
            // Somebody else releases it meanwhile, and the seven others go first: the eighth ADD gets it again.
            let other = try book(api, path + ".other")
            try await other.release(handleIDs: ["net.web"])
            var last: IPAddress?
            for index in 0..<8 {
                last = try await other.assign(AddressBookTests.request("p\(index)", node: "a")).address
            }
            #expect(last == first.address)
            try await agent.replay()
            #expect(await agent.held("net.p7").map(\.address) == [first.address])
        }
    }

    @Test func anADDForTheSandboxForgetsTheReleaseThatWaits() async throws {
        try await withJournal { api, path in
            let agent = try book(api, path)
            let first = try await agent.assign(AddressBookTests.request("web", node: "a"))
            down(api)
            try await agent.release(handleIDs: ["net.web"])
            api.interfere(nil)
            #expect(try await agent.assign(AddressBookTests.request("web", node: "a")).address == first.address)
            try await agent.replay()
            #expect(await agent.held("net.web").map(\.address) == [first.address])
        }
    }
}
