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

    /// An endpoint that may be chosen: it is ready, or serves still while it ends.
    public struct Candidate: Sendable, Hashable, Comparable {
        public let endpoint: Endpoint
        /// Where it runs; nil where its slice does not say so.
        public let node: String?
        public let isReady: Bool

        public static func < (left: Candidate, right: Candidate) -> Bool { left.endpoint < right.endpoint }
    }

    public enum TransportProtocol: String, Sendable, Hashable {
        case tcp, udp, sctp

        /// As IP's header has it.
        public var number: UInt8 {
            switch self {
            case .tcp: 6
            case .udp: 17
            case .sctp: 132
            }
        }
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
    /// One for each endpoint, in order.
    public let candidates: [Candidate]
    public let policy: ServicePolicy

    /// Those that are ready; where none is, those that still serve while they end.
    public var endpoints: [Endpoint] { Self.chosen(candidates) }

    /// The same among those of a node, where a policy is Local: others' being ready does not count.
    public func endpoints(on node: String) -> [Endpoint] { Self.chosen(candidates.filter { $0.node == node }) }

    private static func chosen(_ candidates: [Candidate]) -> [Endpoint] {
        let ready = candidates.filter(\.isReady)
        return (ready.isEmpty ? candidates : ready).map(\.endpoint)
    }

    /// The same, reached from outside by these of its addresses alone.
    func reached(by addresses: [IPAddress]) -> ServicePort {
        var copy = self
        copy.externalIPs = addresses
        copy.balancerIPs.formIntersection(addresses)
        return copy
    }
}

/// How a Service's traffic finds its endpoints.
public struct ServicePolicy: Sendable, Hashable {
    /// `internalTrafficPolicy: Local`.
    public var isInternalLocal = false
    /// `externalTrafficPolicy: Local`.
    public var isExternalLocal = false
    /// With `sessionAffinity: ClientIP`: how long a client comes back to its endpoint, in seconds.
    public var affinitySeconds: Int?
    /// Who may come by an address of a load balancer; empty is everybody. Of any two none holds the other.
    public var sourceRanges: [CIDR] = []
}

/// Turns Services and EndpointSlices into ports with endpoints.
public enum ServiceModel {
    /// What counts of an EndpointSlice.
    struct Slice: Sendable, Hashable {
        struct Endpoint: Sendable, Hashable {
            let address: IPAddress
            let node: String?
            let isReady: Bool
        }

        let family: IPFamily
        /// By name.
        let ports: [String: Int]
        let endpoints: [Endpoint]

        init?(_ slice: KubeObject) {
            guard let family = slice["addressType"].string.flatMap(IPFamily.init(rawValue:)) else { return nil }
            self.family = family
            var ports: [String: Int] = [:]
            for entry in slice["ports"].array ?? [] {
                let name = entry["name"].string ?? ""
                guard ports[name] == nil, let port = entry["port"].int, (1...65535).contains(port) else { continue }
                ports[name] = port
            }
            self.ports = ports
            endpoints = (slice["endpoints"].array ?? []).compactMap { endpoint in
                guard let address = endpoint["addresses"][0].string.flatMap({ IPAddress($0) }),
                    address.family == family
                else { return nil }
                let conditions = endpoint["conditions"]
                let isReady = conditions["ready"].bool ?? true
                guard isReady || conditions["serving"].bool == true && conditions["terminating"].bool == true else {
                    return nil
                }
                return Endpoint(address: address, node: endpoint["nodeName"].string, isReady: isReady)
            }
        }
    }

    /// What counts of a Service; nil where it has no addresses of its own, or is somebody else's to serve.
    struct Definition: Sendable, Hashable {
        struct Port: Sendable, Hashable {
            /// As slices name it: empty where it has no name.
            let name: String
            let transport: ServicePort.TransportProtocol
            let port: Int
            let nodePort: Int?
        }

        let key: ObjectKey
        let clusterIPs: [IPAddress]
        let externalIPs: [IPAddress]
        let balancerIPs: [IPAddress]
        let ports: [Port]
        let policy: ServicePolicy
        /// Where load balancers ask whether this node has endpoints.
        let healthCheckPort: Int?

