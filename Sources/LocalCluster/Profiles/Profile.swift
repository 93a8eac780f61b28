// SPDX-License-Identifier: Apache-2.0

public import Values

/// What a local cluster was asked to be: written at its start, changed by `node add`, `delete`, `stop` and `start`.
public struct Profile: Sendable, Hashable {
    public typealias Node = FabricPlan.Node

    public let name: ProfileName
    /// Racks and nodes with their addresses, which never change.
    public private(set) var plan: FabricPlan
    /// Names of nodes that `node stop` has stopped.
    public var stopped: Set<String>
    /// The number that the next node gets. It never goes back, so that no name is used twice.
    public private(set) var nextNode: Int
    public let builtinImages: Bool
    /// How its nodes reach registries.
    public var pulls: PullSettings
    public let createdAt: Timestamp

    public init(
        name: ProfileName, plan: FabricPlan, stopped: Set<String> = [], nextNode: Int = 1, builtinImages: Bool = true,
        pulls: PullSettings = PullSettings(), createdAt: Timestamp = .now
    ) {
        self.name = name
        self.plan = plan
        self.stopped = stopped
        self.nextNode = nextNode
        self.builtinImages = builtinImages
        self.pulls = pulls
        self.createdAt = createdAt
    }

    public var nodes: [Node] { plan.nodes }
    /// Those that are meant to run.
    public var wantedNodes: [Node] { nodes.filter { !stopped.contains($0.name) } }
    /// The first node, which carries the control plane.
    public var controlPlaneNode: Node? { nodes.first }
    public static let apiPort = 8443
    /// The ranges of Services and of pods.
    static let clusterRanges = ["10.96.0.0/12", "10.244.0.0/16"].compactMap { CIDR($0) }

    /// A node by its name, or by what follows the profile's name in it: `lab-m02` or `m02`.
    public func node(named name: String) -> Node? {
        plan.node(name) ?? plan.node("\(self.name)-\(name)")
    }

    /// The first node is called like the profile, the others `-m02`, `-m03`, as minikube calls them.
    @discardableResult
    public mutating func addNode(rack: Int? = nil) throws(FabricError) -> Node {
        let suffix = nextNode < 10 ? "0\(nextNode)" : "\(nextNode)"
        let node = try plan.addNode(nextNode == 1 ? name.text : "\(name)-m\(suffix)", rack: rack)
        nextNode += 1
        return node
    }

    public mutating func removeNode(_ name: String) {
        plan.removeNode(name)
        stopped.remove(name)
    }
}

extension Profile {
    public var json: JSON {
        [
            "name": JSON(name.text), "fabric": plan.json, "stopped": JSON(stopped.sorted()), "nextNode": JSON(nextNode),
            "builtinImages": JSON(builtinImages), "pulls": pulls.json, "createdAt": JSON(createdAt.description),
        ]
    }

    /// Nil when a field is missing or makes no sense.
    public init?(_ json: JSON) {
        guard let name = json["name"].string.flatMap({ try? ProfileName($0) }), let fabric = json["fabric"],
            let plan = try? FabricPlan(fabric),
            let nextNode = json["nextNode"].int, let createdAt = json["createdAt"].string.flatMap({ Timestamp($0) })
        else { return nil }
        // Folders and control groups are made of the nodes' names.
        guard plan.nodes.allSatisfy({ ProfileName.isLabel($0.name, length: 2...63) }) else { return nil }
        self.init(
            name: name, plan: plan, stopped: Set((json["stopped"].array ?? []).compactMap(\.string)),
            nextNode: nextNode,
            builtinImages: json["builtinImages"].bool ?? true, pulls: PullSettings(json["pulls"]), createdAt: createdAt)
    }
}
