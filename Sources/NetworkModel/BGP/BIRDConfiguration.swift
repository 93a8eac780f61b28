// SPDX-License-Identifier: Apache-2.0

import Values

/// BIRD 2's configuration for a plan. Everything from outside is in it as a number, an address or a checked text.
public enum BIRDConfiguration {
    /// `passwords` has those of the sessions that want one. A session whose password is missing or cannot be written is
    /// left out, and told in `problems`.
    public static func text(
        _ plan: BGPPlan, passwords: [SecretKey: String]
    ) -> (text: String, problems: [String]) {
        var lines = ["# Made by catbird agent from BGPConfiguration, BGPPeer and BGPFilter; not to be edited."]
        var problems: [String] = []
        lines.append("log stderr { \(classes(plan.settings.logLevel)) };")
        lines.append("router id \(routerID(plan.node));")
        lines.append("protocol device { scan time 10; }")
        let ignored = plan.settings.ignoredInterfaces + ["cali*", "vxlan*", "tunl*", "lo"]
        lines.append(
            "protocol direct { ipv4; ipv6; interface \(ignored.map { "-\"\($0)\"" }.joined(separator: ", ")), \"*\"; }")
        for family in IPFamily.allCases { lines += tables(plan, family) }
        for session in plan.sessions {
            var password: String?
            if let key = session.password {
                guard let value = passwords[key], BGPText.isPassword(value) else {
                    problems.append(
                        "session with \(session.peer): Secret \(key.secret) has no key \(key.key) with a password of 1 to 80 printable characters without quotes; the session stays closed until it has"
                    )
                    continue
                }
                password = value
            }
            lines += protocolLines(session, plan, password)
        }
        return (lines.joined(separator: "\n") + "\n", problems)
    }

    /// The identifier is an IPv4 address; a node of IPv6 alone gets one from its name.
    static func routerID(_ node: BGPNode) -> IPAddress {
        if let address = node.addresses[.v4]?.address { return address }
        let digest = SHA256.digest(Array(node.name.utf8))
        return IPAddress(bytes: [10] + digest.prefix(3)) ?? IPAddress(10, 0, 0, 1)
    }

    private static func classes(_ level: String) -> String {
        let order = ["fatal", "bug", "error", "warning", "remote", "auth", "info", "trace", "debug"]
        let last = order.firstIndex(of: level) ?? 6
        return order[...last].joined(separator: ", ")
    }

    private static func set(_ networks: [CIDR]) -> String {
        "[ \(networks.sorted().map { "\($0)+" }.joined(separator: ", ")) ]"
    }

    private static func tables(_ plan: BGPPlan, _ family: IPFamily) -> [String] {
        let name = family == .v4 ? "ipv4" : "ipv6"
        var lines = ["protocol static own_\(name) {", "  \(name);"]
        for route in plan.routes.filter({ $0.family == family }).sorted() {
            lines.append("  route \(route) blackhole;")
        }
        for session in plan.sessions where session.peer.family == family {
            if let gateway = session.reachableBy, gateway.family == family {
                lines.append("  route \(CIDR(host: session.peer)) via \(gateway);")
            }
        }
        lines.append("}")
        // The agents' own routes are not BIRD's to repeat.
        let pools = plan.pools.filter { $0.family == family }
        let known = pools.isEmpty ? "" : "if net ~ \(set(pools)) then reject; "
        lines += [
            "protocol kernel kernel_\(name) {", "  persist;", "  graceful restart;",
            "  \(name) { import none; export filter { \(known)if source = RTS_BGP then accept; reject; }; };", "}",
        ]
        return lines
    }

    private static func protocolLines(_ session: BGPSession, _ plan: BGPPlan, _ password: String?) -> [String] {
        let family = session.peer.family
        let channel = family == .v4 ? "ipv4" : "ipv6"
        func rules(_ rules: (BGPFilter) -> [BGPFilter.Rule]?) -> [String] {
            session.filters.flatMap { rules($0) ?? [] }.compactMap { $0.text(isInternal: session.isInternal) }
                .map { "  " + $0 }
        }
        var lines = ["filter import_\(session.name) {"] + rules { $0.imports[family] } + ["  accept;", "}"]
        lines += ["filter export_\(session.name) {"]
        for advertisement in plan.settings.advertisements where advertisement.cidr.family == family {
            let changes = advertisement.communities.map { "\($0.attribute).add(\($0.literal));" }
            if !changes.isEmpty {
                lines.append("  if net ~ [ \(advertisement.cidr)+ ] then { \(changes.joined(separator: " ")) }")
            }
        }
        lines += rules { $0.exports[family] }
        let hidden = plan.hiddenPools.filter { $0.family == family }
        if !hidden.isEmpty { lines.append("  if net ~ \(set(hidden)) then reject;") }
        lines.append("  if source = RTS_STATIC && dest = RTD_BLACKHOLE then accept;")
        let pools = plan.pools.filter { $0.family == family }
        if !pools.isEmpty { lines.append("  if source = RTS_BGP && net ~ \(set(pools)) then accept;") }
        // A reflector tells its clients what others told it.
        if session.reflectsAs != nil { lines.append("  if source = RTS_BGP then accept;") }
        lines += ["  reject;", "}", "protocol bgp \(session.name) {"]
        let source = session.source.map { " \($0)" } ?? ""
        lines.append("  local\(source) port \(plan.settings.listenPort) as \(session.localAS);")
        lines.append("  neighbor \(session.peer) port \(session.port) as \(session.peerAS);")
        if let source = session.source { lines.append("  source address \(source);") }
        if plan.settings.bindsNodeAddress, session.source != nil { lines.append("  strict bind on;") }
        let isDirect = session.ttlSecurity.map { $0 == 1 } ?? session.isOnLink
        let hops = session.ttlSecurity.map { " \($0)" } ?? ""
        lines.append(isDirect ? "  direct;" : "  multihop\(hops);")
        if session.ttlSecurity != nil { lines.append("  ttl security on;") }
        if session.isPassive { lines.append("  passive on;") }
        lines.append("  graceful restart on;")
        if let time = session.restartTime { lines.append("  graceful restart time \(time);") }
        if let time = session.keepaliveTime {
            lines.append("  hold time \(min(65535, max(3, time * 3)));")
            lines.append("  keepalive time \(time);")
        }
        lines.append("  connect delay time 1; connect retry time 2; error wait time 1, 10;")
        if let password { lines.append("  password \"\(password)\";") }
        if let cluster = session.reflectsAs {
            lines.append("  rr client;")
            lines.append("  rr cluster id \(cluster);")
        }
        if let count = session.allowedOwnASNumbers { lines.append("  allow local as \(count);") }
        lines.append("  \(channel) {")
        lines.append("    import filter import_\(session.name);")
        lines.append("    export filter export_\(session.name);")
        if session.keepsNextHop { lines.append("    next hop keep;") }
        if session.setsNextHop { lines.append("    next hop self;") }
        lines += [isDirect ? "    gateway direct;" : "    gateway recursive;", "  };", "}"]
        return lines
    }
}
