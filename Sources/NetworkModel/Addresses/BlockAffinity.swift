// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// A BlockAffinity: a node's claim to a block.
public struct BlockAffinity: Sendable, Hashable {
    public enum State: String, Sendable, Hashable {
        case pending
        case confirmed
        case pendingDeletion
    }

    public var object: KubeObject
    public let node: String
    public let cidr: CIDR
    public var state: State
    public var isDeleted: Bool
    /// `host`, or `virtual` for load balancers.
    public let type: String

    public init(node: String, cidr: CIDR, state: State) { self.init(owner: .host(node), cidr: cidr, state: state) }

    public init(owner: AffinityOwner, cidr: CIDR, state: State) {
        let node = owner.name
        object = KubeObject(
            .blockAffinities, kind: "BlockAffinity", name: IPAMNames.affinity(node: node, cidr),
            labels: [
                CalicoKeys.hostnameHash: IPAMNames.hostnameHash(node), CalicoKeys.affinityType: owner.type,
                CalicoKeys.ipVersion: cidr.family == .v4 ? "4" : "6",
            ])
        self.node = node
        self.cidr = cidr
        self.state = state
        type = owner.type
        isDeleted = false
    }

    public init(_ object: KubeObject) throws(IPAMObjectProblem) {
        let spec = object["spec"]
        guard let cidr = spec["cidr"].string.flatMap({ CIDR($0) }), let node = spec["node"].string else {
            throw IPAMObjectProblem(object: "BlockAffinity \(object.name)", reason: "spec.cidr or spec.node is missing")
        }
        self.object = object
        self.node = node
        self.cidr = cidr
        // An empty state is how the oldest rows say confirmed.
        let text = spec["state"].string ?? ""
        state = text.isEmpty ? .confirmed : State(rawValue: text) ?? .pending
        let type = spec["type"].string ?? ""
        self.type = type.isEmpty ? "host" : type
        // A string in v1, a boolean in v3.
        isDeleted = spec["deleted"].string == "true" || spec["deleted"].bool == true
    }

    public var name: String { object.name }
    public var owner: AffinityOwner { type == "virtual" ? .virtual(node) : .host(node) }

    public func encoded() -> KubeObject {
        var object = object
        var spec = object["spec"] ?? .object([:])
        spec["cidr"] = JSON("\(cidr)")
        spec["deleted"] = JSON(isDeleted ? "true" : "false")
        spec["node"] = JSON(node)
        spec["state"] = JSON(state.rawValue)
        spec["type"] = JSON(type)
        object["spec"] = spec
        return object
    }
}
