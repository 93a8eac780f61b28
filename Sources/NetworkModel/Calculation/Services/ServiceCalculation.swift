// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
public import Values

/// Which elements serve the cluster's Services on one node, computed step by step: one event in, the elements that it
/// changes out. Its sum is what ``NFTPlan/elements(_:_:node:)`` computes at once.
///
/// An event costs what the Service that it concerns has, whatever others there are. Only two things reach further: an
/// address of a node, of the API server or of another Service that comes or goes, for Services with external addresses.
public struct ServiceCalculation: Sendable {
    public enum Event: Sendable {
        /// A Service as it is now; nil is gone.
        case service(ObjectKey, KubeObject?)
        /// An EndpointSlice as it is now; nil is gone.
        case slice(ObjectKey, KubeObject?)
        /// The addresses of nodes with their names, and the networks where pods live.
        case owners(nodes: [IPAddress: String], podNetworks: Set<CIDR>)
    }

    /// An element that two Services may ask for: the first by name has it, whichever came first.
    private enum Claims {
        case one(ObjectKey, ServiceElement.Value)
        /// In order.
        case several([(ObjectKey, ServiceElement.Value)])

        var first: (ObjectKey, ServiceElement.Value)? {
            switch self {
            case .one(let key, let value): (key, value)
            case .several(let claims): claims.first
            }
        }
    }

    private let node: String
    private var definitions: [ObjectKey: ServiceModel.Definition] = [:]
    private var slices: [ObjectKey: [ObjectKey: ServiceModel.Slice]] = [:]
    /// Of which Service a slice is.
    private var services: [ObjectKey: ObjectKey] = [:]
    /// What is served: the ports without addresses that are somebody else's.
    private var ports: [ObjectKey: [ServicePort]] = [:]
    private var claims: [IPFamily: [ServiceElement: Claims]] = [.v4: [:], .v6: [:]]
    private var numbers: PortNumbers
    private var owners = AddressOwners()
    /// Services with external addresses, and by address.
    private var external: [ObjectKey: Set<IPAddress>] = [:]
    private var externalUsers: [IPAddress: Set<ObjectKey>] = [:]
    /// Which Services have an address as their clusterIP.
    private var clusterUsers: [IPAddress: Set<ObjectKey>] = [:]
    private var refusals: [ObjectKey: [String]] = [:]
    private var stickySeconds: [IPFamily: [Int: Int]] = [.v4: [:], .v6: [:]]
    /// Elements that lead elsewhere for one Service than for another.
    private var contested: [IPFamily: Set<ServiceElement>] = [.v4: [], .v6: []]
    private var healthChecks: [ObjectKey: HealthCheck] = [:]

    /// - Parameters:
    ///   - node: whose endpoints are local.
    ///   - numberBits: of how many bits ports' numbers are: fewer make them meet in tests.
    public init(node: String, numberBits: Int = 28) {
        self.node = node
        numbers = PortNumbers(bits: numberBits)
    }

    // MARK: Steps

    /// Takes one event, and says what it changes.
    public mutating func take(_ event: Event) -> ServiceChanges {
        var changes = ServiceChanges()
        switch event {
        case .service(let key, let object):
            let definition = object.flatMap { ServiceModel.Definition($0) }
            guard definition != definitions[key] else { break }
            definitions[key] = definition
            update(key, &changes)
        case .slice(let key, let object):
            takeSlice(key, object, &changes)
        case .owners(let nodes, let networks):
            takeOwners(nodes, networks, &changes)
        }
        return changes
    }

    private mutating func takeSlice(_ key: ObjectKey, _ object: KubeObject?, _ changes: inout ServiceChanges) {
        let service = object.flatMap { Self.service(of: $0) }
        if let before = services[key], before != service {
            put(nil, key, of: before)
            services[key] = nil
            update(before, &changes)
        }
        guard let service, let object else { return }
        let slice = ServiceModel.Slice(object)
        let isKnown = services[key] == service
        guard !isKnown || slices[service]?[key] != slice else { return }
        services[key] = service
        put(slice, key, of: service)
        update(service, &changes)
    }

    private mutating func put(_ slice: ServiceModel.Slice?, _ key: ObjectKey, of service: ObjectKey) {
        slices[service, default: [:]][key] = slice
        if slices[service]?.isEmpty ?? false { slices[service] = nil }
    }

