// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeClient
import KubeObjects
import Linux
import Logging
import NetworkModel
import Values

/// Works out what the kernel should hold each time something changed, and has the difference applied.
struct Reconciler: Sendable {
    let node: String
    let view: ClusterView
    let book: AddressBook
    let presence: NodePresence
    let dataplane: Dataplane
    let hostPorts: HostPortBook
    let recorder: EventRecorder
    let metrics: FelixMetrics
    let logger: Logger

    func run(_ signal: Signal) async {
        await view.waitForAddresses()
        await view.pods.waitUntilSynced()
        dataplane.adopt(await workloads())
        signal.raise()
        var told: Set<String> = []
        await signal.forEach(onFailure: {
            metrics.failed()
            logger.error("the kernel's tables will be tried again: \($0)")
        }) {
            let problems = try await reconcile()
            tellRepairs()
            for problem in problems where !told.contains(problem) { logger.warning("\(problem)") }
            told = Set(problems)
        }
    }

    /// Says what somebody else had taken away and is there again: in the log, and in an event of the Node.
    func tellRepairs() {
        let repairs = dataplane.takeRepairs()
        metrics.repaired(repairs.count)
        for repair in repairs {
            logger.notice("put back: \(repair)")
            guard let object = view.nodes[nil, node] else { continue }
            recorder.record(
                object, type: .warning, reason: "NetworkRepaired",
                message: "The node's agent put back what somebody else had taken away: \(repair)")
        }
    }

    /// The pods of this node by what the blocks say, and by what pods brought along.
    private func workloads() async -> [IPAddress: String] {
        var result: [IPAddress: String] = [:]
        for pod in view.pods.all() where pod.annotations[CalicoKeys.podIP] != nil {
            for address in PodWishes.withoutIPAM(pod) ?? [] {
                result[address] = Sandbox.hostInterface(["pod": pod.name, "namespace": pod.namespace ?? ""])
            }
        }
        for block in await book.snapshot().blocks.values {
            for (address, attribute) in block.assignments where attribute.values["node"] == node {
                result[address] = Sandbox.hostInterface(attribute.values)
            }
        }
        return result
    }

    /// The routes first: they are what pods wait for.
    private func reconcile() async throws -> [String] {
        let start = ContinuousClock.now
        let snapshot = await book.snapshot()
        let nodes = view.nodes.all().compactMap { NodeNetwork($0) }
        var input = NetworkInput(
            node: node, nodes: Dictionary(nodes.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first }),
            pools: snapshot.pools, blocks: Array(snapshot.blocks.values), kernelHasIPIP: try await presence.hasIPIP(),
            uplinkMTU: await presence.uplinkMTU)
        input.felix = FelixSettings(view.felix[nil, "default"])
        let pods = view.pods.all()
        if input.felix.hasFloatingAddresses { input.floating = Set(pods.flatMap { FloatingAddress.read($0) }) }
        input.allowedSources = Set(pods.flatMap { Self.allowedSources($0) })
        var plan = NetworkPlan(input)
        plan.hostPorts = hostPorts.all
        metrics.calculated(
            nodes: nodes.count,
            endpoints: snapshot.blocks.values.reduce(0) { count, block in
                count + block.assignments.count { $0.attribute.values["type"] == nil }
            }, since: start)
        let applying = ContinuousClock.now
        try await OwnThread.run(awaiting: { [dataplane, plan] in
            try dataplane.apply { workloads in
                var plan = plan
                for (address, interface) in workloads {
                    plan.routes.insert(PlannedRoute(CIDR(host: address), .workload(interface: interface)))
                }
                return plan
            }
        })
        defer { metrics.applied(localEndpoints: dataplane.sandboxCount, since: applying) }
        // Until all Services are known, those that an earlier run wrote stay as they are.
        guard dataplane.services.isComplete else { return plan.problems }
        metrics.isComplete()
        dataplane.services.take([.owners(nodes: plan.nodeNames, podNetworks: plan.podNetworks)])
        try await OwnThread.run(awaiting: { [dataplane, plan] in
            for family in IPFamily.allCases {
                let isNeeded = NFTPlan.isNeeded(family, plan, hasServices: dataplane.services.isUsed(family))
                try dataplane.apply(isNeeded ? NFTPlan.content(plan, family) : nil, family)
            }
        })
        return plan.problems + dataplane.services.problems
    }

    /// What the pod's annotation asks for; what is no list of networks is refused when the pod is wired.
    private static func allowedSources(_ pod: KubeObject) -> [AllowedSource] {
        guard let text = pod.annotations[AllowedSource.annotation],
            let interface = Sandbox.hostInterface(["pod": pod.name, "namespace": pod.namespace ?? ""])
        else { return [] }
        return (AllowedSource.networks(text) ?? []).map { AllowedSource(interface: interface, network: $0) }
    }
}
