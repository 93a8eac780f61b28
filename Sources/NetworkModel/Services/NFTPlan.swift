// SPDX-License-Identifier: Apache-2.0

public import Values

/// The content of tables `ip catbird` and `ip6 catbird`: outgoing NAT of pods, their floating addresses, the check of
/// their sources, and Services.
///
/// A packet to a Service is looked up by address, protocol and port, or by protocol and port where the address is the
/// node's own. What that leads to, the mark of a Service's port, is kept with the connection and leads to an endpoint, or
/// to as many slots as ``ServiceElement/slotCounts`` says, of which one is taken at random. No rule and no chain is a
/// Service's: an endpoint that comes or goes changes elements of maps, and of those the ones that were its own.
public enum NFTPlan {
    public static let table = "catbird"
    /// Set on what must leave with the node's own address, so that the answer comes back through this node.
    public static let masqueradeMark = "0x00004000"

    /// What nft calls the family: in tables and matches, and in types.
    private static func words(_ family: IPFamily) -> (ip: String, type: String) {
        family == .v4 ? ("ip", "ipv4_addr") : ("ip6", "ipv6_addr")
    }

    /// Whether the family's table has anything to do.
    ///
    /// - Parameter hasServices: whether a Service has an address of it.
    public static func isNeeded(_ family: IPFamily, _ plan: NetworkPlan, hasServices: Bool) -> Bool {
        family == .v4 || hasServices || plan.podNetworks.contains { $0.family == family }
    }

    /// The table of one family with what is in it.
    ///
    /// - Parameter node: whose endpoints are local.
    public static func content(
        _ plan: NetworkPlan, _ ports: [ServicePort], _ family: IPFamily = .v4, node: String = ""
    ) -> NFTContent {
        let elements = elements(AddressOwners(plan, ports), ports, node: node)[family] ?? [:]
        return content(plan, family).adding(elements)
    }

    /// The elements of all Services: what ``ServiceCalculation`` comes to step by step.
    ///
    /// - Parameter number: a port's number in marks; nil gives them here.
    public static func elements(
        _ owners: AddressOwners, _ ports: [ServicePort], node: String, number: ((ServicePort) -> UInt32)? = nil
    ) -> [IPFamily: [ServiceElement: ServiceElement.Value]] {
        let services = Dictionary(grouping: owners.admissible(ports).ports, by: \.service).sorted { $0.key < $1.key }
        var numbers = PortNumbers(bits: 28)
        var result: [IPFamily: [ServiceElement: ServiceElement.Value]] = [:]
        for (_, ports) in services {
            for port in ports { numbers.take(port) }
            for family in IPFamily.allCases {
                let own = ServiceElements.of(ports.filter { $0.family == family }, node: node) {
                    number?($0) ?? numbers[$0] ?? 0
                }
                // Of two Services that ask for the same the first by name has it.
                result[family, default: [:]].merge(own) { first, _ in first }
            }
        }
        return result
    }

    /// After how many seconds affinities end, of those that elements ask for.
    public static func affinityTimes(_ elements: [ServiceElement: ServiceElement.Value]) -> Set<Int> {
        Set(elements.keys.compactMap { if case .sticky(_, let seconds) = $0 { seconds } else { nil } })
    }

