// SPDX-License-Identifier: Apache-2.0

import Linux
import Logging
import NetworkModel
import Values

/// The routes of one family with protocol 80: which are wanted, which the kernel is known to have, and of which
/// destinations the two may differ. Only those are looked at when the table is written; routes of others never, except to
/// say that one is in the way.
struct RouteTable {
    typealias Hop = PlannedRoute.Hop

    let family: IPFamily
    private(set) var desired: [CIDR: Hop] = [:]
    /// What the kernel has; nil when that is not known, and has to be listed.
    private var applied: KnownRoutes?
    /// Destinations to look at.
    private var pending: Set<CIDR> = []
    /// Destinations by the host end that leads there.
    private var workloads: [String: Set<CIDR>] = [:]
    /// Destinations of foreign routes that were told about.
    private var reported: Set<CIDR> = []
    /// Destinations of own routes that somebody else took away or changed.
    private var lost: Set<CIDR> = []
    /// Routes with Catbird's protocol that appeared without being written here.
    private var strays: [CIDR: Route] = [:]

    init(_ family: IPFamily) { self.family = family }

    // MARK: What is wanted

    mutating func want(_ destination: CIDR, _ hop: Hop?) {
        let old = desired[destination]
        guard old != hop else { return }
        if case .workload(let interface) = old {
            workloads[interface]?.remove(destination)
            if workloads[interface]?.isEmpty ?? false { workloads[interface] = nil }
        }
        if case .workload(let interface) = hop { workloads[interface, default: []].insert(destination) }
        desired[destination] = hop
        pending.insert(destination)
    }

    /// Has all routes of a kind looked at again, because what they go through was made anew.
    mutating func doubt(_ isTouched: (Hop) -> Bool) {
        for (destination, hop) in desired where isTouched(hop) { pending.insert(destination) }
    }

    /// Makes the next `apply` list the kernel's routes.
    mutating func forget() { applied = nil }

    /// Whether there is anything to write.
    var isPending: Bool { applied == nil || !pending.isEmpty || !strays.isEmpty }

    /// The host ends of pods whose routes are to be looked at, where there are such.
    var pendingInterfaces: Set<String> {
        guard applied != nil else { return Set(workloads.keys) }
        var names: Set<String> = []
        for destination in pending { if case .workload(let name) = desired[destination] { names.insert(name) } }
        return names
    }

    // MARK: What the kernel tells

    /// What the kernel told. Where it differs from what is known, somebody else changed it; of a change that names the
    /// route only that route is looked at again.
    ///
    /// - Returns: whether there may be something to put right.
    mutating func take(_ event: NetlinkEvent) -> Bool {
        guard let known = applied else { return false }
        switch event {
        case .route(let route):
            guard isOurs(route) else {
                // Put in the place of ours, which the kernel does not tell of by itself.
                guard route.table == Route.mainTable, (route.priority ?? 0) == 0,
                    let found = known[route.destination], found.priority ?? 0 == 0
                else { return isInTheWay(route) }
                return lose([route.destination])
            }
            guard let found = known[route.destination], Self.isSame(found, route) else {
                // The kernel may still be telling of what this process has changed since: looked at when it is written.
                strays[route.destination] = route
                return lose([route.destination])
            }
            // The kernel's own words say by which interface a gateway is reached.
            applied?[route.destination] = route
            return false
        case .routeRemoved(let route):
            if !isOurs(route) { return isInTheWay(route) }
            guard let found = known[route.destination], Self.isSame(found, route) else {
                if strays[route.destination].map({ Self.isSame($0, route) }) ?? false {
                    strays[route.destination] = nil
                    return lose([route.destination])
                }
                return false
            }
            return lose([route.destination])
        // With a link or an address go routes, which the kernel does not name one by one.
        case .linkRemoved(let link): return loseRoutes(by: link.index)
        case .link(let link):
            guard link.isUp else { return loseRoutes(by: link.index) }
            // A pod's link that comes up can have its routes.
            let missing = (workloads[link.name] ?? []).filter { known[$0] == nil }
            pending.formUnion(missing)
            return !missing.isEmpty
        case .addressRemoved(let address):
            guard address.address.family == family else { return false }
            return loseRoutes(by: address.interface)
        case .overflow:
            applied = nil
            return true
        case .address, .neighbour, .neighbourRemoved: return false
        }
    }

    private mutating func isInTheWay(_ route: Route) -> Bool {
        guard route.table == Route.mainTable, reported.contains(route.destination) else { return false }
        pending.insert(route.destination)
        return true
    }

    private mutating func loseRoutes(by interface: Int32) -> Bool {
        guard let known = applied else { return false }
        let touched = known.routes(by: interface)
        if touched.isEmpty { return false }
        // Several routes share an uplink or a tunnel, and not all of them need have gone: they are listed.
        if touched.contains(where: { $0.gateway != nil }) {
            lost.formUnion(touched.map(\.destination))
            applied = nil
            return true
        }
        return lose(touched.map(\.destination))
    }

