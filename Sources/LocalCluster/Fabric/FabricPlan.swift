// SPDX-License-Identifier: Apache-2.0
public import Values

/// Why a fabric cannot be planned.
public struct FabricError: Error, Sendable, Hashable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// A range of addresses that the host already uses, and for what.
public struct OccupiedRange: Sendable, Hashable {
    public let range: CIDR
    /// As in `the route 192.168.49.0/24 dev docker0`.
    public let use: String

    public init(_ range: CIDR, _ use: String) {
        self.range = range
        self.use = use
    }
}

/// Which subnets and addresses a cluster's racks and nodes have. Decided once, kept in the profile's state.
public struct FabricPlan: Sendable, Hashable {
    /// A switch with a subnet of its own.
    public struct Rack: Sendable, Hashable {
        /// From 1.
        public let number: Int
        public let subnet: CIDR
        /// The fabric's router on this rack: the nodes' default gateway.
        public let router: IPAddress

        public init(number: Int, subnet: CIDR, router: IPAddress) {
            self.number = number
            self.subnet = subnet
            self.router = router
        }

        /// Also the value of its nodes' label `topology.kubernetes.io/zone`.
        public var name: String { "rack\(number)" }
    }

    /// A node's place.
    public struct Node: Sendable, Hashable {
        public let name: String
        /// From 1.
        public let rack: Int
        public let address: IPAddress

        public init(name: String, rack: Int, address: IPAddress) {
            self.name = name
            self.rack = rack
            self.address = address
        }
    }

    public let racks: [Rack]
    /// In the order they were added; the first is the control plane's.
    public private(set) var nodes: [Node]
    /// Why other ranges than the usual ones were chosen; empty when they were not.
    public let notes: [String]

    /// The host's own address on the first rack.
    public var hostAddress: IPAddress { Self.address(in: racks[0].subnet, at: 1) }
    /// Addresses of Services of type LoadBalancer: the last quarter of the first rack's subnet. They lead to the first
    /// node.
    public var loadBalancerRange: CIDR { Self.loadBalancerRange(of: racks[0].subnet) }

    static func loadBalancerRange(of subnet: CIDR) -> CIDR {
        CIDR(address(in: subnet, at: 192), 26) ?? subnet
    }

    /// Nil when there is no rack, or a subnet is no IPv4 /24.
    package init?(racks: [Rack], nodes: [Node], notes: [String] = []) {
        guard !racks.isEmpty, racks.allSatisfy({ $0.subnet.family == .v4 && $0.subnet.prefixLength == 24 }) else {
            return nil
        }
        self.racks = racks
        self.nodes = nodes
        self.notes = notes
    }

    static func address(in subnet: CIDR, at offset: UInt128) -> IPAddress { subnet[offset] ?? subnet.last }

    /// The most racks a cluster may have.
    public static let maximumRacks = 64

    /// Chooses ranges that the host does not use: 192.168.49.0/24 and those that follow, as users of minikube know
    /// them, or the next that are free.
    public static func choose(racks count: Int, occupied: [OccupiedRange]) throws(FabricError) -> FabricPlan {
        guard (1...maximumRacks).contains(count) else {
            throw FabricError("--racks \(count): a cluster has 1 to \(maximumRacks) racks")
        }
        var notes: [String] = []
        for candidate in candidates(count) {
            let conflict = candidate.lazy.compactMap { subnet in
                occupied.first { $0.range.overlaps(subnet) }.map { (subnet, $0) }
            }.first
            if let (subnet, use) = conflict {
                if notes.count < 4 { notes.append("\(subnet) is in use on this machine: \(use.use)") }
                continue
            }
            let racks = candidate.enumerated().map { index, subnet in
                // The host is .1 on the first rack, so there the router takes the last address before the range of
                // the load balancers.
                Rack(number: index + 1, subnet: subnet, router: address(in: subnet, at: index == 0 ? 191 : 1))
            }
            if !notes.isEmpty { notes.append("the racks begin at \(candidate[0]) instead") }
            guard let plan = FabricPlan(racks: racks, nodes: [], notes: notes) else { continue }
            return plan
        }
        throw FabricError(
            "no \(count) consecutive /24 ranges are free in 192.168.0.0/16, 172.16.0.0/12 or 10.0.0.0/8 for the racks: "
                + (notes.first ?? "") + "; remove routes (ip route) or use fewer racks")
    }

