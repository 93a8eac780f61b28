// SPDX-License-Identifier: Apache-2.0

import Linux
import Logging
import Values

/// The routes of one family with protocol 80: those that are wanted, those that the kernel is known to have, and from
/// the two what is left to write. Routes of others are never looked at, except to say that one is in the way.
struct RouteTable {
    let family: IPFamily
    /// What the kernel has; nil when that is not known, and has to be listed.
    private var actual: [CIDR: Route]?
    /// Destinations of foreign routes that were told about.
    private var reported: Set<CIDR> = []
    /// Destinations of own routes that somebody else took away or changed.
    private var lost: Set<CIDR> = []
    /// Routes with Catbird's protocol that appeared without being written here.
    private var strays: [CIDR: Route] = [:]

    init(_ family: IPFamily) { self.family = family }

    /// Makes the next `apply` list the kernel's routes.
    mutating func forget() { actual = nil }

    /// What the kernel told. Where it differs from what is known, somebody else changed it; of a change that names the
    /// route only that route is looked at again.
    ///
    /// - Returns: whether there may be something to put right.
    mutating func take(_ event: NetlinkEvent) -> Bool {
        guard let known = actual else { return false }
        switch event {
        case .route(let route):
            guard isOurs(route) else {
                // Put in the place of ours, which the kernel does not tell of by itself.
                guard route.table == Route.mainTable, (route.priority ?? 0) == 0,
                    let found = known[route.destination], found.priority ?? 0 == 0
                else { return reported.contains(route.destination) }
                return lose([route.destination])
            }
            guard let found = known[route.destination], Self.isSame(found, route) else {
                // The kernel may still be telling of what this process has changed since: looked at when it is written.
                strays[route.destination] = route
                return lose([route.destination])
            }
            // The kernel's own words say by which interface a gateway is reached.
            actual?[route.destination] = route
            return false
        case .routeRemoved(let route):
            if !isOurs(route) { return reported.contains(route.destination) && route.table == Route.mainTable }
            guard let found = known[route.destination], Self.isSame(found, route) else { return false }
            return lose([route.destination])
        // With a link or an address go routes, which the kernel does not name one by one.
        case .linkRemoved(let link): return loseRoutes(by: link.index)
        case .link(let link): return link.isUp ? false : loseRoutes(by: link.index)
        case .addressRemoved(let address):
            guard address.address.family == family else { return false }
            return loseRoutes(by: address.interface)
        case .overflow:
            actual = nil
            return true
        case .address, .neighbour, .neighbourRemoved: return false
        }
    }

    private mutating func loseRoutes(by interface: Int32) -> Bool {
        guard let known = actual else { return false }
        let touched = known.values.filter {
            $0.kind == .unicast && ($0.interface == interface || ($0.interface == nil && $0.gateway != nil))
        }
        if touched.isEmpty { return false }
        // Several routes share an uplink or a tunnel, and not all of them need have gone: they are listed.
        if touched.contains(where: { $0.gateway != nil }) {
            lost.formUnion(touched.map(\.destination))
            actual = nil
            return true
        }
        return lose(touched.map(\.destination))
    }

    private mutating func lose(_ destinations: [CIDR]) -> Bool {
        for destination in destinations { actual?[destination] = nil }
        lost.formUnion(destinations)
        return true
    }

    private func isOurs(_ route: Route) -> Bool {
        route.protocol == .calico && route.destination.family == family && route.table == Route.mainTable
    }

    /// Writes the difference.
    ///
    /// - Returns: the routes that were put back because somebody else had taken them away.
    mutating func apply(_ wanted: [CIDR: Route], _ netlink: NetlinkSocket, _ logger: Logger) throws(Errno) -> [Route] {
        var current: [CIDR: Route]
        if let actual {
            current = actual
        } else {
            current = Dictionary(
                try netlink.routes(family, protocol: .calico).map { ($0.destination, $0) },
                uniquingKeysWith: { first, _ in first })
        }
        // Until all is written nothing is certain: a failure in between has the next call list anew.
        actual = nil
        var restored: [Route] = []
        // Narrow routes first, so that a block's blackhole never swallows what was meant for a pod.
        for route in wanted.values.sorted(by: { $0.destination.prefixLength > $1.destination.prefixLength }) {
            if let found = current[route.destination], Self.isSame(found, route) { continue }
            var isWritten = true
            if current[route.destination] != nil {
                try netlink.replaceRoute(route)
            } else if case .held(let holder) = try claim(route, netlink, &isWritten) {
                if reported.insert(route.destination).inserted {
                    logger.error(
                        "a route that is not Catbird's (\(holder)) is in the way, and stays: remove it for \(route.destination) to be reached"
                    )
                }
                continue
            }
            if isWritten, lost.contains(route.destination) { restored.append(route) }
            reported.remove(route.destination)
            current[route.destination] = route
        }
        for route in strays.values where wanted[route.destination] == nil { try netlink.deleteRoute(route) }
        for route in current.values where wanted[route.destination] == nil {
            try netlink.deleteRoute(route)
            current[route.destination] = nil
        }
        actual = current
        lost = []
        strays = [:]
        return restored
    }

    private func claim(_ route: Route, _ netlink: NetlinkSocket, _ isWritten: inout Bool) throws(Errno) -> RouteClaim {
        let claim = try netlink.claim(route)
        if case .present = claim { isWritten = false }
        return claim
    }

    static func isSame(_ found: Route, _ wanted: Route) -> Bool {
        found.kind == wanted.kind && found.gateway == wanted.gateway
            && (wanted.interface == nil || found.interface == nil || found.interface == wanted.interface)
    }
}
