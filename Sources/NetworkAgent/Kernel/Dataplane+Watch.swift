// SPDX-License-Identifier: Apache-2.0

import Linux
import NetworkModel
import Synchronization
import Values

/// What a ``Dataplane`` knows of the kernel.
struct DataplaneState {
    /// The pods that are wired here, by address.
    var workloads: [IPAddress: String] = [:]
    var routes: [IPFamily: RouteTable] = [.v4: RouteTable(.v4), .v6: RouteTable(.v6)]
    /// What the tunnels' devices are known to hold; nothing where that has to be listed.
    var tunnels: [IPFamily: TunnelDevice.Known] = [:]
    /// `tunl0`, where it is wanted.
    var ipip: Int32?
    /// The sandboxes whose namespaces are known, by their host interfaces.
    var sandboxes: [String: WatchedSandbox] = [:]
    /// Host interfaces of sandboxes whose link somebody else changed.
    var damaged: Set<String> = []
    /// Called when there are such; nil while nobody watches.
    var onSandbox: (@Sendable () -> Void)?
    /// What somebody else took away, to be told of when it has been put back.
    var tunnelLosses: [String] = []
    /// Tunnels whose settings may have been changed.
    var doubted: Set<IPFamily> = []
    var tableLosses: [IPFamily: String] = [:]
    /// What was put back, and has not been told of yet.
    var repairs: [String] = []

    mutating func forget() {
        for family in IPFamily.allCases { routes[family]?.forget() }
        tunnels = [:]
    }
}

// MARK: What others change

extension Dataplane {
    /// Calls `onChange` whenever the kernel tells that something of ours was changed by somebody else, and `onSandbox`
    /// when that was a sandbox's link, until cancelled.
    public func watch(onSandbox: @escaping @Sendable () -> Void = {}, onChange: @escaping @Sendable () -> Void)
        async throws
    {
        let monitor = try NetlinkMonitor(
            [.links, .routes, .routes6, .addresses, .addresses6, .neighbours], in: namespace)
        let tableMonitor = try NFTablesMonitor(in: namespace)
        // Nobody told of what happened before.
        state.withLock { state in
            state.forget()
            state.onSandbox = onSandbox
        }
        for table in tables.values { _ = table.forget() }
        onChange()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [self] in
                for await events in monitor.events {
                    let (isChanged, isDamaged) = state.withLock { state in
                        let damaged = state.damaged.count
                        return (Self.take(events, &state), state.damaged.count != damaged)
                    }
                    if isChanged { onChange() }
                    if isDamaged { onSandbox() }
                }
            }
            group.addTask { [self] in
                for await events in tableMonitor.events where try take(events) { onChange() }
            }
            try await group.waitForAll()
        }
    }

    private func take(_ events: [NFTablesEvent]) throws -> Bool {
        var isChanged = false
        for change in try ownership.foreign(in: events) {
            guard let family = IPFamily.allCases.first(where: { Self.table($0) == change.table }),
                tables[family]?.forget() == true
            else { continue }
            isChanged = true
            let program = change.program.isEmpty ? "somebody" : change.program
            state.withLock { $0.tableLosses[family] = "nftables' table \(change.table), which \(program) had changed" }
        }
        return isChanged
    }

    /// What was put back since the last call, for people.
    public func takeRepairs() -> [String] {
        state.withLock { state in
            defer { state.repairs = [] }
            return state.repairs
        }
    }

    private static func take(_ events: [NetlinkEvent], _ state: inout DataplaneState) -> Bool {
        var changed = false
        for event in events {
            for family in IPFamily.allCases {
                if state.routes[family]?.take(event) ?? false { changed = true }
                if takeTunnel(event, family, &state) { changed = true }
            }
            switch event {
            // A pod's link that comes up can have its routes.
            case .link(let link) where link.isUp && state.workloads.values.contains(link.name): changed = true
            case .link(let link) where link.isUp: break
            case .link(let link), .linkRemoved(let link):
                if state.sandboxes[link.name] != nil { state.damaged.insert(link.name) }
                if link.index == state.ipip { changed = true }
            case .addressRemoved(let address) where address.interface == state.ipip: changed = true
            default: break
            }
        }
        return changed
    }

    /// Forgets of a tunnel what the event says has gone: a peer's entries alone where it names them.
    private static func takeTunnel(_ event: NetlinkEvent, _ family: IPFamily, _ state: inout DataplaneState) -> Bool {
        guard let known = state.tunnels[family] else { return false }
        func lose(_ what: String) -> Bool {
            state.tunnels[family] = nil
            state.tunnelLosses.append(what)
            return true
        }
        func losePeer(_ neighbour: Neighbour) -> Bool {
            let lost = known.peers.filter {
                $0.tunnelAddress == neighbour.address
                    || ($0.mac == neighbour.mac && $0.nodeAddress == neighbour.address)
            }
            if lost.isEmpty { return false }
            state.tunnels[family] = .init(
                tunnel: known.tunnel, peers: known.peers.subtracting(lost), interface: known.interface)
            state.tunnelLosses.append(
                "\(known.tunnel.interface)'s entries of node \(lost.map(\.node).sorted().joined(separator: ", "))")
            return true
        }
        switch event {
        case .linkRemoved(let link) where link.index == known.interface: return lose("interface \(link.name)")
        case .link(let link) where link.index == known.interface:
            let isRight = link.isUp && link.mtu == known.tunnel.mtu && link.mac == known.tunnel.mac
            if isRight { return false }
            // The kernel may still be telling of how the device was made: said only if there is something to write.
            state.tunnels[family] = nil
            state.doubted.insert(family)
            return true
        case .addressRemoved(let address) where address.interface == known.interface:
            guard address.address.address == known.tunnel.address else { return false }
            return lose("address \(address.address) of \(known.tunnel.interface)")
        case .neighbourRemoved(let neighbour) where neighbour.interface == known.interface: return losePeer(neighbour)
        case .neighbour(let neighbour) where neighbour.interface == known.interface:
            return neighbour.state.contains(.permanent) ? false : losePeer(neighbour)
        case .overflow:
            state.tunnels[family] = nil
            return true
        default: return false
        }
    }
}
