// SPDX-License-Identifier: Apache-2.0

/// Who a block belongs to.
public enum AffinityOwner: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// A node of the cluster.
    case host(String)
    /// Somebody who is no node: `load-balancer`.
    case virtual(String)

    /// The owner of the blocks that LoadBalancer addresses come from.
    public static let loadBalancer = AffinityOwner.virtual("load-balancer")

    /// Reads `host:<node>` or `virtual:<name>`; nil for anything else.
    public init?(_ text: some StringProtocol) {
        if text.hasPrefix("host:") {
            self = .host(String(text.dropFirst(5)))
        } else if text.hasPrefix("virtual:") {
            self = .virtual(String(text.dropFirst(8)))
        } else {
            return nil
        }
    }

    /// The `type` of a BlockAffinity: `host` or `virtual`.
    public var type: String {
        switch self {
        case .host: "host"
        case .virtual: "virtual"
        }
    }

    /// The `node` of a BlockAffinity.
    public var name: String {
        switch self {
        case .host(let name), .virtual(let name): name
        }
    }

    /// The node, nil for a virtual owner.
    public var node: String? { if case .host(let name) = self { name } else { nil } }

    /// As IPAMBlock's `affinity` has it.
    public var description: String { "\(type):\(name)" }

    public static func < (left: AffinityOwner, right: AffinityOwner) -> Bool {
        (left.type, left.name) < (right.type, right.name)
    }
}
