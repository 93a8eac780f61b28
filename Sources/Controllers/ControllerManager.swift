// SPDX-License-Identifier: Apache-2.0

public import KubeClient
import Logging

/// All controllers and the scheduler of a cluster, over one set of caches.
public struct ControllerManager: Sendable {
    private let client: KubeClient
    private let configuration: ControllerConfiguration
    private let log: Logger

    public init(client: KubeClient, configuration: ControllerConfiguration) {
        self.client = client
        self.configuration = configuration
        log = Logger(label: "catbird.controllers")
    }

    /// Works until cancelled. Several control planes: waits until it holds the Lease.
    public func run() async throws {
        guard configuration.electsLeader else { return await work() }
        let election = LeaderElection(
            client, namespace: "kube-system", name: "catbird-controllers", identity: configuration.identity)
        try await election.run { await work() }
    }

    private func work() async {
        let caches = Caches(client)
        let context = ControllerContext(client: client, caches: caches, configuration: configuration, log: log)
        let addresses = AddressCollector(context)
        let kinds = CustomKinds(context)
        let controllers: [any Controller] = [
            Scheduler(context.of("kube-scheduler")), DeploymentController(context), ReplicaSetController(context),
            DaemonSetController(context), EndpointsController(context), LoadBalancerController(context),
            NamespaceContents(context), NodeLifecycle(context), TaintEviction(context), PodCollector(context),
            NamespaceDeletion(context, kinds), GarbageCollector(context, kinds), kinds, addresses,
            PoolController(context, objects: addresses.objects, book: addresses.book), EventExpiry(context),
            ResourceQuotaController(context, kinds), ClaimProtection(context), VolumeProtection(context),
        ]
        for controller in controllers { controller.register() }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await caches.run() }
            await caches.waitUntilSynced()
            for controller in controllers { group.addTask { await controller.run() } }
        }
    }
}
