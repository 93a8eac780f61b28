// SPDX-License-Identifier: Apache-2.0

public import Values

/// Who asks for an address, and which pools it may come from.
public struct AddressRequest: Sendable, Hashable {
    /// Pools asked for by name or network, and who asked: `annotation cni.projectcalico.org/ipv4pools of pod ns/name`.
    public struct PoolChoice: Sendable, Hashable {
        public var pools: [String]
        public var source: String

        public init(_ pools: [String], source: String) {
            self.pools = pools
            self.source = source
        }
    }

    public var node: String
    public var use: PoolUse
    public var handleID: String
    /// What the block records beside the handle.
    public var values: [String: String]
    /// `pod default/web`
    public var subject: String
    public var namespace: String?
    public var namespaceLabels: [String: String]
    public var choice: PoolChoice?

    public init(
        node: String, use: PoolUse, handleID: String, values: [String: String], subject: String,
        namespace: String? = nil, namespaceLabels: [String: String] = [:], choice: PoolChoice? = nil
    ) {
        self.node = node
        self.use = use
        self.handleID = handleID
        self.values = values
        self.subject = subject
        self.namespace = namespace
        self.namespaceLabels = namespaceLabels
        self.choice = choice
    }
}

extension AddressRequest.PoolChoice {
    public struct Malformed: Error, Sendable, CustomStringConvertible {
        public let description: String
    }

    /// The choice that annotations make: the pod's before its namespace's, nil when neither has one.
    public init?(
        podName: String, podAnnotations: [String: String], namespace: String, namespaceAnnotations: [String: String]
    ) throws(Malformed) {
        let key = CalicoKeys.ipv4Pools
        let text: String
        if let value = podAnnotations[key], !value.isEmpty {
            text = value
            source = "annotation \(key) of pod \(namespace)/\(podName)"
        } else if let value = namespaceAnnotations[key], !value.isEmpty {
            text = value
            source = "annotation \(key) of namespace \(namespace)"
        } else {
            return nil
        }
        let names = (try? JSON(parsing: text))?.array?.map(\.string)
        guard let names, !names.isEmpty, !names.contains(nil) else {
            throw Malformed(
                description:
                    "\(source) is \(text), which is not a JSON list of pool names or networks such as [\"default-ipv4-ippool\"]"
            )
        }
        pools = names.compactMap(\.self)
    }
}

/// What the decision is made from.
public struct IPAMSnapshot: Sendable {
    public var pools: [IPPool]
    public var problems: [IPPool.Problem]
    public var blocks: [CIDR: IPAMBlock]
    /// The claims of the asking node.
    public var affinities: [BlockAffinity]
    public var config: IPAMConfig
    /// The labels of every node.
    public var nodes: [String: [String: String]]

    public init(
        pools: [IPPool] = [], problems: [IPPool.Problem] = [], blocks: [CIDR: IPAMBlock] = [:],
        affinities: [BlockAffinity] = [], config: IPAMConfig = IPAMConfig(), nodes: [String: [String: String]] = [:]
    ) {
        self.pools = pools
        self.problems = problems
        self.blocks = blocks
        self.affinities = affinities
        self.config = config
        self.nodes = nodes
    }
}
