// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// One port of a Service with the endpoints behind it, in one family.
public struct ServicePort: Sendable, Hashable {
    public struct Endpoint: Sendable, Hashable, Comparable {
        public let address: IPAddress
        public let port: Int

        public init(_ address: IPAddress, _ port: Int) {
            self.address = address
            self.port = port
        }

        public static func < (left: Endpoint, right: Endpoint) -> Bool {
            (left.address, left.port) < (right.address, right.port)
        }
    }

    public enum TransportProtocol: String, Sendable, Hashable {
        case tcp, udp, sctp
    }

    public let service: ObjectKey
    public let family: IPFamily
    /// The port's name, or its protocol and number where it has none.
    public let name: String
    public let transport: TransportProtocol
    public let port: Int
    public let nodePort: Int?
    public let clusterIPs: [IPAddress]
    /// Addresses of load balancers and external addresses.
    public private(set) var externalIPs: [IPAddress]
    /// Those of them that a load balancer gave: the Service's own, like its cluster addresses.
    public private(set) var balancerIPs: Set<IPAddress>
    public let endpoints: [Endpoint]

    /// The chain that sends to the endpoints.
    var chain: String { "svc/\(service.namespace ?? "")/\(service.name)/\(name)" }
    /// The chain for what comes from outside.
    var externalChain: String { "ext/\(service.namespace ?? "")/\(service.name)/\(name)" }

    /// The same, reached from outside by these of its addresses alone.
    func reached(by addresses: [IPAddress]) -> ServicePort {
        var copy = self
        copy.externalIPs = addresses
        copy.balancerIPs.formIntersection(addresses)
        return copy
    }
}

/// Turns Services and EndpointSlices into ports with endpoints.
public enum ServiceModel {
    /// `slices`: the EndpointSlices of this Service. A Service of both families has each port twice.
    public static func ports(of service: KubeObject, slices: [KubeObject]) -> [ServicePort] {
        IPFamily.allCases.flatMap { ports(of: service, slices: slices, $0) }
    }

    private static func ports(of service: KubeObject, slices: [KubeObject], _ family: IPFamily) -> [ServicePort] {
        let spec = service["spec"]
        guard spec["type"].string != "ExternalName" else { return [] }
        func addresses(_ texts: [String]) -> [IPAddress] {
            var seen: Set<IPAddress> = []
            return texts.compactMap { IPAddress($0) }.filter { $0.family == family && seen.insert($0).inserted }
        }
        let clusterIPs = addresses(
            (spec["clusterIPs"].array ?? []).compactMap(\.string) + [spec["clusterIP"].string].compactMap(\.self))
        let balancers = (service["status"]["loadBalancer"]["ingress"].array ?? []).compactMap { $0["ip"].string }
        let externalIPs = addresses((spec["externalIPs"].array ?? []).compactMap(\.string) + balancers)
        guard !clusterIPs.isEmpty else { return [] }
        return (spec["ports"].array ?? []).compactMap { port in
            let text = port["protocol"].string?.lowercased() ?? "tcp"
            guard let transport = ServicePort.TransportProtocol(rawValue: text), let number = port["port"].int,
                (1...65535).contains(number)
            else { return nil }
            let name = port["name"].string ?? ""
            let nodePort = port["nodePort"].int.flatMap { (1...65535).contains($0) ? $0 : nil }
            return ServicePort(
                service: service.key, family: family, name: name.isEmpty ? "\(transport.rawValue)-\(number)" : name,
                transport: transport, port: number, nodePort: nodePort, clusterIPs: clusterIPs,
                externalIPs: externalIPs, balancerIPs: Set(addresses(balancers)),
                endpoints: endpoints(named: name, slices, family))
        }
    }

    /// Those that are ready; where none is, those that still serve while they end.
    private static func endpoints(
        named name: String, _ slices: [KubeObject], _ family: IPFamily
    ) -> [ServicePort.Endpoint] {
        var ready: Set<ServicePort.Endpoint> = []
        var ending: Set<ServicePort.Endpoint> = []
        for slice in slices where slice["addressType"].string == family.rawValue {
            let match = slice["ports"].array?.first { ($0["name"].string ?? "") == name }
            guard let port = match?["port"].int, (1...65535).contains(port) else { continue }
            for endpoint in slice["endpoints"].array ?? [] {
                guard let address = endpoint["addresses"][0].string.flatMap({ IPAddress($0) }),
                    address.family == family
                else { continue }
                let conditions = endpoint["conditions"]
                if conditions["ready"].bool ?? true {
                    ready.insert(.init(address, port))
                } else if conditions["serving"].bool == true, conditions["terminating"].bool == true {
                    ending.insert(.init(address, port))
                }
            }
        }
        return (ready.isEmpty ? ending : ready).sorted()
    }
}
