// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Logging
import Values

/// The objects that an agent watches.
final class ClusterView: Sendable {
    let nodes: Informer
    let pods: Informer
    let namespaces: Informer
    let pools: Informer
    let blocks: Informer
    let affinities: Informer
    let configs: Informer
    let reservations: Informer
    let services: Informer
    let endpointSlices: Informer
    let felix: Informer
    let clusterInformations: Informer
    let bgpConfigurations: Informer
    let bgpPeers: Informer
    let bgpFilters: Informer

    init(_ client: KubeClient, node: String, logger: Logger) {
        nodes = Informer(client, .nodes, trimming: Self.trimNode, logger: logger)
        pods = Informer(client, .pods, fieldSelector: "spec.nodeName=\(node)", logger: logger)
        namespaces = Informer(client, .namespaces, logger: logger)
        pools = Informer(client, .ipPools, logger: logger)
        blocks = Informer(client, .ipamBlocks, logger: logger)
        affinities = Informer(client, .blockAffinities, logger: logger)
        configs = Informer(client, .ipamConfigs, logger: logger)
        reservations = Informer(client, .ipReservations, logger: logger)
        services = Informer(client, .services, logger: logger)
        endpointSlices = Informer(client, .endpointSlices, logger: logger)
        felix = Informer(
            client, GroupVersionResource("crd.projectcalico.org", "v1", "felixconfigurations"), logger: logger)
        clusterInformations = Informer(client, .clusterInformations, logger: logger)
        func calico(_ resource: String) -> Informer {
            Informer(client, GroupVersionResource("crd.projectcalico.org", "v1", resource), logger: logger)
        }
        bgpConfigurations = calico("bgpconfigurations")
        bgpPeers = calico("bgppeers")
        bgpFilters = calico("bgpfilters")
    }

    var all: [Informer] {
        [
            nodes, pools, blocks, affinities, configs, reservations, pods, namespaces, services, endpointSlices, felix,
            clusterInformations,
        ] + forBGP
    }

    /// Of each node an agent needs names, labels, annotations and addresses; the larger part of a Node is images and
    /// conditions.
    @Sendable private static func trimNode(_ node: inout KubeObject) {
        let addresses = node["status"]["addresses"]
        node["spec"] = nil
        node["status"] = addresses.map { ["addresses": $0] }
    }

    /// Whether anything may ask for BGP.
    var mayAskForBGP: Bool { !bgpConfigurations.isEmpty || !bgpPeers.isEmpty }

    var forBGP: [Informer] { [bgpConfigurations, bgpPeers, bgpFilters] }

    /// What has to be known before an address can be given out.
    var forAddresses: [Informer] { [nodes, pools, blocks, affinities, configs, reservations] }
    private var forServices: [Informer] { [services, endpointSlices] }

    var canGiveAddresses: Bool { forAddresses.allSatisfy(\.hasSynced) }

    func waitForAddresses() async {
        for informer in forAddresses { await informer.waitUntilSynced() }
    }

    func waitForServices() async {
        for informer in forServices { await informer.waitUntilSynced() }
    }

    /// The names of resources that have not arrived yet, for messages.
    var missingForAddresses: String {
        forAddresses.filter { !$0.hasSynced }.map { $0.resource.groupResource }.joined(separator: ", ")
    }
}
