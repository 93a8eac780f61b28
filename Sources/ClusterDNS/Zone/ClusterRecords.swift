// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// What the API says of the names of a cluster, indexed for questions. A value: the server swaps whole ones.
public struct ClusterRecords: Sendable {
    public struct Port: Sendable, Hashable {
        public let name: String
        /// In lower case: `tcp`, `udp`, `sctp`.
        public let protocolName: String
        public let number: UInt16
    }

    public struct Service: Sendable, Hashable {
        public let clusterIPs: [IPAddress]
        public let isHeadless: Bool
        public let externalName: String?
        public let ports: [Port]
    }

    public struct Endpoint: Sendable, Hashable {
        public let address: IPAddress
        /// The pod's own, or its address with dashes.
        public let hostname: String
        public let ports: [Port]
    }

    public private(set) var services: [ObjectKey: Service] = [:]
    private var slices: [ObjectKey: (service: ObjectKey, endpoints: [Endpoint])] = [:]
    private var slicesOfService: [ObjectKey: Set<ObjectKey>] = [:]
    public private(set) var namespaces: Set<String> = []
    private var serviceOfAddress: [IPAddress: ObjectKey] = [:]
    /// Of each address, the slices that have it: a slice that goes takes nothing from another one.
    private var slicesOfAddress: [IPAddress: [ObjectKey: Endpoint]] = [:]

    public init() {}

    public func endpoints(of service: ObjectKey) -> [Endpoint] {
        (slicesOfService[service] ?? []).sorted().flatMap { slices[$0]?.endpoints ?? [] }
    }

    /// The Service with that cluster address, or an endpoint with its Service.
    public func owner(of address: IPAddress) -> (service: ObjectKey, endpoints: [(ObjectKey, Endpoint)])? {
        if let service = serviceOfAddress[address] { return (service, []) }
        var endpoints: [(ObjectKey, Endpoint)] = []
        for (slice, endpoint) in (slicesOfAddress[address] ?? [:]).sorted(by: { $0.key < $1.key }) {
            // An endpoint that moves from one slice to another stands in both for a while.
            guard let service = slices[slice]?.service,
                !endpoints.contains(where: { $0 == service && $1.hostname == endpoint.hostname })
            else { continue }
            endpoints.append((service, endpoint))
        }
        endpoints.sort { $0.0 < $1.0 }
        return endpoints.first.map { ($0.0, endpoints) }
    }

    /// How many addresses, Services and slices the indexes hold: nothing of what is gone.
    var indexed: (addresses: Int, services: Int, slices: Int) {
        (slicesOfAddress.count + serviceOfAddress.count, slicesOfService.count, slices.count)
    }

    public mutating func setNamespace(_ name: String, exists: Bool) {
        if exists { namespaces.insert(name) } else { namespaces.remove(name) }
    }

    public mutating func setService(_ key: ObjectKey, _ object: KubeObject?) {
        for address in services[key]?.clusterIPs ?? [] where serviceOfAddress[address] == key {
            serviceOfAddress[address] = nil
        }
        guard let object else {
            services[key] = nil
            return
        }
        let spec = object["spec"]
        let texts = spec["clusterIPs"].array?.compactMap(\.string) ?? [spec["clusterIP"].string ?? ""]
        let addresses = texts.compactMap { IPAddress($0) }
        let isExternal = spec["type"].string == "ExternalName"
        let service = Service(
            clusterIPs: addresses, isHeadless: spec["clusterIP"].string == "None",
            externalName: isExternal ? spec["externalName"].string : nil,
            ports: Self.ports(spec["ports"].array, number: "port"))
        services[key] = service
        for address in addresses { serviceOfAddress[address] = key }
    }

    public mutating func setSlice(_ key: ObjectKey, _ object: KubeObject?) {
        if let old = slices.removeValue(forKey: key) {
            slicesOfService[old.service]?.remove(key)
            if slicesOfService[old.service]?.isEmpty == true { slicesOfService[old.service] = nil }
            for endpoint in old.endpoints {
                slicesOfAddress[endpoint.address]?[key] = nil
                if slicesOfAddress[endpoint.address]?.isEmpty == true { slicesOfAddress[endpoint.address] = nil }
            }
        }
        guard let object, let name = object.labels["kubernetes.io/service-name"] else { return }
        let service = ObjectKey(object.namespace, name)
        let ports = Self.ports(object["ports"].array, number: "port")
        var endpoints: [Endpoint] = []
        for endpoint in object["endpoints"].array ?? [] where endpoint["conditions"]["ready"].bool ?? true {
            for text in endpoint["addresses"].array ?? [] {
                guard let address = text.string.flatMap({ IPAddress($0) }) else { continue }
                endpoints.append(
                    Endpoint(
                        address: address, hostname: endpoint["hostname"].string ?? Self.dashed(address), ports: ports))
            }
        }
        slices[key] = (service, endpoints)
        slicesOfService[service, default: []].insert(key)
        for endpoint in endpoints { slicesOfAddress[endpoint.address, default: [:]][key] = endpoint }
    }

    private static func ports(_ list: [JSON]?, number: String) -> [Port] {
        (list ?? []).compactMap { port in
            guard let value = port[number].int, let number = UInt16(exactly: value) else { return nil }
            return Port(
                name: port["name"].string ?? "", protocolName: (port["protocol"].string ?? "TCP").lowercased(),
                number: number)
        }
    }

    /// `10-244-1-7`, or `2001-db8--1`: how an address without a host name is called.
    public static func dashed(_ address: IPAddress) -> String {
        String(address.description.map { $0 == "." || $0 == ":" ? "-" : $0 })
    }

    /// The address that a dashed name says.
    public static func address(dashed text: String) -> IPAddress? {
        if text.utf8.count(where: { $0 == UInt8(ascii: "-") }) == 3, !text.contains("--"),
            let v4 = IPAddress(String(text.map { $0 == "-" ? "." : $0 }))
        {
            return v4
        }
        return IPAddress(String(text.map { $0 == "-" ? ":" : $0 }))
    }
}

extension Sequence {
    func count(where predicate: (Element) -> Bool) -> Int {
        reduce(0) { $0 + (predicate($1) ? 1 : 0) }
    }
}
