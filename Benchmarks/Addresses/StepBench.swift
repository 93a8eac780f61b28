// SPDX-License-Identifier: Apache-2.0

import Glibc
import IPAM
import KubeClient
import KubeObjects
import Linux
import NetworkAgent
import NetworkModel
import Values

/// How long an event takes to the kernel of a node while the cluster grows: the aim is that it does not grow with it.
///
/// First the agent's own part, in CPU time of the thread: what a block of another node changes is worked out and its
/// route written; and beside it the same with everything worked out anew, which is what an agent without steps does.
/// Then the whole way, from the write over API server and watch to the kernel's table.
enum StepBench {
    private static let sizes = [10, 100, 1000]
    private static let rounds = 40

    static func run() async throws {
        let rig = try await Rig(nodes: 1, pool: "10.0.0.0/8")
        guard let node = rig.nodes.first else { return }
        let steps = try await OwnThread.run(awaiting: { try sizes.map { try step(nodes: $0, in: rig.namespace(node)) } }
        )
        for (size, step) in zip(sizes, steps) {
            print(
                "an event to the kernel with \(size) nodes' blocks, agent's CPU: \(Measure.text(step.step, 0)) µs step by step, \(Measure.text(step.whole, 0)) µs as a whole (\(Measure.text(step.whole / step.step, 1)) times)"
            )
        }
        if let first = steps.first, let last = steps.last {
            print(
                "    \(sizes[sizes.count - 1]) nodes to \(sizes[0]): \(Measure.text(last.step / first.step)) step by step (aim: 2 at most), \(Measure.text(last.whole / first.whole)) as a whole"
            )
        }
        try await wholeWay(rig, node)
    }

    private static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) * 1_000_000 + Double(time.tv_nsec) / 1000
    }

    private static func block(_ number: Int, of node: String) -> BlockRouting? {
        CIDR("10.\(number / 1000 + 1).\(number % 1000 / 4).\(number % 4 * 64)/26").map {
            BlockRouting(IPAMBlock($0, node: node, now: Timestamp(seconds: 0)))
        }
    }

    /// Median CPU time in microseconds.
    private static func step(nodes count: Int, in namespace: NamespaceRef) throws -> (step: Double, whole: Double) {
        guard let network = CIDR("10.0.0.0/8") else { return (0, 0) }
        let pool = IPPool(name: "p", cidr: network)
        var nodes: [String: NodeNetwork] = [:]
        for number in 0...count {
            let name = "n\(number + 1)"
            guard let address = CIDR("172.30.\(number / 250).\(number % 250 + 2)/16") else { continue }
            nodes[name] = NodeNetwork(name: name, address: address)
        }
        let blocks = (1...count).compactMap { block($0, of: "n\($0 + 1)") }
        let dataplane = try Dataplane(in: namespace)
        var calculation = NetworkCalculation(node: "n1", kernelHasIPIP: false)
        var events: [NetworkEvent] = [.pool("p", pool)]
        events += nodes.map { .node($0.key, $0.value) }
        events += blocks.map { .block($0.cidr, $0) }
        dataplane.want(calculation.take(events))
        try dataplane.write()
        var steps: [Double] = []
        for round in 0..<rounds {
            guard let added = block(2000 + round, of: "n2") else { continue }
            for event in [NetworkEvent.block(added.cidr, added), .block(added.cidr, nil)] {
                let start = now()
                dataplane.want(calculation.take([event]))
                try dataplane.write()
                steps.append(now() - start)
            }
        }
        var wholes: [Double] = []
        for round in 0..<rounds / 4 {
            guard let added = block(2000 + round, of: "n2") else { continue }
            for change in [[added], []] {
                let start = now()
                var input = NetworkInput(node: "n1", nodes: nodes, pools: [pool], blocks: [], kernelHasIPIP: false)
                input.blocks = blocks + change
                try dataplane.apply(NetworkPlan(input))
                wholes.append(now() - start)
            }
        }
        try dataplane.apply(NetworkPlan())
        return (Measure.quantile(steps, 0.5), Measure.quantile(wholes, 0.5))
    }

    private static func wholeWay(_ rig: Rig, _ node: String) async throws {
        try await rig.withAgents {
            try await rig.server.withStore { store in
                let book = AddressBook(store: store, node: node)
                var known = 0
                var medians: [Double] = []
                for size in sizes {
                    for number in known..<size {
                        try await rig.server.addNode(
                            "m\(number)", address: "172.30.\(100 + number / 250).\(number % 250)")
                        if let cidr = CIDR("10.\(number / 1000 + 1).\(number % 1000 / 4).\(number % 4 * 64)/26") {
                            _ = try await book.claim(cidr, for: "m\(number)")
                        }
                    }
                    known = size
                    var times: [Double] = []
                    for round in 0..<rounds / 2 {
                        guard let cidr = CIDR("10.\(size / 5 + 20).\(round).0/26") else { continue }
                        let monitor = try NetlinkMonitor([.routes], in: rig.namespace(node))
                        let clock = ContinuousClock()
                        let block = IPAMBlock(cidr, node: "m\(round % 10)", now: .now).encodedForWrite()
                        let start = clock.now
                        try await rig.server.client.create(.ipamBlocks, block)
                        for await events in monitor.events {
                            let isThere = events.contains {
                                if case .route(let route) = $0 { route.destination == cidr } else { false }
                            }
                            if isThere { break }
                        }
                        times.append((clock.now - start) / .milliseconds(1))
                    }
                    medians.append(Measure.quantile(times, 0.5))
                    print(
                        "a block's write to the route in the kernel with \(size) nodes' blocks, over the API server: \(Measure.text(Measure.quantile(times, 0.5), 2)) ms (99 %: \(Measure.text(Measure.quantile(times, 0.99), 2)) ms)"
                    )
                }
                if let first = medians.first, let last = medians.last {
                    print("    \(sizes[sizes.count - 1]) nodes to \(sizes[0]): \(Measure.text(last / first))")
                }
            }
        }
    }
}
