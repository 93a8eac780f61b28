// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeClientTesting
import KubeObjects
import NetworkModel
import Values

/// What somebody does in an explored run, in this order.
enum Operation: Sendable, Hashable {
    case add(String)
    case delete(String)
    case tidy
    case collect
    /// The node and all that ran on it are gone; nobody's doing but the world's.
    case lose(String)
    case deletePool(String)
}

/// A small situation, every order of whose requests is tried.
struct Exploration: Sendable {
    struct Actor: Sendable {
        /// A node, `collector`, or `world`.
        let name: String
        let operations: [Operation]

        init(_ name: String, _ operations: Operation...) {
            self.name = name
            self.operations = operations
        }
    }

    let name: String
    var pool = "10.0.0.0/30"
    var blockSize = 31
    /// Made one after the other before the exploration begins.
    var setup: [Actor] = []
    var actors: [Actor]
    /// Pods that vanish after the set-up without a DEL.
    var vanished: [String] = []
    /// Seconds between the set-up and the exploration, with a look of the collector at either end.
    var pause: Int64 = 0
    /// What may befall requests, as often as the bound says.
    var fates: [Fate] = [.killBefore, .killAfter, .killLate]
    /// What it is about needs so many faults, whatever the bound says.
    var leastFaults = 0
}

/// How far an exploration goes.
struct Bounds: Sendable {
    /// How often somebody who could go on is interrupted by another.
    var preemptions: Int
    /// How many requests fail, or kill who sent them.
    var faults: Int
    /// Runs of one exploration; more are left out, and it is said.
    var runs: Int
}

/// Runs an exploration again and again, depth first over all choices within the bounds.
struct Explorer {
    private struct Choice {
        let options: Int
        let taken: Int
    }

    private enum Move: CustomStringConvertible {
        case begin(Int)
        case letGo(Int, Fate)
        case deliver

        var actor: Int? {
            switch self {
            case .begin(let actor), .letGo(let actor, _): actor
            case .deliver: nil
            }
        }

        var description: String {
            switch self {
            case .begin(let actor): "begin \(actor)"
            case .letGo(let actor, let fate): fate == .run ? "\(actor)" : "\(actor) \(fate)"
            case .deliver: "late requests arrive"
            }
        }
    }

    let exploration: Exploration
    let bounds: Bounds
    /// Whether watches bring nothing new while the actors work.
    let isStale: Bool

    struct Report {
        var runs = 0
        var isComplete = true
        /// The first run that broke an invariant: its choices, and what is wrong.
        var failure: String?
    }

    func explore() async -> Report {
        var report = Report()
        var prefix: [Int] = []
        while true {
            let (choices, moves, violations) = await run(prefix)
            report.runs += 1
            if !violations.isEmpty {
                report.failure = "\(moves.joined(separator: ", ")): \(violations.joined(separator: "; "))"
                return report
            }
            guard let last = choices.lastIndex(where: { $0.taken + 1 < $0.options }) else { return report }
            guard report.runs < bounds.runs else {
                report.isComplete = false
                return report
            }
            prefix = choices[..<last].map(\.taken) + [choices[last].taken + 1]
        }
    }

    private func run(_ prefix: [Int]) async -> ([Choice], [String], [String]) {
        var simulation = Simulation(
            pools: [Sample.pool("p", exploration.pool, blockSize: exploration.blockSize)], nodes: ["a", "b"])
        await prepare(&simulation)
        var open = exploration.actors.map { Array($0.operations.reversed()) }
        var current: Int?
        var preemptions = bounds.preemptions
        var faults = max(bounds.faults, exploration.leastFaults)
        var choices: [Choice] = []
        var moves: [String] = []
        while true {
            let options = self.options(simulation, open, current, preemptions, faults)
            guard !options.isEmpty else { break }
            let taken = choices.count < prefix.count ? prefix[choices.count] : 0
            choices.append(Choice(options: options.count, taken: taken))
            guard options.indices.contains(taken) else { return (choices, moves, ["the run does not repeat"]) }
            let move = options[taken]
            moves.append("\(move)")
            if let current, let actor = move.actor, actor != current, isParked(simulation, current) { preemptions -= 1 }
            if case .letGo(_, let fate) = move, fate != .run { faults -= 1 }
            await make(move, &simulation, &open)
            current = move.actor ?? current
        }
        await simulation.quiesce()
        return (choices, moves, simulation.truth.withLock { $0.violations })
    }

