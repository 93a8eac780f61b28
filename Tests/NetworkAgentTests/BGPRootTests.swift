// SPDX-License-Identifier: Apache-2.0

import Calicoctl
import Glibc
import KubeClient
import KubeClientTesting
import KubeObjects
import Linux
import NetworkModel
import Synchronization
import Testing
import Values

/// A rack's router: a BIRD of the test's own, in a namespace of its own.
private final class Router: Sendable {
    let process: ChildProcess
    let socket: String

    init(_ laboratory: Laboratory, in name: String, _ configuration: String) async throws {
        socket = "\(laboratory.folder)/\(name).ctl"
        let path = "\(laboratory.folder)/\(name).cfg"
        try Files.replace(path, with: Array(configuration.utf8), durable: false)
        var spawner = ProcessSpawner("/usr/sbin/bird", ["-f", "-c", path, "-s", socket, "-P", "\(path).pid"])
        spawner.namespaces.net = laboratory.namespace(name)
        spawner.parentDeathSignal = SIGKILL
        process = try spawner.spawn()
    }

    func stop() async throws {
        try process.signal(SIGTERM)
        _ = await process.wait()
    }
}

private func resource(_ name: String) -> GroupVersionResource {
    GroupVersionResource("crd.projectcalico.org", "v1", name)
}

