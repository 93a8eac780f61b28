// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Glibc
import KubeClient
import KubeClientTesting
import KubeObjects
import Linux
import NetworkAgent
import Testing
import Values

@Suite(.serialized, .enabled(if: geteuid() == 0)) struct AgentRootTests {
    /// Agents end and start anew while two pods of different nodes talk: not one packet is lost.
    @Test func agentsStartAnewWithoutALostPacket() async throws {
        let nodes = try await TwoNodes(pool: Sample.pool("all", "10.244.0.0/16", vxlan: "Always"))
        let laboratory = nodes.laboratory
        let target = try await nodes.withAgents {
            let one = try await nodes.startPod("one", on: "a")
            let two = try await nodes.startPod("two", on: "b")
            #expect(one.isSuccess && two.isSuccess, "\(one.json) \(two.json)")
            let address = try #require(IPAddress(two.address))
            try await laboratory.wait(in: "a") {
                try NetlinkSocket(in: laboratory.namespace("a")).routes(protocol: .calico)
                    .contains { $0.destination.contains(address) && $0.gateway != nil }
            }
            let back = try #require(IPAddress(one.address))
            try await laboratory.wait(in: "b") {
                try NetlinkSocket(in: laboratory.namespace("b")).routes(protocol: .calico)
                    .contains { $0.destination.contains(back) && $0.gateway != nil }
            }
            #expect(try await laboratory.ping(two.address, from: "one"))
            return two.address
        }
        async let talk = laboratory.run("ping", ["-q", "-i", "0.005", "-c", "300", "-W", "1", target], in: "one")
        // Three generations of agents meanwhile.
        for number in 0..<3 {
            try await nodes.withAgents {
                let pod = try await nodes.startPod("later-\(number)", on: "a")
                #expect(pod.isSuccess, "\(pod.json)")
                #expect(try await laboratory.ping(target, from: "later-\(number)"))
            }
        }
        let output = try await talk
        #expect(output.text.contains("300 packets transmitted, 300 received"), "\(output.text)")
    }

    /// Other plugins read the pods' MTU where Felix writes it.
    @Test func theMTUIsWrittenForOtherPlugins() async throws {
        let nodes = try await TwoNodes(pool: Sample.pool("all", "10.244.0.0/16", vxlan: "Always"))
        let folder = "\(nodes.laboratory.folder)/mtu-a"
        try Files.makeDirectories(folder)
        try await nodes.withAgents {
            try await nodes.laboratory.waitForFile("\(folder)/mtu")
            #expect(try Files.text("\(folder)/mtu") == "1450")
        }
    }

    /// Felix's names, where and as long as FelixConfiguration says so.
    @Test func figuresAreServedAsFelixConfigurationSays() async throws {
        let nodes = try await TwoNodes(pool: Sample.pool("all", "10.244.0.0/16", vxlan: "Always"))
        let felix = GroupVersionResource("crd.projectcalico.org", "v1", "felixconfigurations")
        let ports = try (0..<2).map { _ in try Self.freePort() }
        @Sendable func settings(_ enabled: Bool, _ port: Int) -> JSON {
            ["prometheusMetricsEnabled": JSON(enabled), "prometheusMetricsPort": JSON(port)]
        }
        func make(_ name: String, _ enabled: Bool, _ port: Int) async throws {
            var object = KubeObject(felix, kind: "FelixConfiguration", name: name)
            object["spec"] = settings(enabled, port)
            try await nodes.api.client.create(felix, object)
        }
        try await make("default", true, ports[0])
        // Both agents of the test are processes of one machine: the second keeps its figures to itself.
        try await make("node.b", false, ports[0])
        try await nodes.withAgents {
            let pod = try await nodes.startPod("one", on: "a")
            #expect(pod.isSuccess, "\(pod.json)")
            var text = ""
            // The agent counts what it has done when it is done with it.
            while !text.contains("felix_active_local_endpoints 1") { text = try await Self.figures(ports[0]) }
            for series in [
                "felix_host{host=\"a\"} 1", "felix_cluster_num_hosts 2", "felix_cluster_num_workload_endpoints 1",
                "felix_int_dataplane_apply_time_seconds{quantile=\"0.99\"}", "felix_int_dataplane_failures ",
                "felix_calc_graph_update_time_seconds_count ", "felix_resync_state 3", "process_resident_memory_bytes ",
            ] { #expect(text.contains(series), "\(series) in \(text)") }
            try await nodes.api.client.patch(felix, "default", type: .merge, ["spec": settings(true, ports[1])])
            #expect(try await Self.figures(ports[1]).contains("felix_host"))
        }
    }

    private static func figures(_ port: Int) async throws -> String {
        try await OwnThread.run(awaiting: {
            // Refused until the agent has heard of its settings.
            while true {
                let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
                defer { close(fd) }
                var target = sockaddr_in()
                target.sin_family = sa_family_t(AF_INET)
                target.sin_port = UInt16(port).bigEndian
                target.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
                let connected = withUnsafePointer(to: &target) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                    }
                }
                guard connected == 0 else { continue }
                let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                try FileDescriptor.write(fd, Array(request.utf8))
                var all: [UInt8] = []
                while let piece = try? FileDescriptor.read(fd, upTo: 65536), !piece.isEmpty { all += piece }
                return String(decoding: all, as: UTF8.self)
            }
        })
    }

    private static func freePort() throws -> Int {
        let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(fd) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(fd, pointer, length) == 0 ? getsockname(fd, pointer, &length) : -1
            }
        }
        guard result == 0 else { throw Errno("bind") }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    /// An address that IPAM does not know outlives the agent that wired it, and goes with its pod.
    @Test func addressesWithoutIPAMOutliveTheAgent() async throws {
        let nodes = try await TwoNodes(pool: Sample.pool("all", "10.244.0.0/16", vxlan: "Always"))
        let laboratory = nodes.laboratory
        let features: JSON = ["ip_addrs_no_ipam": true]
        let address = try #require(IPAddress("198.51.100.7"))
        @Sendable func isRouted() throws -> Bool {
            try NetlinkSocket(in: laboratory.namespace("a")).routes(protocol: .calico)
                .contains { $0.destination == CIDR(host: address) }
        }
        try await nodes.withAgents {
            let own = try await nodes.startPod(
                "own", on: "a", ["ipAddrsNoIpam": "[\"\(address)\"]"], features: features)
            #expect(own.address == "\(address)", "\(own.json)")
            #expect(try isRouted())
        }
        try await nodes.withAgents {
            // A route that the new agent writes says that it has looked at all of them.
            let pod = try await nodes.startPod("usual", on: "a")
            #expect(pod.isSuccess, "\(pod.json)")
            try await laboratory.wait(in: "a") {
                try NetlinkSocket(in: laboratory.namespace("a")).link("vxlan.calico") != nil
            }
            #expect(try isRouted())
            #expect(try await laboratory.ping("\(address)", from: "usual"))
            // Nobody else gets it.
            let twin = try await nodes.startPod(
                "twin", on: "a", ["ipAddrsNoIpam": "[\"\(address)\"]"], features: features)
            #expect(!twin.isSuccess)
            #expect(try await nodes.call("DEL", pod: "own", node: "a", features: features).isSuccess)
            #expect(try !isRouted())
            let heir = try await nodes.call("ADD", pod: "twin", node: "a", features: features)
            #expect(heir.address == "\(address)", "\(heir.json)")
        }
    }

    /// A node that changes its rack changes the pool of its tunnel's address, and keeps working.
    @Test func aLabelMovesTheTunnelWithoutARestart() async throws {
        let nodes = try await TwoNodes(
            pool: Sample.pool("east", "10.1.0.0/24", selector: "zone == \"east\"", vxlan: "Always"))
        let laboratory = nodes.laboratory
        try await nodes.api.client.create(
            .ipPools, Sample.pool("west", "10.2.0.0/24", selector: "zone == \"west\"", vxlan: "Always"))
        @Sendable func tunnel(_ pool: String) throws -> Bool {
            guard let pool = CIDR(pool) else { return false }
            let netlink = try NetlinkSocket(in: laboratory.namespace("a"))
            guard let link = try netlink.link("vxlan.calico") else { return false }
            let held = ((try? netlink.addresses(interface: link.index)) ?? []).filter { $0.address.family == .v4 }
            return held.count == 1 && held.allSatisfy { pool.contains($0.address.address) }
        }
        try await nodes.withAgents {
            try await laboratory.wait(in: "a") { try tunnel("10.1.0.0/24") }
            let before = try await nodes.startPod("one", on: "a")
            try await nodes.api.client.patch(
                .nodes, "a", type: .merge, ["metadata": ["labels": ["zone": "west"]]])
            try await laboratory.wait(in: "a") { try tunnel("10.2.0.0/24") }
            let after = try await nodes.startPod("two", on: "a")
            #expect(before.address.hasPrefix("10.1.0.") && after.address.hasPrefix("10.2.0."))
            let annotated = try await nodes.api.client.get(.nodes, "a")
                .annotations["projectcalico.org/IPv4VXLANTunnelAddr"]
            #expect(annotated?.hasPrefix("10.2.0.") == true)
            // The running pod keeps its address; the tunnel's old one is free.
            #expect(try await laboratory.ping(before.address, from: "a"))
            #expect(
                nodes.api.objects(.ipamHandles).map(\.name).filter { $0.hasSuffix("-a") } == ["vxlan-tunnel-addr-a"])
        }
    }

    @Test func podsOfTwoNodesReachEachOtherThroughTheTunnel() async throws {
        let nodes = try await TwoNodes(pool: Sample.pool("all", "10.244.0.0/16", vxlan: "Always"))
        let laboratory = nodes.laboratory
        try await nodes.withAgents {
            let one = try await nodes.startPod("one", on: "a")
            let two = try await nodes.startPod("two", on: "b")
            #expect(one.isSuccess && two.isSuccess, "\(one.json) \(two.json)")
            #expect(one.json["interfaces"][0]["name"].string?.hasPrefix("cali") == true)
            #expect(one.json["interfaces"][1]["sandbox"].string == laboratory.path("one"))
            for (node, address) in [("a", two.address), ("b", one.address)] {
                let target = try #require(IPAddress(address))
                try await laboratory.wait(in: node) {
                    let netlink = try NetlinkSocket(in: laboratory.namespace(node))
                    guard let tunnel = try netlink.link("vxlan.calico") else { return false }
                    return try netlink.routes(protocol: .calico).contains {
                        $0.destination.contains(target) && $0.interface == tunnel.index
                    }
                }
            }
            #expect(try await laboratory.ping(two.address, from: "one"))
            #expect(try await laboratory.ping(one.address, from: "two"))
            #expect(try await laboratory.ping(two.address, from: "a"))

            let node = try await nodes.api.client.get(.nodes, "a")
            #expect(node.annotations["projectcalico.org/IPv4Address"] == "172.30.0.2/24")
            #expect(node.annotations["projectcalico.org/IPv4VXLANTunnelAddr"] != nil)
            let pod = try await nodes.api.client.get(.pods, "one", in: "default")
            #expect(pod.annotations["cni.projectcalico.org/podIP"] == "\(one.address)/32")

            #expect(try await nodes.call("CHECK", pod: "one", node: "a", previous: one.json).isSuccess)
            let again = try await nodes.call("ADD", pod: "one", node: "a")
            #expect(again.address == one.address)

            for _ in 0..<2 {
                #expect(try await nodes.call("DEL", pod: "one", node: "a", previous: one.json).isSuccess)
            }
            let check = try await nodes.call("CHECK", pod: "one", node: "a", previous: one.json)
            #expect(!check.isSuccess)
            let held = nodes.api.objects(.ipamHandles).map(\.name).sorted()
            #expect(held == ["k8s-pod-network.sandbox-two", "vxlan-tunnel-addr-a", "vxlan-tunnel-addr-b"])
            let links = try NetlinkSocket(in: laboratory.namespace("a")).links()
            #expect(!links.contains { $0.name.hasPrefix("cali") })
        }
        // The kernel goes on without its agents.
        let routes = try NetlinkSocket(in: laboratory.namespace("a")).routes(protocol: .calico)
        #expect(routes.contains { $0.gateway != nil })
    }

    @Test func aNewSandboxOfTheSamePodOutlivesTheOldOnesDEL() async throws {
        let nodes = try await TwoNodes(pool: Sample.pool("all", "10.244.0.0/16"))
        try await nodes.withAgents {
            let first = try await nodes.startPod("web", on: "a")
            try nodes.laboratory.makeNamespace("again")
            let second = try await nodes.call(
                "ADD", pod: "web", node: "a", container: "sandbox-new", namespace: "again")
            #expect(first.isSuccess && second.isSuccess, "\(second.json)")
            #expect(second.address != first.address)
            #expect(try await nodes.call("DEL", pod: "web", node: "a", previous: first.json).isSuccess)
            let check = try await nodes.call(
                "CHECK", pod: "web", node: "a", container: "sandbox-new", namespace: "again", previous: second.json)
            #expect(check.isSuccess, "\(check.json)")
            #expect(try await nodes.laboratory.ping("172.30.0.2", from: "again"))
            #expect(nodes.api.objects(.ipamHandles).map(\.name) == ["k8s-pod-network.sandbox-new"])
        }
    }

    @Test func withoutAPoolTheErrorSaysWhy() async throws {
        let nodes = try await TwoNodes(pool: Sample.pool("east", "10.1.0.0/24", selector: "zone == \"east\""))
        try await nodes.withAgents {
            let answer = try await nodes.startPod("lost", on: "b")
            #expect(!answer.isSuccess)
            let message = answer.json["msg"].string ?? ""
            #expect(
                message.contains("pod default/lost on node b") && message.contains("zone is \"west\""), "\(message)")
            #expect(message.contains("kubectl label node b zone=east"))
            #expect(nodes.api.objects(.ipamHandles).isEmpty)
        }
    }

    /// Named as in Calico's calico_cni_k8s_test: dual stack, ipAddrs, hwAddr valid and invalid, ipAddrsNoIpam.
    @Test func annotationsAreFollowedOrRefused() async throws {
        let nodes = try await TwoNodes(pool: Sample.pool("all", "10.244.0.0/16"))
        try await nodes.api.client.create(.ipPools, Sample.pool("six", "fd00:10:244::/48", blockSize: 122))
        try await nodes.withAgents {
            let dual = try await nodes.startPod("dual", on: "a", ["ipFamilies": "[\"IPv4\",\"IPv6\"]"])
            #expect(dual.isSuccess, "\(dual.json)")
            #expect(dual.json["ips"].array?.count == 2)
            #expect(dual.json["ips"][1]["address"].string?.hasSuffix("/128") == true, "\(dual.json)")
            let check = try await nodes.call("CHECK", pod: "dual", node: "a", previous: dual.json)
            #expect(check.isSuccess, "\(check.json)")

            let fixed = try await nodes.startPod(
                "fixed", on: "a", ["ipAddrs": "[\"10.244.7.9\"]", "hwAddr": "0a:58:0a:f4:07:09"])
            #expect(fixed.address == "10.244.7.9", "\(fixed.json)")
            #expect(fixed.json["interfaces"][1]["mac"].string == "0a:58:0a:f4:07:09")
            let again = try await nodes.startPod("again", on: "b", ["ipAddrs": "[\"10.244.7.9\"]"])
            #expect(!again.isSuccess, "the address is the other pod's")

            let before = nodes.api.objects(.ipamHandles).count
            let refused: [(String, [String: String])] = [
                ("\"ipAddrs\" is no list", ["ipAddrs": "10.244.7.10"]),
                ("two of a family", ["ipAddrs": "[\"10.244.7.10\",\"10.244.7.11\"]"]),
                ("both", ["ipAddrs": "[\"10.244.7.10\"]", "ipAddrsNoIpam": "[\"10.0.0.1\"]"]),
                ("no flag", ["ipAddrsNoIpam": "[\"10.0.0.1\"]"]),
                ("no flag", ["floatingIPs": "[\"10.0.0.1\"]"]),
                ("a group's", ["hwAddr": "01:00:5e:00:00:01"]),
                ("no MAC", ["hwAddr": "cat"]),
                ("no family", ["ipFamilies": "[\"IPv5\"]"]),
            ]
            for (index, (why, annotations)) in refused.enumerated() {
                let answer = try await nodes.startPod("refused-\(index)", on: "a", annotations)
                #expect(!answer.isSuccess, "\(why)")
                for key in annotations.keys.prefix(1) {
                    #expect(answer.json["msg"].string?.contains(key) == true, "\(answer.json)")
                }
            }
            #expect(nodes.api.objects(.ipamHandles).count == before)
        }
    }

    @Test func withoutItsAgentThePluginAsksToTryAgain() async throws {
        let nodes = try await TwoNodes(pool: Sample.pool("all", "10.244.0.0/16"))
        let one = try await nodes.withAgents { try await nodes.startPod("one", on: "a") }
        let answer = try await nodes.call("DEL", pod: "one", node: "a", previous: one.json)
        #expect(!answer.isSuccess)
        #expect(answer.json["code"].int == 11)
        // The next agent finds the pod and gives its address back.
        try await nodes.withAgents {
            let repeated = try await nodes.call("DEL", pod: "one", node: "a", previous: one.json)
            #expect(repeated.isSuccess)
        }
        #expect(!nodes.api.objects(.ipamHandles).contains { $0.name.contains("sandbox-one") })
    }
}
