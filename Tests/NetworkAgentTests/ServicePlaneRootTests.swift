// SPDX-License-Identifier: Apache-2.0

import Glibc
import KubeObjects
import Linux
import NetworkAgent
import NetworkModel
import Testing
import Values

/// A node with a pod of its own (`pod1`), one that counts as another node's (`pod2`), and a client outside; changes go
/// there one by one as an agent makes them.
@Suite(.serialized, .enabled(if: geteuid() == 0)) struct ServicePlaneRootTests {
    private static let here = ("10.244.1.2", "node")
    private static let there = ("10.244.2.2", "other")

    /// What a test does with the node.
    private final class Node: Sendable {
        let laboratory: Laboratory
        let plan: NetworkPlan
        let dataplane: Dataplane

        init() throws {
            laboratory = try Laboratory()
            for name in ["client", "node", "pod1", "pod2"] { try laboratory.makeNamespace(name) }
            try laboratory.cable(("node", "eth0", "172.31.0.1/24"), ("client", "eth0", "172.31.0.9/24"))
            try laboratory.cable(("node", "p1", "10.244.1.1/24"), ("pod1", "eth0", "10.244.1.2/24"))
            try laboratory.cable(("node", "p2", "10.244.2.1/24"), ("pod2", "eth0", "10.244.2.2/24"))
            let everything = try #require(CIDR("0.0.0.0/0"))
            for (name, gateway) in [
                ("client", "172.31.0.1"), ("pod1", "10.244.1.1"), ("pod2", "10.244.2.1"), ("node", "172.31.0.9"),
            ] {
                try NetlinkSocket(in: laboratory.namespace(name)).addRoute(
                    Route(to: everything, via: IPAddress(gateway)))
            }
            let pool = IPPool(name: "p", cidr: try #require(CIDR("10.244.0.0/16")), natOutgoing: true)
            plan = NetworkPlan(
                NetworkInput(node: "node", nodes: [:], pools: [pool], blocks: [], workloads: [:], kernelHasIPIP: false))
            dataplane = try Dataplane(in: laboratory.namespace("node"), node: "node")
            let own = try #require(IPAddress("172.31.0.1"))
            dataplane.services.take([.owners(nodes: [own: "node"], podNetworks: plan.podNetworks)])
            try dataplane.apply(NFTPlan.content(plan, .v4), .v4)
        }

        func put(_ events: ServiceCalculation.Event...) throws {
            dataplane.services.take(events)
            try dataplane.applyServices()
        }

        func read(_ address: String, _ port: UInt16, from name: String) async throws -> String {
            try await Greeting.read(address, port, from: laboratory.namespace(name))
        }

        /// Whether a first packet is answered in half a second, by whomever and whatever.
        func answers(_ address: String, _ port: UInt16, from name: String) throws -> Bool {
            try Namespaces.inNamespaces(net: laboratory.namespace(name)) {
                let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
                defer { close(fd) }
                var target = Self.address(address, port)
                _ = withUnsafePointer(to: &target) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                    }
                }
                var event = pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)
                return poll(&event, 1, 500) == 1
            }
        }

        static func address(_ text: String, _ port: UInt16) -> sockaddr_in {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = (IPAddress(text)?.v4Bits ?? 0).bigEndian
            return address
        }
    }

    private static func service(
        _ spec: JSON = [:], transport: String = "TCP", nodePort: Int? = nil, balancer: String? = nil
    )
        -> ServiceCalculation.Event
    {
        var object = KubeObject(.services, kind: "Service", name: "web", namespace: "default")
        var port: JSON = ["port": 80, "protocol": JSON(transport)]
        if let nodePort { port["nodePort"] = JSON(nodePort) }
        object["spec"] = ["clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "ports": .array([port])]
        for (field, value) in spec.object?.members ?? [] { object["spec"][field] = value }
        if let balancer { object["status"] = ["loadBalancer": ["ingress": [["ip": JSON(balancer)]]]] }
        return .service(object.key, object)
    }

    private static func slice(_ endpoints: [(String, String)], ready: Bool = true) -> ServiceCalculation.Event {
        var object = KubeObject(
            .endpointSlices, kind: "EndpointSlice", name: "web-1", namespace: "default",
            labels: ["kubernetes.io/service-name": "web"])
        object["addressType"] = "IPv4"
        object["ports"] = [["port": 8080]]
        let conditions: JSON = ["ready": JSON(ready), "serving": true, "terminating": JSON(!ready)]
        object["endpoints"] = .array(
            endpoints.map { ["addresses": [JSON($0.0)], "nodeName": JSON($0.1), "conditions": conditions] })
        return .slice(object.key, object)
    }

    /// The node with a greeting server in both pods.
    private func withNode(_ body: (Node) async throws -> Void) async throws {
        let node = try Node()
        let listeners = try ["pod1", "pod2"].map {
            try Greeting.serve($0, port: 8080, in: node.laboratory.namespace($0))
        }
        defer { for listener in listeners { Greeting.stop(listener) } }
        try await body(node)
    }

    /// Who answers in `count` connections.
    private func servers(
        _ node: Node, _ address: String = "10.96.0.7", _ port: UInt16 = 80, from name: String, count: Int = 20
    ) async throws -> Set<String> {
        var seen: Set<String> = []
        for _ in 0..<count { seen.insert(String(try await node.read(address, port, from: name).prefix(4))) }
        return seen
    }

    @Test func clientsComeBackToTheirEndpoint() async throws {
        try await withNode { node in
            let sticky: JSON = ["sessionAffinity": "ClientIP"]
            try node.put(Self.service(sticky, nodePort: 30080), Self.slice([Self.here, Self.there]))
            let first = try await servers(node, from: "node")
            #expect(first.count == 1)
            // By another address of the Service too.
            #expect(try await servers(node, "172.31.0.1", 30080, from: "node").count == 1)
            // After the agent starts anew, and somebody emptied the table before.
            let again = try Dataplane(in: node.laboratory.namespace("node"), node: "node")
            again.services.take([Self.service(sticky, nodePort: 30080), Self.slice([Self.here, Self.there])])
            try again.apply(NFTPlan.content(node.plan, .v4), .v4)
            #expect(try await servers(node, from: "node") == first)
            func put(_ events: ServiceCalculation.Event...) throws {
                again.services.take(events)
                try again.applyServices()
            }
            // Its endpoint goes: another serves, and stays when the first is back.
            let isFirst = first == ["pod1"]
            try put(Self.slice([isFirst ? Self.there : Self.here]))
            let second = try await servers(node, from: "node")
            #expect(second == [isFirst ? "pod2" : "pod1"])
            try put(Self.slice([Self.here, Self.there]))
            #expect(try await servers(node, from: "node") == second)
            // Switched off and on.
            try put(Self.service(nodePort: 30080))
            #expect(try await servers(node, from: "node", count: 40).count == 2)
            try put(Self.service(sticky, nodePort: 30080))
            #expect(try await servers(node, from: "node").count == 1)
        }
    }

    @Test func affinityEndsWithItsTime() async throws {
        try await withNode { node in
            let short: JSON = [
                "sessionAffinity": "ClientIP", "sessionAffinityConfig": ["clientIP": ["timeoutSeconds": 1]],
            ]
            try node.put(Self.service(short), Self.slice([Self.here, Self.there]))
            let socket = try NetfilterSocket(in: node.laboratory.namespace("node"))
            var seen: Set<String> = []
            for _ in 0..<20 where seen.count < 2 {
                seen.formUnion(try await servers(node, from: "node", count: 3))
                // The kernel forgets by time alone.
                while !(try socket.elements(of: "affinity", table: "catbird", .v4).isEmpty) {
                    try await Task.sleep(for: .milliseconds(100))
                }
            }
            #expect(seen == ["pod1", "pod2"])
        }
    }

    @Test func underExternalLocalClientsKeepTheirAddressAndPodsReachAll() async throws {
        try await withNode { node in
            let local = Self.service(["externalTrafficPolicy": "Local"], nodePort: 30080, balancer: "192.0.2.10")
            try node.put(local, Self.slice([Self.here, Self.there]))
            for (address, port) in [("172.31.0.1", 30080), ("192.0.2.10", 80)] as [(String, UInt16)] {
                for _ in 0..<10 {
                    #expect(try await node.read(address, port, from: "client") == "pod1 172.31.0.9")
                }
                #expect(try await servers(node, address, port, from: "pod1", count: 40) == ["pod1", "pod2"])
                #expect(try await servers(node, address, port, from: "node", count: 40) == ["pod1", "pod2"])
            }
            #expect(try await servers(node, from: "client", count: 40) == ["pod1", "pod2"])
            // None here: nothing is said to the client, and pods reach the other node's.
            try node.put(Self.slice([Self.there]))
            #expect(try !node.answers("172.31.0.1", 30080, from: "client"))
            #expect(try !node.answers("192.0.2.10", 80, from: "client"))
            #expect(try await servers(node, "172.31.0.1", 30080, from: "pod1") == ["pod2"])
            #expect(try await servers(node, "172.31.0.1", 30080, from: "node") == ["pod2"])
            // None anywhere: refused.
            try node.put(Self.slice([]))
            for (address, port) in [("172.31.0.1", 30080), ("192.0.2.10", 80)] as [(String, UInt16)] {
                let error = await #expect(throws: Errno.self) { try await node.read(address, port, from: "client") }
                #expect(error?.code == ECONNREFUSED)
            }
            // Those that end here still serve, though others are ready elsewhere.
            try node.put(Self.slice([Self.here], ready: false))
            #expect(try await node.read("172.31.0.1", 30080, from: "client") == "pod1 172.31.0.9")
        }
    }

    @Test func underInternalLocalOnlyThisNodesEndpointsServe() async throws {
        try await withNode { node in
            try node.put(Self.service(["internalTrafficPolicy": "Local"]), Self.slice([Self.here, Self.there]))
            for name in ["pod1", "pod2", "node"] { #expect(try await servers(node, from: name) == ["pod1"]) }
            try node.put(Self.slice([Self.there]))
            #expect(try !node.answers("10.96.0.7", 80, from: "pod1"))
            try node.put(Self.slice([]))
            #expect(try node.answers("10.96.0.7", 80, from: "pod1"), "refused at once")
        }
    }

    @Test func sourceRangesLetInByTheBalancersAddressAlone() async throws {
        try await withNode { node in
            func ranged(_ ranges: [String]) -> ServiceCalculation.Event {
                Self.service(["loadBalancerSourceRanges": JSON(ranges)], nodePort: 30080, balancer: "192.0.2.10")
            }
            try node.put(ranged(["203.0.113.0/24"]), Self.slice([Self.here]))
            #expect(try !node.answers("192.0.2.10", 80, from: "client"))
            #expect(try !node.answers("192.0.2.10", 80, from: "pod2"))
            #expect(try await node.read("172.31.0.1", 30080, from: "client").hasPrefix("pod1 "))
            #expect(try await node.read("10.96.0.7", 80, from: "pod2").hasPrefix("pod1 "))
            try node.put(ranged(["203.0.113.0/24", "172.31.0.8/29", "172.31.0.9/32"]))
            #expect(try await node.read("192.0.2.10", 80, from: "client").hasPrefix("pod1 "))
            #expect(try !node.answers("192.0.2.10", 80, from: "pod2"))
            try node.put(ranged([]))
            #expect(try await node.read("192.0.2.10", 80, from: "pod2").hasPrefix("pod1 "))
        }
    }

    /// A UDP client that keeps its port.
    private struct Datagrams {
        let fd: Int32

        init(in namespace: NamespaceRef, port: UInt16) throws {
            fd = try Namespaces.inNamespaces(net: namespace) {
                let fd = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
                var own = Node.address("0.0.0.0", port)
                let bound = withUnsafePointer(to: &own) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        bind(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                    }
                }
                guard bound == 0 else { throw Errno("bind") }
                var patience = timeval(tv_sec: 0, tv_usec: 300_000)
                setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
                return fd
            }
        }

        func send(_ text: String, to address: String, _ port: UInt16) {
            var target = Node.address(address, port)
            _ = withUnsafePointer(to: &target) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    sendto(fd, text, text.utf8.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }

        func receive() -> String? {
            var buffer = [UInt8](repeating: 0, count: 100)
            let count = recv(fd, &buffer, buffer.count, 0)
            return count < 0 ? nil : String(decoding: buffer.prefix(count), as: UTF8.self)
        }
    }

    @Test(arguments: ["10.96.0.7", "172.31.0.1"])
    func aDatagramClientThatKeepsItsPortFollowsTheEndpoint(_ address: String) async throws {
        let node = try Node()
        let port: UInt16 = address == "10.96.0.7" ? 80 : 30080
        let servers = try ["pod1", "pod2"].map { try Datagrams(in: node.laboratory.namespace($0), port: 8080) }
        let client = try Datagrams(in: node.laboratory.namespace("client"), port: 44444)
        defer { for end in servers + [client] { close(end.fd) } }
        // What was sent before there was a Service is no reason to be sent there for ever.
        client.send("before", to: address, port)
        try node.put(Self.service(transport: "UDP", nodePort: 30080), Self.slice([Self.here]))
        client.send("one", to: address, port)
        #expect(servers[0].receive() == "one")
        try node.put(Self.slice([Self.there]))
        client.send("two", to: address, port)
        #expect(servers[1].receive() == "two")
        try node.put(Self.slice([]))
        client.send("nobody", to: address, port)
        #expect(servers[1].receive() == nil)
        try node.put(Self.slice([Self.here]))
        client.send("three", to: address, port)
        #expect(servers[0].receive() == "three")
    }

    @Test func aChangeIsOneTransactionAndOthersServicesGoOn() async throws {
        try await withNode { node in
            let monitor = try NFTablesMonitor(in: node.laboratory.namespace("node"))
            try node.put(Self.service(), Self.slice([Self.here]))
            try node.put(Self.slice([Self.here, Self.there]))
            #expect(try await servers(node, from: "node", count: 40) == ["pod1", "pod2"])
            var programs: [String] = []
            for await events in monitor.events {
                for case .transaction(_, _, let program) in events { programs.append(program) }
                if programs.count >= 2 { break }
            }
            #expect(programs.count == 2)
            try node.put(.service(ObjectKey("default", "web"), nil), Self.slice([]))
            let table = try await node.laboratory.run(
                "/usr/sbin/nft", ["list map ip catbird fronts"], in: "node"
            ).text
            #expect(!table.contains("10.96.0.7"))
        }
    }

    @Test func aThousandServicesComeInOneWholeAndGoStepByStep() async throws {
        try await withNode { node in
            try node.put(Self.service(), Self.slice([Self.here]))
            var events: [ServiceCalculation.Event] = []
            for number in 0..<1000 {
                var object = KubeObject(.services, kind: "Service", name: "s\(number)", namespace: "default")
                object["spec"] = [
                    "clusterIP": .string("10.97.\(number / 250).\(number % 250)"), "ports": [["port": 80]],
                    "sessionAffinity": JSON(number % 2 == 0 ? "ClientIP" : "None"),
                ]
                events.append(.service(object.key, object))
            }
            node.dataplane.services.take(events)
            try node.dataplane.applyServices()
            let fresh = try Dataplane(in: node.laboratory.namespace("node"), node: "node")
            fresh.services.take(events + [Self.service(), Self.slice([Self.here])])
            try fresh.apply(NFTPlan.content(node.plan, .v4), .v4)
            #expect(try await node.read("10.96.0.7", 80, from: "client").hasPrefix("pod1 "))
            for number in 0..<1000 { fresh.services.take([.service(ObjectKey("default", "s\(number)"), nil)]) }
            try fresh.applyServices()
            #expect(try await node.read("10.96.0.7", 80, from: "client").hasPrefix("pod1 "))
            let socket = try NetfilterSocket(in: node.laboratory.namespace("node"))
            #expect(try socket.elements(of: "fronts", table: "catbird", .v4).count == 1)
        }
    }
}
