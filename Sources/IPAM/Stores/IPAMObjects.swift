// SPDX-License-Identifier: Apache-2.0

public import KubeObjects

/// The objects that addresses are decided from, as last seen.
public struct IPAMObjects: Sendable {
    public var pools: [KubeObject]
    public var blocks: [KubeObject]
    public var affinities: [KubeObject]
    public var nodes: [KubeObject]
    public var reservations: [KubeObject]
    /// The IPAMConfig named `default`.
    public var config: KubeObject?

    public init(
        pools: [KubeObject] = [], blocks: [KubeObject] = [], affinities: [KubeObject] = [], nodes: [KubeObject] = [],
        reservations: [KubeObject] = [], config: KubeObject? = nil
    ) {
        self.pools = pools
        self.blocks = blocks
        self.affinities = affinities
        self.nodes = nodes
        self.reservations = reservations
        self.config = config
    }

    /// Puts an object to those of its resource; others are passed over.
    mutating func add(_ resource: GroupVersionResource, _ object: KubeObject) {
        switch resource {
        case .ipPools: pools.append(object)
        case .ipamBlocks: blocks.append(object)
        case .blockAffinities: affinities.append(object)
        case .nodes: nodes.append(object)
        case .ipReservations: reservations.append(object)
        case .ipamConfigs: if object.name == "default" { config = object }
        default: break
        }
    }
}