    private static func service(of slice: KubeObject) -> ObjectKey? {
        slice.labels["kubernetes.io/service-name"].map { ObjectKey(slice.namespace, $0) }
    }

    private mutating func takeOwners(
        _ nodes: [IPAddress: String], _ networks: Set<CIDR>, _ changes: inout ServiceChanges
    ) {
        let ranges = Dictionary(uniqueKeysWithValues: networks.map { ($0, AddressOwners.podNetwork) })
        guard owners.nodes != nodes || owners.ranges != ranges else { return }
        owners.nodes = nodes
        owners.ranges = ranges
        for key in external.keys.sorted() { admit(key, nil, &changes) }
    }

    private mutating func update(_ key: ObjectKey, _ changes: inout ServiceChanges) {
        let before = ports[key] ?? []
        let now = asked(key)
        trackExternal(key, now)
        admit(key, now, &changes)
        updateHealthCheck(key, &changes)
        moveOwnership(key, before, now, &changes)
    }

    /// The ports of a Service with all addresses that it asks for.
    private func asked(_ key: ObjectKey) -> [ServicePort] {
        guard let definition = definitions[key] else { return [] }
        return ServiceModel.ports(of: definition, (slices[key] ?? [:]).values)
    }

    private mutating func admit(_ key: ObjectKey, _ asked: [ServicePort]?, _ changes: inout ServiceChanges) {
        let admitted = owners.admissible(asked ?? self.asked(key))
        refusals[key] = admitted.problems.isEmpty ? nil : admitted.problems
        set(key, ports[key] ?? [], admitted.ports, &changes)
    }

    /// Puts what a Service has in the place of what it had.
    private mutating func set(
        _ key: ObjectKey, _ before: [ServicePort], _ now: [ServicePort], _ changes: inout ServiceChanges
    ) {
        for family in IPFamily.allCases {
            // What comes may not be numbered yet; what went keeps its number until it is gone.
            for port in now where port.family == family { numbers.take(port) }
            let old = elements(before, family)
            let new = elements(now, family)
            for (element, value) in old where new[element] != value { drop(element, key, family, &changes) }
            for (element, value) in new where old[element] != value { claim(element, value, key, family, &changes) }
        }
        noteLosses(before, now, &changes)
        ports[key] = now.isEmpty ? nil : now
        let kept = Set(now.map(PortNumbers.Owner.init))
        for port in before where !kept.contains(PortNumbers.Owner(port)) { numbers.release(port) }
    }

    private func elements(_ ports: [ServicePort], _ family: IPFamily) -> ServiceElements.Elements {
        ServiceElements.of(ports.filter { $0.family == family }, node: node) { numbers[$0] ?? 0 }
    }

    // MARK: Claims

    private mutating func claim(
        _ element: ServiceElement, _ value: ServiceElement.Value, _ key: ObjectKey, _ family: IPFamily,
        _ changes: inout ServiceChanges
    ) {
        let before = claims[family]?[element]
        let now: Claims
        switch before {
        case nil: now = .one(key, value)
        case .one(let other, let held):
            now = .several([(other, held), (key, value)].sorted { $0.0 < $1.0 })
        case .several(let list):
            now = .several((list + [(key, value)]).sorted { $0.0 < $1.0 })
        }
        claims[family]?[element] = now
        note(element, before?.first?.1, now.first?.1, family, &changes)
        if before != nil, value != .nothing { contested[family]?.insert(element) }
    }

    private mutating func drop(
        _ element: ServiceElement, _ key: ObjectKey, _ family: IPFamily, _ changes: inout ServiceChanges
    ) {
        guard let before = claims[family]?[element] else { return }
        var now: Claims?
        if case .several(let list) = before {
            let rest = list.filter { $0.0 != key }
            now = rest.count == 1 ? .one(rest[0].0, rest[0].1) : .several(rest)
        }
        claims[family]?[element] = now
        note(element, before.first?.1, now?.first?.1, family, &changes)
        if case .several = now { return }
        contested[family]?.remove(element)
    }

