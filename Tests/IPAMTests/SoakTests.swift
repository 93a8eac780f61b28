// SPDX-License-Identifier: Apache-2.0

import KubeClientTesting
import Foundation
import IPAM
import KubeObjects
import Linux
import NetworkModel
import Testing
import Values

/// Random ADD, DEL, node death, collection and SIGKILL over a store that fails, repeats and delays.
///
/// `CATBIRD_SEED` replays a run, `CATBIRD_STEPS` (default 2,000) makes it longer: `make soak` takes 100,000.
@Suite struct SoakTests {
    private static let environment = ProcessInfo.processInfo.environment
    private static let steps = environment["CATBIRD_STEPS"].flatMap { Int($0) } ?? 2000
    private static let seeds: [UInt64] = environment["CATBIRD_SEED"].flatMap { UInt64($0) }.map { [$0] } ?? [1, 2, 3]

    @Test(arguments: seeds) func nothingIsLeakedDoubledOrLost(seed: UInt64) async throws {
        let dual = seed % 2 == 0
        var pools = [Sample.pool("p", "10.0.0.0/27", blockSize: 29)]
        if dual { pools.append(Sample.pool("p6", "fd00::/123", blockSize: 125)) }
        let journals = seed % 4 > 1 ? "/tmp/catbird-soak-\(getpid())-\(seed)" : nil
        if let journals { try Files.makeDirectories(journals) }
        defer { if let journals { try? Files.removeTree(journals) } }
        var simulation = Simulation(
            pools: pools, nodes: ["a", "b", "c"], families: dual ? [.v4, .v6] : [.v4], config: Self.config(seed),
            journals: journals)
        var random = SplitMix(seed)
        var steps = 0
        while steps < Self.steps {
            steps += 1
            await Self.step(&simulation, &random)
            guard steps % 250 == 0 else { continue }
            await simulation.quiesce()
            let violations = simulation.truth.withLock { $0.violations }
            try #require(violations.isEmpty, "CATBIRD_SEED=\(seed), step \(steps): \(violations)")
            for name in ["a", "b", "c"] where !simulation.truth.withLock({ $0.nodes.contains(name) }) {
                simulation.addNode(name)
            }
        }
        await simulation.quiesce()
        let (violations, counts) = simulation.truth.withLock { ($0.violations, $0.counts) }
        print(
            "CATBIRD_SEED=\(seed): \(steps) steps, \(simulation.backing.writes) writes, \(counts.sorted { $0.key < $1.key })"
        )
        #expect(violations.isEmpty)
    }

    /// Each third seed keeps nodes to their own blocks, each fifth has addresses cool down.
    private static func config(_ seed: UInt64) -> KubeObject {
        var config = KubeObject(.ipamConfigs, kind: "IPAMConfig", name: "default")
        config["spec"] = [
            "strictAffinity": JSON(seed % 3 == 0), "autoAllocateBlocks": true,
            "ipCooldownSeconds": JSON(seed % 5 == 0 ? 150 : 0),
        ]
        return config
    }

    private static func step(_ simulation: inout Simulation, _ random: inout SplitMix) async {
        func roll(_ sides: Int) -> Int { Int(random.next() % UInt64(sides)) }
        let parked = simulation.gate.parked
        if !parked.isEmpty, roll(10) < 8 || simulation.idle.isEmpty {
            let fates: [Fate] = [.failBefore, .failHalf, .failAfter, .conflict, .killBefore, .killAfter, .killLate]
            await simulation.step(parked[roll(parked.count)], roll(12) == 0 ? fates[roll(fates.count)] : .run)
            return
        }
        if parked.isEmpty, roll(4) == 0 {
            simulation.deliver()
            simulation.truth.withLock { $0.now = Timestamp(seconds: $0.now.seconds + 100) }
        }
        if !simulation.busy.contains(simulation.collector), roll(12) == 0 {
            if roll(2) == 0 { simulation.processes[simulation.collector]?.store.refresh() }
            await simulation.collect()
            return
        }
        let idle = simulation.idle
        guard !idle.isEmpty else { return }
        let id = idle[roll(idle.count)]
        guard let process = simulation.processes[id] else { return }
        if roll(3) == 0 { process.store.refresh() }
        let own = simulation.truth.withLock { state in
            state.sandboxes.values.filter { $0.node == process.node }.sorted { $0.handleID < $1.handleID }
        }
        if let open = own.first(where: { $0.phase != .live }), roll(2) == 0 {
            if open.phase == .adding, roll(2) == 0 {
                await simulation.add(id, again: open.handleID)
            } else {
                await simulation.delete(id, open.handleID)
            }
            return
        }
        switch roll(100) {
        case 0..<45: await simulation.add(id)
        case 45..<52:
            let live = own.filter { $0.phase == .live }
            if !live.isEmpty { await simulation.add(id, again: live[roll(live.count)].handleID) }
        case 52..<90:
            let live = own.filter { $0.phase == .live }
            if !live.isEmpty { await simulation.delete(id, live[roll(live.count)].handleID) }
        case 90..<97: await simulation.tidy(id)
        case 97: await simulation.loseNode(id)
        default:
            for name in ["a", "b", "c"] where !simulation.truth.withLock({ $0.nodes.contains(name) }) {
                simulation.addNode(name)
            }
        }
    }
}