    /// Groups of `count` consecutive subnets, the usual one first.
    private static func candidates(_ count: Int) -> [[CIDR]] {
        let stride = max(10, count)
        func group(_ first: IPAddress) -> [CIDR]? {
            let list = (0..<count).compactMap { index in
                first.advanced(by: UInt128(index) << 8).flatMap { CIDR($0, 24) }
            }
            return list.count == count ? list : nil
        }
        var result: [[CIDR]] = []
        for third in Swift.stride(from: 49, through: 255 - count, by: stride) {
            if let group = group(IPAddress(192, 168, UInt8(third), 0)) { result.append(group) }
        }
        for second in UInt8(16)...31 {
            if let group = group(IPAddress(172, second, 49, 0)) { result.append(group) }
        }
        // Beyond the services' 10.96.0.0/12 and before the pods' 10.244.0.0/16.
        for second in UInt8(192)...223 {
            if let group = group(IPAddress(10, second, 49, 0)) { result.append(group) }
        }
        return result
    }

    public func node(_ name: String) -> Node? { nodes.first { $0.name == name } }

    public func rack(of node: Node) -> Rack? { racks.first { $0.number == node.rack } }

    /// Gives a node the first free address of a rack; without a rack, of the one with the fewest nodes. A node that is
    /// there already keeps its place.
    @discardableResult
    public mutating func addNode(_ name: String, rack number: Int? = nil) throws(FabricError) -> Node {
        if let known = node(name) { return known }
        let chosen =
            number
            ?? racks.map(\.number).min { left, right in
                let counts = (nodes.count { $0.rack == left }, nodes.count { $0.rack == right })
                return counts.0 == counts.1 ? left < right : counts.0 < counts.1
            } ?? 1
        guard let rack = racks.first(where: { $0.number == chosen }) else {
            throw FabricError("rack \(chosen): this cluster has racks 1 to \(racks.count)")
        }
        let used = Set(nodes.map(\.address)).union([rack.router, hostAddress])
        let last: UInt128 = rack.number == 1 ? 190 : 254
        for offset in 2...last {
            let address = Self.address(in: rack.subnet, at: offset)
            if used.contains(address) { continue }
            let node = Node(name: name, rack: rack.number, address: address)
            nodes.append(node)
            return node
        }
        throw FabricError("\(rack.name) is full: \(rack.subnet) has room for \(last - 1) nodes; add it to another rack")
    }

    public mutating func removeNode(_ name: String) { nodes.removeAll { $0.name == name } }
}

extension FabricPlan {
    /// For the profile's state.
    public var json: JSON {
        [
            "racks": .array(
                racks.map {
                    ["number": JSON($0.number), "subnet": .string("\($0.subnet)"), "router": .string("\($0.router)")]
                }
            ),
            "nodes": .array(
                nodes.map { ["name": .string($0.name), "rack": JSON($0.rack), "address": .string("\($0.address)")] }),
            "notes": JSON(notes),
        ]
    }

    /// What ``json`` wrote.
    public init(_ json: JSON) throws(FabricError) {
        func broken(_ field: String) -> FabricError {
            FabricError("the profile's state is damaged: field fabric.\(field)")
        }
        var racks: [Rack] = []
        for (index, entry) in (json["racks"]?.array ?? []).enumerated() {
            guard let number = entry["number"]?.int, let subnet = entry["subnet"]?.string.flatMap({ CIDR($0) }),
                let router = entry["router"]?.string.flatMap({ IPAddress($0) })
            else { throw broken("racks[\(index)]") }
            racks.append(Rack(number: number, subnet: subnet, router: router))
        }
        var nodes: [Node] = []
        for (index, entry) in (json["nodes"]?.array ?? []).enumerated() {
            guard let name = entry["name"]?.string, let rack = entry["rack"]?.int,
                let address = entry["address"]?.string.flatMap({ IPAddress($0) })
            else { throw broken("nodes[\(index)]") }
            nodes.append(Node(name: name, rack: rack, address: address))
        }
        let notes = (json["notes"]?.array ?? []).compactMap(\.string)
        guard let plan = FabricPlan(racks: racks, nodes: nodes, notes: notes) else { throw broken("racks") }
        self = plan
    }
}
