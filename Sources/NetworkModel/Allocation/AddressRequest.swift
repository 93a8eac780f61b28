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
    /// The families to assign: all of them or none.
    public var families: [IPFamily]
    /// Pools asked for, by family.
    public var choices: [IPFamily: PoolChoice]
    /// Exactly these addresses, at most one a family, and no others. Selectors, reservations and assignmentMode are not
    /// asked; allowedUses and strictAffinity are.
    public var explicit: [IPAddress]
    /// Addresses of each family.
    public var count: Int
    /// A limit of blocks for this request; the smaller of it and the configuration's wins.
    public var maxBlocks: Int?

    /// The choice of IPv4 pools.
    public var choice: PoolChoice? {
        get { choices[.v4] }
        set { choices[.v4] = newValue }
    }

    /// Who owns the blocks that the addresses come from.
    public var owner: AffinityOwner { use == .loadBalancer ? .loadBalancer : .host(node) }

    public init(
        node: String, use: PoolUse, handleID: String, values: [String: String], subject: String,
        namespace: String? = nil, namespaceLabels: [String: String] = [:], choice: PoolChoice? = nil,
        families: [IPFamily] = [.v4], choices: [IPFamily: PoolChoice] = [:], explicit: [IPAddress] = [],
        count: Int = 1, maxBlocks: Int? = nil
    ) {
        self.node = node
        self.use = use
        self.handleID = handleID
        self.values = values
        self.subject = subject
        self.namespace = namespace
        self.namespaceLabels = namespaceLabels
        self.families = families
        self.choices = choices
        self.explicit = explicit
        self.count = count
        self.maxBlocks = maxBlocks
        if let choice { self.choices[.v4] = choice }
    }
}

extension AddressRequest.PoolChoice {
    public struct Malformed: Error, Sendable, CustomStringConvertible {
        public let description: String
    }

    /// The choice that annotations make: the pod's before its namespace's, nil when neither has one.
    public init?(
        podName: String, podAnnotations: [String: String], namespace: String, namespaceAnnotations: [String: String],
        family: IPFamily = .v4
    ) throws(Malformed) {
        let key = family == .v4 ? CalicoKeys.ipv4Pools : CalicoKeys.ipv6Pools
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

extension AddressRequest {
    /// The families that annotation `ipFamilies` asks for: the pod's before its namespace's, nil when neither has one.
    public static func families(
        podName: String, podAnnotations: [String: String], namespace: String, namespaceAnnotations: [String: String]
    ) throws(PoolChoice.Malformed) -> [IPFamily]? {
        let key = CalicoKeys.ipFamilies
        let text: String
        let source: String
        if let value = podAnnotations[key], !value.isEmpty {
            (text, source) = (value, "pod \(namespace)/\(podName)")
        } else if let value = namespaceAnnotations[key], !value.isEmpty {
            (text, source) = (value, "namespace \(namespace)")
        } else {
            return nil
        }
        let families = (try? JSON(parsing: text))?.array?.map { $0.string.flatMap(IPFamily.init(rawValue:)) }
        guard let families, !families.isEmpty, !families.contains(nil), Set(families).count == families.count else {
            throw PoolChoice.Malformed(
                description:
                    "annotation \(key) of \(source) is \(text), which is not a JSON list of IPv4 and IPv6, each once")
        }
        return families.compactMap(\.self)
    }
}
