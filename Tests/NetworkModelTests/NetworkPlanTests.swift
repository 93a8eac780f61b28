// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import NetworkModel
import Testing
import Values

@Suite struct NetworkPlanTests {
    private func node(_ name: String, _ address: String, _ tunnel: String?) throws -> NodeNetwork {
        NodeNetwork(
            name: name, address: try #require(CIDR(address)), tunnelAddress: tunnel.flatMap { IPAddress($0) },
            tunnelMAC: IPAMNames.vxlanMAC(node: name))
    }

    private func plan(_ vxlan: EncapsulationMode, ipip: EncapsulationMode = .never, withPool: Bool = true) throws
        -> NetworkPlan
    {
        let nodes = [
            try node("a", "192.168.49.2/24", "10.0.0.0"), try node("b", "192.168.49.3/24", "10.0.0.64"),
            try node("c", "192.168.50.2/24", "10.0.0.128"),
        ]
        let pool = IPPool(
            name: "p", cidr: try #require(CIDR("10.0.0.0/16")), ipipMode: ipip, vxlanMode: vxlan, natOutgoing: true)
        let blocks = try [("a", "10.0.0.0/26"), ("b", "10.0.0.64/26"), ("c", "10.0.0.128/26")].map {
            IPAMBlock(try #require(CIDR($0.1)), node: $0.0, now: Timestamp(seconds: 0))
        }
        return NetworkPlan(
            NetworkInput(
                node: "a", nodes: Dictionary(uniqueKeysWithValues: nodes.map { ($0.name, $0) }),
                pools: withPool ? [pool] : [],
                blocks: blocks, workloads: [IPAddress(10, 0, 0, 5): "cali5"], kernelHasIPIP: false))
    }

    private func hops(_ plan: NetworkPlan) -> [String: PlannedRoute.Hop] {
        Dictionary(uniqueKeysWithValues: plan.routes.map { ($0.destination.description, $0.hop) })
    }

    @Test func always() throws {
        let hops = hops(try plan(.always))
        #expect(hops["10.0.0.0/26"] == .blackhole)
        #expect(hops["10.0.0.5/32"] == .workload(interface: "cali5"))
        #expect(hops["10.0.0.64/26"] == .tunnel(IPAddress(10, 0, 0, 64)))
        #expect(hops["10.0.0.128/26"] == .tunnel(IPAddress(10, 0, 0, 128)))
    }

    @Test func crossSubnetLeavesNeighboursAlone() throws {
        for plan in [try plan(.crossSubnet), try plan(.never, ipip: .crossSubnet), try plan(.never, withPool: false)] {
            let hops = hops(plan)
            #expect(hops["10.0.0.64/26"] == .node(IPAddress(192, 168, 49, 3)))
            #expect(hops["10.0.0.128/26"] == .tunnel(IPAddress(10, 0, 0, 128)))
            #expect(plan.problems.isEmpty)
        }
    }

    @Test func whatCannotBeReachedIsTold() throws {
        let plan = try plan(.never)
        #expect(hops(plan)["10.0.0.128/26"] == nil)
        #expect(plan.problems.count == 1)
        #expect(
            plan.problems.first?.contains("node c (192.168.50.2/24) is not in the subnet of 192.168.49.2/24") == true)
    }

    @Test func podsOutliveTheirPool() throws {
        let plan = try plan(.never, withPool: false)
        #expect(plan.masqueraded.map(\.description).sorted() == ["10.0.0.0/26", "10.0.0.128/26", "10.0.0.64/26"])
        #expect(plan.masqueraded == plan.podNetworks)
    }
}

@Suite struct NFTContentTests {
    private func service(_ endpoints: [String], nodePort: Int? = nil) -> [ServicePort] {
        var object = KubeObject(.services, kind: "Service", name: "web", namespace: "default")
        object["spec"] = [
            "clusterIP": "10.96.0.7", "ports": [["port": 80, "nodePort": nodePort.map { JSON($0) } ?? .null]],
        ]
        var slice = KubeObject(.endpointSlices, kind: "EndpointSlice", name: "web-1", namespace: "default")
        slice["addressType"] = "IPv4"
        slice["ports"] = [["port": 8080]]
        slice["endpoints"] = .array(endpoints.map { ["addresses": [JSON($0)]] })
        return ServiceModel.ports(of: object, slices: [slice])
    }

    private func content(_ ports: [ServicePort]) -> NFTContent { NFTPlan.content(NetworkPlan(), ports) }

    @Test func anEndpointOfOneServiceTouchesElementsAlone() {
        let commands = content(service(["10.0.0.1"])).changes(to: content(service(["10.0.0.2"])))
        #expect(commands.count == 4 && commands.allSatisfy { $0.contains(" element ip catbird ") }, "\(commands)")
        #expect(commands.contains { $0.hasPrefix("add element ip catbird hairpins { 10.0.0.2 . 10.0.0.2 }") })
        #expect(commands.contains { $0.hasSuffix(" : 10.0.0.2 . 8080 }") && $0.contains("endpoints-1") }, "\(commands)")
    }

    @Test func nothingChangedIsNothingToDo() {
        #expect(content(service(["10.0.0.1"])).changes(to: content(service(["10.0.0.1"]))) == [])
    }

    @Test func headlessAndExternalNamesHaveNoAddresses() {
        var object = KubeObject(.services, kind: "Service", name: "web", namespace: "default")
        object["spec"] = ["clusterIP": "None", "ports": [["port": 80]]]
        #expect(ServiceModel.ports(of: object, slices: []).isEmpty)
        object["spec"] = ["type": "ExternalName", "externalName": "example.org"]
        #expect(ServiceModel.ports(of: object, slices: []).isEmpty)
    }

    @Test func endingEndpointsServeWhereNoneIsReady() {
        var slice = KubeObject(.endpointSlices, kind: "EndpointSlice", name: "s")
        slice["addressType"] = "IPv4"
        slice["ports"] = [["port": 8080]]
        let ending: JSON = [
            "addresses": ["10.0.0.1"], "conditions": ["ready": false, "serving": true, "terminating": true],
        ]
        var object = KubeObject(.services, kind: "Service", name: "web")
        object["spec"] = ["clusterIP": "10.96.0.7", "ports": [["port": 80]]]
        slice["endpoints"] = [ending]
        #expect(ServiceModel.ports(of: object, slices: [slice]).first?.endpoints.count == 1)
        slice["endpoints"] = [ending, ["addresses": ["10.0.0.2"], "conditions": ["ready": true]]]
        #expect(
            ServiceModel.ports(of: object, slices: [slice]).first?.endpoints.map(\.address) == [IPAddress(10, 0, 0, 2)])
    }
}
