// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Values

/// Gives Services their addresses and node ports. Runs while no other Service is written.
struct ServiceAllocator: Sendable {
    /// Decides what is to be had; what is taken it asks here.
    let range: ServiceRange
    /// What other Services hold.
    private var taken: Set<String>
    /// Whether an address has an IPAddress object already.
    private let isReserved: @Sendable (String) -> Bool

    init(
        ranges: [CIDR], nodePorts: ClosedRange<Int>, others: [StoredObject],
        isReserved: @escaping @Sendable (String) -> Bool
    ) {
        range = ServiceRange(networks: ranges, nodePorts: nodePorts)
        self.isReserved = isReserved
        taken = []
        for other in others { taken.formUnion(other.attributes.claims) }
    }

    private func isTaken(_ address: IPAddress) -> Bool {
        let text = address.description
        return taken.contains(ServiceClaims.address(text)) || isReserved(text)
    }

    mutating func allocate(_ service: inout KubeObject, old: KubeObject?) throws(StatusError) -> [FieldError] {
        if let old { Self.keep(&service, old) }
        var errors: [FieldError] = []
        if service["spec"]["type"].string == "ExternalName" {
            for field in [
                "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy",
            ] { service["spec"][field] = nil }
        } else {
            errors += allocateAddress(&service, old)
        }
        errors += allocatePorts(&service, old)
        if errors.isEmpty { errors += try allocateHealthCheck(&service, old) }
        return errors
    }

    /// An update that leaves out what was allocated keeps it.
    private static func keep(_ service: inout KubeObject, _ old: KubeObject) {
        let type = service["spec"]["type"].string ?? "ClusterIP"
        guard type != "ExternalName", old["spec"]["type"].string != "ExternalName" else { return }
        if service["spec"]["clusterIP"].string?.isEmpty ?? true {
            for field in ["clusterIP", "clusterIPs"] { service["spec"][field] = old["spec"][field] }
        }
        for field in ["ipFamilies", "ipFamilyPolicy"] where service["spec"][field] == nil {
            service["spec"][field] = old["spec"][field]
        }
        if let port = keptHealthCheck(service, old), (service["spec"]["healthCheckNodePort"].int ?? 0) == 0 {
            service["spec"]["healthCheckNodePort"] = JSON(port)
        }
        guard usesNodePorts(service), var ports = service["spec"]["ports"].array else { return }
        let before = old["spec"]["ports"].array ?? []
        let asked = Set(ports.compactMap { $0["nodePort"].int })
        for index in ports.indices where (ports[index]["nodePort"].int ?? 0) == 0 {
            let same = before.first {
                $0["port"] == ports[index]["port"]
                    && ($0["protocol"].string ?? "TCP") == (ports[index]["protocol"].string ?? "TCP")
            }
            if let number = same?["nodePort"].int, !asked.contains(number) { ports[index]["nodePort"] = JSON(number) }
        }
        service["spec"]["ports"] = .array(ports)
    }

    private mutating func allocateAddress(_ service: inout KubeObject, _ old: KubeObject?) -> [FieldError] {
        let asked = service["spec"]["clusterIP"].string ?? service["spec"]["clusterIPs"][0].string ?? ""
        let address: String
        switch asked {
        case "None": address = "None"
        case "":
            var random = SystemRandomNumberGenerator()
            guard let free = range.freeAddress(using: &random, isTaken: isTaken) else {
                return [
                    FieldError(
                        .internalError, "spec.clusterIPs",
                        detail: "failed to allocate a serviceIP: range is full")
                ]
            }
            address = free.description
        default:
            guard let wanted = IPAddress(asked) else {
                return [.invalid("spec.clusterIPs[0]", JSON(asked), "must be a valid IP address, (e.g. 10.9.8.7)")]
            }
            // What a Service has it keeps, whatever becomes of the ranges.
            let isKept = old.map { ServiceClaims.addresses(of: $0).contains(wanted.description) } ?? false
            if !isKept, let problem = range.problem(wanted, isTaken: isTaken) {
                return [.invalid("spec.clusterIPs", [JSON(asked)], "failed to allocate IP \(asked): \(problem)")]
            }
            address = wanted.description
        }
        service["spec"]["clusterIP"] = JSON(address)
        service["spec"]["clusterIPs"] = .array([JSON(address)])
        if service["spec"]["ipFamilies"].array?.isEmpty ?? true {
            let family = IPAddress(address)?.family ?? range.networks.first?.family ?? .v4
            service["spec"]["ipFamilies"] = .array([family == .v4 ? "IPv4" : "IPv6"])
        }
        if service["spec"]["ipFamilyPolicy"] == nil { service["spec"]["ipFamilyPolicy"] = "SingleStack" }
        return []
    }

