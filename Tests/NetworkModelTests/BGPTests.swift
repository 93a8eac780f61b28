// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Testing
import Values

@Suite struct BGPTests {
    private func node(_ name: String, _ address: String, _ labels: [String: String] = [:], as number: UInt32? = nil)
        throws -> BGPNode
    {
        BGPNode(name: name, asNumber: number, addresses: [.v4: try #require(CIDR(address))], labels: labels)
    }

    private func three() throws -> BGPInput {
        BGPInput(
            nodes: [
                "a": try node("a", "172.30.0.2/24", ["rack": "0"]), "b": try node("b", "172.30.0.3/24", ["rack": "0"]),
                "c": try node("c", "172.31.0.2/24", ["rack": "1"]),
            ], settings: BGPSettings())
    }

    private func object(_ kind: String, _ name: String, _ spec: JSON) -> KubeObject {
        KubeObject([
            "apiVersion": "projectcalico.org/v3", "kind": JSON(kind), "metadata": ["name": JSON(name)], "spec": spec,
        ])
    }

    private func peer(_ spec: JSON) throws -> BGPPeer { try BGPPeer(object("BGPPeer", "tor", spec)) }

    @Test func nothingAsksForIt() throws {
        var input = try three()
        input.settings = nil
        #expect(BGPPlan.make(input, for: "a") == nil)
        input.settings = BGPSettings(object("BGPConfiguration", "default", ["nodeToNodeMeshEnabled": false]))
        #expect(BGPPlan.make(input, for: "a") == nil)
        input.settings = BGPSettings(object("BGPConfiguration", "default", [:]))
        #expect(BGPPlan.make(input, for: "a") != nil)
        #expect(BGPPlan.make(input, for: "nosuch") == nil)
    }

    @Test func theMeshHasOneActiveEnd() throws {
        let input = try three()
        let plans = try ["a", "b", "c"].map { try #require(BGPPlan.make(input, for: $0)) }
        #expect(
            plans.map { $0.sessions.map(\.name) } == [
                ["Mesh_172_30_0_3", "Mesh_172_31_0_2"], ["Mesh_172_30_0_2", "Mesh_172_31_0_2"],
                ["Mesh_172_30_0_2", "Mesh_172_30_0_3"],
            ])
        #expect(plans[0].sessions.map(\.isOnLink) == [true, false])
        for plan in plans {
            for session in plan.sessions {
                let other = plans.first { $0.node.addresses[.v4]?.address == session.peer }
                let back = other?.sessions.first { $0.peer == plan.node.addresses[.v4]?.address }
                #expect(back?.isPassive == !session.isPassive)
                #expect(back?.localAS == session.peerAS)
            }
        }
    }

    @Test func reflectorsAreOutOfTheMesh() throws {
        var input = try three()
        input.nodes["a"]?.clusterID = IPAddress("244.0.0.1")
        input.peers = [try peer(["nodeSelector": "all()", "peerSelector": "rack == '0'"])]
        let reflector = try #require(BGPPlan.make(input, for: "a"))
        #expect(reflector.sessions.map(\.reflectsAs) == [IPAddress("244.0.0.1"), IPAddress("244.0.0.1")])
        #expect(reflector.sessions.allSatisfy { $0.kind == .node })
        // c asks for both nodes of rack 0; what a BGPPeer opens is no mesh session.
        let client = try #require(BGPPlan.make(input, for: "c"))
        #expect(client.sessions.map(\.name) == ["Node_172_30_0_2", "Node_172_30_0_3"])
        #expect(client.sessions.allSatisfy { $0.reflectsAs == nil })
        input.peers[0].isReversed = false
        #expect(BGPPlan.make(input, for: "a")?.sessions.map(\.name) == ["Node_172_30_0_3"])
    }

    @Test func peersOfARack() throws {
        var input = try three()
        input.settings = nil
        input.peers = [
            try peer([
                "nodeSelector": "rack == '0'", "peerIP": "172.30.0.1:1790", "asNumber": 65001,
                "maxRestartTime": "2m", "ttlSecurity": 1, "numAllowedLocalASNumbers": 2, "nextHopMode": "Self",
                "password": ["secretKeyRef": ["name": "bgp", "key": "tor"]],
            ])
        ]
        #expect(BGPPlan.make(input, for: "c") == nil)
        let plan = try #require(BGPPlan.make(input, for: "a"))
        let (open, problems) = BIRDConfiguration.text(
            plan, passwords: [SecretKey(secret: "bgp", key: "tor"): "s3cret"])
        #expect(problems.isEmpty)
        for part in [
            "protocol bgp Node_172_30_0_1 {", "neighbor 172.30.0.1 port 1790 as 65001;", "password \"s3cret\";",
            "graceful restart time 120;", "ttl security on;", "allow local as 2;", "next hop self;",
        ] { #expect(open.contains(part), "\(part) is not in \(open)") }
        for bad in [[:], [SecretKey(secret: "bgp", key: "tor"): "a\"; include \"/etc/passwd"]] as [[SecretKey: String]]
        {
            let (closed, problems) = BIRDConfiguration.text(plan, passwords: bad)
            #expect(!closed.contains("protocol bgp") && problems.count == 1)
        }
    }

    @Test(
        arguments: [
            (["peerIP": "nosuch", "asNumber": 1], "spec.peerIP: \"nosuch\""), ([:], "spec.peerIP: \"\""),
            (["peerIP": "10.0.0.1"], "spec.asNumber"), (["peerIP": "10.0.0.1:0", "asNumber": 1], "spec.peerIP"),
            (["peerSelector": "a = b"], "spec.peerSelector"),
            (["peerIP": "10.0.0.1", "asNumber": -3], "spec.asNumber"),
            (["peerIP": "10.0.0.1", "asNumber": 1, "maxRestartTime": "2 weeks"], "spec.maxRestartTime"),
            (["peerIP": "10.0.0.1", "asNumber": 1, "ttlSecurity": 256], "spec.ttlSecurity"),
            (["peerIP": "10.0.0.1", "asNumber": 1, "reachableBy": "x"], "spec.reachableBy"),
            (["localWorkloadSelector": "all()", "asNumber": 1], "spec.localWorkloadSelector"),
        ] as [(JSON, String)])
    func badPeers(spec: JSON, words: String) throws {
        do {
            _ = try peer(spec)
            Issue.record("\(spec.text()) was taken")
        } catch { #expect("\(error)".hasPrefix("BGPPeer tor: \(words)"), "\(error)") }
    }

    @Test func blocksBorrowedAddressesAndServices() throws {
        var input = try three()
        var sample = IPAMSample([try IPAMSample.pool("all", "10.0.0.0/29", block: 30)], nodes: ["a", "b", "c"])
        for (name, host) in [("1", "a"), ("2", "b"), ("3", "c")] {
            try sample.assign(IPAMSample.request(host, "h\(name)"))
        }
        input.blocks = Array(sample.snapshot.blocks.values)
        input.pools = sample.snapshot.pools
        input.settings = BGPSettings(
            object(
                "BGPConfiguration", "default",
                [
                    "serviceClusterIPs": [["cidr": "10.96.0.0/12"]],
                    "communities": [["name": "mark", "value": "65000:7"]],
                    "prefixAdvertisements": [["cidr": "10.0.0.0/8", "communities": ["mark", "65000:1:2"]]],
                ]))
        let borrowed = try #require(BGPPlan.make(input, for: "c"))
        #expect(borrowed.routes.count == 2 && borrowed.routes.contains { $0.prefixLength == 32 })
        #expect(borrowed.routes.contains { "\($0)" == "10.96.0.0/12" })
        let text = BIRDConfiguration.text(borrowed, passwords: [:]).text
        #expect(
            text.contains(
                "if net ~ [ 10.0.0.0/8+ ] then { bgp_community.add((65000,7)); bgp_large_community.add((65000,1,2)); }")
        )
    }

    @Test func filtersBecomeConditions() throws {
        let filter = try BGPFilter(
            object(
                "BGPFilter", "f",
                [
                    "importV4": [
                        [
                            "action": "Accept", "cidr": "10.0.0.0/8", "matchOperator": "In",
                            "prefixLength": ["min": 24, "max": 28], "source": "RemotePeers", "interface": "eth*",
                            "asPathPrefix": [65001, 65002], "communities": ["values": ["65000:1"]], "peerType": "eBGP",
                            "operations": [
                                ["addCommunity": ["value": "65000:1:2"]], ["prependASPath": ["prefix": [1, 2]]],
                                ["setPriority": ["value": 7]],
                            ],
                        ], ["action": "Reject", "cidr": "10.1.0.0/16", "matchOperator": "NotEqual"],
                        ["action": "Reject"],
                    ]
                ]))
        var input = try three()
        input.filters = ["f": filter]
        input.peers = [try peer(["peerIP": "172.30.0.1", "asNumber": 65001, "filters": ["f"]])]
        let text = BIRDConfiguration.text(try #require(BGPPlan.make(input, for: "a")), passwords: [:]).text
        #expect(
            text.contains(
                """
                filter import_Global_172_30_0_1 {
                  if (net ~ [ 10.0.0.0/8{24,28} ]) && (source = RTS_BGP) && (defined(ifname) && ifname ~ "eth*") && (bgp_path ~ [= 65001 65002 * =]) && ((65000,1) ~ bgp_community) then { bgp_large_community.add((65000,1,2)); bgp_path.prepend(2); bgp_path.prepend(1); krt_metric = 7; accept; }
                  if (net != 10.1.0.0/16) then { reject; }
                  reject;
                  accept;
                }
                """), "\(text)")
        input.peers[0].filters = ["f", "nosuch"]
        let closed = try #require(BGPPlan.make(input, for: "a"))
        #expect(closed.sessions.allSatisfy { $0.kind == .mesh } && closed.problems.count == 1)
    }

    @Test(
        arguments: [
            (["action": "Drop"], "spec.importV4[0].action"),
            (["action": "Accept", "cidr": "10.0.0.0/8"], "matchOperator"),
            (["action": "Accept", "cidr": "fd00::/8", "matchOperator": "In"], "cidr"),
            (["action": "Accept", "interface": "eth0\" then accept; #"], "interface"),
            (["action": "Accept", "prefixLength": ["min": 3]], "prefixLength"),
            (
                [
                    "action": "Accept", "cidr": "10.0.0.0/8", "matchOperator": "In",
                    "prefixLength": ["min": 30, "max": 3],
                ], "prefixLength"
            ),
            (["action": "Accept", "communities": ["values": ["65536:1"]]], "communities"),
            (["action": "Accept", "operations": [["setPriority": ["value": 0]]]], "operations"),
            (["action": "Accept", "asPathPrefix": ["x"]], "asPathPrefix"),
            (["action": "Accept", "priority": "1"], "priority"),
        ] as [(JSON, String)])
    func badFilters(rule: JSON, field: String) {
        do {
            _ = try BGPFilter(object("BGPFilter", "f", ["importV4": [rule]]))
            Issue.record("\(rule.text()) was taken")
        } catch {
            #expect("\(error)".contains(field) && "\(error)".hasPrefix("BGPFilter f: spec.importV4[0]."), "\(error)")
        }
    }

    @Test func statusOfBIRD() {
        let status = BIRDStatus(
            reply: """
                0001 BIRD 2.0.12 ready.
                2002-Name       Proto      Table      State  Since         Info
                1002-device1    Device     ---        up     08:24:31.000
                 Mesh_172_30_0_3 BGP        ---        up     08:24:35.113  Established   \u{20}
                 Global_fd00__1 BGP        ---        start  2026-11-24    Active        Socket: Connection refused
                 Odd_1 BGP --- up now x
                0000
                """)
        #expect(
            status.peers.map { "\($0.address) \($0.kind.words) \($0.state) \($0.since) \($0.info)" } == [
                "172.30.0.3 node-to-node mesh up 08:24:35.113 Established",
                "fd00::1 global start 2026-11-24 Active        Socket: Connection refused",
            ])
    }

    @Test(
        arguments: [
            ("64512", 64512), ("1.10", 65546), ("0", nil), ("4294967296", nil), ("1.70000", nil), ("-1", nil),
            ("", nil), ("1.2.3", nil),
        ] as [(String, UInt32?)])
    func numbers(text: String, value: UInt32?) { #expect(ASNumber.read(text) == value) }
}
