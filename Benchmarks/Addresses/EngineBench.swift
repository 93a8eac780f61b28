// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeClient
import KubeObjects
import NetworkModel
import Values

/// Allocations per second among 1,000 nodes, from a pool that is empty, 90 % full, and exhausted.
enum EngineBench {
    static let nodes = (0..<1000).map { "n\($0)" }

    private enum Filling: String, CaseIterable {
        case empty = "empty pool"
        case nearlyFull = "90 % full pool"
        case exhausted = "exhausted pool"
    }

    static func run() async throws {
        var rates: [Double] = []
        for filling in Filling.allCases {
            let store = MemoryStore()
            var pool = KubeObject(.ipPools, kind: "IPPool", name: "bench")
            pool["spec"] = ["cidr": "10.0.0.0/16", "blockSize": 26, "nodeSelector": "all()"]
            store.make(IPAMChange(.create, .ipPools, pool))
            for node in nodes { store.make(IPAMChange(.create, .nodes, KubeObject(.nodes, kind: "Node", name: node))) }
            for (block, claim) in blocks(filling) {
                store.make(IPAMChange(.create, .ipamBlocks, block))
                store.make(IPAMChange(.create, .blockAffinities, claim))
            }
            rates.append(try await rate(store, count: 2000))
            report("in memory, \(filling.rawValue)", rates)
        }
        rates = []
        for filling in Filling.allCases {
            let server = try await Server()
            try await server.addPool("10.0.0.0/16")
            for node in nodes { try await server.addNode(node) }
            for (block, claim) in blocks(filling) {
                try await server.client.create(.ipamBlocks, block)
                try await server.client.create(.blockAffinities, claim)
            }
            let floor = try await bareWrites(server, count: 500)
            let before = server.writes
            try await server.withStore { store in rates.append(try await rate(store, count: 1000)) }
            report("SQLite and API, \(filling.rawValue)", rates)
            let writes = Double(server.writes - before) / 1000
            if filling == .empty { try await server.withStore { try await crowd($0, server, floor: floor) } }
            guard writes > 0, let rate = rates.last else { continue }
            print(
                "    \(Measure.text(writes)) writes an address; \(Measure.text(floor / rate / writes)) times as long as so many bare writes one after the other (\(Int(floor))/s)"
            )
        }
    }

    /// Many pods that start on one node at once, as its agent sees them.
    private static func crowd(_ store: some IPAMStore, _ server: Server, floor: Double) async throws {
        let (count, width) = (1024, 64)
        let book = AddressBook(store: store, node: "crowd")
        _ = await book.snapshot()
        let before = server.writes
        let seconds = try await Measure.seconds {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for lane in 0..<width {
                    group.addTask {
                        for index in stride(from: lane, to: count, by: width) {
                            _ = try await book.assign(request("crowd-\(index)", nodes[0]))
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
        let rate = Double(count) / seconds
        let writes = Double(server.writes - before) / Double(count)
        print(
            "engine SQLite and API, \(width) at a time on one node: \(Int(rate)) allocations/s, \(Measure.text(writes)) writes each (\(Measure.text(rate / floor)) for each bare write one after the other)"
        )
    }

    /// Bare writes a second, one after the other.
    private static func bareWrites(_ server: Server, count: Int) async throws -> Double {
        let seconds = try await Measure.seconds {
            for index in 0..<count {
                var handle = IPAMHandle(handleID: "bare.\(index)")
                if let cidr = CIDR("10.9.0.0/26") { handle.increment(cidr) }
                try await server.client.create(.ipamHandles, handle.encoded())
            }
        }
        return Double(count) / seconds
    }

    private static func report(_ what: String, _ rates: [Double]) {
        guard let rate = rates.last, let first = rates.first else { return }
        let kind = what.contains("exhausted") ? "refusals" : "allocations"
        print("engine \(what): \(Int(rate)) \(kind)/s (\(Measure.text(rate / first)) of the empty pool's)")
    }

    private static func blocks(_ filling: Filling) -> [(KubeObject, KubeObject)] {
        guard filling != .empty, let pool = CIDR("10.0.0.0/16") else { return [] }
        // Under exhaustion no block is left; else each node has one of which a tenth is free.
        let count = filling == .exhausted ? 1024 : nodes.count
        return (0..<count).compactMap { index in
            guard let cidr = pool[UInt128(index) << 6].flatMap({ CIDR($0, 26) }) else { return nil }
            let node = nodes[index % nodes.count]
            var block = IPAMBlock(cidr, node: node, now: .now)
            for ordinal in 0..<(filling == .exhausted ? 64 : 58) {
                _ = block.allocate(handleID: "old.\(index)-\(ordinal)", values: ["node": node])
            }
            return (block.encodedForWrite(), BlockAffinity(node: node, cidr: cidr, state: .confirmed).encoded())
        }
    }

    static func request(_ name: String, _ node: String) -> AddressRequest {
        AddressRequest(
            node: node, use: .workload, handleID: "bench.\(name)",
            values: ["node": node, "pod": name, "namespace": "default"], subject: "pod default/\(name)")
    }

    /// One request after the other, each of another node.
    private static func rate(_ store: some IPAMStore, count: Int) async throws -> Double {
        let book = AddressBook(store: store, node: "bench")
        _ = await book.snapshot()
        let seconds = try await Measure.seconds {
            for index in 0..<count {
                do {
                    _ = try await book.assign(request("p\(index)", nodes[index % nodes.count]))
                } catch is AddressRefusal {}
            }
        }
        return Double(count) / seconds
    }
}
