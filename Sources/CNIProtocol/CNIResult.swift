// SPDX-License-Identifier: Apache-2.0

public import Values

/// What a successful ADD prints, independent of the version that it is written in.
public struct CNIResult: Sendable, Hashable {
    public struct Interface: Sendable, Hashable {
        public var name: String
        public var mac: String?
        public var mtu: Int?
        /// The namespace's path; nil for an interface of the host.
        public var sandbox: String?
        public var socketPath: String?
        public var pciID: String?

        public init(name: String, mac: String? = nil, mtu: Int? = nil, sandbox: String? = nil) {
            self.name = name
            self.mac = mac
            self.mtu = mtu
            self.sandbox = sandbox
        }
    }

    public struct Address: Sendable, Hashable {
        public var address: CIDR
        public var gateway: IPAddress?
        /// An index into `interfaces`.
        public var interface: Int?

        public init(_ address: CIDR, gateway: IPAddress? = nil, interface: Int? = nil) {
            self.address = address
            self.gateway = gateway
            self.interface = interface
        }
    }

    public struct Route: Sendable, Hashable {
        public var destination: CIDR
        public var gateway: IPAddress?
        public var mtu: Int?
        public var advmss: Int?
        public var priority: Int?
        public var table: Int?
        public var scope: Int?

        public init(_ destination: CIDR, gateway: IPAddress? = nil) {
            self.destination = destination
            self.gateway = gateway
        }
    }

    public struct DNS: Sendable, Hashable {
        public var nameservers: [String] = []
        public var domain: String?
        public var search: [String] = []
        public var options: [String] = []

        public init() {}
        public var isEmpty: Bool { self == DNS() }
    }

    public var interfaces: [Interface]
    public var ips: [Address]
    public var routes: [Route]
    public var dns: DNS

    public init(interfaces: [Interface] = [], ips: [Address] = [], routes: [Route] = [], dns: DNS = DNS()) {
        self.interfaces = interfaces
        self.ips = ips
        self.routes = routes
        self.dns = dns
    }
}

// MARK: Writing

extension CNIResult {
    /// In the shape of `version`.
    public func json(version: CNIVersion) -> JSON {
        var json: JSON = ["cniVersion": JSON(version.rawValue)]
        if !interfaces.isEmpty { json["interfaces"] = .array(interfaces.map { $0.json(version) }) }
        if !ips.isEmpty { json["ips"] = .array(ips.map { $0.json(version) }) }
        if !routes.isEmpty { json["routes"] = .array(routes.map { $0.json(version) }) }
        json["dns"] = dns.json
        return json
    }
}

extension CNIResult.Interface {
    func json(_ version: CNIVersion) -> JSON {
        var json: JSON = ["name": JSON(name)]
        if let mac { json["mac"] = JSON(mac) }
        if let sandbox { json["sandbox"] = JSON(sandbox) }
        if version >= .v1_1_0 {
            if let mtu { json["mtu"] = JSON(mtu) }
            if let socketPath { json["socketPath"] = JSON(socketPath) }
            if let pciID { json["pciID"] = JSON(pciID) }
        }
        return json
    }
}

extension CNIResult.Address {
    func json(_ version: CNIVersion) -> JSON {
        var json: JSON = [:]
        if version.addressesNameTheirVersion { json["version"] = address.family == .v4 ? "4" : "6" }
        if let interface { json["interface"] = JSON(interface) }
        json["address"] = JSON("\(address)")
        if let gateway { json["gateway"] = JSON("\(gateway)") }
        return json
    }
}

extension CNIResult.Route {
    func json(_ version: CNIVersion) -> JSON {
        var json: JSON = ["dst": JSON("\(destination)")]
        if let gateway { json["gw"] = JSON("\(gateway)") }
        if version >= .v1_1_0 {
            if let mtu { json["mtu"] = JSON(mtu) }
            if let advmss { json["advmss"] = JSON(advmss) }
            if let priority { json["priority"] = JSON(priority) }
            if let table { json["table"] = JSON(table) }
            if let scope { json["scope"] = JSON(scope) }
        }
        return json
    }
}

extension CNIResult.DNS {
    var json: JSON {
        var json: JSON = [:]
        if !nameservers.isEmpty { json["nameservers"] = JSON(nameservers) }
        if let domain { json["domain"] = JSON(domain) }
        if !search.isEmpty { json["search"] = JSON(search) }
        if !options.isEmpty { json["options"] = JSON(options) }
        return json
    }
}

// MARK: Reading

extension CNIResult {
    /// Reads the result of any version from 0.3.0.
    public init(_ json: JSON) throws(CNIError) {
        guard json.object != nil else {
            throw CNIError(.undecodable, "the plugin's result is not a JSON object but \(json.typeName)")
        }
        if let version = json["cniVersion"].string { _ = try CNIVersion(parsing: version) }
        self.init()
        for (index, value) in (json["interfaces"].array ?? []).enumerated() {
            guard let name = value["name"].string else { throw Self.malformed("interfaces[\(index)].name", value) }
            var interface = Interface(
                name: name, mac: value["mac"].string, mtu: value["mtu"].int,
                sandbox: value["sandbox"].string.flatMap { $0.isEmpty ? nil : $0 })
            interface.socketPath = value["socketPath"].string
            interface.pciID = value["pciID"].string
            interfaces.append(interface)
        }
        for (index, value) in (json["ips"].array ?? []).enumerated() {
            guard let address = value["address"].string.flatMap({ CIDR($0) }) else {
                throw Self.malformed("ips[\(index)].address", value["address"] ?? value)
            }
            ips.append(
                Address(
                    address, gateway: try Self.address("ips[\(index)].gateway", value["gateway"]),
                    interface: value["interface"].int))
        }
        for (index, value) in (json["routes"].array ?? []).enumerated() {
            guard let destination = value["dst"].string.flatMap({ CIDR($0) }) else {
                throw Self.malformed("routes[\(index)].dst", value["dst"] ?? value)
            }
            var route = Route(destination, gateway: try Self.address("routes[\(index)].gw", value["gw"]))
            route.mtu = value["mtu"].int
            route.advmss = value["advmss"].int
            route.priority = value["priority"].int
            route.table = value["table"].int
            route.scope = value["scope"].int
            routes.append(route)
        }
        dns.nameservers = json["dns"]["nameservers"].array?.compactMap(\.string) ?? []
        dns.domain = json["dns"]["domain"].string
        dns.search = json["dns"]["search"].array?.compactMap(\.string) ?? []
        dns.options = json["dns"]["options"].array?.compactMap(\.string) ?? []
    }

    private static func address(_ field: String, _ value: JSON?) throws(CNIError) -> IPAddress? {
        guard let text = value.string, !text.isEmpty else { return nil }
        guard let address = IPAddress(text) else { throw malformed(field, .string(text)) }
        return address
    }

    private static func malformed(_ field: String, _ value: JSON) -> CNIError {
        CNIError(.undecodable, "the plugin's result is malformed: \(field) is \(value)")
    }
}
