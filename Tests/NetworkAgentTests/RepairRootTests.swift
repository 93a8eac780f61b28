// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Glibc
import KubeClient
import KubeClientTesting
import KubeObjects
import Linux
import NetworkAgent
import NetworkModel
import Testing
import Values

/// What others take away on a node comes back by itself, and the node's events say so.
@Suite(.serialized, .enabled(if: geteuid() == 0)) struct RepairRootTests {
    private func nodes() async throws -> TwoNodes {
        try await TwoNodes(pool: Sample.pool("all", "10.244.0.0/16", vxlan: "Always"))
    }

    /// Waits for node a's table to be as `condition` says, looking whenever its nftables change.
    private func waitForTable(_ nodes: TwoNodes, _ condition: @Sendable ([String]) -> Bool) async throws {
        let monitor = try NFTablesMonitor(in: nodes.laboratory.namespace("a"))
        if condition(try await rules(nodes)) { return }
        for await _ in monitor.events where condition(try await rules(nodes)) { return }
    }

    /// Waits until an event of the node says what was put back.
    private func waitForEvent(_ nodes: TwoNodes, _ node: String, saying text: String) async {
        let events = Informer(nodes.api.client, .events)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await events.run() }
            for await batch in events.events() {
                let isTold = batch.contains { event in
                    event.object["reason"].string == "NetworkRepaired"
                        && event.object["involvedObject"]["name"].string == node
                        && (event.object["message"].string ?? "").contains(text)
                }
                if isTold { break }
            }
            group.cancelAll()
        }
    }

    @Test func flushedTablesComeBack() async throws {
        let nodes = try await nodes()
        try await nodes.withAgents {
            let pod = try await nodes.startPod("one", on: "a")
            #expect(pod.isSuccess, "\(pod.json)")
            try await waitForTable(nodes) { $0.contains { $0.contains("masquerade") } }
            let before = try await rules(nodes)
            for commands in [
                "flush ruleset", "delete table ip catbird", "flush table ip catbird",
                "flush chain ip catbird nat-postrouting", "flush set ip catbird pods",
            ] {
                let flush = try await nodes.laboratory.run("/usr/sbin/nft", [commands], in: "a")
                #expect(flush.status.isSuccess, "\(flush.errorText)")
                try await waitForTable(nodes) { $0 == before }
            }
            await waitForEvent(nodes, "a", saying: "table ip catbird, which nft had changed")
        }
    }

    private func rules(_ nodes: TwoNodes) async throws -> [String] {
        try await nodes.laboratory.run("/usr/sbin/nft", ["-s", "list table ip catbird"], in: "a").text
            .split(separator: "\n").map(String.init)
    }

    @Test func routesLinksAndAddressesOfPodsComeBack() async throws {
        let nodes = try await nodes()
        let laboratory = nodes.laboratory
        try await nodes.withAgents {
            let one = try await nodes.startPod("one", on: "a")
            let two = try await nodes.startPod("two", on: "a")
            #expect(one.isSuccess && two.isSuccess, "\(one.json) \(two.json)")
            #expect(try await laboratory.ping(two.address, from: "one"))
            let address = try #require(IPAddress(two.address))
            let interface = IPAMNames.hostInterface(namespace: "default", pod: "two")
            @Sendable func isWhole() throws -> Bool {
                let host = try NetlinkSocket(in: laboratory.namespace("a"))
                let pod = try NetlinkSocket(in: laboratory.namespace("two"))
                guard let link = try host.link(interface), link.isUp, let inside = try pod.link("eth0"), inside.isUp,
                    try host.routes(protocol: .calico).contains(where: {
                        $0.destination == CIDR(host: address) && $0.interface == link.index
                    }),
                    try pod.addresses(interface: inside.index).contains(where: { $0.address.address == address }),
                    try pod.routes().contains(where: { $0.destination.prefixLength == 0 })
                else { return false }
                return true
            }
            for (place, words) in [
                ("a", ["link", "del", interface]), ("a", ["link", "set", interface, "down"]),
                ("a", ["route", "del", "\(address)"]), ("two", ["addr", "flush", "dev", "eth0"]),
                ("two", ["route", "del", "default"]), ("two", ["link", "set", "eth0", "down"]),
            ] {
                let broken = try await laboratory.run("/usr/sbin/ip", words, in: place)
                #expect(broken.status.isSuccess, "\(words): \(broken.errorText)")
                try await laboratory.wait(in: "a", or: "two", until: isWhole)
                #expect(try await laboratory.ping(two.address, from: "one"), "after ip \(words) in \(place)")
            }
            await waitForEvent(nodes, "a", saying: "the link of a pod")
            await waitForEvent(nodes, "a", saying: "route \(address)/32")
            // What a pod does itself by replacing stays: its own default route is its own affair.
            #expect(try await nodes.call("DEL", pod: "two", node: "a").isSuccess)
            #expect(try NetlinkSocket(in: laboratory.namespace("a")).link(interface) == nil)
        }
    }

    /// An agent that was started anew knows no namespaces; the kubelet has it look at each sandbox (CHECK).
    @Test func whatAnEarlierAgentWiredIsRepairedToo() async throws {
        let nodes = try await nodes()
        let laboratory = nodes.laboratory
        let (one, two) = try await nodes.withAgents {
            (try await nodes.startPod("one", on: "a"), try await nodes.startPod("two", on: "a"))
        }
        #expect(one.isSuccess && two.isSuccess, "\(one.json) \(two.json)")
        let address = try #require(IPAddress(two.address))
        // Changed while no agent is there.
        _ = try await laboratory.run("/usr/sbin/ip", ["route", "del", "default"], in: "two")
        try await nodes.withAgents {
            let check = try await nodes.call("CHECK", pod: "two", node: "a", previous: two.json)
            #expect(!check.isSuccess, "\(check.json)")
            let interface = IPAMNames.hostInterface(namespace: "default", pod: "two")
            @Sendable func isWhole() throws -> Bool {
                let host = try NetlinkSocket(in: laboratory.namespace("a"))
                let pod = try NetlinkSocket(in: laboratory.namespace("two"))
                guard let link = try host.link(interface), link.isUp, let inside = try pod.link("eth0"), inside.isUp
                else { return false }
                return try pod.addresses(interface: inside.index).contains { $0.address.address == address }
                    && pod.routes().contains { $0.destination.prefixLength == 0 }
                    && host.routes(protocol: .calico).contains {
                        $0.destination == CIDR(host: address) && $0.interface == link.index
                    }
            }
            try await laboratory.wait(in: "a", or: "two", until: isWhole)
            let again = try await nodes.call("CHECK", pod: "two", node: "a", previous: two.json)
            #expect(again.isSuccess, "\(again.json)")
            for (place, words) in [("two", ["addr", "flush", "dev", "eth0"]), ("a", ["link", "del", interface])] {
                let broken = try await laboratory.run("/usr/sbin/ip", words, in: place)
                #expect(broken.status.isSuccess, "\(words): \(broken.errorText)")
                try await laboratory.wait(in: "a", or: "two", until: isWhole)
            }
            #expect(try await laboratory.ping(two.address, from: "one"))
        }
    }

    /// A sandbox that could not be removed before the pod got its next one, which has the interface, and also its
    /// address: one outside IPAM, or one of which a restored backup knows nothing.
    @Test func aFormerSandboxOfAPodTakesNothingFromTheLater() async throws {
        let nodes = try await nodes()
        let laboratory = nodes.laboratory
        try await nodes.withAgents {
            let features: JSON = ["ip_addrs_no_ipam": true]
            let first = try await nodes.startPod(
                "two", on: "a", ["ipAddrsNoIpam": #"["10.99.0.7"]"#], features: features)
            #expect(first.isSuccess, "\(first.json)")
            try laboratory.makeNamespace("later")
            let later = try await nodes.call(
                "ADD", pod: "two", node: "a", container: "later", namespace: "later", features: features)
            #expect(later.isSuccess && later.address == first.address, "\(later.json)")
            #expect(try await nodes.call("DEL", pod: "two", node: "a", previous: first.json).isSuccess)
            // Has the agent go over all routes.
            let three = try await nodes.startPod("three", on: "a")
            #expect(three.isSuccess, "\(three.json)")
            let host = try NetlinkSocket(in: laboratory.namespace("a"))
            try await laboratory.waitForChange(in: "a") {
                _ = try host.deleteRoute(try #require(host.routes(protocol: .calico).first { $0.kind == .blackhole }))
            } until: {
                try host.routes(protocol: .calico).contains { $0.kind == .blackhole }
            }
            #expect(try host.routes(protocol: .calico).contains { $0.destination == CIDR("10.99.0.7/32") })
            #expect(try await laboratory.ping(later.address, from: "three"))
        }
    }

    @Test func tunnelsAndTheirEntriesComeBack() async throws {
        let nodes = try await nodes()
        let laboratory = nodes.laboratory
        try await nodes.withAgents {
            let one = try await nodes.startPod("one", on: "a")
            let two = try await nodes.startPod("two", on: "b")
            #expect(one.isSuccess && two.isSuccess, "\(one.json) \(two.json)")
            let there = try #require(IPAddress(two.address))
            @Sendable func isRouted() throws -> Bool {
                let host = try NetlinkSocket(in: laboratory.namespace("a"))
                guard let tunnel = try host.link("vxlan.calico"), tunnel.isUp,
                    let route = try host.routes(protocol: .calico).first(where: {
                        $0.destination.contains(there) && $0.interface == tunnel.index
                    }),
                    try host.neighbours(interface: tunnel.index).contains(where: {
                        $0.address == route.gateway && $0.state.contains(.permanent)
                    }),
                    try host.forwardingEntries(interface: tunnel.index).contains(where: { $0.address != nil })
                else { return false }
                return true
            }
            try await laboratory.wait(in: "a", until: isRouted)
            for words in [
                ["link", "del", "vxlan.calico"], ["link", "set", "vxlan.calico", "down"],
                ["addr", "flush", "dev", "vxlan.calico"],
                ["neigh", "flush", "dev", "vxlan.calico", "nud", "permanent"],
                ["route", "flush", "proto", "80"],
            ] {
                let broken = try await laboratory.run("/usr/sbin/ip", words, in: "a")
                #expect(broken.status.isSuccess, "\(words): \(broken.errorText)")
                try await laboratory.wait(in: "a", until: isRouted)
                #expect(try await laboratory.ping(two.address, from: "one"), "after ip \(words)")
            }
            await waitForEvent(nodes, "a", saying: "vxlan.calico")
        }
    }
}
