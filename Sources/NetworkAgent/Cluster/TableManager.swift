// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Linux
import Logging
import NetworkModel
import Synchronization
import Values

/// Keeps the tables of NAT and of pods' wishes, into which ``ServiceManager`` puts Services: knows what they follow from,
/// and has them written when that is another.
final class TableManager: Sendable {
    private struct Wishes: Sendable, Hashable {
        var floating: [FloatingAddress] = []
        var sources: [AllowedSource] = []
        var isEmpty: Bool { floating.isEmpty && sources.isEmpty }
    }

    private let view: ClusterView
    private let dataplane: Dataplane
    private let hostPorts: HostPortBook
    private let metrics: FelixMetrics
    private let logger: Logger
    private let signal = Signal()
    /// What routes have in common with tables: nodes' addresses, pods' networks.
    /// Nil until all that there was at the start is in it.
    private let base = Mutex<NetworkPlan?>(nil)
    /// Of this node's pods, those that have any.
    private let wishes = Mutex<[ObjectKey: Wishes]>([:])

    init(
        view: ClusterView, dataplane: Dataplane, hostPorts: HostPortBook, metrics: FelixMetrics, logger: Logger
    ) {
        self.view = view
        self.dataplane = dataplane
        self.hostPorts = hostPorts
        self.metrics = metrics
        self.logger = logger
    }

    /// Has the tables looked at again.
    func raise() { signal.raise() }

    func take(_ changes: NetworkChanges) {
        base.withLock { base in
            var plan = base ?? NetworkPlan()
            base = nil
            plan.applyToTables(changes)
            base = plan
        }
        signal.raise()
    }

    /// Runs until cancelled.
    func run(onRepair: () -> Void) async {
        await view.waitForAddresses()
        await view.pods.waitUntilSynced()
        let streams = (view.pods.events(), view.felix.events())
        for pod in view.pods.all() { _ = takeWishes(of: pod, isGone: false) }
        signal.raise()
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [self] in
                for await events in streams.0 {
                    // Not lazily: each of them is to be taken.
                    let changed = events.map { takeWishes(of: $0.object, isGone: $0.isDeletion) }
                    if changed.contains(true) { signal.raise() }
                }
            }
            group.addTask { [self] in for await _ in streams.1 { signal.raise() } }
            var told: Set<String> = []
            await signal.forEach(onFailure: { [metrics, logger] error in
                metrics.failed()
                logger.error("the kernel's tables will be tried again: \(error)")
            }) {
                let problems = try await reconcile()
                onRepair()
                for problem in problems where !told.contains(problem) { logger.warning("\(problem)") }
                told = Set(problems)
            }
        }
    }

    /// - Returns: whether they are other than before.
    private func takeWishes(of pod: KubeObject, isGone: Bool) -> Bool {
        var found = Wishes()
        if !isGone { found = Wishes(floating: FloatingAddress.read(pod), sources: Self.allowedSources(pod)) }
        return wishes.withLock { wishes in
            let old = wishes[pod.key] ?? Wishes()
            wishes[pod.key] = found.isEmpty ? nil : found
            return old != found
        }
    }

    private func reconcile() async throws -> [String] {
        // Until all Services are known, those that an earlier run wrote stay as they are.
        guard dataplane.services.isComplete, var plan = base.withLock({ $0 }) else { return [] }
        metrics.isComplete()
        let wishes = wishes.withLock { Array($0.values) }
        let felix = FelixSettings(view.felix[nil, "default"])
        plan.setWishes(
            felix, floating: felix.hasFloatingAddresses ? Set(wishes.flatMap(\.floating)) : [],
            allowedSources: Set(wishes.flatMap(\.sources)))
        plan.hostPorts = hostPorts.all
        dataplane.services.take([.owners(nodes: plan.nodeNames, podNetworks: plan.podNetworks)])
        try await OwnThread.run(awaiting: { [dataplane, plan] in
            for family in IPFamily.allCases {
                let isNeeded = NFTPlan.isNeeded(family, plan, hasServices: dataplane.services.isUsed(family))
                try dataplane.apply(isNeeded ? NFTPlan.content(plan, family) : nil, family)
            }
        })
        return plan.problems
    }

    /// What the pod's annotation asks for; what is no list of networks is refused when the pod is wired.
    private static func allowedSources(_ pod: KubeObject) -> [AllowedSource] {
        guard let text = pod.annotations[AllowedSource.annotation],
            let interface = Sandbox.hostInterface(["pod": pod.name, "namespace": pod.namespace ?? ""])
        else { return [] }
        return (AllowedSource.networks(text) ?? []).map { AllowedSource(interface: interface, network: $0) }
    }
}