    private mutating func note(
        _ element: ServiceElement, _ before: ServiceElement.Value?, _ now: ServiceElement.Value?, _ family: IPFamily,
        _ changes: inout ServiceChanges
    ) {
        guard before != now else { return }
        changes.note(element, before, now, family)
        guard case .sticky(_, let seconds) = element else { return }
        let count = (stickySeconds[family]?[seconds] ?? 0) + (now == nil ? -1 : before == nil ? 1 : 0)
        stickySeconds[family]?[seconds] = count > 0 ? count : nil
    }

    // MARK: Whose addresses are

    private mutating func trackExternal(_ key: ObjectKey, _ now: [ServicePort]) {
        let addresses = Set(now.flatMap(\.externalIPs))
        let before = external[key] ?? []
        for address in before.subtracting(addresses) {
            externalUsers[address]?.remove(key)
            if externalUsers[address]?.isEmpty ?? false { externalUsers[address] = nil }
        }
        for address in addresses.subtracting(before) { externalUsers[address, default: []].insert(key) }
        external[key] = addresses.isEmpty ? nil : addresses
    }

    /// Tells Services with external addresses of those that this one has of its own.
    private mutating func moveOwnership(
        _ key: ObjectKey, _ before: [ServicePort], _ now: [ServicePort], _ changes: inout ServiceChanges
    ) {
        let old = Set(before.flatMap(\.clusterIPs))
        let new = Set(now.flatMap(\.clusterIPs))
        var touched = old.symmetricDifference(new)
        for address in old.subtracting(new) { clusterUsers[address]?.remove(key) }
        for address in new.subtracting(old) { clusterUsers[address, default: []].insert(key) }
        for address in touched {
            if clusterUsers[address]?.isEmpty ?? false { clusterUsers[address] = nil }
            owners.services[address] = clusterUsers[address]?.min()
        }
        if key == AddressOwners.apiService {
            let servers = Set(now.flatMap { $0.candidates.map(\.endpoint.address) })
            touched.formUnion(servers.symmetricDifference(owners.apiServers))
            owners.apiServers = servers
        }
        let users = touched.reduce(into: Set<ObjectKey>()) { $0.formUnion(externalUsers[$1] ?? []) }
        for user in users.sorted() { admit(user, nil, &changes) }
    }

    // MARK: What goes

    /// Connections and affinities that outlive their endpoints.
    private func noteLosses(_ before: [ServicePort], _ now: [ServicePort], _ changes: inout ServiceChanges) {
        for old in before {
            guard let number = numbers[old] else { continue }
            let new = now.first { $0.family == old.family && $0.name == old.name && $0.transport == old.transport }
            let lost = Set(old.candidates.map(\.endpoint)).subtracting(new?.candidates.map(\.endpoint) ?? [])
            if old.transport == .udp, !lost.isEmpty { changes.lostUDP[old.family, default: []].insert(number) }
            if old.policy.affinitySeconds != nil, isUnbound(old, new) {
                changes.lostAffinity[old.family, default: []].insert(number)
            }
        }
        for new in now where new.transport == .udp {
            let old = before.first { $0.family == new.family && $0.name == new.name && $0.transport == new.transport }
            let isReachedAsBefore =
                old.map {
                    $0.clusterIPs == new.clusterIPs && $0.externalIPs == new.externalIPs && $0.nodePort == new.nodePort
                        && $0.port == new.port
                } ?? false
            if !isReachedAsBefore { changes.freshUDP.insert(new.family) }
        }
    }

    /// Whether a client may be bound to an endpoint that is not chosen any more.
    private func isUnbound(_ old: ServicePort, _ new: ServicePort?) -> Bool {
        guard let new, new.policy.affinitySeconds != nil else { return true }
        return !Set(old.endpoints).isSubset(of: new.endpoints)
            || !Set(old.endpoints(on: node)).isSubset(of: new.endpoints(on: node))
    }

    // MARK: Load balancers' questions

    private mutating func updateHealthCheck(_ key: ObjectKey, _ changes: inout ServiceChanges) {
        let now = definitions[key].flatMap { definition in
            definition.healthCheckPort.map { port in
                let slices = (slices[key] ?? [:]).values.filter { $0.family == definition.clusterIPs.first?.family }
                return HealthCheck(
                    service: key, port: port, localEndpoints: ServiceModel.readyCount(slices, on: node))
            }
        }
        guard now != healthChecks[key] else { return }
        healthChecks[key] = now
        changes.healthChecks = true
    }

    // MARK: The sum

