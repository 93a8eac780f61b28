// SPDX-License-Identifier: Apache-2.0

public import Values

/// What a local cluster was asked to be: written once at its start, changed by `node add` and `node delete`.
public struct Profile: Sendable, Hashable {
    public struct Node: Sendable, Hashable {
        public let name: String
        /// Counted from 0.
        public let rack: Int
        public let address: IPAddress
        /// `node stop` makes it false until `node start`.
        public var isWanted: Bool

        public init(name: String, rack: Int, address: IPAddress, isWanted: Bool = true) {
            self.name = name
            self.rack = rack
            self.address = address
            self.isWanted = isWanted
        }
    }

    public let name: String
    /// The subnet of each rack, in order; the first address of each belongs to the fabric's router.
    public let rackSubnets: [CIDR]
    public var nodes: [Node]
    /// The number that the next node gets. It never goes back, so that names are not used twice.
    public var nextNode: Int
    public let builtinImages: Bool
    public let createdAt: Timestamp

    public init(
        name: String, rackSubnets: [CIDR], nodes: [Node] = [], nextNode: Int = 1, builtinImages: Bool = true,
        createdAt: Timestamp = .now
    ) {
        self.name = name
        self.rackSubnets = rackSubnets
        self.nodes = nodes
        self.nextNode = nextNode
        self.builtinImages = builtinImages
        self.createdAt = createdAt
    }

    /// The first node, which carries the control plane.
    public var controlPlaneNode: Node? { nodes.first }
    public static let apiPort = 8443

    public func node(named name: String) -> Node? {
        nodes.first { $0.name == name || $0.name == "\(self.name)-\(name)" }
    }

    /// Adds a node to the emptiest rack, at the lowest free address of its subnet.
    ///
    /// - Throws: `LocalClusterError` when the subnet has no address left below the LoadBalancer range.
    @discardableResult
    public mutating func addNode(rack wanted: Int? = nil) throws(LocalClusterError) -> Node {
        let population = rackSubnets.indices.map { rack in nodes.count { $0.rack == rack } }
        guard let rack = wanted ?? population.indices.min(by: { population[$0] < population[$1] }),
            rackSubnets.indices.contains(rack)
        else { throw LocalClusterError(.usage, "Profile \"\(name)\" has no rack \(wanted ?? 0).") }
        let used = Set(nodes.map(\.address))
        let subnet = rackSubnets[rack]
        guard let address = (2..<192).lazy.compactMap({ subnet[UInt128($0)] }).first(where: { !used.contains($0) })
        else {
            throw LocalClusterError(
                .resourceInUse, "Rack \(rack) (\(subnet)) has no free node address: 190 nodes are its limit.",
                nextStep: "Start the cluster with more racks: catbird start --racks N")
        }
        let suffix = nextNode < 10 ? "0\(nextNode)" : "\(nextNode)"
        let node = Node(name: nextNode == 1 ? name : "\(name)-m\(suffix)", rack: rack, address: address)
        nextNode += 1
        nodes.append(node)
        return node
    }

    public static let namePattern = "two to 40 lower-case letters, digits and dashes, a letter or digit at both ends"

    /// Whether `name` can name a profile: it becomes the name of a node and part of names of links and cgroups.
    public static func isValid(name: String) -> Bool {
        let bytes = Array(name.utf8)
        let alphanumeric = { (byte: UInt8) in (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte) }
        return (2...40).contains(bytes.count) && bytes.allSatisfy { alphanumeric($0) || $0 == UInt8(ascii: "-") }
            && bytes.first.map(alphanumeric) == true && bytes.last.map(alphanumeric) == true && name != "images"
    }
}

extension Profile {
    public var json: JSON {
        [
            "name": JSON(name), "racks": JSON(rackSubnets.map(\.description)),
            "nodes": .array(
                nodes.map {
                    [
                        "name": JSON($0.name), "rack": JSON($0.rack), "address": JSON($0.address.description),
                        "wanted": JSON($0.isWanted),
                    ]
                }),
            "nextNode": JSON(nextNode), "builtinImages": JSON(builtinImages), "createdAt": JSON(createdAt.description),
        ]
    }

    /// Nil when a field is missing or makes no sense.
    public init?(_ json: JSON) {
        guard let name = json["name"].string, let racks = json["racks"].array, let nodes = json["nodes"].array,
            let nextNode = json["nextNode"].int, let createdAt = json["createdAt"].string.flatMap({ Timestamp($0) })
        else { return nil }
        let subnets = racks.compactMap { $0.string.flatMap { CIDR($0) } }
        let parsed = nodes.compactMap { node -> Node? in
            guard let name = node["name"].string, let rack = node["rack"].int, subnets.indices.contains(rack),
                let address = node["address"].string.flatMap({ IPAddress($0) })
            else { return nil }
            return Node(name: name, rack: rack, address: address, isWanted: node["wanted"].bool ?? true)
        }
        guard subnets.count == racks.count, !subnets.isEmpty, parsed.count == nodes.count else { return nil }
        self.init(
            name: name, rackSubnets: subnets, nodes: parsed, nextNode: nextNode,
            builtinImages: json["builtinImages"].bool ?? true, createdAt: createdAt)
    }
}
