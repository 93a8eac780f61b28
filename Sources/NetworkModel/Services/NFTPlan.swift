// SPDX-License-Identifier: Apache-2.0

import Values

/// The content of table `ip catbird`: outgoing NAT of pods, and Services.
///
/// A packet to a Service is looked up in one of three maps (cluster addresses, external addresses, node ports), whose
/// verdict is the chain of that Service's port; the chain picks an endpoint at random and translates the destination.
/// An endpoint that comes or goes changes that chain and an element of a set, and nothing else.
public enum NFTPlan {
    public static let table = "ip catbird"
    /// Set on what must leave with the node's own address, so that the answer comes back through this node.
    public static let masqueradeMark = "0x00004000"

    private static let key = "type ipv4_addr . inet_proto . inet_service : verdict;"

    public static func content(_ plan: NetworkPlan, _ ports: [ServicePort]) -> NFTContent {
        var content = skeleton()
        content.sets["pods"]?.elements = elements(plan.podNetworks)
        content.sets["masqueraded"]?.elements = elements(plan.masqueraded)
        for port in ports { add(port, to: &content) }
        return content
    }

    private static func elements(_ networks: Set<CIDR>) -> [String: String] {
        Dictionary(uniqueKeysWithValues: networks.map { ("\($0)", "") })
    }

    private static func skeleton() -> NFTContent {
        var content = NFTContent(table: table)
        content.sets["pods"] = .init(set: "type ipv4_addr; flags interval;")
        content.sets["masqueraded"] = .init(set: "type ipv4_addr; flags interval;")
        content.sets["cluster-addresses"] = .init(map: key)
        content.sets["external-addresses"] = .init(map: key)
        content.sets["node-ports"] = .init(map: "type inet_proto . inet_service : verdict;")
        content.sets["service-addresses"] = .init(set: "type ipv4_addr;")
        content.sets["hairpins"] = .init(set: "type ipv4_addr . ipv4_addr;")
        let transports = "meta l4proto { tcp, udp, sctp }"
        content.chains["services"] = .init([
            "\(transports) ip daddr . meta l4proto . th dport vmap @cluster-addresses",
            "\(transports) ip daddr . meta l4proto . th dport vmap @external-addresses",
            "\(transports) fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @node-ports",
        ])
        content.chains["nat-prerouting"] = .init(
            hook: "type nat hook prerouting priority dstnat; policy accept;", ["jump services"])
        content.chains["nat-output"] = .init(
            hook: "type nat hook output priority -100; policy accept;", ["jump services"])
        content.chains["nat-postrouting"] = .init(
            hook: "type nat hook postrouting priority srcnat; policy accept;",
            [
                "oifname \"lo\" return",
                "meta mark and \(masqueradeMark) != 0x0 masquerade",
                "ct status dnat ip saddr . ip daddr @hairpins masquerade",
                "ip saddr @masqueraded ip daddr != @pods masquerade",
            ])
        // What is still addressed to a Service here found no endpoint, or no such port: say so at once. ICMP is limited
        // in rate, a reset is not.
        content.chains["unserved"] = .init([
            "meta l4proto tcp ip daddr @service-addresses reject with tcp reset", "ip daddr @service-addresses reject",
        ])
        content.chains["filter-forward"] = .init(
            hook: "type filter hook forward priority filter; policy accept;", ["ct state new jump unserved"])
        content.chains["filter-output"] = .init(
            hook: "type filter hook output priority filter; policy accept;", ["ct state new jump unserved"])
        content.chains["filter-input"] = .init(
            hook: "type filter hook input priority filter; policy accept;", ["ct state new jump unserved"])
        return content
    }

    private static func add(_ port: ServicePort, to content: inout NFTContent) {
        for address in port.clusterIPs + port.externalIPs {
            content.sets["service-addresses"]?.elements["\(address)"] = ""
        }
        guard !port.endpoints.isEmpty else { return }
        content.chains[port.chain] = .init([
            "ip saddr != @pods meta mark set meta mark or \(masqueradeMark)", translation(port),
        ])
        for endpoint in port.endpoints {
            content.sets["hairpins"]?.elements["\(endpoint.address) . \(endpoint.address)"] = ""
        }
        let transport = port.transport.rawValue
        for address in port.clusterIPs {
            content.sets["cluster-addresses"]?.elements["\(address) . \(transport) . \(port.port)"] =
                "goto \(port.chain)"
        }
        guard !port.externalIPs.isEmpty || port.nodePort != nil else { return }
        content.chains[port.externalChain] = .init([
            "meta mark set meta mark or \(masqueradeMark)", "goto \(port.chain)",
        ])
        for address in port.externalIPs {
            content.sets["external-addresses"]?.elements["\(address) . \(transport) . \(port.port)"] =
                "goto \(port.externalChain)"
        }
        if let nodePort = port.nodePort {
            content.sets["node-ports"]?.elements["\(transport) . \(nodePort)"] = "goto \(port.externalChain)"
        }
    }

    private static func translation(_ port: ServicePort) -> String {
        let endpoints = port.endpoints
        let head = "meta l4proto \(port.transport.rawValue) dnat"
        if endpoints.count == 1 { return "\(head) to \(endpoints[0].address):\(endpoints[0].port)" }
        let choices = endpoints.enumerated().map { "\($0.offset) : \($0.element.address) . \($0.element.port)" }
        return "\(head) ip to numgen random mod \(endpoints.count) map { \(choices.joined(separator: ", ")) }"
    }
}
