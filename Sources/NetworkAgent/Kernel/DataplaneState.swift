// SPDX-License-Identifier: Apache-2.0

import NetworkModel
import Values

/// What a ``Dataplane`` is to bring about, and what it knows of the kernel.
struct DataplaneState {
    var workloads = WorkloadLinks()
    var routes = PerFamily { RouteTable($0) }
    var tunnels = PerFamily { TunnelState($0) }
    var ipip = IPIPState()
    /// Whether pods have IPv6 addresses.
    private(set) var forwardsIPv6 = false
    var mustForwardIPv6 = false
    /// The sandboxes whose namespaces are known, by their host interfaces.
    var sandboxes: [String: WatchedSandbox] = [:]
    /// Host interfaces of sandboxes whose link somebody else changed.
    var damaged: Set<String> = []
    /// Called when there are such; nil while nobody watches.
    var onSandbox: (@Sendable () -> Void)?
    /// Called when a pod's address comes or goes.
    var onWorkloads: (@Sendable ([NetworkEvent]) -> Void)?
    var tableLosses: [IPFamily: String] = [:]
    /// What was put back, and has not been told of yet.
    var repairs: [String] = []

    /// Makes the next write look at everything.
    mutating func forget() {
        for family in IPFamily.allCases {
            routes[family].forget()
            tunnels[family].forget()
        }
        ipip.forget()
        mustForwardIPv6 = forwardsIPv6
    }

    mutating func want(_ changes: NetworkChanges) {
        for (destination, hop) in changes.routes { routes[destination.family].want(destination, hop) }
        for (family, tunnel) in changes.tunnels { tunnels[family].want(tunnel) }
        for (key, peer) in changes.peers { tunnels[key.family].want(peer, of: key.node) }
        if let tunnel = changes.ipip { ipip.want(tunnel) }
        if let networks = changes.podNetworks { forward(networks) }
    }

    /// All of a plan, and nothing else.
    mutating func want(_ plan: NetworkPlan) {
        let hops = Dictionary(plan.routes.map { ($0.destination, $0.hop) }, uniquingKeysWith: { first, _ in first })
        for family in IPFamily.allCases {
            for destination in routes[family].desired.keys where hops[destination] == nil {
                routes[family].want(destination, nil)
            }
            tunnels[family].want(plan.tunnels[family])
            let peers = plan.peers.filter { $0.nodeAddress.family == family }
            for node in tunnels[family].nodes.subtracting(peers.map(\.node)) { tunnels[family].want(nil, of: node) }
            for peer in peers { tunnels[family].want(peer, of: peer.node) }
        }
        for (destination, hop) in hops { routes[destination.family].want(destination, hop) }
        ipip.want(plan.ipip)
        forward(plan.podNetworks)
    }

    private mutating func forward(_ podNetworks: Set<CIDR>) {
        forwardsIPv6 = podNetworks.contains { $0.family == .v6 }
        mustForwardIPv6 = forwardsIPv6
    }
}

/// One value for each family.
struct PerFamily<Value> {
    private var v4: Value
    private var v6: Value

    init(_ make: (IPFamily) -> Value) {
        v4 = make(.v4)
        v6 = make(.v6)
    }

    subscript(family: IPFamily) -> Value {
        _read { if family == .v4 { yield v4 } else { yield v6 } }
        _modify { if family == .v4 { yield &v4 } else { yield &v6 } }
    }
}

/// The pods that are wired here: the host end of each address's link.
struct WorkloadLinks {
    private(set) var all: [IPAddress: String] = [:]
    private var addresses: [String: Set<IPAddress>] = [:]

    subscript(address: IPAddress) -> String? { all[address] }

    /// How many links there are.
    var interfaceCount: Int { addresses.count }

    /// - Returns: what that changes.
    mutating func set(_ address: IPAddress, to interface: String?) -> [NetworkEvent] {
        let old = all[address]
        guard old != interface else { return [] }
        if let old {
            addresses[old]?.remove(address)
            if addresses[old]?.isEmpty ?? false { addresses[old] = nil }
        }
        if let interface { addresses[interface, default: []].insert(address) }
        all[address] = interface
        return [.workload(address, interface)]
    }

    /// - Returns: what that changes.
    mutating func removeAll(of interface: String) -> [NetworkEvent] {
        (addresses[interface] ?? []).flatMap { set($0, to: nil) }
    }
}
