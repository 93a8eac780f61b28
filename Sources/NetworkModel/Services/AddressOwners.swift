// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// Whose an address is: what no Service may lead elsewhere, since its owner would be cut off.
public struct AddressOwners: Sendable, Hashable {
    /// The addresses of nodes, with the node's name.
    public var nodes: [IPAddress: String] = [:]
    public var apiServers: Set<IPAddress> = []
    /// The addresses that Services have of their own.
    public var services: [IPAddress: ObjectKey] = [:]
    /// Networks of the cluster, with what they are for: `pool default-ipv4-ippool`.
    public var ranges: [CIDR: String] = [:]

    public init() {}

    /// In words, as in "is …"; nil for an address that is nobody's here.
    ///
    /// - Parameter isBalancer: pools of load balancers may lie in the pods' networks.
    public func owner(of address: IPAddress, isBalancer: Bool = false) -> String? {
        if let name = nodes[address] { return "node \(name)'s own address" }
        if apiServers.contains(address) { return "the API server's address" }
        if let (range, use) = Self.special.first(where: { $0.range.contains(address) }) {
            return "\(use) (\(range))"
        }
        if isBalancer { return nil }
        if let service = services[address] { return "Service \(service)'s clusterIP" }
        let range = ranges.filter { $0.key.contains(address) }.min { $0.key < $1.key }
        return range.map { "in \($0.value) (\($0.key))" }
    }

    /// All addresses of a node: those that its status says, and the ends of its tunnels.
    public mutating func add(node: KubeObject) {
        for entry in node["status"]["addresses"].array ?? [] {
            if let address = entry["address"].string.flatMap({ IPAddress($0) }) { nodes[address] = node.name }
        }
        for endpoint in NodeNetwork(node)?.endpoints.values.map(\.self) ?? [] {
            let ends = [endpoint.address.address, endpoint.tunnelAddress, endpoint.ipipAddress]
            for address in ends.compactMap(\.self) { nodes[address] = node.name }
        }
    }

    /// Never an address of a Service: they mean the machine itself, its link, or nobody.
    private static let special: [(range: CIDR, use: String)] = [
        ("0.0.0.0/8", "no host's address"), ("127.0.0.0/8", "a loopback address"),
        ("169.254.0.0/16", "a link-local address"), ("224.0.0.0/3", "no single host's address"),
        ("::/128", "no host's address"), ("::1/128", "a loopback address"), ("fe80::/10", "a link-local address"),
        ("ff00::/8", "no single host's address"),
    ].compactMap { text, use in CIDR(text).map { ($0, use) } }
}

extension AddressOwners {
    /// By what a node's agent knows: the nodes, the API server's endpoints, pods' networks, and addresses of Services.
    public init(_ plan: NetworkPlan, _ ports: [ServicePort]) {
        self.init()
        nodes = plan.nodeNames
        for port in ports where port.service == Self.apiService {
            apiServers.formUnion(port.candidates.map(\.endpoint.address))
        }
        for network in plan.podNetworks { ranges[network] = Self.podNetwork }
        for port in ports {
            for address in port.clusterIPs {
                services[address] = services[address].map { min($0, port.service) } ?? port.service
            }
        }
    }

    static let podNetwork = "the pods' network"
    /// Its endpoints are the API servers.
    static let apiService = ObjectKey("default", "kubernetes")

    /// The ports without the external addresses that are somebody's, and what was left out.
    public func admissible(_ ports: [ServicePort]) -> (ports: [ServicePort], problems: [String]) {
        var problems: Set<String> = []
        let admitted = ports.map { port in
            let kept = port.externalIPs.filter { address in
                guard let owner = owner(of: address, isBalancer: port.balancerIPs.contains(address)) else {
                    return true
                }
                problems.insert(
                    "Service \(port.service): \(address) is \(owner): the Service is not reached by it, so that its owner is; take the address out of externalIPs or the load balancer's status"
                )
                return false
            }
            return port.reached(by: kept)
        }
        return (admitted, problems.sorted())
    }
}
