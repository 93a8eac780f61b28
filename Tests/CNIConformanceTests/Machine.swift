// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Glibc
import Linux
import Testing
import Values

/// A machine without a cluster: a network namespace with an uplink, containers' namespaces, and the plugins as they are
/// built and as Debian has them.
final class Machine: Sendable {
    struct Answer: Sendable {
        let isSuccess: Bool
        let json: JSON
        let text: String

        var code: Int { json["code"].int ?? 0 }
        var message: String { "\(json["msg"].string ?? "") \(json["details"].string ?? "")" }
        /// The first address, without its length.
        var address: String { String(json["ips"][0]["address"].string?.split(separator: "/").first ?? "") }
    }

    static let node = "node"
    /// A host beyond the uplink, which knows no route to containers.
    static let stranger = "172.31.255.1"
    static let debian = "/usr/lib/cni"
    private static let products: String = {
        let parts = #filePath.split(separator: "/").dropLast(3)
        return "/" + parts.joined(separator: "/") + "/.build/debug"
    }()

    let folder: String
    var store: String { "\(folder)/store" }
    var bin: String { "\(folder)/bin" }

    init() throws {
        folder = "/tmp/catbird-cni-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try Files.makeDirectories("\(folder)/bin", mode: 0o700)
        for name in ["catbird-cni", "calico", "calico-ipam"] {
            try Files.link("\(Self.products)/catbird-cni", at: "\(folder)/bin/\(name)")
        }
        for name in [Self.node, "outside"] { try makeNamespace(name) }
        let host = try netlink(Self.node)
        try host.addVeth(
            "eth0", LinkOptions(up: true), peer: "eth0", peerOptions: LinkOptions(namespace: namespace("outside")))
        for (space, address) in [(Self.node, "172.31.255.2/24"), ("outside", "\(Self.stranger)/24")] {
            let netlink = try netlink(space)
            let link = try netlink.requireLink("eth0")
            try netlink.setLink(link.index, LinkOptions(up: true))
            try netlink.addAddress(InterfaceAddress(interface: link.index, address: try #require(CIDR(address))))
        }
    }

    deinit {
        for entry in (try? Files.list(folder)) ?? [] where entry.name.hasPrefix("ns-") {
            try? Namespaces.unpin("\(folder)/\(entry.name)")
        }
        try? Files.removeTree(folder)
    }

    // MARK: Namespaces

    func path(_ name: String) -> String { "\(folder)/ns-\(name)" }
    func namespace(_ name: String) -> NamespaceRef { .path(path(name)) }
    func netlink(_ name: String) throws -> NetlinkSocket { try NetlinkSocket(in: namespace(name)) }

    func makeNamespace(_ name: String) throws {
        try Namespaces.createPinned([.net: path(name)]) { try NetlinkSocket().setUp("lo") }
    }

    func run(_ program: String, _ arguments: [String], in name: String) async throws -> ProcessOutput {
        var spawner = ProcessSpawner(program, arguments)
        spawner.namespaces.net = namespace(name)
        return try await spawner.run()
    }

    func ping(_ address: String, from name: String) async throws -> Bool {
        try await run("/usr/bin/busybox", ["ping", "-c", "1", "-W", "3", address], in: name).status.isSuccess
    }

    /// What is left of containers on the machine.
    func leftovers() throws -> [String] {
        let links = try netlink(Self.node).links().map(\.name).filter { $0.hasPrefix("cali") }
        let routes = try netlink(Self.node).routes(protocol: .plugin).map { "\($0.destination)" }
        var tables = try NFTables(in: namespace(Self.node))
        let names = try tables.tables().map(\.name).filter { $0.hasPrefix("catbird") }
        return links + routes + names + handles
    }

    /// The handles that hold addresses.
    var handles: [String] {
        ((try? Files.list("\(store)/ipamhandles")) ?? []).map { String($0.name.dropLast(5)) }.sorted()
    }

    // MARK: Plugins

    /// A network of the file datastore.
    func network(
        _ version: String = "1.0.0", pools: JSON = [["cidr": "10.99.0.0/24"]], more: [(String, JSON)] = []
    ) -> JSON {
        var json: JSON = [
            "cniVersion": JSON(version), "name": "local", "type": "catbird-cni", "datastore": "file",
            "path": JSON(store), "ipam": ["type": "calico-ipam", "pools": pools],
        ]
        for (key, value) in more { json[key] = value }
        return json
    }

    /// Calls a plugin; `netns` is the namespace of the container's name unless it is given.
    func call(
        _ command: String, _ configuration: JSON, container: String = "c1", netns: String? = nil,
        ifName: String = "eth0", arguments: String = "", program: String? = nil, previous: JSON? = nil,
        environment: [String: String] = [:]
    ) async throws -> Answer {
        var configuration = configuration
        if let previous { configuration["prevResult"] = previous }
        let type = configuration["type"].string ?? "catbird-cni"
        var variables = [
            "CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": netns ?? path(container),
            "CNI_IFNAME": ifName, "CNI_ARGS": arguments, "CNI_PATH": "\(bin):\(Self.debian)",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        ]
        variables.merge(environment) { _, own in own }
        return try await start(program ?? find(type), configuration.serialized(), variables)
    }

    func start(_ program: String, _ input: [UInt8], _ variables: [String: String]) async throws -> Answer {
        var spawner = ProcessSpawner(program, [])
        spawner.environment = variables
        spawner.namespaces.net = namespace(Self.node)
        let output = try await spawner.run(input: input)
        return Answer(
            isSuccess: output.status.isSuccess,
            json: output.output.isEmpty ? [:] : try JSON(parsing: output.output), text: output.text)
    }

    func find(_ type: String) -> String { Files.exists("\(bin)/\(type)") ? "\(bin)/\(type)" : "\(Self.debian)/\(type)" }

    /// Runs a list of plugins as a runtime does: ADD and CHECK in their order with each other's results, DEL backwards.
    func chain(
        _ command: String, _ list: JSON, container: String = "c1", result: JSON? = nil, runtimeConfig: JSON? = nil
    ) async throws -> Answer {
        let network = try NetworkConfigurationList(list)
        var last = Answer(isSuccess: true, json: result ?? [:], text: "")
        let order = Array(network.plugins.indices)
        for index in command == "DEL" ? order.reversed() : order {
            let previous = command == "ADD" ? (index == 0 ? nil : last.json) : result
            let configuration = try #require(
                network.configuration(plugin: index, previousResult: previous, runtimeConfig: runtimeConfig))
            let answer = try await call(command, configuration, container: container)
            guard answer.isSuccess else { return answer }
            if command == "ADD" { last = answer }
        }
        return last
    }
}
