// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Linux
import Logging
import NetworkModel
import Synchronization
import Values

/// Keeps the node's routes and tunnels: hands each event to the calculation, and what that changes to the dataplane.
final class RouteManager: Sendable {
    /// What others follow that the same objects concern.
    struct Listeners: Sendable {
        var nodes: @Sendable ([InformerEvent]) -> Void = { _ in }
        var pools: @Sendable () -> Void = {}
        var blocks: @Sendable () -> Void = {}
        /// What the tables of NAT and Services follow from is another.
        var tables: @Sendable (NetworkChanges) -> Void = { _ in }
    }

    private let node: String
    private let view: ClusterView
    private let dataplane: Dataplane
    private let metrics: FelixMetrics
    private let logger: Logger
    private let listeners: Listeners
    private let signal = Signal()
    private let calculation: Mutex<NetworkCalculation>
    private let inbox = Mutex<[NetworkEvent]>([])
    /// Whether the tables have been told of what there was at the start.
    private let hasBegun = Mutex(false)

    init(
        node: String, view: ClusterView, dataplane: Dataplane, metrics: FelixMetrics, logger: Logger,
        listeners: Listeners
    ) {
        self.node = node
        self.view = view
        self.dataplane = dataplane
        self.metrics = metrics
        self.logger = logger
        self.listeners = listeners
        calculation = Mutex(NetworkCalculation(node: node, kernelHasIPIP: false))
    }

    /// Has the kernel's tables looked at again.
    func raise() { signal.raise() }

    func take(_ events: [NetworkEvent]) {
        guard !events.isEmpty else { return }
        inbox.withLock { $0 += events }
        signal.raise()
    }

    /// Runs until cancelled.
    ///
    /// - Parameters:
    ///   - kernelHasIPIP: asked once, before anything is worked out; throws what it throws.
    ///   - workloads: the pods that were wired before this process started.
    ///   - onRepair: called after each round.
    func run(
        kernelHasIPIP: () async throws -> Bool, workloads: () async -> [IPAddress: String],
        uplinkMTU: () async -> Int, onRepair: () -> Void
    ) async throws {
        let hasIPIP = try await kernelHasIPIP()
        calculation.withLock { $0 = NetworkCalculation(node: node, kernelHasIPIP: hasIPIP) }
        await view.waitForAddresses()
        await view.pods.waitUntilSynced()
        // The streams first, the objects then: so a stream's first batch is never older than what was read.
        let streams = (view.nodes.events(), view.pools.events(), view.blocks.events())
        take(view.nodes.all().map { .node($0.name, NodeNetwork($0)) })
        take(view.pools.all().compactMap { pool($0) })
        take(view.blocks.all().compactMap { block($0) })
        take([.uplink(mtu: await uplinkMTU())])
        // A pod's route is known before its link has it: whoever writes in between must not take it for a stray.
        dataplane.onWorkloads { [weak self] events in _ = self?.calculate(events) }
        dataplane.adopt(await workloads())
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [self] in
                for await events in streams.0 {
                    take(events.map { .node($0.object.name, $0.isDeletion ? nil : NodeNetwork($0.object)) })
                    listeners.nodes(events)
                }
            }
            group.addTask { [self] in
                for await events in streams.1 {
                    take(events.compactMap { $0.isDeletion ? .pool($0.object.name, nil) : pool($0.object) })
                    listeners.pools()
                }
            }
            group.addTask { [self] in
                for await events in streams.2 {
                    take(events.compactMap { $0.isDeletion ? gone($0.object) : block($0.object) })
                    listeners.blocks()
                }
            }
            await keep(onRepair)
        }
    }

    private func keep(_ onRepair: () -> Void) async {
        var told: Set<String> = []
        await signal.forEach(onFailure: { [metrics, logger] error in
            metrics.failed()
            logger.error("the kernel's routes will be tried again: \(error)")
        }) {
            let problems = try await OwnThread.run(awaiting: { try self.write() })
            onRepair()
            guard let problems else { return }
            told.formIntersection(problems)
            for problem in problems where told.insert(problem).inserted { logger.warning("\(problem)") }
        }
    }

    /// - Returns: what cannot be done, if that is other than before.
    private func write() throws -> [String]? {
        let events = inbox.withLock { inbox in
            defer { inbox = [] }
            return inbox
        }
        let start = ContinuousClock.now
        let isFirst = hasBegun.withLock { hasBegun in
            defer { hasBegun = true }
            return !hasBegun
        }
        let hasOtherProblems = calculate(events, isFirst: isFirst)
        let applying = ContinuousClock.now
        if !events.isEmpty {
            let (nodes, endpoints) = calculation.withLock { ($0.nodeCount, $0.endpointCount) }
            metrics.calculated(nodes: nodes, endpoints: endpoints, since: start)
        }
        defer { metrics.applied(localEndpoints: dataplane.sandboxCount, since: applying) }
        do { try dataplane.write() } catch {
            // What is not told now would not be told at the next try, which has no events.
            if hasOtherProblems { tell(calculation.withLock { $0.problems }) }
            throw error
        }
        return hasOtherProblems ? calculation.withLock { $0.problems } : nil
    }

    private func tell(_ problems: [String]) { for problem in problems { logger.warning("\(problem)") } }

    /// In one step, so that changes reach the dataplane in the order of their events.
    private func calculate(_ events: [NetworkEvent], isFirst: Bool = false) -> Bool {
        calculation.withLock { calculation in
            let changes = calculation.take(events)
            dataplane.want(changes)
            if changes.concernTables || isFirst { listeners.tables(changes) }
            return changes.hasOtherProblems
        }
    }

    // MARK: Objects

    private func pool(_ object: KubeObject) -> NetworkEvent? {
        do { return .pool(object.name, try IPPool(object)) } catch {
            logger.warning("\(error); nothing is routed for it")
            return .pool(object.name, nil)
        }
    }

    private func block(_ object: KubeObject) -> NetworkEvent? {
        do {
            let block = try BlockRouting(object)
            return .block(block.cidr, block)
        } catch {
            logger.warning("\(error); its routes are left as they are")
            return nil
        }
    }

    private func gone(_ object: KubeObject) -> NetworkEvent? {
        BlockRouting.network(object).map { .block($0, nil) }
    }
}
