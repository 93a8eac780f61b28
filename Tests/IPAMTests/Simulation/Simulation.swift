// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeClientTesting
import KubeObjects
import Linux
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
    /// What each process was last asked to do.
    private(set) var doing: [Int: Operation] = [:]
    private var nextID = 0
    private var nextSandbox = 0
    private(set) var collector = 0
    let families: [IPFamily]
    let seenByCollector = Seen()
    /// Where nodes write down what they cannot release at once; nil for nodes that do not.
    let journals: String?

    init(
        pools: [KubeObject], nodes: [String], families: [IPFamily] = [.v4], config: KubeObject? = nil,
        journals: String? = nil
    ) {
        self.families = families
        self.journals = journals
        for pool in pools { backing.make(IPAMChange(.create, .ipPools, pool)) }
        if let config { backing.make(IPAMChange(.create, .ipamConfigs, config)) }
        for node in nodes { addNode(node) }
        collector = start("")
    }

    private func journal(_ id: Int) -> String? { journals.map { "\($0)/\(id).json" } }

    /// - Parameter written: what the process before it wrote down.
    private mutating func start(_ node: String, written: [UInt8]? = nil) -> Int {
        nextID += 1
        let truth = truth
        let store = FaultyStore(nextID, backing, gate, late: { changes in truth.withLock { $0.late.append(changes) } })
        var logger = Logger(label: "simulation")
        logger.logLevel = .critical
        var journal: ReleaseJournal?
        if let path = self.journal(nextID), !node.isEmpty {
            do {
                if let written { try Files.replace(path, with: written) }
                journal = try ReleaseJournal(path)
            } catch {
                truth.withLock { $0.violations.append("the journal \(path) is lost: \(error)") }
            }
        }
        processes[nextID] = Process(
            node: node, store: store,
            book: AddressBook(
                store: store, node: node, journal: journal, logger: logger, now: { truth.withLock { $0.now } }))
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
        // What a killed process goes on to write does not count.
        let written = fate.kills ? journal(id).flatMap { try? Files.read($0) } : nil
        await gate.letGo(id, fate)
        if !gate.parked.contains(id) { busy.remove(id) }
        guard fate.kills, let process else { return }
        truth.count("kills")
        processes[id] = nil
        doing[id] = nil
        busy.remove(id)
        let new = start(process.node, written: written)
        if process.node.isEmpty { collector = new }
    }

    /// Nodes' processes that have nothing to do.
    var idle: [Int] { processes.keys.filter { !busy.contains($0) && $0 != collector }.sorted() }

    // MARK: What processes do

    private mutating func run(_ id: Int, _ body: @escaping @Sendable (Process) async -> Void) async {
        guard let process = processes[id] else { return }
        busy.insert(id)
        gate.start { await body(process) }
        await gate.settle()
        if !gate.parked.contains(id) { busy.remove(id) }
    }

    /// ADD for a new sandbox, or again for one that there is.
    mutating func add(_ id: Int, again handleID: String? = nil) async {
        guard let node = processes[id]?.node else { return }
        nextSandbox += 1
        let handleID = handleID ?? "net.s\(nextSandbox)"
        doing[id] = .add(handleID)
        let truth = truth
        truth.withLock { state in
            if state.sandboxes[handleID] == nil { state.sandboxes[handleID] = .init(handleID: handleID, node: node) }
        }
        truth.count("ADD")
        let request = AddressRequest(
            node: node, use: .workload, handleID: handleID,
            values: ["node": node, "pod": handleID, "namespace": "default"], subject: handleID, families: families)
        await run(id) { process in
            do {
                let assigned = try await process.book.assign(request)
                guard !process.store.isDead else { return }
                truth.answered(handleID, assigned.addresses.map(\.address))
            } catch {
                guard !process.store.isDead else { return truth.count("ADD killed") }
                truth.count("ADD failed")
                truth.set(handleID, .deleting)
            }
        }
    }

    mutating func delete(_ id: Int, _ handleID: String) async {
        let truth = truth
        doing[id] = .delete(handleID)
        truth.set(handleID, .deleting)
        truth.count("DEL")
        await run(id) { process in
            do {
                try await process.book.release(handleIDs: [handleID])
                guard !process.store.isDead else { return }
                truth.set(handleID, nil)
            } catch {
                truth.count("DEL failed")
            }
        }
    }

    mutating func tidy(_ id: Int) async {
        doing[id] = .tidy
        await run(id) { process in try? await process.book.tidy() }
    }

    mutating func collect() async {
        let truth = truth
        let seen = seenByCollector
        let backing = backing
        truth.count("GC")
        doing[collector] = .collect
        await run(collector) { process in
            let book = process.book
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
        // What the collector does may make something else due; three looks that change nothing end it.
        var quiet = 0
        for _ in 0..<10 where quiet < 3 {
            let writes = backing.writes
            truth.withLock { $0.now = Timestamp(seconds: $0.now.seconds + 100) }
            refresh()
            await collect()
            await finish()
            quiet = backing.writes == writes ? quiet + 1 : 0
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