@Suite(.serialized, .enabled(if: geteuid() == 0 && Files.exists("/usr/sbin/bird"))) struct BGPRootTests {
    private static func routes(_ laboratory: Laboratory, _ name: String) throws -> Set<String> {
        let netlink = try NetlinkSocket(in: laboratory.namespace(name))
        return Set(try netlink.routes(protocol: .bird).map { "\($0.destination)" })
    }

    private static func peers(_ folder: String) -> [String] {
        let reply = (try? BIRDControl.ask(folder + "/bird.ctl", "show protocols")) ?? ""
        return BIRDStatus(reply: reply).peers.map { "\($0.kind.rawValue) \($0.address) \($0.info)" }.sorted()
    }

    private static func object(_ kind: String, _ plural: String, _ name: String, _ spec: JSON) -> KubeObject {
        var object = KubeObject(resource(plural), kind: kind, name: name)
        object["spec"] = spec
        return object
    }

    /// A node peers with its rack's router, by a password and through a filter; its mesh tells the router of the other
    /// node's block too. BIRD's death changes nothing, and when nobody asks any more nothing is left of it.
    @Test func aRouterOfTheRackLearnsAndTeaches() async throws {
        let nodes = try await TwoNodes(pool: Sample.pool("all", "10.244.0.0/16", vxlan: "Always"))
        let laboratory = nodes.laboratory
        try laboratory.makeNamespace("tor")
        try laboratory.cable(("a", "eth1", "172.31.0.2/24"), ("tor", "eth0", "172.31.0.1/24"))
        let way = try await laboratory.run("ip", ["route", "add", "172.30.0.0/24", "via", "172.31.0.2"], in: "tor")
        #expect(way.status.isSuccess, "\(way.errorText)")
        let router = try await Router(
            laboratory, in: "tor",
            """
            router id 172.31.0.1;
            protocol device { }
            protocol direct { ipv4; }
            protocol kernel { learn; ipv4 { import all; export where source = RTS_BGP; }; }
            protocol static { ipv4; route 203.0.113.0/24 blackhole; route 198.51.100.0/24 blackhole; }
            protocol bgp node {
              local 172.31.0.1 as 65001; neighbor 172.30.0.2 as 64512; multihop; graceful restart on;
              connect delay time 1; connect retry time 1; error wait time 1, 2; password "s3cret";
              ipv4 { import all; export where source = RTS_STATIC; };
            }

            """)
        let client = nodes.api.client
        var secret = KubeObject(.secrets, kind: "Secret", name: "bgp", namespace: "kube-system")
        secret["data"] = ["tor": JSON(Base64.text(Array("s3cret".utf8)))]
        try await client.create(.secrets, secret)
        try await client.create(
            resource("bgpfilters"),
            Self.object(
                "BGPFilter", "bgpfilters", "no-test-net",
                ["importV4": [["action": "Reject", "cidr": "198.51.100.0/24", "matchOperator": "Equal"]]]))
        let peer = Self.object(
            "BGPPeer", "bgppeers", "tor",
            [
                "node": "a", "peerIP": "172.31.0.1", "asNumber": 65001, "filters": ["no-test-net"],
                "password": ["secretKeyRef": ["name": "bgp", "key": "tor"]],
            ])
        try await client.create(resource("bgppeers"), peer)
        try await client.create(
            resource("bgpconfigurations"), Self.object("BGPConfiguration", "bgpconfigurations", "default", [:]))
        var pod = Sample.pod("calico-node", node: "a")
        pod["metadata"]["namespace"] = "kube-system"
        pod["status"] = ["phase": "Running"]
        try await client.create(.pods, pod)

        try await nodes.withAgents {
            let one = try await nodes.startPod("one", on: "a")
            let two = try await nodes.startPod("two", on: "b")
            #expect(one.isSuccess && two.isSuccess, "\(one.json) \(two.json)")
            let blocks = Set(nodes.api.objects(.ipamBlocks).compactMap { $0["spec"]["cidr"].string })
            #expect(blocks.count == 2)
            try await laboratory.wait(in: "a") { try Self.routes(laboratory, "a") == ["203.0.113.0/24"] }
            try await laboratory.wait(in: "tor") { try Self.routes(laboratory, "tor") == blocks }
            #expect(try Self.routes(laboratory, "b").isEmpty)
            #expect(
                Self.peers(nodes.birdFolder("a")) == ["Mesh 172.30.0.3 Established", "Node 172.31.0.1 Established"])
            #expect(try await laboratory.ping("172.31.0.1", from: "one"))
            let printed = await Self.nodeStatus(nodes)
            for part in ["IPv4 BGP status", "| 172.31.0.1   | node specific     | up ", "No IPv6 peers found."] {
                #expect(printed.contains(part), "\(printed)")
            }

            let file = nodes.birdFolder("a") + "/bird.pid"
            let pid = try #require(
                Int32(String(decoding: try Files.read(file), as: UTF8.self).prefix { $0.isNumber }))
            unlink(file)
            kill(pid, SIGKILL)
            try await laboratory.waitForFile(file)
            #expect(try Self.routes(laboratory, "a") == ["203.0.113.0/24"])
            #expect(try Self.routes(laboratory, "tor") == blocks)

            // The new one learns what the filter kept away.
            try await client.patch(resource("bgppeers"), "tor", type: .merge, ["spec": ["filters": .null]])
            try await laboratory.wait(in: "a") {
                try Self.routes(laboratory, "a") == ["203.0.113.0/24", "198.51.100.0/24"]
            }
            try await client.delete(resource("bgppeers"), "tor")
            try await laboratory.wait(in: "a") { try Self.routes(laboratory, "a").isEmpty }
            try await laboratory.wait(in: "tor") { try Self.routes(laboratory, "tor").isEmpty }
            try await client.delete(resource("bgpconfigurations"), "default")
            for node in TwoNodes.names { try await laboratory.waitForNoFile(nodes.birdFolder(node) + "/bird.ctl") }
        }
        try await router.stop()
    }

    private static func nodeStatus(_ nodes: TwoNodes) async -> String {
        let output = Mutex("")
        _ = await Calicoctl.run(
            ["node", "status", "--bird-socket=\(nodes.birdFolder("a"))/bird.ctl"], input: { [] },
            client: nodes.api.client, output: { text in output.withLock { $0 += text } },
            errors: { text in output.withLock { $0 += text } })
        return output.withLock { $0 }
    }

    /// What is rendered for every shape of session is BIRD's language.
    @Test func birdAcceptsWhatIsRendered() async throws {
        func object(_ kind: String, _ name: String, _ spec: JSON) -> KubeObject {
            KubeObject(["kind": JSON(kind), "metadata": ["name": JSON(name)], "spec": spec])
        }
        let rule: JSON = [
            "action": "Accept", "source": "RemotePeers", "interface": "eth*", "asPathPrefix": [65001],
            "communities": ["values": ["65000:1"]], "priority": 100,
            "operations": [
                ["addCommunity": ["value": "65000:1:2"]], ["prependASPath": ["prefix": [1, 2]]],
                ["setPriority": ["value": 7]],
            ],
        ]
        var rules: [String: JSON] = [:]
        for (family, cidr, least) in [("V4", "10.0.0.0/8", 24), ("V6", "fd00::/16", 64)] {
            let matches: [JSON] = ["Equal", "NotEqual", "In", "NotIn"].map { name in
                var match = rule
                match["cidr"] = JSON(cidr)
                match["matchOperator"] = JSON(name)
                return match
            }
            var ranged = matches[2]
            ranged["prefixLength"] = ["min": JSON(least)]
            rules["import\(family)"] = .array(matches + [ranged])
            rules["export\(family)"] = .array(matches + [ranged, ["action": "Reject"]])
        }
        let filter = try BGPFilter(object("BGPFilter", "f", .object(JSONObject(rules.map { ($0.key, $0.value) }))))
        var input = BGPInput(
            nodes: [:],
            settings: BGPSettings(
                object(
                    "BGPConfiguration", "default",
                    [
                        "asNumber": 65010, "listenPort": 1790, "bindMode": "NodeIP", "logSeverityScreen": "Debug",
                        "nodeMeshMaxRestartTime": "90s", "ignoredInterfaces": ["docker*", "veth.1"],
                        "nodeMeshPassword": ["secretKeyRef": ["name": "s", "key": "k"]],
                        "serviceClusterIPs": [["cidr": "10.96.0.0/12"], ["cidr": "fd01::/108"]],
                        "prefixAdvertisements": [["cidr": "10.0.0.0/8", "communities": ["65000:7", "65000:1:2"]]],
                    ])))
        for (index, name) in ["a", "b", "c", "d"].enumerated() {
            var node = BGPNode(name: name, addresses: [:], labels: ["rack": index < 2 ? "0" : "1"])
            node.addresses[.v4] = CIDR("172.30.\(index / 2).\(index + 2)/24")
            node.addresses[.v6] = CIDR("fd00::\(index + 2)/64")
            if index == 3 { node.clusterID = IPAddress("244.0.0.1") }
            input.nodes[name] = node
        }
        input.nodes["e"] = BGPNode(name: "e", asNumber: 70000, addresses: [.v6: try #require(CIDR("fd00::9/64"))])
        input.filters = ["f": filter]
        let peers: [JSON] = [
            ["nodeSelector": "all()", "peerSelector": "rack == '1'", "keepOriginalNextHop": true],
            [
                "peerIP": "172.30.0.1", "asNumber": 65001, "filters": ["f"], "keepaliveTime": "20s",
                "numAllowedLocalASNumbers": 3, "ttlSecurity": 2, "localASNumber": 65099, "nextHopMode": "Self",
            ],
            ["peerIP": "[fd00:1::1]:1179", "asNumber": 65001, "filters": ["f"], "sourceAddress": "None"],
            ["peerIP": "192.0.2.1", "asNumber": 65001, "reachableBy": "172.30.0.1", "ttlSecurity": 1],
        ]
        for (index, spec) in peers.enumerated() {
            input.peers.append(try BGPPeer(object("BGPPeer", "p\(index)", spec)))
        }
        input.hiddenPools = [try #require(CIDR("10.9.0.0/16"))]
        let laboratory = try Laboratory()
        for name in input.nodes.keys.sorted() {
            let plan = try #require(BGPPlan.make(input, for: name))
            let (text, problems) = BIRDConfiguration.text(plan, passwords: [SecretKey(secret: "s", key: "k"): "a b'c"])
            #expect(problems.isEmpty && plan.problems.isEmpty, "\(problems) \(plan.problems)")
            try Files.replace("\(laboratory.folder)/\(name).cfg", with: Array(text.utf8), durable: false)
            let check = try await laboratory.run("/usr/sbin/bird", ["-p", "-c", "\(laboratory.folder)/\(name).cfg"])
            #expect(check.status.isSuccess, "\(check.errorText)\n\(text)")
        }
    }
}
