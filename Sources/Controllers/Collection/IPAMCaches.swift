// SPDX-License-Identifier: Apache-2.0

import IPAM
import KubeObjects
import Synchronization
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
    private let changes = ChangeCount()

    private final class ChangeCount: Sendable {
        let value = Atomic<Int>(0)
    }

    init(_ context: ControllerContext) {
        pools = ResourceCache(context.client, .ipPools)
        blocks = ResourceCache(context.client, .ipamBlocks)
        affinities = ResourceCache(context.client, .blockAffinities)
        handles = ResourceCache(context.client, .ipamHandles)
        configs = ResourceCache(context.client, .ipamConfigs)
        reservations = ResourceCache(context.client, .ipReservations)
        clusterInformation = ResourceCache(context.client, .clusterInformations)
        nodes = context.caches.nodes
        for cache in [pools, blocks, affinities, configs, reservations, nodes] {
            cache.onChange { [changes] _ in changes.value.add(1, ordering: .sequentiallyConsistent) }
        }
    }

    /// Grows whenever ``all`` changes.
    var revision: String { "\(changes.value.load(ordering: .sequentiallyConsistent))" }

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
