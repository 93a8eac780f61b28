// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Values

/// What decisions are made from. It is kept and changed in place as objects change: its tables know by node and by
/// network what would otherwise have to be looked for among all blocks.
public struct IPAMSnapshot: Sendable {
    public var pools: [IPPool]
    public var problems: [IPPool.Problem]
    public var blocks: BlockTable
    /// The claims of the asking node at least; those of others name the objects that a reclaimed block leaves behind.
    public var affinities: AffinityTable
    public var config: IPAMConfig
    /// The labels of every node.
    public var nodes: [String: [String: String]] { didSet { places = Places() } }
    public var reservations: [IPReservation] {
        didSet { reserved = AddressRanges(reservations.flatMap(\.cidrs)) }
    }

    /// What `reservations` cover.
    public private(set) var reserved: AddressRanges
    private var places = Places()

    public init(
        pools: [IPPool] = [], problems: [IPPool.Problem] = [], blocks: BlockTable = [:],
        affinities: AffinityTable = [], config: IPAMConfig = IPAMConfig(), nodes: [String: [String: String]] = [:],
        reservations: [IPReservation] = []
    ) {
        self.pools = pools
        self.problems = problems
        self.blocks = blocks
        self.affinities = affinities
        self.config = config
        self.nodes = nodes
        self.reservations = reservations
        reserved = AddressRanges(reservations.flatMap(\.cidrs))
    }

    /// The node's place among the nodes that the selector selects, by name; 0 for one that it does not select.
    func place(of node: String, among selector: Selector) -> Int {
        places.place(of: node, among: selector, nodes)
    }

    /// Places by selector, worked out once for all decisions between two changes of nodes.
    private final class Places: Sendable {
        private let known = Mutex<[String: [String: Int]]>([:])

        func place(of node: String, among selector: Selector, _ nodes: [String: [String: String]]) -> Int {
            known.withLock { known in
                if let places = known[selector.text] { return places[node] ?? 0 }
                let names = nodes.filter { selector.matches($0.value) }.keys.sorted()
                let places = Dictionary(zip(names, 0...), uniquingKeysWith: { first, _ in first })
                known[selector.text] = places
                return places[node] ?? 0
            }
        }
    }
}
