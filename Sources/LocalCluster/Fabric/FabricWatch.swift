// SPDX-License-Identifier: Apache-2.0
public import Linux
public import Logging
public import Values

/// Watches what a fabric has made on the machine, between the nodes and on their cables, and puts back what somebody
/// else takes away. Nothing is looked at until the kernel tells of a change of something that is the fabric's.
public actor FabricWatch {
    /// What was put back, to be told.
    public struct Repair: Sendable, Hashable {
        public let place: ExpectedNetwork.Place
        public let differences: [String]
    }

    private let fabric: Fabric
    private let host: NamespaceRef?
    private let ownership: TableOwnership
    private let log: Logger
    private let onRepair: @Sendable (Repair) -> Void
    private var nodes: [String: (node: FabricPlan.Node, namespace: NamespaceRef)] = [:]
    private var tasks: [ExpectedNetwork.Place: [Task<Void, Never>]] = [:]
    private var wantedRanges: [CIDR] = []
    private var podRanges: [CIDR] = []
    private var retries: [ExpectedNetwork.Place: Task<Void, Never>] = [:]
    private var isEnded = false
    /// What each place should hold, until nodes or ranges are others.
    private var networks: [ExpectedNetwork.Place: WatchedNetwork] = [:]

    /// - Parameters:
    ///   - host: the network namespace that plays the machine; nil for this process's own.
    ///   - onRepair: called for each repair; does not wait.
    public init(
        _ fabric: Fabric, host: NamespaceRef? = nil, log: Logger, onRepair: @escaping @Sendable (Repair) -> Void
    ) throws {
        self.fabric = fabric
        self.host = host
        self.log = log
        self.onRepair = onRepair
        ownership = try TableOwnership(of: ["ip \(fabric.names.table)"], in: host)
    }

    /// Watches the machine and the fabric, which has been made.
    public func start() throws {
        for place in [ExpectedNetwork.Place.machine, .fabric] { try watch(place) }
    }

    /// Watches a node that has been put on its rack.
    public func add(_ node: FabricPlan.Node, _ namespace: NamespaceRef) throws {
        guard !isEnded else { return }
        nodes[node.name] = (node, namespace)
        forget(.node(node.name))
        try watch(.node(node.name))
    }

    /// To be called before the node is taken off: nothing of it is put back after this has returned.
    public func remove(_ node: String) {
        nodes[node] = nil
        forget(.node(node))
        for task in tasks.removeValue(forKey: .node(node)) ?? [] { task.cancel() }
    }

    /// To be called before the fabric is removed.
    public func end() {
        isEnded = true
        for task in tasks.values.flatMap(\.self) { task.cancel() }
        tasks = [:]
    }

    // MARK: - Looking

    private func expected(_ place: ExpectedNetwork.Place) -> WatchedNetwork? {
        if let known = networks[place] { return known }
        var concerned = Array(nodes.values)
        if case .node(let name) = place { concerned = nodes[name].map { [$0] } ?? [] }
        let network = fabric.expected(place, nodes: concerned, podRanges: podRanges, host: host)
        networks[place] = network.map { WatchedNetwork($0) }
        return networks[place]
    }

    /// A node is another than before: with it the fabric, which has its cable.
    private func forget(_ place: ExpectedNetwork.Place) {
        networks[place] = nil
        networks[.fabric] = nil
    }

    private func onMachine(_ body: @escaping @Sendable () throws -> Void) throws {
        if let host { try Namespaces.inNamespaces(net: host, body) } else { try body() }
    }

    private func watch(_ place: ExpectedNetwork.Place) throws {
        guard tasks[place] == nil, let network = expected(place)?.network else { return }
        let monitor = try NetlinkMonitor([.links, .routes, .addresses], in: network.namespace)
        tasks[place] = [
            Task { [weak self] in
                for await events in monitor.events { await self?.take(events, place) }
            }
        ]
        if network.table != nil {
            let monitor = try NFTablesMonitor(in: network.namespace, exceptElementsOf: [Fabric.openPorts])
            tasks[place]?.append(
                Task { [weak self] in
                    for await events in monitor.events { await self?.take(events, place) }
                })
        }
        // Nobody told of what happened before.
        look(at: place)
    }

    private func take(_ events: [NetlinkEvent], _ place: ExpectedNetwork.Place) {
        guard !isEnded, let network = expected(place) else { return }
        let touched = Set(events.map(network.touched))
        if touched.contains(.anything) {
            look(at: place)
        } else {
            for case .interface(let name) in touched { look(at: place, interface: network.interface(name)) }
        }
        if place == .machine, podRanges.count < wantedRanges.count, events.contains(where: isRelease) {
            routePods(wantedRanges)
        }
    }

    private func take(_ events: [NFTablesEvent], _ place: ExpectedNetwork.Place) {
        guard !isEnded else { return }
        do {
            let changes = try ownership.foreign(in: events)
            if changes.isEmpty { return }
            try onMachine { [ownership, fabric] in try ownership.own { try fabric.writeHostRules() } }
            let programs = Set(changes.map(\.program)).filter { !$0.isEmpty }.sorted()
            let who = programs.isEmpty ? "somebody" : programs.joined(separator: ", ")
            onRepair(Repair(place: place, differences: ["nftables' table \(changes[0].table) was changed by \(who)"]))
        } catch {
            log.error("the machine's table cannot be put back", metadata: ["error": "\(error)"])
        }
    }

    /// Compares a namespace with what it should hold, and makes what is missing.
    private func look(at place: ExpectedNetwork.Place, interface: ExpectedNetwork.Interface? = nil) {
        do {
            guard let network = expected(place)?.network else { return }
            let differences = try interface.map { try network.differences(of: $0) } ?? network.differences()
            guard !differences.isEmpty else { return }
            try repair(place, differences)
            onRepair(Repair(place: place, differences: differences.map(\.description)))
        } catch {
            log.error("\(place) cannot be put right yet", metadata: ["error": "\(error)"])
            lookAgain(at: place)
        }
    }

    /// What the kernel refused it may take a second later; it does not tell when.
    private func lookAgain(at place: ExpectedNetwork.Place) {
        guard !isEnded, retries[place] == nil else { return }
        retries[place] = Task {
            try? await Task.sleep(for: .seconds(1))
            retries[place] = nil
            if !Task.isCancelled, !isEnded { look(at: place) }
        }
    }

    private func repair(_ place: ExpectedNetwork.Place, _ differences: [ExpectedNetwork.Difference]) throws {
        if case .node = place {
        } else if differences.contains(where: { $0.node == nil }) {
            try onMachine { [fabric, ownership, podRanges] in
                try fabric.create(ownership)
                try fabric.routePods(podRanges)
            }
        }
        for name in Set(differences.compactMap(\.node)) {
            guard let (node, namespace) = nodes[name] else { continue }
            try fabric.attach(node, to: namespace)
        }
        // A way of a node has no interface of its own to be told by.
        if case .node(let name) = place, let (node, namespace) = nodes[name] {
            try fabric.attach(node, to: namespace)
        }
    }

    // MARK: - Ways to pods

    /// Whether the event may have made room for a range that had none.
    private func isRelease(_ event: NetlinkEvent) -> Bool {
        switch event {
        case .linkRemoved, .overflow: true
        case .routeRemoved(let route):
            route.destination.prefixLength > 0 && wantedRanges.contains { $0.overlaps(route.destination) }
        default: false
        }
    }

    /// Gives the machine a way to these ranges and takes away those to others. A range that the machine uses for
    /// something else is left out until it is free.
    ///
    /// - Returns: what is left out, and why.
    @discardableResult
    public func routePods(_ ranges: [CIDR]) -> [OccupiedRange] {
        guard !isEnded else { return [] }
        var clashes: [OccupiedRange] = []
        do {
            let socket = try host.map { try NetlinkSocket(in: $0) } ?? NetlinkSocket()
            let occupied = try HostNetwork.occupied(by: socket, except: fabric.names)
            wantedRanges = ranges
            let free = ranges.filter { range in
                guard let use = occupied.first(where: { $0.range.overlaps(range) }) else { return true }
                clashes.append(OccupiedRange(range, use.use))
                return false
            }
            let gone = podRanges.filter { !free.contains($0) }
            podRanges = free
            networks[.machine] = nil
            try onMachine { [fabric] in
                for range in gone { try fabric.dropRoute(to: range) }
                try fabric.routePods(free)
            }
        } catch {
            log.error("the machine gets no way to the pods", metadata: ["error": "\(error)"])
        }
        return clashes
    }
}