    private mutating func lose(_ destinations: [CIDR]) -> Bool {
        for destination in destinations { applied?[destination] = nil }
        lost.formUnion(destinations)
        pending.formUnion(destinations)
        return true
    }

    private func isOurs(_ route: Route) -> Bool {
        route.protocol == .calico && route.destination.family == family && route.table == Route.mainTable
    }

    // MARK: Writing

    /// Writes what differs. What the kernel refuses stays pending, and keeps nothing else from being written.
    ///
    /// - Parameter route: the route that a hop is; nil while the interface that it needs is not there.
    /// - Returns: the routes that were put back because somebody else had taken them away.
    /// - Throws: the first refusal, when all the rest is written.
    mutating func apply(_ netlink: NetlinkSocket, _ logger: Logger, _ route: (CIDR, Hop) -> Route?) throws(Errno)
        -> [Route]
    {
        if applied == nil {
            let listed = KnownRoutes(try netlink.routes(family, protocol: .calico))
            strays = [:]
            pending = Set(desired.keys).union(listed.destinations)
            applied = listed
        }
        pending.formUnion(strays.keys)
        guard !pending.isEmpty else { return [] }
        var restored: [Route] = []
        var failure: Errno?
        var unwanted: [CIDR] = []
        // Narrow routes first, so that a block's blackhole never swallows what was meant for a pod.
        for destination in pending.sorted(by: { $0.prefixLength > $1.prefixLength }) {
            guard let wanted = desired[destination].flatMap({ route(destination, $0) }) else {
                unwanted.append(destination)
                continue
            }
            do throws(Errno) {
                if try write(wanted, netlink, logger), lost.contains(destination) { restored.append(wanted) }
                settle(destination)
            } catch {
                failure = failure ?? error
            }
        }
        for destination in unwanted {
            do throws(Errno) {
                if let stray = strays[destination] { try netlink.deleteRoute(stray) }
                if let known = applied?[destination] { try netlink.deleteRoute(known) }
                applied?[destination] = nil
                settle(destination)
            } catch {
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
        return restored
    }

    private mutating func settle(_ destination: CIDR) {
        pending.remove(destination)
        lost.remove(destination)
        strays[destination] = nil
    }

    /// - Returns: whether the kernel had not got it.
    private mutating func write(_ wanted: Route, _ netlink: NetlinkSocket, _ logger: Logger) throws(Errno) -> Bool {
        let destination = wanted.destination
        if let found = applied?[destination] {
            if Self.isSame(found, wanted) { return false }
            try netlink.replaceRoute(wanted)
        } else if let stray = strays[destination], Self.isSame(stray, wanted) {
            // Written by whoever wired the pod: the kernel's word is enough.
            applied?[destination] = stray
            return false
        } else {
            switch try netlink.claim(wanted) {
            case .written: break
            case .present:
                applied?[destination] = wanted
                reported.remove(destination)
                return false
            case .held(let holder):
                if reported.insert(destination).inserted {
                    logger.error(
                        "a route that is not Catbird's (\(holder)) is in the way, and stays: remove it for \(destination) to be reached"
                    )
                }
                return false
            }
        }
        reported.remove(destination)
        applied?[destination] = wanted
        return true
    }

    static func isSame(_ found: Route, _ wanted: Route) -> Bool {
        found.kind == wanted.kind && found.gateway == wanted.gateway
            && (wanted.interface == nil || found.interface == nil || found.interface == wanted.interface)
    }
}

/// Routes by destination, and by the interface that they go with.
private struct KnownRoutes {
    private var routes: [CIDR: Route] = [:]
    private var byInterface: [Int32: Set<CIDR>] = [:]
    /// Of which the kernel has not told yet by which interface it reaches their gateway.
    private var unplaced: Set<CIDR> = []

    init(_ routes: [Route]) {
        for route in routes where self.routes[route.destination] == nil { self[route.destination] = route }
    }

    var destinations: some Sequence<CIDR> { routes.keys }

    subscript(destination: CIDR) -> Route? {
        get { routes[destination] }
        set {
            if let interface = routes[destination]?.interface {
                byInterface[interface]?.remove(destination)
                if byInterface[interface]?.isEmpty ?? false { byInterface[interface] = nil }
            }
            unplaced.remove(destination)
            routes[destination] = newValue
            guard let newValue, newValue.kind == .unicast else { return }
            if let interface = newValue.interface {
                byInterface[interface, default: []].insert(destination)
            } else if newValue.gateway != nil {
                unplaced.insert(destination)
            }
        }
    }

    /// Those that go when the interface does.
    func routes(by interface: Int32) -> [Route] {
        (byInterface[interface] ?? unplaced).compactMap { routes[$0] }
    }
}
