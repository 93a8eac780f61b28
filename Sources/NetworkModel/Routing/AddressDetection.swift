// SPDX-License-Identifier: Apache-2.0

public import Values

/// An interface of the node, as far as finding the node's address needs it.
public struct NodeInterface: Sendable, Hashable {
    public let name: String
    public let index: Int
    public let mtu: Int
    public let isUp: Bool
    public let isLoopback: Bool
    /// Global addresses with their prefixes, in the kernel's order.
    public let addresses: [CIDR]

    public init(name: String, index: Int, mtu: Int, isUp: Bool, isLoopback: Bool, addresses: [CIDR]) {
        self.name = name
        self.index = index
        self.mtu = mtu
        self.isUp = isUp
        self.isLoopback = isLoopback
        self.addresses = addresses
    }
}

/// How a node's address is found: the values of `IP_AUTODETECTION_METHOD` and `IP6_AUTODETECTION_METHOD`.
public enum AddressDetection: Sendable, Hashable {
    /// The first address of the first interface that is up and none of the software's own.
    case firstFound
    /// What the kubelet reports.
    case kubernetesInternalIP
    /// The address that packets to this address or name leave with.
    case canReach(String)
    /// Of interfaces whose names match one of these patterns, in their order.
    case interface([NamePattern])
    /// Of interfaces whose names match none of these.
    case skipInterface([NamePattern])
    /// An address in one of these networks.
    case cidr([CIDR])

    /// Why a method cannot be used.
    public struct Problem: Error, Sendable, Hashable, CustomStringConvertible {
        public let description: String
    }

    public init(_ text: String) throws(Problem) {
        func list(_ prefix: String) -> [String]? {
            guard text.hasPrefix(prefix) else { return nil }
            return text.dropFirst(prefix.count).split(separator: ",").map { String($0.filter { $0 != " " }) }
        }
        if text.isEmpty || text == "first-found" || text == "autodetect" {
            self = .firstFound
        } else if text == "kubernetes-internal-ip" {
            self = .kubernetesInternalIP
        } else if let target = list("can-reach=")?.first, !target.isEmpty {
            self = .canReach(target)
        } else if let names = list("interface="), !names.isEmpty {
            self = .interface(try Self.patterns(names, text))
        } else if let names = list("skip-interface="), !names.isEmpty {
            self = .skipInterface(try Self.patterns(names, text))
        } else if let texts = list("cidr="), !texts.isEmpty {
            var networks: [CIDR] = []
            for text in texts {
                guard let network = CIDR(text) else {
                    throw Problem(description: "address detection cidr=\(text): \"\(text)\" is not a network")
                }
                networks.append(network)
            }
            self = .cidr(networks)
        } else {
            throw Problem(
                description:
                    "address detection \"\(text)\" is not known: use first-found, kubernetes-internal-ip, can-reach=, interface=, skip-interface= or cidr="
            )
        }
    }

    private static func patterns(_ names: [String], _ text: String) throws(Problem) -> [NamePattern] {
        var patterns: [NamePattern] = []
        for name in names {
            guard let pattern = NamePattern(name) else {
                throw Problem(
                    description:
                        "address detection \"\(text)\": \"\(name)\" is no name or pattern of literals, ., *, +, ?, [] and |"
                )
            }
            patterns.append(pattern)
        }
        return patterns
    }

    /// Names of interfaces that containers, tunnels and the agent itself make, which are never the node's own.
    public static let excludedPatterns = [
        "docker.*", "cbr.*", "dummy.*", "virbr.*", "lxcbr.*", "veth.*", "lo", "cali.*", "tunl.*", "flannel.*",
        "kube-ipvs.*", "cni.*", "vxlan.calico.*", "vxlan-v6.calico.*", "wireguard.cali.*", "wg-v6.cali.*",
        "nodelocaldns.*",
    ].compactMap { NamePattern($0) }

    /// The node's address with its subnet's prefix, and its interface; nil when there is none.
    ///
    /// - Parameters:
    ///   - reported: what the kubelet says the node's address is.
    ///   - source: the address that packets to a target leave with; asked for `can-reach` alone.
    public func find(
        _ family: IPFamily, in interfaces: [NodeInterface], reported: IPAddress?, source: (String) -> IPAddress?
    ) -> (address: CIDR, interface: NodeInterface)? {
        func first(
            _ interfaces: some Sequence<NodeInterface>, where isWanted: (IPAddress) -> Bool = { _ in true }
        ) -> (CIDR, NodeInterface)? {
            for interface in interfaces where interface.isUp {
                for address in interface.addresses where address.family == family && isWanted(address.address) {
                    return (address, interface)
                }
            }
            return nil
        }
        func without(_ patterns: [NamePattern]) -> [NodeInterface] {
            interfaces.filter { link in !link.isLoopback && !patterns.contains { $0.matches(link.name) } }
        }
        switch self {
        case .firstFound: return first(without(Self.excludedPatterns))
        case .kubernetesInternalIP: return reported.flatMap { wanted in first(interfaces) { $0 == wanted } }
        case .canReach(let target): return source(target).flatMap { wanted in first(interfaces) { $0 == wanted } }
        case .interface(let patterns):
            for pattern in patterns {
                if let found = first(interfaces.filter({ pattern.matches($0.name) })) { return found }
            }
            return nil
        case .skipInterface(let patterns): return first(without(Self.excludedPatterns + patterns))
        case .cidr(let networks):
            return first(without(Self.excludedPatterns)) { address in networks.contains { $0.contains(address) } }
        }
    }
}