    static func usesNodePorts(_ service: KubeObject) -> Bool {
        switch service["spec"]["type"].string {
        case "NodePort": true
        case "LoadBalancer": service["spec"]["allocateLoadBalancerNodePorts"].bool ?? true
        default: false
        }
    }

    private mutating func allocatePorts(_ service: inout KubeObject, _ old: KubeObject?) -> [FieldError] {
        guard var ports = service["spec"]["ports"].array else { return [] }
        var errors: [FieldError] = []
        let isLoadBalancer = service["spec"]["type"].string == "LoadBalancer"
        let allocates = Self.usesNodePorts(service)
        var own: Set<String> = []
        if let port = Self.keptHealthCheck(service, old) { own.insert(ServiceClaims.port(port, "TCP")) }
        for index in ports.indices {
            let transport = ports[index]["protocol"].string ?? "TCP"
            let field = "spec.ports[\(index)].nodePort"
            guard allocates || isLoadBalancer else {
                // Ports of a Service that no longer needs them are free again.
                if old != nil { ports[index]["nodePort"] = nil }
                continue
            }
            if let asked = ports[index]["nodePort"].int, asked > 0 {
                if let problem = problem(port: asked, transport, own) {
                    errors.append(.invalid(field, JSON(asked), problem))
                }
                own.insert(ServiceClaims.port(asked, transport))
            } else if allocates {
                guard let free = freePort(transport, own) else {
                    errors.append(
                        FieldError(.internalError, field, detail: "failed to allocate a nodePort: range is full"))
                    continue
                }
                ports[index]["nodePort"] = JSON(free)
                own.insert(ServiceClaims.port(free, transport))
            }
        }
        service["spec"]["ports"] = .array(ports)
        return errors
    }

    /// The port for health checks that a Service keeps: one that it had and still needs.
    private static func keptHealthCheck(_ service: KubeObject, _ old: KubeObject?) -> Int? {
        guard let old, ServiceTypes.needsHealthCheck(old["spec"]), ServiceTypes.needsHealthCheck(service["spec"]),
            let port = old["spec"]["healthCheckNodePort"].int, port > 0
        else { return nil }
        return port
    }

    /// Where load balancers ask a node whether it has pods of the Service: a port that a Service has from the moment on
    /// that it needs one, and loses when it needs none any more. Those that earlier servers made have none yet.
    private func allocateHealthCheck(
        _ service: inout KubeObject, _ old: KubeObject?
    ) throws(StatusError) -> [FieldError] {
        guard ServiceTypes.needsHealthCheck(service["spec"]), Self.keptHealthCheck(service, old) == nil else {
            return []
        }
        let own = Set(ServiceClaims.claims(of: service, withHealthCheck: false))
        if let asked = service["spec"]["healthCheckNodePort"].int, asked != 0 {
            // What is no port at all the kind's own rules refuse.
            guard (1...65535).contains(asked), let problem = problem(port: asked, "TCP", own) else { return [] }
            return [.invalid("spec.healthCheckNodePort", JSON(asked), problem)]
        }
        guard let free = freePort("TCP", own) else {
            throw .internalError("failed to allocate a HealthCheck NodePort: range is full")
        }
        service["spec"]["healthCheckNodePort"] = JSON(free)
        return []
    }

    /// Why a port that is asked for cannot be had.
    private func problem(port: Int, _ transport: String, _ own: Set<String>) -> String? {
        range.problem(port: port) { isPortTaken($0, transport, own) }
    }

    private func freePort(_ transport: String, _ own: Set<String>) -> Int? {
        var random = SystemRandomNumberGenerator()
        return range.freePort(using: &random) { isPortTaken($0, transport, own) }
    }

    private func isPortTaken(_ port: Int, _ transport: String, _ own: Set<String>) -> Bool {
        let claim = ServiceClaims.port(port, transport)
        return taken.contains(claim) || own.contains(claim)
    }
}

extension APIServer {
    /// Gives a Service what it needs of the cluster's ranges; does nothing for other kinds.
    func allocate(_ object: inout KubeObject, old: KubeObject?, _ type: ResourceType) async throws {
        guard type.storage == .services else { return }
        let key = StorageKey(.services)
        let path = key.key(object.namespace, object.name)
        let others = mirror.list(key).objects.filter { $0.key != path }
        let service = object
        var allocator = ServiceAllocator(
            ranges: serviceRanges(), nodePorts: configuration.nodePorts, others: others,
            isReserved: { self.isReserved($0, for: service) })
        let errors = try allocator.allocate(&object, old: old)
        if !errors.isEmpty { throw StatusError.invalid(type, name: object.name, errors) }
    }
}
