// SPDX-License-Identifier: Apache-2.0
import CLinux
import Glibc

/// A change of a network namespace's tables.
public enum NetlinkEvent: Sendable, Hashable {
    case link(Link)
    case linkRemoved(Link)
    case address(InterfaceAddress)
    case addressRemoved(InterfaceAddress)
    case route(Route)
    case routeRemoved(Route)
    /// A permanent neighbour or forwarding entry, or one that has failed: so the kernel tells of a permanent neighbour
    /// that was deleted. Others come and go by themselves.
    case neighbour(Neighbour)
    /// A permanent neighbour or forwarding entry.
    case neighbourRemoved(Neighbour)
    /// Changes were lost: look again at everything.
    case overflow
}

/// Tells of changes in one network namespace, in batches, until it goes away.
public final class NetlinkMonitor: Sendable {
    public enum Group: UInt32, Sendable, Hashable, CaseIterable {
        case links = 0x1
        case neighbours = 0x4
        case addresses = 0x10
        case routes = 0x40
        case addresses6 = 0x100
        case routes6 = 0x400
    }

    private let feed: NetlinkFeed<NetlinkEvent>
    /// For one reader.
    public var events: AsyncStream<[NetlinkEvent]> { feed.events }

    /// Changes from now on, in the given namespace or the calling thread's.
    public init(_ groups: Set<Group> = [.links, .routes], in namespace: NamespaceRef? = nil) throws {
        let mask = groups.reduce(UInt32(0)) { $0 | $1.rawValue }
        feed = try NetlinkFeed(NETLINK_ROUTE, mask, in: namespace, overflow: .overflow) { Self.event($0) }
    }

    private static func event(_ reply: NetlinkReply) -> NetlinkEvent? {
        switch reply.type {
        case Int(RTM_NEWLINK): Link(reply).map { .link($0) }
        case Int(RTM_DELLINK): Link(reply).map { .linkRemoved($0) }
        case Int(RTM_NEWADDR): InterfaceAddress(reply).map { .address($0) }
        case Int(RTM_DELADDR): InterfaceAddress(reply).map { .addressRemoved($0) }
        case Int(RTM_NEWROUTE): Route(reply).map { .route($0) }
        case Int(RTM_DELROUTE): Route(reply).map { .routeRemoved($0) }
        case Int(RTM_NEWNEIGH):
            Neighbour(reply).flatMap { $0.state.isDisjoint(with: [.permanent, .failed]) ? nil : .neighbour($0) }
        case Int(RTM_DELNEIGH):
            Neighbour(reply).flatMap { $0.state.contains(.permanent) ? .neighbourRemoved($0) : nil }
        default: nil
        }
    }
}
