// SPDX-License-Identifier: Apache-2.0

public import KubeClient
import Logging

/// All controllers and the scheduler of a cluster, over one set of caches.
public struct ControllerManager: Sendable {
    private let client: KubeClient
    private let configuration: ControllerConfiguration
    private let log: Logger
    private let observer: @Sendable (Work) -> Void

    /// What begins and ends.
    public enum Work: Sendable, Hashable {
        case schedulerStarted, schedulerEnded
        case controllersStarted, controllersEnded
    }

    /// - Parameter observer: told when the scheduler and the controllers have begun to work, and when they have ended.
    public init(
        client: KubeClient, configuration: ControllerConfiguration,
        observer: @escaping @Sendable (Work) -> Void = { _ in }
    ) {
        self.client = client
        self.configuration = configuration
        self.observer = observer
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
        let context = ControllerContext(
            client: client, caches: caches, configuration: configuration, log: log,
            awake: AwakeTime(interval: configuration.nodeGracePeriod / 10))
        let addresses = AddressCollector(context)
        let kinds = CustomKinds(context)
        var controllers: [any Controller] = [
            Scheduler(context.of("kube-scheduler")), DeploymentController(context),
            ReplicaController(context, .replicaSet), ReplicaController(context, .replicationController),
            DaemonSetController(context), EndpointsController(context),
            LoadBalancerController(context, objects: addresses.objects, book: addresses.book),
            NamespaceContents(context), NodeLifecycle(context), TaintEviction(context), PodCollector(context),
            NamespaceDeletion(context, kinds), GarbageCollector(context, kinds), kinds, addresses,
            PoolController(context, objects: addresses.objects, book: addresses.book), EventExpiry(context),
            ResourceQuotaController(context, kinds), ClaimProtection(context), VolumeProtection(context),
            DisruptionController(context),
            EndpointMirroring(context), ServiceRanges(context), ServiceAddresses(context),
            CertificateApprover(context), CertificateCleaner(context), ClusterRoleAggregation(context),
            FinishedJobs(context), NodeTTL(context), LegacyTokenTracking(context), LegacyTokenCleaner(context),
        ]
        if let signer = CertificateSigner(context) { controllers.append(signer) }
        if let secrets = TokenSecrets(context) { controllers.append(secrets) }
        for controller in controllers { controller.register() }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await caches.run() }
            group.addTask { await context.awake.run() }
            await caches.waitUntilSynced()
            for controller in controllers {
                guard controller is Scheduler else {
                    group.addTask { await controller.run() }
                    continue
                }
                group.addTask {
                    observer(.schedulerStarted)
                    await controller.run()
                    observer(.schedulerEnded)
                }
            }
            observer(.controllersStarted)
        }
        observer(.controllersEnded)
    }
}
