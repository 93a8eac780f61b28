// SPDX-License-Identifier: Apache-2.0

import Glibc
import KubeObjects
import Linux
import NetworkAgent
import NetworkModel
import Testing
import Values

/// A node between a client outside and two pods.
@Suite(.serialized, .enabled(if: geteuid() == 0)) struct ServiceTableRootTests {
    private static func service(nodePort: Int? = nil, balancer: String? = nil) -> KubeObject {
        var object = KubeObject(.services, kind: "Service", name: "web", namespace: "default")
        var port: JSON = ["port": 80, "targetPort": 8080, "protocol": "TCP"]
        if let nodePort { port["nodePort"] = JSON(nodePort) }
        object["spec"] = ["clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "ports": .array([port])]
        if let balancer { object["status"] = ["loadBalancer": ["ingress": [["ip": JSON(balancer)]]]] }
        return object
    }

    private static func slice(_ addresses: [String]) -> KubeObject {
        var object = KubeObject(
            .endpointSlices, kind: "EndpointSlice", name: "web-1", namespace: "default",
            labels: ["kubernetes.io/service-name": "web"])
        object["addressType"] = "IPv4"
        object["ports"] = [["name": "", "port": 8080, "protocol": "TCP"]]
        object["endpoints"] = .array(addresses.map { ["addresses": [JSON($0)], "conditions": ["ready": true]] })
        return object
    }

    @Test func trafficFindsItsEndpoints() async throws {
        let laboratory = try Laboratory()
        for name in ["client", "node", "pod1", "pod2"] { try laboratory.makeNamespace(name) }
        try laboratory.cable(("node", "eth0", "172.31.0.1/24"), ("client", "eth0", "172.31.0.9/24"))
        try laboratory.cable(("node", "p1", "10.244.1.1/24"), ("pod1", "eth0", "10.244.1.2/24"))
        try laboratory.cable(("node", "p2", "10.244.2.1/24"), ("pod2", "eth0", "10.244.2.2/24"))
        let everything = try #require(CIDR("0.0.0.0/0"))
        for (name, gateway) in [
            ("client", "172.31.0.1"), ("pod1", "10.244.1.1"), ("pod2", "10.244.2.1"), ("node", "172.31.0.9"),
        ] {
            try NetlinkSocket(in: laboratory.namespace(name)).addRoute(Route(to: everything, via: IPAddress(gateway)))
        }
        let dataplane = try Dataplane(in: laboratory.namespace("node"))
        let listeners = try ["pod1", "pod2"].map { try Greeting.serve($0, port: 8080, in: laboratory.namespace($0)) }
        defer { for listener in listeners { Greeting.stop(listener) } }
        let pool = IPPool(name: "p", cidr: try #require(CIDR("10.244.0.0/16")), natOutgoing: true)
        let plan = NetworkPlan(
            NetworkInput(node: "node", nodes: [:], pools: [pool], blocks: [], workloads: [:], kernelHasIPIP: false))
        func apply(_ endpoints: [String]) throws {
            let service = Self.service(nodePort: 30080, balancer: "192.0.2.10")
            let ports = ServiceModel.ports(of: service, slices: [Self.slice(endpoints)])
            try dataplane.apply(NFTPlan.content(plan, ports), .v4)
        }
        func read(_ address: String, _ port: UInt16, from name: String) async throws -> String {
            try await Greeting.read(address, port, from: laboratory.namespace(name))
        }

        try apply(["10.244.1.2"])
        #expect(try await read("10.96.0.7", 80, from: "pod2") == "pod1 10.244.2.2")
        #expect(
            try await read("10.96.0.7", 80, from: "pod1").hasPrefix("pod1 "), "a pod reaches itself through its Service"
        )
        #expect(try await read("10.96.0.7", 80, from: "node").hasPrefix("pod1 "))
        #expect(try await read("172.31.0.1", 30080, from: "client").hasPrefix("pod1 10.244.1.1"))
        #expect(try await read("172.31.0.1", 30080, from: "node").hasPrefix("pod1 "))
        #expect(try await read("172.31.0.1", 30080, from: "pod2").hasPrefix("pod1 "))
        #expect(try await read("192.0.2.10", 80, from: "client").hasPrefix("pod1 "))
        #expect(try await read("192.0.2.10", 80, from: "pod2").hasPrefix("pod1 "))

        try apply(["10.244.1.2", "10.244.2.2"])
        var seen: Set<String> = []
        for _ in 0..<60 where seen.count < 2 {
            seen.insert(String(try await read("10.96.0.7", 80, from: "node").prefix(4)))
        }
        #expect(seen == ["pod1", "pod2"])

        try apply(["10.244.2.2"])
        #expect(try await read("10.96.0.7", 80, from: "pod1").hasPrefix("pod2 "))

        try apply([])
        for (address, name) in [("10.96.0.7", "pod1"), ("10.96.0.7", "node"), ("192.0.2.10", "client")] {
            let error = await #expect(throws: Errno.self) { try await read(address, 80, from: name) }
            #expect(error?.code == ECONNREFUSED, "\(address) from \(name): \(String(describing: error))")
        }

        // Outgoing: a pod leaves with the node's address, and stays itself among pods.
        let outside = try Greeting.serve("outside", port: 9000, in: laboratory.namespace("client"))
        defer { Greeting.stop(outside) }
        #expect(try await read("172.31.0.9", 9000, from: "pod1") == "outside 172.31.0.1")
        #expect(try await read("10.244.2.2", 8080, from: "pod1") == "pod2 10.244.1.2")

        // A second run finds the table of the first and takes it over.
        try Dataplane(in: laboratory.namespace("node")).apply(
            NFTPlan.content(plan, ServiceModel.ports(of: Self.service(), slices: [Self.slice(["10.244.1.2"])])), .v4)
        #expect(try await read("10.96.0.7", 80, from: "node").hasPrefix("pod1 "))
    }

    /// The class of CVE-2020-8554: a Service with a node's address takes neither its port nor any other of the node's.
    @Test func storedAddressesOfNodesCutNobodyOff() async throws {
        let laboratory = try Laboratory()
        for name in ["node", "client", "pod1"] { try laboratory.makeNamespace(name) }
        try laboratory.cable(("node", "eth0", "172.31.0.1/24"), ("client", "eth0", "172.31.0.9/24"))
        try laboratory.cable(("node", "p1", "10.244.1.1/24"), ("pod1", "eth0", "10.244.1.2/24"))
        let everything = try #require(CIDR("0.0.0.0/0"))
        for (name, gateway) in [("client", "172.31.0.1"), ("pod1", "10.244.1.1")] {
            try NetlinkSocket(in: laboratory.namespace(name)).addRoute(Route(to: everything, via: IPAddress(gateway)))
        }
        let own = try [8443, 10250].map { try Greeting.serve("node", port: $0, in: laboratory.namespace("node")) }
        let pod = try Greeting.serve("pod1", port: 8080, in: laboratory.namespace("pod1"))
        let api = try Greeting.serve("api", port: 8443, in: laboratory.namespace("client"))
        defer { for listener in own + [pod, api] { Greeting.stop(listener) } }
        let node = NodeNetwork(name: "node", address: try #require(CIDR("172.31.0.1/24")))
        let plan = NetworkPlan(
            NetworkInput(node: "node", nodes: ["node": node], pools: [], blocks: [], kernelHasIPIP: false))
        // The API server's address is known by the endpoints of its Service.
        var kubernetes = KubeObject(.services, kind: "Service", name: "kubernetes", namespace: "default")
        kubernetes["spec"] = ["clusterIP": "10.96.0.1", "ports": [["name": "https", "port": 443]]]
        var slice = KubeObject(.endpointSlices, kind: "EndpointSlice", name: "kubernetes", namespace: "default")
        slice["addressType"] = "IPv4"
        slice["ports"] = [["name": "https", "port": 8443]]
        slice["endpoints"] = [["addresses": ["172.31.0.9"]]]
        let dataplane = try Dataplane(in: laboratory.namespace("node"))
        for endpoints in [["10.244.1.2"], []] {
            for field in ["externalIPs", "balancer"] {
                var thief = Self.service()
                let addresses = ["172.31.0.1", "172.31.0.9", "127.0.0.1", "192.0.2.77"]
                thief["spec"]["ports"] = [["port": 8443, "targetPort": 8080, "protocol": "TCP"]]
                if field == "externalIPs" {
                    thief["spec"]["externalIPs"] = JSON(addresses)
                } else {
                    thief["status"] = ["loadBalancer": ["ingress": .array(addresses.map { ["ip": JSON($0)] })]]
                }
                let ports =
                    ServiceModel.ports(of: thief, slices: [Self.slice(endpoints)])
                    + ServiceModel.ports(of: kubernetes, slices: [slice])
                let content = NFTPlan.content(plan, ports)
                try dataplane.apply(content, .v4)
                for port in [8443, 10250] as [UInt16] {
                    let greeting = try await Greeting.read("172.31.0.1", port, from: laboratory.namespace("client"))
                    #expect(greeting.hasPrefix("node "), "\(field) \(endpoints)")
                    let local = try await Greeting.read("127.0.0.1", port, from: laboratory.namespace("node"))
                    #expect(local.hasPrefix("node "), "\(field) \(endpoints)")
                }
                let server = try await Greeting.read("172.31.0.9", 8443, from: laboratory.namespace("node"))
                #expect(server.hasPrefix("api "), "\(field) \(endpoints)")
                #expect(AddressOwners(plan, ports).admissible(ports).problems.count == 3)
                // An address of nobody still leads to the pod, and says so where there is none.
                if endpoints.isEmpty {
                    await #expect(throws: Errno.self) {
                        try await Greeting.read("192.0.2.77", 8443, from: laboratory.namespace("client"))
                    }
                } else {
                    let served = try await Greeting.read("192.0.2.77", 8443, from: laboratory.namespace("client"))
                    #expect(served.hasPrefix("pod1 "), "\(field)")
                }
            }
        }
    }

    @Test func foreignRoutesStay() async throws {
        let laboratory = try Laboratory()
        try laboratory.makeNamespace("node")
        try laboratory.makeNamespace("other")
        try laboratory.cable(("node", "eth0", "172.31.0.1/24"), ("other", "eth0", "172.31.0.2/24"))
        let netlink = try NetlinkSocket(in: laboratory.namespace("node"))
        let block = try #require(CIDR("10.244.5.0/26"))
        try netlink.addRoute(Route(to: block, via: IPAddress("172.31.0.2")))
        let dataplane = try Dataplane(in: laboratory.namespace("node"))
        var plan = NetworkPlan()
        plan.routes = [
            PlannedRoute(block, .blackhole), PlannedRoute(try #require(CIDR("10.244.6.0/26")), .blackhole),
        ]
        try dataplane.apply(plan)
        let foreign = try netlink.routes().first { $0.destination == block }
        #expect(foreign?.protocol == .boot)
        #expect(try netlink.routes(protocol: .calico).count == 1)
        try dataplane.apply(NetworkPlan())
        #expect(try netlink.routes(protocol: .calico).isEmpty)
        #expect(try netlink.routes().contains { $0.destination == block })
    }
}
