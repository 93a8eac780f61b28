// SPDX-License-Identifier: Apache-2.0
import Glibc
public import Linux
public import Values

/// What the host's own network looks like.
public enum HostNetwork {
    /// Ranges that routes and addresses of the host use, but for the default route and what belongs to `profile`.
    public static func occupied(by socket: NetlinkSocket, except profile: FabricNames? = nil) throws -> [OccupiedRange]
    {
        let links = try socket.links()
        let names = Dictionary(links.map { ($0.index, $0.name) }, uniquingKeysWith: { first, _ in first })
        let own = Set(links.filter { $0.name == profile?.hostLink }.map(\.index))
        var result: [OccupiedRange] = []
        for route in try socket.routes(.v4, table: nil) where route.table != Route.localTable {
            guard route.destination.prefixLength > 0, !own.contains(route.interface ?? 0) else { continue }
            let device = route.interface.flatMap { names[$0] }.map { " dev \($0)" } ?? ""
            result.append(OccupiedRange(route.destination, "the route \(route.destination)\(device)"))
        }
        for address in try socket.addresses() where address.address.family == .v4 && !own.contains(address.interface) {
            let device = names[address.interface] ?? "\(address.interface)"
            result.append(OccupiedRange(address.address.network, "the address \(address.address) of \(device)"))
        }
        return result
    }

    /// The interfaces that lead outside.
    public static func defaultInterfaces(_ socket: NetlinkSocket) throws -> [String] {
        let links = try socket.links()
        let indices = Set(
            try socket.routes(.v4).filter { $0.destination.prefixLength == 0 }
                .flatMap { route in route.hops.map(\.interface) + [route.interface].compactMap { $0 } })
        return links.filter { indices.contains($0.index) }.map(\.name)
    }
}

/// Where names are resolved that the cluster does not know.
public struct Resolvers: Sendable, Hashable {
    /// What the nodes' /etc/resolv.conf says.
    public var nameservers: [IPAddress]
    public var search: [String]
    public var options: [String]
    /// A resolver on the host's loopback: nodes ask the host's address on the fabric instead, and the host
    /// passes it on.
    public var loopback: IPAddress?

    public init(nameservers: [IPAddress], search: [String] = [], options: [String] = [], loopback: IPAddress? = nil) {
        self.nameservers = nameservers
        self.search = search
        self.options = options
        self.loopback = loopback
    }

    /// Reads resolv.conf's text.
    public init(resolvConf text: String) {
        self.init(nameservers: [])
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.split(whereSeparator: \.isWhitespace).map { String($0) }
            guard words.count > 1 else { continue }
            switch words[0] {
            case "nameserver": if let address = IPAddress(words[1]) { nameservers.append(address) }
            case "search", "domain": search = Array(words.dropFirst())
            case "options": options += words.dropFirst()
            default: break
            }
        }
    }

    private static func isLoopback(_ address: IPAddress) -> Bool {
        address.family == .v4 ? address.bytes[0] == 127 : address.bits == 1
    }

    /// What nodes can use of the host's settings. `behindStub` is what systemd-resolved itself asks, if it runs.
    public static func forNodes(host: String, behindStub: String?, hostAddress: IPAddress) -> Resolvers {
        var result = Resolvers(resolvConf: host)
        let usable = result.nameservers.filter { !isLoopback($0) }
        if !usable.isEmpty {
            result.nameservers = usable
            return result
        }
        if let behindStub {
            let behind = Resolvers(resolvConf: behindStub)
            let servers = behind.nameservers.filter { !isLoopback($0) }
            if !servers.isEmpty {
                result.nameservers = servers
                return result
            }
        }
        // Without any nameserver line the C library asks 127.0.0.1; so that is what the host itself does.
        result.loopback = result.nameservers.first { $0.family == .v4 } ?? IPAddress(127, 0, 0, 1)
        result.nameservers = [hostAddress]
        return result
    }

    /// The same, from this machine's files.
    public static func ofHost(hostAddress: IPAddress) -> Resolvers {
        forNodes(
            host: (try? Files.text("/etc/resolv.conf")) ?? "",
            behindStub: try? Files.text("/run/systemd/resolve/resolv.conf"), hostAddress: hostAddress)
    }

    public var resolvConf: String {
        var lines = nameservers.prefix(3).map { "nameserver \($0)" }
        if !search.isEmpty { lines.append("search \(search.joined(separator: " "))") }
        if !options.isEmpty { lines.append("options \(options.joined(separator: " "))") }
        return lines.joined(separator: "\n") + "\n"
    }
}
