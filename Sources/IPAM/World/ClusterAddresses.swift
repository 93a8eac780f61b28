// SPDX-License-Identifier: Apache-2.0

package import KubeClient
package import KubeObjects
package import NetworkModel
import Values

/// A cluster's addresses as they are now: what the model needs to answer, and the pools as they are stored.
package struct ClusterAddresses: Sendable {
    package var world: IPAMWorld
    package var pools: [KubeObject]
    package var nodes: [KubeObject]

    package init(_ client: KubeClient) async throws {
        async let pools = Self.pools(client)
        async let blocks = client.list(.ipamBlocks).items
        async let claims = client.list(.blockAffinities).items
        async let handles = client.list(.ipamHandles).items
        async let reservations = client.listServed(.ipReservations)
        async let nodes = client.list(.nodes).items
        async let pods = client.list(.pods).items
        async let namespaces = client.list(.namespaces).items
        async let config = client.find(.ipamConfigs, "default")
        async let information = client.find(.clusterInformations, "default")

        // First, because it tells best what a cluster is not.
        self.pools = try await pools
        var problems: [IPAMObjectProblem] = []
        var table = BlockTable()
        for object in try await blocks {
            do {
                let block = try IPAMBlock(object)
                if !block.isDeleted { table[block.cidr] = block }
            } catch { problems.append(error) }
        }
        var affinities = AffinityTable()
        for object in try await claims {
            do { affinities.insert(try BlockAffinity(object)) } catch { problems.append(error) }
        }
        let (readable, unreadable) = IPPool.read(self.pools)
        self.nodes = try await nodes
        let snapshot = IPAMSnapshot(
            pools: readable, problems: unreadable, blocks: table, affinities: affinities,
            config: try await config.map { IPAMConfig($0) } ?? IPAMConfig(),
            nodes: Dictionary(self.nodes.map { ($0.name, $0.labels) }, uniquingKeysWith: { first, _ in first }),
            reservations: try await reservations.map { IPReservation($0) })
        world = IPAMWorld(
            snapshot: snapshot, handles: try await handles.map { IPAMHandle($0) },
            pods: try await pods.map { PodUse($0) }, namespaces: try await namespaces,
            nodeAnnotations: Dictionary(
                self.nodes.map { ($0.name, $0.annotations) }, uniquingKeysWith: { first, _ in first }),
            problems: problems, isLocked: try await information?["spec"]["datastoreReady"].bool == false)
    }
}

extension ClusterAddresses {
    /// The cluster's network is not Calico's.
    package struct NotServed: Error, CustomStringConvertible {
        package var description: String {
            "The cluster does not serve ippools.crd.projectcalico.org: its pods' addresses are not Calico's to give, and "
                + "nothing can be told of them"
        }
    }

    private static func pools(_ client: KubeClient) async throws -> [KubeObject] {
        do { return try await client.list(.ipPools).items } catch let error as APIError where error.isNotFound {
            throw NotServed()
        }
    }
}

extension KubeClient {
    /// The objects of a kind that older versions of Calico do not have.
    fileprivate func listServed(_ resource: GroupVersionResource) async throws -> [KubeObject] {
        do { return try await list(resource).items } catch let error as APIError where error.isNotFound { return [] }
    }
}
