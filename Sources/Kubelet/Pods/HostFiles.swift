// SPDX-License-Identifier: Apache-2.0

import Values

/// The resolver settings of a node: what /etc/resolv.conf says.
package struct ResolverConfiguration: Hashable, Sendable {
    package var nameservers: [String] = []
    package var searches: [String] = []
    package var options: [String] = []

    package init(nameservers: [String] = [], searches: [String] = [], options: [String] = []) {
        self.nameservers = nameservers
        self.searches = searches
        self.options = options
    }

    package init(parsing text: String) {
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
            guard words.count > 1 else { continue }
            switch words[0] {
            case "nameserver": nameservers.append(words[1])
            case "search", "domain": searches = Array(words.dropFirst())
            case "options": options = Array(words.dropFirst())
            default: break
            }
        }
    }

    package var text: String {
        var lines: [String] = []
        if !searches.isEmpty { lines.append("search " + searches.joined(separator: " ")) }
        lines += nameservers.prefix(3).map { "nameserver \($0)" }
        if !options.isEmpty { lines.append("options " + options.joined(separator: " ")) }
        return lines.map { $0 + "\n" }.joined()
    }

    /// A pod's settings by its dnsPolicy and dnsConfig.
    package static func forPod(
        _ pod: PodView, clusterDNS: [String], clusterDomain: String, host: ResolverConfiguration
    ) -> ResolverConfiguration {
        var result: ResolverConfiguration
        let clusterFirst =
            pod.dnsPolicy == "ClusterFirst" && !pod.hostNetwork || pod.dnsPolicy == "ClusterFirstWithHostNet"
        if pod.dnsPolicy == "None" {
            result = ResolverConfiguration()
        } else if clusterFirst, !clusterDNS.isEmpty {
            let cluster = ["\(pod.namespace).svc.\(clusterDomain)", "svc.\(clusterDomain)", clusterDomain]
            result = ResolverConfiguration(
                nameservers: clusterDNS, searches: cluster + host.searches.filter { !cluster.contains($0) },
                options: ["ndots:5"])
        } else {
            result = host
        }
        let custom = pod.spec["dnsConfig"]
        for server in custom["nameservers"].array?.compactMap(\.string) ?? []
        where !result.nameservers.contains(server) {
            result.nameservers.append(server)
        }
        for search in custom["searches"].array?.compactMap(\.string) ?? [] where !result.searches.contains(search) {
            result.searches.append(search)
        }
        for option in custom["options"].array ?? [] {
            guard let name = option["name"].string else { continue }
            result.options.removeAll { $0 == name || $0.hasPrefix(name + ":") }
            result.options.append(option["value"].string.map { "\(name):\($0)" } ?? name)
        }
        return result
    }
}

/// /etc/hosts of a pod.
package enum HostsFile {
    package static func text(
        of pod: PodView, podIPs: [String], hostname: String, domain: String?, nodeHosts: String
    ) -> String {
        var text: String
        if pod.hostNetwork {
            text = "# Kubernetes-managed hosts file (host network).\n" + nodeHosts
            if !text.hasSuffix("\n") { text += "\n" }
        } else {
            text = """
                # Kubernetes-managed hosts file.
                127.0.0.1\tlocalhost
                ::1\tlocalhost ip6-localhost ip6-loopback
                fe00::\tip6-localnet
                fe00::\tip6-mcastprefix
                fe00::1\tip6-allnodes
                fe00::2\tip6-allrouters

                """
            for address in podIPs {
                text += "\(address)\t" + (domain.map { "\(hostname).\($0)\t" } ?? "") + hostname + "\n"
            }
        }
        let aliases = pod.spec["hostAliases"].array ?? []
        if !aliases.isEmpty {
            text += "\n# Entries added by HostAliases.\n"
            for alias in aliases {
                guard let address = alias["ip"].string else { continue }
                let names = alias["hostnames"].array?.compactMap(\.string) ?? []
                text += "\(address)\t" + names.joined(separator: "\t") + "\n"
            }
        }
        return text
    }

    /// `sub.ns.svc.zone` for a pod with a subdomain: its full name is below that.
    package static func domain(of pod: PodView, clusterDomain: String) -> String? {
        pod.subdomain.map { "\($0).\(pod.namespace).svc.\(clusterDomain)" }
    }
}