    /// All elements of a family's table.
    public func elements(_ family: IPFamily) -> [ServiceElement: ServiceElement.Value] {
        (claims[family] ?? [:]).compactMapValues { $0.first?.1 }
    }

    /// The times after which affinities end, of those that are asked for.
    public func affinityTimes(_ family: IPFamily) -> Set<Int> { Set((stickySeconds[family] ?? [:]).keys) }

    /// Whether any Service has addresses of the family.
    public func isUsed(_ family: IPFamily) -> Bool { !(claims[family]?.isEmpty ?? true) }

    /// What is asked for and not done, a sentence each.
    public var problems: [String] {
        var result = Set(refusals.values.flatMap(\.self))
        for (family, elements) in contested {
            for element in elements {
                guard case .several(let list) = claims[family]?[element], let first = list.first else { continue }
                for (key, _) in list.dropFirst() {
                    result.insert(
                        "Service \(key): \(element.text) is Service \(first.0)'s already, which it leads to; give one of them another address or port"
                    )
                }
            }
        }
        return result.sorted()
    }

    /// Where load balancers ask, by Service.
    public var healthCheckPorts: [HealthCheck] { healthChecks.values.sorted { $0.service < $1.service } }

    /// The number of a port in marks; nil while it is not served.
    public func number(of port: ServicePort) -> UInt32? { numbers[port] }

    /// Whether packets of a connection are still sent to an endpoint that its Service no longer has, or past a Service
    /// that there is now.
    ///
    /// - Parameter lost: numbers of ports that lost endpoints; of those that went as a whole nothing else is known.
    public func isStale(_ flow: Flow, lost: Set<UInt32>) -> Bool {
        let number = flow.mark & ~ServiceElement.Flag.all
        if number != 0 {
            if let owner = numbers.owner(of: number) { return !serves(owner, flow.family, flow.endpoint) }
            if lost.contains(number) { return true }
        }
        let port = flow.destination.port
        guard let number16 = UInt16(exactly: port) else { return false }
        let front = claims[flow.family]?[.front(flow.destination.address, .udp, number16)]?.first
        if let mark = front?.1.number, let owner = numbers.owner(of: mark) {
            return !serves(owner, flow.family, flow.endpoint)
        }
        // A port of this node that was nobody's.
        guard flow.endpoint == flow.destination, owners.nodes[flow.destination.address] != nil else { return false }
        return claims[flow.family]?[.nodeFront(.udp, number16)] != nil
    }

    private func serves(_ owner: PortNumbers.Owner, _ family: IPFamily, _ endpoint: ServicePort.Endpoint) -> Bool {
        guard let port = port(owner, family) else { return false }
        return port.candidates.contains { $0.endpoint == endpoint }
    }

    /// Whether a client still comes back to an endpoint.
    public func isKept(_ mark: UInt32, _ endpoint: ServicePort.Endpoint, _ family: IPFamily) -> Bool {
        guard let owner = numbers.owner(of: mark & ~ServiceElement.Flag.all), let port = port(owner, family),
            port.policy.affinitySeconds != nil
        else { return false }
        let isLocal = mark & ServiceElement.Flag.local != 0
        return (isLocal ? port.endpoints(on: node) : port.endpoints).contains(endpoint)
    }

    private func port(_ owner: PortNumbers.Owner, _ family: IPFamily) -> ServicePort? {
        ports[owner.service]?.first {
            $0.family == family && $0.name == owner.name && $0.transport == owner.transport
        }
    }
}

extension ServiceCalculation {
    /// A connection over UDP as the kernel tracks it.
    public struct Flow: Sendable {
        /// Where its packets were addressed to.
        public let destination: ServicePort.Endpoint
        /// Where answers come from.
        public let endpoint: ServicePort.Endpoint
        public let mark: UInt32

        var family: IPFamily { destination.address.family }

        public init(destination: ServicePort.Endpoint, endpoint: ServicePort.Endpoint, mark: UInt32) {
            self.destination = destination
            self.endpoint = endpoint
            self.mark = mark
        }
    }

    /// What a load balancer is told when it asks whether to send to this node.
    public struct HealthCheck: Sendable, Hashable {
        public let service: ObjectKey
        public let port: Int
        /// How many are ready here.
        public let localEndpoints: Int
    }
}
