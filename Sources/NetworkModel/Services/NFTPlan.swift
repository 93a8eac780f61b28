// SPDX-License-Identifier: Apache-2.0

public import Values

/// The content of tables `ip catbird` and `ip6 catbird`: outgoing NAT of pods, their floating addresses, the check of
/// their sources, and Services.
///
/// A packet to a Service is looked up in one of three maps (cluster addresses, external addresses, node ports), whose
/// verdict is the chain of that Service's port; the chain picks an endpoint at random and translates the destination.
/// An endpoint that comes or goes changes that chain and an element of a set, and nothing else.
public enum NFTPlan {
    public static let table = "catbird"
    /// Set on what must leave with the node's own address, so that the answer comes back through this node.
    public static let masqueradeMark = "0x00004000"

    /// What nft calls the family: in tables and matches, and in types.
    private static func words(_ family: IPFamily) -> (ip: String, type: String) {
        family == .v4 ? ("ip", "ipv4_addr") : ("ip6", "ipv6_addr")
    }

    /// Whether the family's table has anything to do.
    public static func isNeeded(_ family: IPFamily, _ plan: NetworkPlan, _ ports: [ServicePort]) -> Bool {
        family == .v4 || plan.podNetworks.contains { $0.family == .v6 } || ports.contains { $0.family == .v6 }
    }

    /// The table of one family.
    public static func content(_ plan: NetworkPlan, _ ports: [ServicePort], _ family: IPFamily = .v4) -> NFTContent {
        var content = skeleton(family, plan.felix)
        for node in plan.nodeAddresses where node.family == family {
            content.sets["nodes"]?.elements["\(node.address)"] = ""
        }
        for source in plan.allowedSources where source.network.family == family {
            content.sets["allowed-sources"]?.elements["\"\(source.interface)\" . \(source.network)"] = ""
        }
        content.sets["pods"]?.elements = elements(plan.podNetworks, family)
        content.sets["masqueraded"]?.elements = elements(plan.masqueraded, family)
        for floating in plan.floating.sorted(by: { $0.external < $1.external }) where floating.pod.family == family {
            content.sets["floating"]?.elements["\(floating.external)"] = "\(floating.pod)"
            content.sets["floating-hairpins"]?.elements["\(floating.pod) . \(floating.pod)"] = ""
            // Of several the first stands for the pod.
            if content.sets["floating-sources"]?.elements["\(floating.pod)"] == nil {
                content.sets["floating-sources"]?.elements["\(floating.pod)"] = "\(floating.external)"
            }
        }
        for port in plan.hostPorts where port.pod.family == family {
            let key = "\(port.transport.rawValue) . \(port.port)"
            let target = "\(port.pod) . \(port.podPort)"
            if let address = port.hostAddress {
                content.sets["host-ports-at"]?.elements["\(address) . \(key)"] = target
            } else {
                content.sets["host-ports"]?.elements[key] = target
            }
            content.sets["hairpins"]?.elements["\(port.pod) . \(port.pod)"] = ""
        }
        let admitted = AddressOwners(plan, ports).admissible(ports.filter { $0.family == family }).ports
        for port in admitted { add(port, to: &content, words(family).ip) }
        return content
    }

    /// A table of its own for a network without an agent: outgoing NAT, and the check of sources for the interfaces of
    /// its containers.
    public static func standalone(
        table: String, pods: [CIDR], masqueraded: [CIDR], _ family: IPFamily
    ) -> NFTContent {
        let (ip, type) = words(family)
        var content = NFTContent(table: "\(ip) \(table)")
        content.sets["pods"] = .init(set: "type \(type); flags interval;", pods.map { "\($0)" })
        content.sets["masqueraded"] = .init(set: "type \(type); flags interval;", masqueraded.map { "\($0)" })
        content.chains["nat-postrouting"] = .init(
            hook: "type nat hook postrouting priority srcnat; policy accept;",
            ["oifname \"lo\" return"] + outgoing(family, FelixSettings()))
        content.chains["from-pods"] = sources(family)
        return content
    }

    private static func elements(_ networks: Set<CIDR>, _ family: IPFamily) -> [String: String] {
        Dictionary(uniqueKeysWithValues: networks.filter { $0.family == family }.map { ("\($0)", "") })
    }

    /// What leaves the cluster, and with which address and ports. Only transports have ports to choose.
    private static func outgoing(_ family: IPFamily, _ felix: FelixSettings) -> [String] {
        let ip = words(family).ip
        let match =
            "\(ip) saddr @masqueraded \(ip) daddr != @pods" + (felix.sparesNodes ? " \(ip) daddr != @nodes" : "")
        let address = family == .v4 ? felix.natAddress : nil
        var rules: [String] = []
        if let ports = felix.natPorts {
            let target = "\(ports.lowerBound)-\(ports.upperBound)"
            let action = address.map { "snat to \($0):\(target)" } ?? "masquerade to :\(target)"
            rules.append("meta l4proto { tcp, udp, sctp } \(match) \(action)")
        }
        return rules + ["\(match) \(address.map { "snat to \($0)" } ?? "masquerade")"]
    }

