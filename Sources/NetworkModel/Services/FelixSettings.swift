// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// What FelixConfiguration `default` says of outgoing NAT and of the sources that pods may send with.
public struct FelixSettings: Sendable, Hashable {
    /// natPortRange: the source ports of what is translated; nil leaves them to the kernel.
    public var natPorts: ClosedRange<Int>?
    /// natOutgoingAddress, IPv4: nil takes the address of the interface that a packet leaves by.
    public var natAddress: IPAddress?
    /// natOutgoingExclusions `IPPoolsAndHostIPs`: what goes to a node keeps the pod's address.
    public var sparesNodes = false
    /// workloadSourceSpoofing `Any`: pods may send with the networks of their annotation, see ``AllowedSource``.
    public var allowsSources = false
    /// floatingIPs `Enabled`.
    public var hasFloatingAddresses = false
    public var problems: [String] = []

    /// Felix's defaults.
    public init() {}

    public init(_ object: KubeObject?) {
        guard let spec = object?["spec"] else { return }
        hasFloatingAddresses = spec["floatingIPs"].string == "Enabled"
        sparesNodes = spec["natOutgoingExclusions"].string == "IPPoolsAndHostIPs"
        allowsSources = spec["workloadSourceSpoofing"].string?.lowercased() == "any"
        if let value = spec["natPortRange"] {
            natPorts = Self.ports(value)
            if natPorts == nil { refuse("natPortRange", value, "a range as 32768:65535 is wanted") }
        }
        if let text = spec["natOutgoingAddress"].string, !text.isEmpty {
            natAddress = IPAddress(text).flatMap { $0.family == .v4 ? $0 : nil }
            if natAddress == nil { refuse("natOutgoingAddress", JSON(text), "an IPv4 address is wanted") }
        }
    }

    private mutating func refuse(_ field: String, _ value: JSON, _ reason: String) {
        problems.append("FelixConfiguration default: spec.\(field): \(value.text()): \(reason); it is left out")
    }

    /// A port, or `MIN:MAX`.
    static func ports(_ value: JSON) -> ClosedRange<Int>? {
        if let port = value.int { return (1...65535).contains(port) ? port...port : nil }
        let parts = (value.string ?? "").split(separator: ":", omittingEmptySubsequences: false).map { Int($0) }
        guard let first = parts.first ?? nil, let last = parts.last ?? nil, parts.count <= 2, 1 <= first, first <= last,
            last <= 65535
        else { return nil }
        return first...last
    }
}

/// A network that a pod may send with although it is not the pod's own: annotation
/// `cni.projectcalico.org/allowedSourcePrefixes`, a list of networks.
public struct AllowedSource: Sendable, Hashable, Comparable {
    public static let annotation = "cni.projectcalico.org/allowedSourcePrefixes"

    /// The host end of the pod's link.
    public let interface: String
    public let network: CIDR

    public init(interface: String, network: CIDR) {
        self.interface = interface
        self.network = network.network
    }

    /// The annotation's networks; nil for what is no list of networks.
    public static func networks(_ annotation: String) -> [CIDR]? {
        guard let list = (try? JSON(parsing: annotation))?.array else { return nil }
        let networks = list.map { $0.string.flatMap { CIDR($0) } }
        return networks.contains(nil) ? nil : networks.compactMap(\.self)
    }

    public static func < (left: AllowedSource, right: AllowedSource) -> Bool {
        (left.interface, left.network) < (right.interface, right.network)
    }
}
