// SPDX-License-Identifier: Apache-2.0

import CNIProtocol
import Glibc
import KubeClientTesting
import KubeObjects
import Linux
import NetworkAgent
import NetworkModel
import Testing
import Values

/// Ports of the node that lead to pods, through the real plugin.
@Suite(.serialized, .enabled(if: geteuid() == 0)) struct HostPortRootTests {
    private static func mappings(_ list: JSON...) -> JSON { ["portMappings": .array(list)] }

    private static func mapping(_ port: Int, _ transport: String = "tcp", at address: String? = nil) -> JSON {
        var json: JSON = ["hostPort": JSON(port), "containerPort": 8080, "protocol": JSON(transport)]
        if let address { json["hostIP"] = JSON(address) }
        return json
    }

    /// Waits until the table of the node has `text`, or has it not.
    private func waitForTable(_ nodes: TwoNodes, _ text: String, isThere wanted: Bool = true) async throws {
        let monitor = try NFTablesMonitor(in: nodes.laboratory.namespace("a"))
        @Sendable func holds() async throws -> Bool {
            let list = try await nodes.laboratory.run("/usr/sbin/nft", ["list", "table", "ip", "catbird"], in: "a")
            return list.text.contains(text) == wanted
        }
        if try await holds() { return }
        for await _ in monitor.events where try await holds() { return }
    }

    @Test func portsLeadToThePodFromEverywhereAndGoWithIt() async throws {
        let nodes = try await TwoNodes(pool: Sample.pool("all", "10.244.0.0/16", vxlan: "Always"))
        let laboratory = nodes.laboratory
        let runtime = Self.mappings(
            Self.mapping(8126), Self.mapping(8127, at: "172.30.0.2"), Self.mapping(8128, at: "127.0.0.1"),
            Self.mapping(8129, "udp"), Self.mapping(0))
        let address = try await nodes.withAgents {
            let pod = try await nodes.startPod("one", on: "a", runtime: runtime)
            let other = try await nodes.startPod("other", on: "a")
            let far = try await nodes.startPod("far", on: "b")
            #expect(pod.isSuccess && other.isSuccess && far.isSuccess, "\(pod.json) \(other.json) \(far.json)")
            let listener = try Greeting.serve("one", port: 8080, in: laboratory.namespace("one"))
            defer { Greeting.stop(listener) }
            try await waitForTable(nodes, "tcp . 8126 : \(pod.address) . 8080")
            try await waitForTable(nodes, "udp . 8129 : \(pod.address) . 8080")
            // The client keeps its address: who is asked is on the same node.
            #expect(try await Greeting.read("172.30.0.2", 8126, from: laboratory.namespace("b")) == "one 172.30.0.3")
            #expect(
                try await Greeting.read("172.30.0.2", 8126, from: laboratory.namespace("other"))
                    == "one \(other.address)")
            for (target, port, place) in [
                ("172.30.0.2", 8126, "a"), ("127.0.0.1", 8126, "a"), ("172.30.0.2", 8126, "far"),
                ("172.30.0.2", 8126, "one"), ("172.30.0.2", 8127, "b"), ("127.0.0.1", 8128, "a"),
            ] as [(String, UInt16, String)] {
                let greeting = try await Greeting.read(target, port, from: laboratory.namespace(place))
                #expect(greeting.hasPrefix("one "), "\(target):\(port) from \(place): \(greeting)")
            }
            // At another address than the one it was asked for a port is not open.
            for (target, port, place) in [
                ("127.0.0.1", 8127, "a"), ("172.30.0.2", 8128, "b"), ("172.30.0.2", 8080, "b"),
            ]
                as [(String, UInt16, String)]
            {
                await #expect(throws: Errno.self, "\(target):\(port)") {
                    try await Greeting.read(target, port, from: laboratory.namespace(place))
                }
            }
            return pod.address
        }
        // The next agent was not told of it by any runtime.
        try await nodes.withAgents {
            let listener = try Greeting.serve("one", port: 8080, in: laboratory.namespace("one"))
            defer { Greeting.stop(listener) }
            let late = try await nodes.startPod("late", on: "a")
            #expect(late.isSuccess)
            try await waitForTable(nodes, "tcp . 8126 : \(address) . 8080")
            #expect(try await Greeting.read("172.30.0.2", 8126, from: laboratory.namespace("b")) == "one 172.30.0.3")
            // Nobody else gets the port until the pod is gone.
            let twin = try await nodes.startPod("twin", on: "a", runtime: Self.mappings(Self.mapping(8126)))
            #expect(!twin.isSuccess)
            let text = "\(twin.json)"
            #expect(text.contains("host port 8126/tcp is taken: pod default/one has 8126/tcp"), "\(text)")
            #expect(try await nodes.call("DEL", pod: "one", node: "a").isSuccess)
            try await waitForTable(nodes, "tcp . 8126", isThere: false)
            let heir = try await nodes.call("ADD", pod: "twin", node: "a", runtime: Self.mappings(Self.mapping(8126)))
            #expect(heir.isSuccess, "\(heir.json)")
            try await waitForTable(nodes, "tcp . 8126 : \(heir.address) . 8080")
        }
    }

    @Test func mappingsThatMakeNoSenseAreRefused() throws {
        let addresses = try ["10.0.0.5", "fd00::5"].map { try #require(IPAddress($0)) }
        #expect(try HostPort.read(nil, addresses).isEmpty)
        #expect(try HostPort.read([["hostPort": 80, "containerPort": 8080]], addresses).count == 2)
        #expect(
            try HostPort.read([["hostPort": 80, "containerPort": 8080, "hostIP": "0.0.0.0"]], addresses).count == 1)
        #expect(try HostPort.read([["hostPort": 80, "containerPort": 8080, "hostIP": "::"]], addresses).count == 1)
        for (mappings, word) in [
            (["hostPort": 80], "portMappings is"), ([["hostPort": 80]], "portMappings[0]"),
            ([["hostPort": 80, "containerPort": 80, "protocol": "icmp"]], "protocol is \"icmp\""),
            ([["hostPort": 70000, "containerPort": 80]], "no ports from 1 to 65535"),
            ([["hostPort": 80, "containerPort": 80, "hostIP": "here"]], "hostIP is \"here\""),
        ] as [(JSON, String)] {
            let problem = #expect(throws: HostPort.Problem.self) { try HostPort.read(mappings, addresses) }
            #expect(problem?.description.contains(word) == true, "\(mappings)")
        }
    }
}
