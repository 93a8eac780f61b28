// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeObjects
import Logging
import NetworkModel
import Values

/// A cluster of a few nodes and a garbage collector over one store, every request of which is decided upon.
struct Simulation {
    /// A node's agent, or the collector; another one after each kill.
    struct Process {
        let node: String
        let store: FaultyStore
        let book: AddressBook
    }

    let backing = MemoryStore()
    let gate = Gate()
    let truth = Truth()
    private(set) var processes: [Int: Process] = [:]
    private(set) var busy: Set<Int> = []
    private var nextID = 0
    private var nextSandbox = 0
    private(set) var collector = 0
    let families: [IPFamily]
    let seenByCollector = Seen()

    init(pools: [KubeObject], nodes: [String], families: [IPFamily] = [.v4], config: KubeObject? = nil) {
        self.families = families
        for pool in pools { backing.make(IPAMChange(.create, .ipPools, pool)) }
        if let config { backing.make(IPAMChange(.create, .ipamConfigs, config)) }
        for node in nodes { addNode(node) }
        collector = start("")
    }

    private mutating func start(_ node: String) -> Int {
        nextID += 1
        let truth = truth
        let store = FaultyStore(nextID, backing, gate, late: { changes in truth.withLock { $0.late.append(changes) } })
        var logger = Logger(label: "simulation")
        logger.logLevel = .critical
        processes[nextID] = Process(
            node: node, store: store,
            book: AddressBook(store: store, node: node, logger: logger, now: { truth.withLock { $0.now } }))
        return nextID
    }

    mutating func addNode(_ name: String) {
        backing.make(IPAMChange(.create, .nodes, Sample.node(name)))
        truth.withLock { _ = $0.nodes.insert(name) }
        _ = start(name)
    }

    /// The node and all that ran on it are gone.
    mutating func loseNode(_ id: Int) async {
        guard let process = processes[id] else { return }
        await kill(id)
        truth.withLock { state in
            state.nodes.remove(process.node)
            state.sandboxes = state.sandboxes.filter { $0.value.node != process.node }
        }
        if let object = backing[.nodes, process.node] { backing.make(IPAMChange(.delete, .nodes, object)) }
        truth.count("node deaths")
    }

    private mutating func kill(_ id: Int) async {
        processes[id]?.store.kill()
        if gate.parked.contains(id) { await gate.letGo(id, .killBefore) }
        busy.remove(id)
        processes[id] = nil
    }

    /// Lets a waiting process go on with its request.
    mutating func step(_ id: Int, _ fate: Fate) async {
        let process = processes[id]
        await gate.letGo(id, fate)
        if !gate.parked.contains(id) { busy.remove(id) }
        guard fate.kills, let process else { return }
        truth.count("kills")
        processes[id] = nil
        busy.remove(id)
        let new = start(process.node)
        if process.node.isEmpty { collector = new }
    }

    /// Nodes' processes that have nothing to do.
    var idle: [Int] { processes.keys.filter { !busy.contains($0) && $0 != collector }.sorted() }

    // MARK: What processes do

    private mutating func run(_ id: Int, _ body: @escaping @Sendable (AddressBook) async -> Void) async {
        guard let book = processes[id]?.book else { return }
        busy.insert(id)
        gate.start { await body(book) }
        await gate.settle()
        if !gate.parked.contains(id) { busy.remove(id) }
    }

    /// ADD for a new sandbox, or again for one that there is.
    mutating func add(_ id: Int, again handleID: String? = nil) async {
        guard let node = processes[id]?.node else { return }
        nextSandbox += 1
        let handleID = handleID ?? "net.s\(nextSandbox)"
        let truth = truth
        truth.withLock { state in
            if state.sandboxes[handleID] == nil { state.sandboxes[handleID] = .init(handleID: handleID, node: node) }
        }
        truth.count("ADD")
        let request = AddressRequest(
            node: node, use: .workload, handleID: handleID,
            values: ["node": node, "pod": handleID, "namespace": "default"], subject: handleID, families: families)
        await run(id) { book in
            do {
                truth.answered(handleID, try await book.assign(request).addresses.map(\.address))
            } catch is Killed {
                truth.count("ADD killed")
            } catch {
                truth.count("ADD failed")
                truth.set(handleID, .deleting)
            }
        }
    }

    mutating func delete(_ id: Int, _ handleID: String) async {
        let truth = truth
        truth.set(handleID, .deleting)
        truth.count("DEL")
        await run(id) { book in
            do {
                try await book.release(handleIDs: [handleID])
                truth.set(handleID, nil)
            } catch {
                truth.count("DEL failed")
            }
        }
    }

    mutating func tidy(_ id: Int) async { await run(id) { book in try? await book.tidy() } }

    mutating func collect() async {
        let truth = truth
        let seen = seenByCollector
        let backing = backing
        truth.count("GC")
        await run(collector) { book in
            let snapshot = await book.snapshot()
            let world = IPAMWorld(
                snapshot: snapshot, handles: backing.all(.ipamHandles).map { IPAMHandle($0) }, pods: truth.pods)
            let outcome = AddressCollection.decide(
                world, now: truth.withLock { $0.now }, grace: 60, seen: seen.value)
            seen.value = outcome.seen
            _ = try? await book.collect(
                outcome, decidedFrom: snapshot,
                isStillTrue: { release in
                    truth.withLock { state in
                        guard let sandbox = state.sandboxes[release.handleID] else { return true }
                        return !state.nodes.contains(sandbox.node)
                    }
                },
                nodeExists: { node in truth.withLock { $0.nodes.contains(node) } })
            let now = truth.withLock { $0.now }
            for finding in seen.mend(world, now) {
                if (try? await book.repair(finding.repair)) == true { truth.count("mended: \(finding.kind)") }
            }
        }
    }

    // MARK: Quiescence

    /// Everything under way ends, without further faults.
    mutating func finish() async {
        while let id = gate.parked.first { await step(id, .run) }
    }

    func refresh() { for process in processes.values { process.store.refresh() } }

    /// Requests that were still on their way arrive.
    func deliver() {
        let late = truth.withLock { state in
            defer { state.late = [] }
            return state.late
        }
        for changes in late { for change in changes { backing.make(change) } }
    }

    /// Everything is ended, deleted and collected that has to be; what is then not as it should be is a violation.
    mutating func quiesce() async {
        await finish()
        deliver()
        refresh()
        for id in idle {
            let open = truth.withLock { state in
                state.sandboxes.values.filter { $0.node == processes[id]?.node && $0.phase != .live }.map(\.handleID)
                    .sorted()
            }
            for handleID in open {
                await delete(id, handleID)
                await finish()
            }
            await tidy(id)
            await finish()
        }
        for _ in 0..<8 {
            truth.withLock { $0.now = Timestamp(seconds: $0.now.seconds + 100) }
            refresh()
            await collect()
            await finish()
        }
        refresh()
        let sandboxes = truth.withLock { Array($0.sandboxes.values) }
        let violations = Invariants.violations(backing, sandboxes)
        truth.withLock { $0.violations += violations }
    }
}

/// What the collector remembers from look to look.
final class Seen: Sendable {
    private let state = Guarded([String: Timestamp]())
    private let mending = Guarded(Mending())
    var value: [String: Timestamp] {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }

    func mend(_ world: IPAMWorld, _ now: Timestamp) -> [IPAMCheck.Finding] {
        mending.withLock { $0.due(world, now: now) }
    }
}
