// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeClient
import KubeObjects
import Linux
import NetworkModel
import Values

/// 30,000 pods on 1,000 nodes over the real store: eight agents, each with its part of the nodes, one pod of a node
/// after the other.
enum ClusterBench {
    private static let agents = 8
    private static let podsPerNode = 30

    static func run() async throws {
        let server = try await Server()
        try await server.addPool("10.0.0.0/15")
        let nodes = EngineBench.nodes
        for node in nodes { try await server.addNode(node) }
        let floor = try await bareWrites(server)
        let before = memory("VmRSS")
        let writes = server.writes
        var seconds = 0.0
        try await server.withStore { store in
            seconds = try await Measure.seconds {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for agent in 0..<agents {
                        group.addTask {
                            let book = AddressBook(store: store, node: "agent-\(agent)")
                            for index in stride(from: agent, to: nodes.count, by: agents) {
                                for pod in 0..<podsPerNode {
                                    _ = try await book.assign(
                                        EngineBench.request("\(nodes[index])-\(pod)", nodes[index]))
                                }
                            }
                        }
                    }
                    try await group.waitForAll()
                }
            }
        }
        let pods = nodes.count * podsPerNode
        let made = server.writes - writes
        let held = try await server.client.list(.ipamBlocks).items.reduce(0) { try $0 + IPAMBlock($1).usedCount }
        let bare = Double(made) / floor
        print(
            "cluster \(nodes.count) nodes, \(pods) pods over SQLite and API, \(agents) agents: \(Measure.text(seconds, 1)) s, \(Int(Double(pods) / seconds)) addresses/s (\(Measure.text(seconds / bare)) times as many bare writes); \(Measure.text(Double(made) / Double(pods), 3)) API writes per address; \(held) held"
        )
        print(
            "cluster memory, server, store and \(agents) agents in one process: \(memory("VmHWM")) MB at most, \(before) MB before (\(Measure.text(Double(memory("VmHWM")) * 1024 / Double(pods), 1)) KB a pod)"
        )
    }

    /// Bare writes a second, from as many writers.
    private static func bareWrites(_ server: Server) async throws -> Double {
        let count = 4000
        let seconds = try await Measure.seconds {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for agent in 0..<agents {
                    group.addTask {
                        for index in 0..<(count / agents) {
                            var handle = IPAMHandle(handleID: "bare.\(agent)-\(index)")
                            if let cidr = CIDR("10.9.0.0/26") { handle.increment(cidr) }
                            try await server.client.create(.ipamHandles, handle.encoded())
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
        return Double(count) / seconds
    }

    /// Megabytes of this process.
    private static func memory(_ field: String) -> Int {
        guard let bytes = try? Files.read("/proc/self/status") else { return 0 }
        let line = String(decoding: bytes, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix("\(field):") }
        return (line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).compactMap { Int($0) }.first ?? 0) / 1024
    }
}
