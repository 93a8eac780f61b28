// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeObjects
import Values

/// The IPAM objects of the whole cluster, for the controllers that look after them.
struct IPAMCaches: Sendable {
    let pools: ResourceCache
    let blocks: ResourceCache
    let affinities: ResourceCache
    let handles: ResourceCache
    let configs: ResourceCache
    let reservations: ResourceCache
    let clusterInformation: ResourceCache
    private let nodes: ResourceCache

    init(_ context: ControllerContext) {
        pools = ResourceCache(context.client, .ipPools)
        blocks = ResourceCache(context.client, .ipamBlocks)
        affinities = ResourceCache(context.client, .blockAffinities)
        handles = ResourceCache(context.client, .ipamHandles)
        configs = ResourceCache(context.client, .ipamConfigs)
        reservations = ResourceCache(context.client, .ipReservations)
        clusterInformation = ResourceCache(context.client, .clusterInformations)
        nodes = context.caches.nodes
    }

    /// Those that are not run by others.
    var caches: [ResourceCache] {
        [pools, blocks, affinities, handles, configs, reservations, clusterInformation]
    }

    var all: IPAMObjects {
        IPAMObjects(
            pools: pools.all, blocks: blocks.all, affinities: affinities.all, nodes: nodes.all,
            reservations: reservations.all, config: configs[ObjectKey(nil, "default")])
    }

    /// ClusterInformation says `datastoreReady: false`.
    var isLocked: Bool {
        clusterInformation[ObjectKey(nil, "default")]?["spec"]["datastoreReady"].bool == false
    }
}