    private func process(_ simulation: Simulation, _ actor: Int) -> Int? {
        let name = exploration.actors[actor].name
        if name == "collector" { return simulation.collector }
        return simulation.processes.first { $0.value.node == name && name != "world" }?.key
    }

    private func isParked(_ simulation: Simulation, _ actor: Int) -> Bool {
        process(simulation, actor).map { simulation.gate.parked.contains($0) } ?? false
    }

    /// Who works now goes on in the first of them.
    private func options(
        _ simulation: Simulation, _ open: [[Operation]], _ current: Int?, _ preemptions: Int, _ faults: Int
    ) -> [Move] {
        var order = Array(exploration.actors.indices)
        if let current {
            order = [current] + order.filter { $0 != current }
            if preemptions <= 0, isParked(simulation, current) { order = [current] }
        }
        var moves: [Move] = []
        for actor in order {
            if isParked(simulation, actor) {
                moves.append(.letGo(actor, .run))
                if faults > 0 { moves += exploration.fates.map { .letGo(actor, $0) } }
            } else if !open[actor].isEmpty,
                exploration.actors[actor].name == "world" || process(simulation, actor) != nil
            {
                moves.append(.begin(actor))
            }
        }
        if simulation.truth.withLock({ !$0.late.isEmpty }) { moves.append(.deliver) }
        return moves
    }

    private func make(_ move: Move, _ simulation: inout Simulation, _ open: inout [[Operation]]) async {
        switch move {
        case .deliver: simulation.deliver()
        case .letGo(let actor, let fate):
            guard let id = process(simulation, actor) else { return }
            let doing = simulation.doing[id]
            await simulation.step(id, fate)
            // The kubelet comes again to who succeeds the killed.
            if fate.kills, let doing, doing != .collect { open[actor].append(doing) }
        case .begin(let actor):
            guard let operation = open[actor].popLast() else { return }
            if !isStale, let id = process(simulation, actor) { simulation.processes[id]?.store.refresh() }
            await perform(operation, by: process(simulation, actor), &simulation)
        }
    }

    private func perform(_ operation: Operation, by id: Int?, _ simulation: inout Simulation) async {
        switch operation {
        case .lose(let node):
            guard let id = simulation.processes.first(where: { $0.value.node == node })?.key else { return }
            await simulation.loseNode(id)
        case .deletePool(let name):
            if let pool = simulation.backing[.ipPools, name] {
                simulation.backing.make(IPAMChange(.delete, .ipPools, pool))
            }
        case .collect: await simulation.collect()
        case .add(let handleID):
            guard let id else { return }
            await simulation.add(id, again: handleID)
        case .delete(let handleID):
            guard let id else { return }
            await simulation.delete(id, handleID)
        case .tidy:
            guard let id else { return }
            await simulation.tidy(id)
        }
    }

    private func prepare(_ simulation: inout Simulation) async {
        for actor in exploration.setup {
            for operation in actor.operations {
                simulation.refresh()
                let id = simulation.processes.first { $0.value.node == actor.name && actor.name != "world" }?.key
                await perform(operation, by: id, &simulation)
                await simulation.finish()
            }
        }
        for handleID in exploration.vanished { simulation.truth.set(handleID, nil) }
        simulation.refresh()
        if exploration.pause > 0 {
            await simulation.collect()
            await simulation.finish()
            simulation.truth.withLock { $0.now = Timestamp(seconds: $0.now.seconds + exploration.pause) }
            simulation.refresh()
        }
    }
}
