// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeObjects
import NetworkModel
import Testing
import Values

/// What a feed has told step by step is what there is as a whole.
@Suite(.timeLimit(.minutes(1))) struct FeedTests {
    /// A store that has to be asked for everything.
    private struct Whole: IPAMStore {
        let store: MemoryStore
        var objects: IPAMObjects { store.objects }
        func get(_ resource: GroupVersionResource, _ name: String) async throws -> KubeObject? {
            store[resource, name]
        }
        func apply(_ changes: [IPAMChange]) async throws -> [IPAMOutcome] { changes.map { store.make($0) } }
    }

    private struct Seeded: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ (state >> 29)
        }
    }

    @Test(arguments: UInt64(1)...8) func theStepsAreTheWhole(seed: UInt64) async throws {
        var random = Seeded(state: seed)
        let store = MemoryStore()
        let book = AddressBook(store: store, node: "n0")
        let other = AddressBook(store: Whole(store: store), node: "n1")
        var held: [String] = []
        for step in 0..<150 {
            switch Int.random(in: 0..<12, using: &random) {
            case 0:
                var pool = KubeObject(.ipPools, kind: "IPPool", name: "p\(Int.random(in: 0..<3, using: &random))")
                let part = Int.random(in: 0..<4, using: &random)
                pool["spec"] = ["cidr": JSON("10.\(part).0.0/28"), "blockSize": 30]
                if let old = store[.ipPools, pool.name] {
                    store.make(IPAMChange(.delete, .ipPools, old))
                } else {
                    store.make(IPAMChange(.create, .ipPools, pool))
                }
            case 1:
                let name = "n\(Int.random(in: 0..<4, using: &random))"
                let rack = "\(Int.random(in: 0..<2, using: &random))"
                let node = KubeObject(.nodes, kind: "Node", name: name, labels: ["rack": rack])
                if let old = store[.nodes, name] {
                    store.make(IPAMChange(Bool.random(using: &random) ? .delete : .update, .nodes, old))
                } else {
                    store.make(IPAMChange(.create, .nodes, node))
                }
            case 2:
                var reservation = KubeObject(.ipReservations, kind: "IPReservation", name: "r")
                reservation["spec"] = ["reservedCIDRs": [JSON("10.0.0.\(Int.random(in: 0..<16, using: &random))")]]
                if let old = store[.ipReservations, "r"] {
                    store.make(IPAMChange(.delete, .ipReservations, old))
                } else {
                    store.make(IPAMChange(.create, .ipReservations, reservation))
                }
            case 3:  // What somebody removes by hand.
                let objects = store.all(Bool.random(using: &random) ? .ipamBlocks : .blockAffinities)
                if let object = objects.randomElement(using: &random) {
                    let isBlock = object.kind == "IPAMBlock"
                    store.make(IPAMChange(.delete, isBlock ? .ipamBlocks : .blockAffinities, object))
                }
            case 4, 5:
                guard let handleID = held.randomElement(using: &random) else { continue }
                _ = try await (Bool.random(using: &random) ? book : other).release(handleIDs: [handleID])
            default:
                let request = AddressRequest(
                    node: "n\(Int.random(in: 0..<4, using: &random))", use: .workload, handleID: "h\(step)",
                    values: ["pod": "h\(step)", "namespace": "d"], subject: "pod d/h\(step)")
                do {
                    _ = try await (Bool.random(using: &random) ? book : other).assign(request)
                    held.append("h\(step)")
                } catch is AddressRefusal {}
            }
            let steps = await book.snapshot()
            let whole = await AddressBook(store: Whole(store: store), node: "").snapshot()
            try #require(steps.pools == whole.pools, "step \(step)")
            try #require(steps.nodes == whole.nodes, "step \(step)")
            try #require(steps.reservations == whole.reservations, "step \(step)")
            try #require(steps.blocks.networks == whole.blocks.networks, "step \(step)")
            for cidr in whole.blocks.networks {
                try #require(steps.blocks[cidr] == whole.blocks[cidr], "step \(step), block \(cidr)")
            }
            try #require(
                steps.affinities.map(\.name).sorted() == whole.affinities.map(\.name).sorted(), "step \(step)")
        }
    }
}
