// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Logging
import NetworkModel
import Testing
import Values

@testable import NetworkAgent

/// The drivers of routes and tunnels against the kernel: they write what differs, and nothing else.
@Suite(.serialized, .enabled(if: geteuid() == 0)) struct DriverRootTests {
    private let laboratory: Laboratory
    private let netlink: NetlinkSocket
    private let logger = Logger(label: "test")

    init() throws {
        laboratory = try Laboratory()
        for name in ["node", "other"] { try laboratory.makeNamespace(name) }
        try laboratory.cable(("node", "eth0", "172.31.0.1/24"), ("other", "eth0", "172.31.0.2/24"))
        netlink = try NetlinkSocket(in: laboratory.namespace("node"))
    }

    private func block(_ number: Int) throws -> CIDR { try #require(CIDR("10.244.\(number).0/26")) }

    private var destinations: [String] {
        get throws { try netlink.routes(protocol: .calico).map(\.destination.description).sorted() }
    }

    private func write(_ table: inout RouteTable) throws -> [Route] {
        try table.apply(netlink, logger) { destination, hop in
            switch hop {
            case .node(let gateway): Route(to: destination, via: gateway, protocol: .calico)
            case .blackhole: Route(to: destination, kind: .blackhole, protocol: .calico)
            case .workload, .tunnel, .ipip: nil
            }
        }
    }

    @Test func aTableWritesWhatDiffersAndKeepsWhatFails() throws {
        var table = RouteTable(.v4)
        // Of an earlier process: one is wanted still, the other is not.
        try netlink.addRoute(Route(to: try block(1), kind: .blackhole, protocol: .calico))
        try netlink.addRoute(Route(to: try block(9), kind: .blackhole, protocol: .calico))
        table.want(try block(1), .blackhole)
        table.want(try block(2), .node(IPAddress(172, 31, 0, 2)))
        // Nobody has this gateway: the kernel refuses it, and it keeps nothing else from being written.
        table.want(try block(3), .node(IPAddress(192, 0, 2, 1)))
        table.want(try block(4), .blackhole)
        do {
            _ = try write(&table)
            Issue.record("the kernel took a gateway that nobody has")
        } catch is Errno {}
        #expect(try destinations == ["10.244.1.0/26", "10.244.2.0/26", "10.244.4.0/26"])
        #expect(table.isPending)
        table.want(try block(3), .node(IPAddress(172, 31, 0, 2)))
        let none = try write(&table)
        #expect(none.isEmpty)
        #expect(!table.isPending)
        // Nothing is pending: what is not told of is not looked at.
        try netlink.deleteRoute(Route(to: try block(4), kind: .blackhole, protocol: .calico))
        let still = try write(&table)
        #expect(still.isEmpty)
        #expect(try destinations == ["10.244.1.0/26", "10.244.2.0/26", "10.244.3.0/26"])
        // The kernel tells of it, or that it could not tell: both put it back.
        let isLost = table.take(.routeRemoved(Route(to: try block(4), kind: .blackhole, protocol: .calico)))
        #expect(isLost)
        let restored = try write(&table)
        #expect(restored.map(\.destination) == [try block(4)])
        try netlink.deleteRoute(Route(to: try block(1), kind: .blackhole, protocol: .calico))
        try netlink.addRoute(Route(to: try block(8), kind: .blackhole, protocol: .calico))
        let mustList = table.take(.overflow)
        #expect(mustList)
        _ = try write(&table)
        #expect(try destinations == ["10.244.1.0/26", "10.244.2.0/26", "10.244.3.0/26", "10.244.4.0/26"])
        table.want(try block(2), nil)
        let after = try write(&table)
        #expect(after.isEmpty)
        #expect(try destinations == ["10.244.1.0/26", "10.244.3.0/26", "10.244.4.0/26"])
    }

    private func plan(_ peers: [TunnelPeer]) throws -> NetworkPlan {
        var plan = NetworkPlan()
        let own = NodeNetwork(
            name: "node", address: try #require(CIDR("172.31.0.1/24")), tunnelAddress: IPAddress(10, 244, 1, 0),
            tunnelMAC: IPAMNames.vxlanMAC(node: "node"))
        let whole = NetworkPlan(
            NetworkInput(node: "node", nodes: ["node": own], pools: [], blocks: [], kernelHasIPIP: false))
        plan.tunnels = whole.tunnels
        plan.peers = Set(peers)
        return plan
    }

    private func peer(_ name: String, _ number: Int, at host: Int) throws -> TunnelPeer {
        TunnelPeer(
            node: name, nodeAddress: IPAddress(172, 31, 0, UInt8(host)),
            tunnelAddress: IPAddress(10, 244, UInt8(number), 0),
            mac: try #require(IPAMNames.vxlanMAC(node: name)))
    }

    /// Pairs of tunnel's end and node's address, as the kernel has them.
    private func entries() throws -> Set<String> {
        let tunnel = try netlink.requireLink("vxlan.calico").index
        let hosts = Dictionary(
            try netlink.forwardingEntries(interface: tunnel).compactMap { entry in
                entry.mac.flatMap { mac in entry.address.map { (mac, $0) } }
            }, uniquingKeysWith: { first, _ in first })
        return Set(
            try netlink.neighbours(interface: tunnel).filter { $0.state.contains(.permanent) }.compactMap { neighbour in
                neighbour.mac.flatMap { hosts[$0] }.map { "\(neighbour.address?.description ?? "-") at \($0)" }
            })
    }

    @Test func aTunnelFollowsItsPeers() throws {
        let dataplane = try Dataplane(in: laboratory.namespace("node"))
        try dataplane.apply(try plan([try peer("b", 2, at: 12), try peer("c", 3, at: 13)]))
        #expect(try entries() == ["10.244.2.0 at 172.31.0.12", "10.244.3.0 at 172.31.0.13"])
        // One got another address, one another tunnel's end, one is new.
        try dataplane.apply(try plan([try peer("b", 2, at: 22), try peer("c", 5, at: 13), try peer("d", 4, at: 14)]))
        #expect(
            try entries() == [
                "10.244.2.0 at 172.31.0.22", "10.244.4.0 at 172.31.0.14", "10.244.5.0 at 172.31.0.13",
            ])
        // A single change is told as one, and an end that another node takes over stays.
        var changes = NetworkChanges()
        let heir = try peer("e", 5, at: 15)
        changes.peers = [heir.key: heir, .init(node: "c", family: .v4): nil]
        dataplane.want(changes)
        try dataplane.write()
        #expect(
            try entries() == [
                "10.244.2.0 at 172.31.0.22", "10.244.4.0 at 172.31.0.14", "10.244.5.0 at 172.31.0.15",
            ])
        // A process that starts anew finds what is there, and takes away what nobody wants.
        let fresh = try Dataplane(in: laboratory.namespace("node"))
        try fresh.apply(try plan([try peer("d", 4, at: 14)]))
        #expect(try entries() == ["10.244.4.0 at 172.31.0.14"])
        try fresh.apply(NetworkPlan())
        #expect(try netlink.link("vxlan.calico") == nil)
    }
}
