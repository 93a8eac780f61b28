// SPDX-License-Identifier: Apache-2.0
import Glibc
import Linux
import Values

extension Fabric {
    /// Lets nodes and pods out through the host, where there is an outside: one nftables table, and forwarding on the
    /// interfaces concerned.
    func prepareHost(_ host: NetlinkSocket, _ ownership: TableOwnership?) throws {
        if let ownership { try ownership.own(writeHostRules) } else { try writeHostRules() }
        try change("net.ipv4.conf.\(names.hostLink).forwarding", to: "1", remember: false)
        for interface in try HostNetwork.defaultInterfaces(host) {
            try change("net.ipv4.conf.\(interface.replacingDots()).forwarding", to: "1", remember: true)
        }
        if resolvers.loopback != nil {
            try change("net.ipv4.conf.\(names.hostLink).route_localnet", to: "1", remember: false)
        }
    }

    /// The set of ports of this machine that the cluster's nodes and pods may reach.
    static let openPorts = "open-ports"

    func writeHostRules() throws {
        var tables = try NFTables()
        try tables.run(Self.hostRules(names: names, plan: plan, resolvers: resolvers))
    }

    /// The host's table, whole: running it again puts it in the place of the old one.
    static func hostRules(names: FabricNames, plan: FabricPlan, resolvers: Resolvers) -> String {
        let racks = plan.racks.map { "\($0.subnet)" }.joined(separator: ", ")
        let table = "ip \(names.table)"
        let link = "\"\(names.hostLink)\""
        // Chains are emptied, not removed with their table: whoever opened a port finds it open after that.
        var lines = [
            "add table \(table)",
            "add set \(table) \(Self.openPorts) { type inet_proto . inet_service; }",
        ]
        for (chain, hook) in [
            ("postrouting", "nat hook postrouting priority 100"), ("forward", "filter hook forward priority -150"),
            ("prerouting", "nat hook prerouting priority -100"), ("input", "filter hook input priority 10"),
        ] {
            lines += ["add chain \(table) \(chain) { type \(hook); }", "flush chain \(table) \(chain)"]
        }
        func rule(_ chain: String, _ text: String) { lines.append("add rule \(table) \(chain) \(text)") }
        rule("postrouting", "ip saddr { \(racks) } oifname != { \(link), \"lo\" } masquerade")
        // The host's way out may carry less than a rack does.
        rule("forward", "iifname \(link) tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu")
        // Other clusters are other people's: what is on one fabric does not reach the next.
        rule(
            "forward",
            "iifname \(link) oifname != \(link) oifname \"\(FabricNames.linkPrefix)*\" ct state new "
                + "reject with icmp type admin-prohibited")
        if let loopback = resolvers.loopback {
            for transport in ["udp", "tcp"] {
                rule(
                    "prerouting",
                    "iifname \(link) ip daddr \(plan.hostAddress) \(transport) dport 53 dnat to \(loopback)")
            }
        }
        // What listens on this machine is not meant for pods, on whichever of its addresses they look for it.
        rule("input", "iifname != \(link) accept")
        rule("input", "ct state established,related accept")
        rule("input", "ip protocol icmp accept")
        for server in resolvers.nameservers + [resolvers.loopback].compactMap({ $0 }) where server.family == .v4 {
            rule("input", "ip daddr \(server) meta l4proto { tcp, udp } th dport 53 accept")
        }
        rule("input", "meta l4proto . th dport @\(Self.openPorts) accept")
        rule("input", "reject with icmp type admin-prohibited")
        return lines.joined(separator: "\n") + "\n"
    }

    /// Changes a setting of the host; what it was before is written down first.
    private func change(_ setting: String, to value: String, remember: Bool) throws {
        let before = try Sysctl.read(setting)
        guard before != value else { return }
        if remember {
            var record = (try? JSON(parsing: Files.text(names.changedSettings)))?.object ?? [:]
            if record[setting] == nil { record[setting] = .string(before) }
            try Files.makeDirectories(Files.directory(of: names.changedSettings), mode: 0o700)
            try Files.replace(names.changedSettings, with: JSON.object(record).serialized(), durable: false)
        }
        try Sysctl.write(setting, value)
    }

    /// Puts back what ``change(_:to:remember:)`` wrote down, unless another profile still wants it; then that one
    /// takes over the memory.
    static func restoreSettings(_ names: FabricNames) throws {
        guard let text = try? Files.text(names.changedSettings), let record = try? JSON(parsing: text).object else {
            return
        }
        let others = (try? Files.list(names.runDirectory))?.compactMap { try? ProfileName($0.name) } ?? []
        let heir = others.filter { $0 != names.profile }.map {
            FabricNames(profile: $0, runDirectory: names.runDirectory)
        }
        .first { Namespaces.isPinned($0.fabricNamespace) }
        if let heir {
            var inherited = (try? JSON(parsing: Files.text(heir.changedSettings)))?.object ?? [:]
            for (key, value) in record.members where inherited[key] == nil { inherited[key] = value }
            try Files.replace(heir.changedSettings, with: JSON.object(inherited).serialized(), durable: false)
        } else {
            for (setting, value) in record.members {
                // An interface that has gone has no settings.
                if let value = value.string, Sysctl.exists(setting) { try Sysctl.write(setting, value) }
            }
        }
        unlink(names.changedSettings)
    }
}

extension String {
    /// As ``Sysctl`` wants a dot that belongs to a name.
    fileprivate func replacingDots() -> String { String(map { $0 == "." ? "/" : $0 }) }
}
