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

    func writeHostRules() throws {
        var tables = try NFTables()
        try tables.run(Self.hostRules(names: names, plan: plan, resolvers: resolvers))
    }

    /// The host's table, whole: running it again puts it in the place of the old one.
    static func hostRules(names: FabricNames, plan: FabricPlan, resolvers: Resolvers) -> String {
        let racks = plan.racks.map { "\($0.subnet)" }.joined(separator: ", ")
        var lines = [
            "add table ip \(names.table)",
            "delete table ip \(names.table)",
            "add table ip \(names.table)",
            "add chain ip \(names.table) postrouting { type nat hook postrouting priority 100; }",
            "add rule ip \(names.table) postrouting ip saddr { \(racks) } oifname != { \"\(names.hostLink)\", \"lo\" } "
                + "masquerade",
            // The host's way out may carry less than a rack does.
            "add chain ip \(names.table) forward { type filter hook forward priority -150; }",
            "add rule ip \(names.table) forward iifname \"\(names.hostLink)\" tcp flags & (syn | rst) == syn "
                + "tcp option maxseg size set rt mtu",
        ]
        if let loopback = resolvers.loopback {
            lines.append("add chain ip \(names.table) prerouting { type nat hook prerouting priority -100; }")
            for transport in ["udp", "tcp"] {
                lines.append(
                    "add rule ip \(names.table) prerouting iifname \"\(names.hostLink)\" ip daddr \(plan.hostAddress) "
                        + "\(transport) dport 53 dnat to \(loopback)")
            }
        }
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
