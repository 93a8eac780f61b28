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

    init(_ family: IPFamily) { self.family = family }

    /// Makes the next `apply` list the kernel's routes.
    mutating func forget() { actual = nil }

    /// What the kernel told. Where it differs from what is known, somebody else changed it.
    ///
    /// - Returns: whether there may be something to put right.
    mutating func take(_ event: NetlinkEvent) -> Bool {
        guard let known = actual else { return false }
        switch event {
        case .route(let route):
            guard isOurs(route) else { return reported.contains(route.destination) }
            if known[route.destination].map({ Self.isSame($0, route) }) == true { return false }
        case .routeRemoved(let route):
            if !isOurs(route) { return reported.contains(route.destination) && route.table == Route.mainTable }
            if known[route.destination].map({ Self.isSame($0, route) }) != true { return false }
        // With a link or an address go routes, which the kernel does not name one by one.
        case .linkRemoved, .addressRemoved, .overflow: break
        case .link(let link):
            if link.isUp { return false }
        case .address, .neighbour, .neighbourRemoved: return false
        }
        actual = nil
        return true
    }

    private func isOurs(_ route: Route) -> Bool {
        route.protocol == .calico && route.destination.family == family && route.table == Route.mainTable
    }

    /// Writes the difference.
    mutating func apply(_ wanted: [CIDR: Route], _ netlink: NetlinkSocket, _ logger: Logger) throws(Errno) {
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
        // Narrow routes first, so that a block's blackhole never swallows what was meant for a pod.
        for route in wanted.values.sorted(by: { $0.destination.prefixLength > $1.destination.prefixLength }) {
            if let found = current[route.destination], Self.isSame(found, route) { continue }
            if current[route.destination] != nil {
                try netlink.replaceRoute(route)
            } else if let holder = try netlink.claim(route) {
                if reported.insert(route.destination).inserted {
                    logger.error(
                        "a route that is not Catbird's (\(holder)) is in the way, and stays: remove it for \(route.destination) to be reached"
                    )
                }
                continue
            }
            reported.remove(route.destination)
            current[route.destination] = route
        }
        for route in current.values where wanted[route.destination] == nil {
            try netlink.deleteRoute(route)
            current[route.destination] = nil
        }
        actual = current
    }

    private static func isSame(_ found: Route, _ wanted: Route) -> Bool {
        found.kind == wanted.kind && found.gateway == wanted.gateway
            && (wanted.interface == nil || found.interface == nil || found.interface == wanted.interface)
    }
}
