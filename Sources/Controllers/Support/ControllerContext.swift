// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Logging
import NetworkModel
import Values

/// What every controller is given: the client, the shared caches, the recorder of events, the settings.
struct ControllerContext: Sendable {
    let client: KubeClient
    let caches: Caches
    let configuration: ControllerConfiguration
    let log: Logger
    let awake: AwakeTime

    /// The same for what is a program of its own elsewhere: it owns what it writes under its own name.
    func of(_ program: String) -> ControllerContext {
        ControllerContext(
            client: KubeClient(client.transport, userAgent: program), caches: caches, configuration: configuration,
            log: log, awake: awake)
    }

    func events(from component: String) -> EventRecorder { EventRecorder(client, component: component, host: nil) }
}

/// The resources that more than one controller reads: each is listed and watched once.
struct Caches: Sendable {
    let pods: ResourceCache
    let nodes: ResourceCache
    let namespaces: ResourceCache
    let services: ResourceCache
    let endpoints: ResourceCache
    let endpointSlices: ResourceCache
    let deployments: ResourceCache
    let replicaSets: ResourceCache
    let replicationControllers: ResourceCache
    let daemonSets: ResourceCache
    let controllerRevisions: ResourceCache
    let serviceAccounts: ResourceCache
    let rootCAs: ResourceCache
    let leases: ResourceCache
    let persistentVolumeClaims: ResourceCache
    let persistentVolumes: ResourceCache
    let resourceQuotas: ResourceCache
    let podDisruptionBudgets: ResourceCache
    let jobs: ResourceCache
    let clusterRoles: ResourceCache
    let certificateRequests: ResourceCache
    let serviceCIDRs: ResourceCache
    let ipAddresses: ResourceCache
    /// The Secrets that ask for the token of a service account.
    let tokenSecrets: ResourceCache
    /// The ConfigMap that says since when the use of these tokens is noted.
    let tokenTracking: ResourceCache

    init(_ client: KubeClient) {
        pods = ResourceCache(client, .pods, indexes: ["node": { $0.nodeName.map { [$0] } ?? [] }])
        nodes = ResourceCache(client, .nodes)
        namespaces = ResourceCache(client, .namespaces)
        services = ResourceCache(
            client, .services,
            indexes: [
                LoadBalancerController.index: { service in
                    guard LoadBalancerAddresses.isManaged(service) else { return [] }
                    return LoadBalancerAddresses.shown(service).map { "\($0)" }
                }
            ])
        endpoints = ResourceCache(client, .endpoints)
        endpointSlices = ResourceCache(
            client, .endpointSlices,
            indexes: [
                "service": { slice in
                    slice.labels["kubernetes.io/service-name"].map { ["\(slice.namespace ?? "")/\($0)"] } ?? []
                }
            ])
        deployments = ResourceCache(client, .deployments)
        replicaSets = ResourceCache(client, .replicaSets)
        replicationControllers = ResourceCache(client, .replicationControllers)
        daemonSets = ResourceCache(client, .daemonSets)
        controllerRevisions = ResourceCache(client, .controllerRevisions)
        serviceAccounts = ResourceCache(client, .serviceAccounts)
        rootCAs = ResourceCache(client, .configMaps, fieldSelector: "metadata.name=kube-root-ca.crt")
        leases = ResourceCache(client, .leases, namespace: "kube-node-lease")
        persistentVolumeClaims = ResourceCache(client, .persistentVolumeClaims)
        persistentVolumes = ResourceCache(client, .persistentVolumes)
        resourceQuotas = ResourceCache(client, .resourceQuotas)
        podDisruptionBudgets = ResourceCache(client, .podDisruptionBudgets)
        jobs = ResourceCache(client, .jobs)
        clusterRoles = ResourceCache(client, .clusterRoles)
        certificateRequests = ResourceCache(client, .certificateSigningRequests)
        serviceCIDRs = ResourceCache(client, .serviceCIDRs)
        ipAddresses = ResourceCache(client, .ipAddresses)
        tokenSecrets = ResourceCache(client, .secrets, fieldSelector: "type=\(TokenSecret.type)")
        tokenTracking = ResourceCache(
            client, .configMaps, namespace: LegacyTokenTracking.key.namespace,
            fieldSelector: "metadata.name=\(LegacyTokenTracking.key.name)")
    }

    var all: [ResourceCache] {
        [
            pods, nodes, namespaces, services, endpoints, endpointSlices, deployments, replicaSets,
            replicationControllers, daemonSets, controllerRevisions, serviceAccounts, rootCAs, leases,
            persistentVolumeClaims, persistentVolumes,
            resourceQuotas, podDisruptionBudgets, jobs, clusterRoles, certificateRequests, serviceCIDRs, ipAddresses,
            tokenSecrets, tokenTracking,
        ]
    }

    func run() async {
        await withTaskGroup(of: Void.self) { group in
            for cache in all { group.addTask { await cache.run() } }
        }
    }

    func waitUntilSynced() async { for cache in all { await cache.waitUntilSynced() } }
}

/// A controller: handlers on the caches that enqueue keys, and workers that bring one key into order at a time.
package protocol Controller: Sendable {
    /// Registers the handlers. Called once, before the caches run.
    func register()
    /// Works until cancelled. Called when the caches are in step with the server.
    func run() async
}

extension GroupVersionResource {
    static let replicationControllers = GroupVersionResource("", "v1", "replicationcontrollers")
    static let persistentVolumeClaims = GroupVersionResource("", "v1", "persistentvolumeclaims")
    static let persistentVolumes = GroupVersionResource("", "v1", "persistentvolumes")
    static let resourceQuotas = GroupVersionResource("", "v1", "resourcequotas")
    static let podDisruptionBudgets = GroupVersionResource("policy", "v1", "poddisruptionbudgets")
    static let jobs = GroupVersionResource("batch", "v1", "jobs")
    static let certificateSigningRequests = GroupVersionResource(
        "certificates.k8s.io", "v1", "certificatesigningrequests")
    static let serviceCIDRs = GroupVersionResource("networking.k8s.io", "v1", "servicecidrs")
    static let ipAddresses = GroupVersionResource("networking.k8s.io", "v1", "ipaddresses")
    static let controllerRevisions = GroupVersionResource("apps", "v1", "controllerrevisions")
}

extension APIError {
    /// A write that lost a race, or whose object is gone: the next state is on its way by watch.
    var isStale: Bool { isConflict || isNotFound }
    /// The namespace is going away: creating in it is pointless.
    var isNamespaceTerminating: Bool {
        (details["causes"].array ?? []).contains { $0["reason"].string == "NamespaceTerminating" }
    }
}