    /// The table of one family without what Services put in it.
    public static func content(_ plan: NetworkPlan, _ family: IPFamily) -> NFTContent {
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
            content.sets["host-port-hairpins"]?.elements["\(port.pod) . \(port.pod)"] = ""
        }
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
        content.sets["pods"] = .init(set: "type \(type); flags interval;")
        content.sets["masqueraded"] = .init(set: "type \(type); flags interval;")
        content.sets["nodes"] = .init(set: "type \(type);")
        content.sets["allowed-sources"] = .init(set: "type ifname . \(type); flags interval;")
        content.sets["floating"] = .init(map: "type \(type) : \(type);")
        content.sets["floating-sources"] = .init(map: "type \(type) : \(type);")
        content.sets["floating-hairpins"] = .init(set: "type \(type) . \(type);")
        let target = "\(type) . inet_service"
        content.sets["host-ports"] = .init(map: "type inet_proto . inet_service : \(target);")
        content.sets["host-ports-at"] = .init(map: "type \(type) . inet_proto . inet_service : \(target);")
        content.sets["host-port-hairpins"] = .init(set: "type \(type) . \(type);")
        addServices(to: &content, ip, type)
        let loopback = family == .v4 ? "127.0.0.0/8" : "::1"
        let local = "\(transports) fib daddr type local"
        content.chains["services"] = .init([
            "\(transports) ct mark set \(ip) daddr . meta l4proto . th dport map @fronts goto service",
            "\(local) dnat \(ip) to \(ip) daddr . meta l4proto . th dport map @host-ports-at",
            "\(local) dnat \(ip) to meta l4proto . th dport map @host-ports",
            "\(local) \(ip) daddr != \(loopback) ct mark set meta l4proto . th dport map @node-fronts goto service",
            "dnat to \(ip) daddr map @floating",
        ])
        content.chains["nat-prerouting"] = .init(
            hook: "type nat hook prerouting priority dstnat; policy accept;", ["jump services"])
        content.chains["nat-output"] = .init(
            hook: "type nat hook output priority -100; policy accept;", ["jump services"])
        content.chains["nat-postrouting"] = .init(
            hook: "type nat hook postrouting priority srcnat; policy accept;",
            [
                "ct status dnat jump remember", "oifname \"lo\" return",
                "meta mark and \(masqueradeMark) != 0x0 masquerade",
            ]
                // The node's own programs reach host ports at its loopback addresses too.
                + (family == .v4 ? ["oifname \"cali*\" ip saddr \(loopback) ct status dnat masquerade"] : []) + [
                    "ct status dnat \(ip) saddr . \(ip) daddr @floating-hairpins snat to \(ip) saddr map @floating-sources",
                    "ct status dnat \(ip) saddr . \(ip) daddr @hairpins masquerade",
                    "ct status dnat \(ip) saddr . \(ip) daddr @host-port-hairpins masquerade",
                ] + outgoing(family, felix))
        content.chains["from-pods"] = sources(family, allowed: "iifname . \(ip) saddr != @allowed-sources ")
        content.chains["filter-forward"] = .init(
            hook: "type filter hook forward priority filter; policy accept;", ["ct state new jump unserved"])
        content.chains["filter-output"] = .init(
            hook: "type filter hook output priority filter; policy accept;", ["ct state new jump unserved"])
        content.chains["filter-input"] = .init(
            hook: "type filter hook input priority filter; policy accept;",
            ["ct state new jump unserved", "ct state new ct status dnat jump remember"])
        return content
    }

    private static let transports = "meta l4proto { tcp, udp, sctp }"

    private static func addServices(to content: inout NFTContent, _ ip: String, _ type: String) {
        content.sets["fronts"] = .init(map: "type \(type) . inet_proto . inet_service : mark;")
        content.sets["node-fronts"] = .init(map: "type inet_proto . inet_service : mark;")
        content.sets["endpoints-1"] = .init(map: "type mark : \(type) . inet_service;")
        for count in ServiceElement.slotCounts {
            content.sets["endpoints-\(count)"] = .init(
                map: "typeof ct mark . numgen random mod \(count) : \(ip) daddr . th dport;")
        }
        content.sets["affinity"] = .init(
            map: "type \(type) . mark : \(type) . inet_service; size 262144; flags dynamic,timeout;")
        content.sets["source-ranges"] = .init(
            set: "type \(type) . inet_proto . inet_service . \(type); flags interval;")
        content.sets["service-addresses"] = .init(set: "type \(type);")
        content.sets["unserved"] = .init(set: "type mark;")
        content.sets["silent"] = .init(set: "type mark;")
        content.sets["hairpins"] = .init(set: "type \(type) . \(type);")
        let masquerade = "meta mark set meta mark or \(masqueradeMark)"
        // The mark's flags are those of `ServiceElement.Flag`; they are gone when an endpoint is looked for.
        content.chains["service"] = .init([
            "ct mark and 0x4 == 0x4 \(ip) daddr . meta l4proto . th dport . \(ip) saddr != @source-ranges drop",
            // Pods and the node itself are inside, whichever address they use.
            "ct mark and 0x2 == 0x2 \(ip) saddr != @pods fib saddr type != local ct mark set ct mark and 0xfffffff0 or 0x8 goto endpoints",
            "ct mark and 0x3 == 0x1 \(masquerade)", "ct mark and 0x3 == 0x3 fib saddr type local \(masquerade)",
            "ct mark and 0x1 == 0x0 \(ip) saddr != @pods \(masquerade)",
            "ct mark set ct mark and 0xfffffff8 goto endpoints",
        ])
        content.chains["endpoints"] = .init(
            ["\(transports) dnat \(ip) to \(ip) saddr . ct mark map @affinity"]
                + ["\(transports) dnat \(ip) to ct mark map @endpoints-1"]
                + ServiceElement.slotCounts.map {
                    "\(transports) dnat \(ip) to ct mark . numgen random mod \($0) map @endpoints-\($0)"
                })
        content.chains["remember"] = .init()
        // What is still addressed to a Service here found no endpoint, or no such port: say so at once. ICMP is limited
        // in rate, a reset is not. Where the endpoints are on other nodes and a policy keeps to this one, nothing is said.
        // A cluster address and a load balancer's are the Service's alone; of any other address only the port is, and
        // what is this node's own is never refused here.
        content.chains["unserved"] = .init([
            "ct mark @unserved meta l4proto tcp reject with tcp reset", "ct mark @unserved reject",
            "ct mark @silent drop", "fib daddr type local return",
            "meta l4proto tcp \(ip) daddr @service-addresses reject with tcp reset",
            "\(ip) daddr @service-addresses reject",
        ])
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
}

extension NFTContent {
    private var isIPv4: Bool { table.hasPrefix("ip ") }

    /// The same with elements of Services, and with what their affinities need.
    public func adding(_ elements: [ServiceElement: ServiceElement.Value]) -> NFTContent {
        var copy = remembering(NFTPlan.affinityTimes(elements))
        for (element, value) in elements { copy.sets[element.set]?.elements[element.text] = value.text }
        return copy
    }

    /// The same with a rule for each time after which affinities end, in seconds.
    ///
    /// A client's endpoint is written down when its first packet goes there, and for as long again with every connection.
    public func remembering(_ times: Swift.Set<Int>) -> NFTContent {
        var copy = self
        let ip = isIPv4 ? "ip" : "ip6"
        for seconds in times.sorted() {
            let name = ServiceElement.stickySet(seconds)
            copy.sets[name] = .init(set: "type mark;")
            copy.chains["remember"]?.rules.append(
                "ct mark @\(name) meta l4proto { tcp, udp, sctp } update @affinity { \(ip) saddr . ct mark timeout \(seconds)s : \(ip) daddr . th dport }"
            )
        }
        return copy
    }
}