    private static func skeleton(_ family: IPFamily, _ felix: FelixSettings) -> NFTContent {
        let (ip, type) = words(family)
        var content = NFTContent(table: "\(ip) \(table)")
        let key = "type \(type) . inet_proto . inet_service : verdict;"
        content.sets["pods"] = .init(set: "type \(type); flags interval;")
        content.sets["masqueraded"] = .init(set: "type \(type); flags interval;")
        content.sets["nodes"] = .init(set: "type \(type);")
        content.sets["allowed-sources"] = .init(set: "type ifname . \(type); flags interval;")
        content.sets["floating"] = .init(map: "type \(type) : \(type);")
        content.sets["floating-sources"] = .init(map: "type \(type) : \(type);")
        content.sets["floating-hairpins"] = .init(set: "type \(type) . \(type);")
        content.sets["cluster-addresses"] = .init(map: key)
        content.sets["external-addresses"] = .init(map: key)
        content.sets["node-ports"] = .init(map: "type inet_proto . inet_service : verdict;")
        let target = "\(type) . inet_service"
        content.sets["host-ports"] = .init(map: "type inet_proto . inet_service : \(target);")
        content.sets["host-ports-at"] = .init(map: "type \(type) . inet_proto . inet_service : \(target);")
        content.sets["service-addresses"] = .init(set: "type \(type);")
        content.sets["unserved-ports"] = .init(set: "type \(type) . inet_proto . inet_service;")
        content.sets["hairpins"] = .init(set: "type \(type) . \(type);")
        let transports = "meta l4proto { tcp, udp, sctp }"
        let loopback = family == .v4 ? "127.0.0.0/8" : "::1"
        content.chains["services"] = .init([
            "\(transports) \(ip) daddr . meta l4proto . th dport vmap @cluster-addresses",
            "\(transports) \(ip) daddr . meta l4proto . th dport vmap @external-addresses",
            "\(transports) fib daddr type local dnat \(ip) to \(ip) daddr . meta l4proto . th dport map @host-ports-at",
            "\(transports) fib daddr type local dnat \(ip) to meta l4proto . th dport map @host-ports",
            "\(transports) fib daddr type local \(ip) daddr != \(loopback) meta l4proto . th dport vmap @node-ports",
            "dnat to \(ip) daddr map @floating",
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
            ]
                // The node's own programs reach host ports at its loopback addresses too.
                + (family == .v4 ? ["oifname \"cali*\" ip saddr \(loopback) ct status dnat masquerade"] : []) + [
                    "ct status dnat \(ip) saddr . \(ip) daddr @floating-hairpins snat to \(ip) saddr map @floating-sources",
                    "ct status dnat \(ip) saddr . \(ip) daddr @hairpins masquerade",
                ] + outgoing(family, felix))
        content.chains["from-pods"] = sources(family, allowed: "iifname . \(ip) saddr != @allowed-sources ")
        // What is still addressed to a Service here found no endpoint, or no such port: say so at once. ICMP is limited
        // in rate, a reset is not.
        // A cluster address and a load balancer's are the Service's alone; of any other address only the port is, and
        // what is this node's own is never refused here.
        let unserved = "\(ip) daddr . meta l4proto . th dport @unserved-ports"
        content.chains["unserved"] = .init([
            "fib daddr type local return",
            "meta l4proto tcp \(ip) daddr @service-addresses reject with tcp reset",
            "\(ip) daddr @service-addresses reject",
            "meta l4proto tcp \(unserved) reject with tcp reset", "\(transports) \(unserved) reject",
        ])
        content.chains["filter-forward"] = .init(
            hook: "type filter hook forward priority filter; policy accept;", ["ct state new jump unserved"])
        content.chains["filter-output"] = .init(
            hook: "type filter hook output priority filter; policy accept;", ["ct state new jump unserved"])
        content.chains["filter-input"] = .init(
            hook: "type filter hook input priority filter; policy accept;", ["ct state new jump unserved"])
        return content
    }

    /// A pod sends with addresses whose route leads to it, and no tunnels of its own that would pass for the node's.
    private static func sources(_ family: IPFamily, allowed: String = "") -> NFTContent.Chain {
        // Neighbours are found by link-local addresses, and, before there is one, by none.
        let exempt = family == .v4 ? "" : "ip6 saddr != { ::, fe80::/10 } "
        let tunnelInside = family == .v4 ? ["iifname \"cali*\" meta l4proto 4 drop"] : []
        return .init(
            hook: "type filter hook prerouting priority raw; policy accept;",
            ["iifname \"cali*\" \(exempt)\(allowed)fib saddr . iif oif missing drop"] + tunnelInside
                + ["iifname \"cali*\" udp dport \(NetworkPlan.Tunnel.port) drop"])
    }

    private static func add(_ port: ServicePort, to content: inout NFTContent, _ ip: String) {
        for address in port.clusterIPs + port.balancerIPs {
            content.sets["service-addresses"]?.elements["\(address)"] = ""
        }
        guard !port.endpoints.isEmpty else {
            for address in port.externalIPs where !port.balancerIPs.contains(address) {
                content.sets["unserved-ports"]?.elements["\(address) . \(port.transport.rawValue) . \(port.port)"] = ""
            }
            return
        }
        content.chains[port.chain] = .init([
            "\(ip) saddr != @pods meta mark set meta mark or \(masqueradeMark)", translation(port, ip),
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

    private static func translation(_ port: ServicePort, _ ip: String) -> String {
        let endpoints = port.endpoints
        let head = "meta l4proto \(port.transport.rawValue) dnat"
        if endpoints.count == 1 {
            let address = "\(endpoints[0].address)"
            return "\(head) to \(port.family == .v6 ? "[\(address)]" : address):\(endpoints[0].port)"
        }
        let choices = endpoints.enumerated().map { "\($0.offset) : \($0.element.address) . \($0.element.port)" }
        return "\(head) \(ip) to numgen random mod \(endpoints.count) map { \(choices.joined(separator: ", ")) }"
    }
}