        init?(_ service: KubeObject) {
            let spec = service["spec"]
            let isForeign = ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"].contains {
                service.labels[$0] != nil
            }
            guard spec["type"].string != "ExternalName", !isForeign else { return nil }
            func texts(_ field: String) -> [String] { (spec[field].array ?? []).compactMap(\.string) }
            key = service.key
            clusterIPs = Self.addresses(texts("clusterIPs") + [spec["clusterIP"].string].compactMap(\.self))
            guard !clusterIPs.isEmpty else { return nil }
            let balancers = (service["status"]["loadBalancer"]["ingress"].array ?? []).compactMap { $0["ip"].string }
            externalIPs = Self.addresses(texts("externalIPs") + balancers)
            balancerIPs = Self.addresses(balancers)
            ports = (spec["ports"].array ?? []).compactMap { port in
                let text = port["protocol"].string?.lowercased() ?? "tcp"
                guard let transport = ServicePort.TransportProtocol(rawValue: text), let number = port["port"].int,
                    (1...65535).contains(number)
                else { return nil }
                let nodePort = port["nodePort"].int.flatMap { (1...65535).contains($0) ? $0 : nil }
                return Port(name: port["name"].string ?? "", transport: transport, port: number, nodePort: nodePort)
            }
            policy = ServicePolicy(
                isInternalLocal: spec["internalTrafficPolicy"].string == "Local",
                isExternalLocal: spec["externalTrafficPolicy"].string == "Local",
                affinitySeconds: Self.affinitySeconds(spec),
                sourceRanges: Self.ranges(texts("loadBalancerSourceRanges")))
            let isChecked = policy.isExternalLocal && spec["type"].string == "LoadBalancer"
            healthCheckPort =
                isChecked ? spec["healthCheckNodePort"].int.flatMap { (1...65535).contains($0) ? $0 : nil } : nil
        }

        private static func addresses(_ texts: [String]) -> [IPAddress] {
            var seen: Set<IPAddress> = []
            return texts.compactMap { IPAddress($0) }.filter { seen.insert($0).inserted }
        }

        /// Three hours where the Service does not say, as in the API's defaults; a day is the most that it takes.
        private static func affinitySeconds(_ spec: JSON?) -> Int? {
            guard spec["sessionAffinity"].string == "ClientIP" else { return nil }
            let seconds = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].int ?? 10800
            return min(max(seconds, 1), 86400)
        }

        /// The kernel takes no two ranges of which one holds the other. One that holds all of a family lets in as none does.
        private static func ranges(_ texts: [String]) -> [CIDR] {
            let all = Set(
                texts.compactMap { CIDR($0.split(separator: " ").first ?? "")?.network })
            let open = Set(all.filter { $0.prefixLength == 0 }.map(\.family))
            return all.filter { range in
                !open.contains(range.family) && !all.contains { $0 != range && $0.contains(range) }
            }.sorted()
        }
    }

    /// `slices`: the EndpointSlices of this Service. A Service of both families has each port twice.
    public static func ports(of service: KubeObject, slices: [KubeObject]) -> [ServicePort] {
        guard let definition = Definition(service) else { return [] }
        return ports(of: definition, slices.compactMap { Slice($0) })
    }

    static func ports(of service: Definition, _ slices: some Collection<Slice>) -> [ServicePort] {
        IPFamily.allCases.flatMap { family -> [ServicePort] in
            func own(_ addresses: [IPAddress]) -> [IPAddress] { addresses.filter { $0.family == family } }
            let clusterIPs = own(service.clusterIPs)
            guard !clusterIPs.isEmpty else { return [] }
            var policy = service.policy
            policy.sourceRanges = policy.sourceRanges.filter { $0.family == family }
            return service.ports.map { port in
                ServicePort(
                    service: service.key, family: family,
                    name: port.name.isEmpty ? "\(port.transport.rawValue)-\(port.port)" : port.name,
                    transport: port.transport, port: port.port, nodePort: port.nodePort, clusterIPs: clusterIPs,
                    externalIPs: own(service.externalIPs), balancerIPs: Set(own(service.balancerIPs)),
                    candidates: candidates(named: port.name, slices, family), policy: policy)
            }
        }
    }

    /// How many endpoints of a Service on a node are ready, whichever of its ports they have.
    static func readyCount(_ slices: some Collection<Slice>, on node: String) -> Int {
        Set(slices.flatMap { slice in slice.endpoints.filter { $0.isReady && $0.node == node }.map(\.address) }).count
    }

    /// An endpoint that two slices have is ready where one says so.
    private static func candidates(
        named name: String, _ slices: some Collection<Slice>, _ family: IPFamily
    ) -> [ServicePort.Candidate] {
        var result: [ServicePort.Endpoint: ServicePort.Candidate] = [:]
        for slice in slices where slice.family == family {
            guard let port = slice.ports[name] else { continue }
            for endpoint in slice.endpoints {
                let key = ServicePort.Endpoint(endpoint.address, port)
                let candidate = ServicePort.Candidate(endpoint: key, node: endpoint.node, isReady: endpoint.isReady)
                // Of two that say the same of readiness, the order of slices must not decide.
                if let known = result[key],
                    (known.isReady ? 1 : 0, known.node ?? "") >= (candidate.isReady ? 1 : 0, candidate.node ?? "")
                {
                    continue
                }
                result[key] = candidate
            }
        }
        return result.values.sorted()
    }
}
