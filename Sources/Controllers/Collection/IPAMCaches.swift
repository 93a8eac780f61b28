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
    /// What changed, for the one book that is kept over the caches.
    let feed: CacheFeed

    init(_ context: ControllerContext) {
        pools = ResourceCache(context.client, .ipPools)
        blocks = ResourceCache(context.client, .ipamBlocks)
        affinities = ResourceCache(context.client, .blockAffinities)
        handles = ResourceCache(context.client, .ipamHandles)
        configs = ResourceCache(context.client, .ipamConfigs)
        reservations = ResourceCache(context.client, .ipReservations)
        clusterInformation = ResourceCache(context.client, .clusterInformations)
        let nodes = context.caches.nodes
        feed = CacheFeed([
            .ipPools: pools, .ipamBlocks: blocks, .blockAffinities: affinities, .ipamConfigs: configs,
            .ipReservations: reservations, .nodes: nodes,
        ])
    }

    /// Those that are not run by others.
    var caches: [ResourceCache] {
        [pools, blocks, affinities, handles, configs, reservations, clusterInformation]
    }

    /// ClusterInformation says `datastoreReady: false`.
    var isLocked: Bool {
        clusterInformation[ObjectKey(nil, "default")]?["spec"]["datastoreReady"].bool == false
    }
}

/// Tells which objects of caches changed, as they are when it is asked.
final class CacheFeed: IPAMFeed {
    private struct Key: Hashable {
        let resource: GroupVersionResource
        let name: String
    }

    private let caches: [GroupVersionResource: ResourceCache]
    /// With the last that was heard of the object.
    private let changed = Mutex<[Key: KubeObject]>([:])

    /// - Parameter caches: of cluster-wide objects, before they run.
    init(_ caches: [GroupVersionResource: ResourceCache]) {
        self.caches = caches
        for (resource, cache) in caches {
            cache.onChange { [weak self] change in
                self?.changed.withLock {
                    $0[Key(resource: resource, name: change.object.name)] = change.object
                }
            }
        }
    }

    func news() -> IPAMNews {
        let changed = changed.withLock { changed in
            defer { changed = [:] }
            return changed
        }
        return IPAMNews(
            changes: changed.map { key, last in
                let current = caches[key.resource]?[ObjectKey(nil, key.name)]
                return IPAMNews.Change(key.resource, current ?? last, isDeletion: current == nil)
            })
    }

    func shows(_ resource: GroupVersionResource, _ name: String) -> Bool {
        caches[resource]?[ObjectKey(nil, name)] != nil
    }
}
