// SPDX-License-Identifier: Apache-2.0

import Linux
import Logging
import Synchronization
import Values

/// A sandbox that this process has wired: its namespace, kept open so that its link can be made anew, and what the
/// kernel tells of changes in it.
final class WatchedSandbox: Sendable {
    let link: PodLink
    let addresses: [IPAddress]
    let mtu: Int
    private let netns: FileDescriptor
    private let task: Task<Void, Never>

    /// - Parameter netns: stays the caller's.
    init(
        _ link: PodLink, netns: Int32, addresses: [IPAddress], mtu: Int, onDamage: @escaping @Sendable () -> Void
    ) throws {
        self.link = link
        self.addresses = addresses
        self.mtu = mtu
        self.netns = try NamespaceRef.fd(netns).open(.net)
        let monitor = try NetlinkMonitor(
            [.links, .addresses, .addresses6, .routes, .routes6], in: .fd(self.netns.rawValue))
        // Not structured: it ends with the sandbox.
        task = Task {
            for await events in monitor.events
            where events.contains(where: { Self.isDamage($0, link, addresses) }) { onDamage() }
        }
    }

    deinit { task.cancel() }

    /// What a pod that changes its own network does by replacing, such as another default route, is not damage.
    private static func isDamage(_ event: NetlinkEvent, _ link: PodLink, _ addresses: [IPAddress]) -> Bool {
        switch event {
        case .link(let found): found.name == link.podInterface && !found.isUp
        case .addressRemoved(let address): addresses.contains(address.address.address)
        case .routeRemoved(let route):
            route.table == Route.mainTable
                && (route.destination.prefixLength == 0 && route.gateway == PodLink.gateway(route.destination.family)
                    || route.destination == CIDR(host: PodLink.gateway(.v4)))
        case .overflow: true
        default: false
        }
    }

    /// Looks at the sandbox's link and puts back what it lacks.
    ///
    /// - Returns: what it lacked; nil when that was nothing.
    func repair(host: NetlinkSocket) throws -> String? {
        do {
            try link.inspectHost(addresses: addresses, host: host)
            _ = try link.inspect(netns: netns.rawValue, addresses: addresses)
            return nil
        } catch let problem as PodLinkProblem {
            try link.restore(netns: netns.rawValue, addresses: addresses, mtu: mtu, host: host)
            return problem.description
        }
    }
}

extension Dataplane {
    /// Watches a sandbox's namespace, where somebody watches at all.
    func watchSandbox(_ link: PodLink, netns: Int32, addresses: [IPAddress], mtu: Int) {
        guard state.withLock({ $0.onSandbox != nil }) else { return }
        let name = link.hostInterface
        do {
            let sandbox = try WatchedSandbox(link, netns: netns, addresses: addresses, mtu: mtu) { [weak self] in
                guard let self else { return }
                let tell = state.withLock { state in
                    if state.sandboxes[name] != nil { state.damaged.insert(name) }
                    return state.onSandbox
                }
                tell?()
            }
            state.withLock { $0.sandboxes[name] = sandbox }
        } catch {
            logger.warning("\(name): changes inside its sandbox will not be noticed: \(error)")
        }
    }

    /// Learns where a sandbox's namespace is that an earlier process of the agent wired, and has its link looked at. Not
    /// while the sandbox is being wired or removed.
    func learn(_ link: PodLink, netns: Int32, addresses: [IPAddress], mtu: Int) {
        let name = link.hostInterface
        guard state.withLock({ $0.onSandbox != nil && $0.sandboxes[name] == nil }) else { return }
        do {
            // A later sandbox of the pod has the interface: this one is to be removed, not to be repaired.
            if let found = try netlink.link(name), found.alias != link.handleID { return }
        } catch {
            logger.warning("\(name): changes inside its sandbox will not be noticed: \(error)")
            return
        }
        tell(state.withLock { state in addresses.flatMap { state.workloads.set($0, to: name) } })
        watchSandbox(link, netns: netns, addresses: addresses, mtu: mtu)
        noteDamage(name)
        state.withLock(\.onSandbox)?()
    }

    /// The host interfaces of sandboxes whose links somebody else changed, since the last call.
    func takeDamaged() -> Set<String> {
        state.withLock { state in
            defer { state.damaged = [] }
            return state.damaged
        }
    }

    func noteDamage(_ hostInterface: String) { state.withLock { _ = $0.damaged.insert(hostInterface) } }

    /// Puts the sandbox's link right, if it is one that this process knows. Not while the sandbox is being wired or
    /// removed.
    func repairSandbox(_ hostInterface: String) throws {
        guard let sandbox = state.withLock({ $0.sandboxes[hostInterface] }) else { return }
        let lack = try Namespaces.inNamespaces(net: namespace) { [netlink] in try sandbox.repair(host: netlink) }
        guard let lack else { return }
        state.withLock { $0.repairs.append("the link of a pod, because \(lack)") }
    }
}
