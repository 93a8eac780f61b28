// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

@testable import NetworkModel

/// The elements of a Service, for each of its settings.
@Suite struct ServiceElementTests {
    static func service(_ name: String = "web", _ spec: JSON = [:], balancer: [String] = []) -> KubeObject {
        var object = KubeObject(.services, kind: "Service", name: name, namespace: "default")
        object["spec"] = ["clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "ports": [["port": 80]]]
        for (field, value) in spec.object?.members ?? [] { object["spec"][field] = value }
        if !balancer.isEmpty {
            object["status"] = ["loadBalancer": ["ingress": .array(balancer.map { ["ip": JSON($0)] })]]
        }
        return object
    }

    static func slice(
        _ name: String = "web-1", of service: String = "web", _ endpoints: [(String, String, JSON)]
    ) -> KubeObject {
        var slice = KubeObject(
            .endpointSlices, kind: "EndpointSlice", name: name, namespace: "default",
            labels: ["kubernetes.io/service-name": service])
        slice["addressType"] = "IPv4"
        slice["ports"] = [["port": 8080]]
        slice["endpoints"] = .array(
            endpoints.map { ["addresses": [JSON($0.0)], "nodeName": JSON($0.1), "conditions": $0.2] })
        return slice
    }

    static let ready: JSON = ["ready": true]
    static let ending: JSON = ["ready": false, "serving": true, "terminating": true]
    static let gone: JSON = ["ready": false, "serving": false, "terminating": true]

    /// What the elements say, with the port's number as `#`.
    private func words(
        _ service: KubeObject, _ endpoints: [(String, String, JSON)], on node: String = "a"
    ) -> Set<String> {
        let ports = ServiceModel.ports(of: service, slices: [Self.slice("web-1", of: "web", endpoints)])
        let elements = NFTPlan.elements(AddressOwners(), ports, node: node) { _ in 0xABC0 }
        return Set(
            (elements[.v4] ?? [:]).map { element, value in
                let text = value.text.replacing("0xabc", with: "#")
                return
                    "\(element.set) \(element.text.replacing("0x0000abc", with: "#"))\(text.isEmpty ? "" : " -> \(text)")"
            })
    }

    @Test func aClusterIPLeadsToItsEndpoint() {
        #expect(
            words(Self.service(), [("10.0.0.1", "a", Self.ready)]) == [
                "fronts 10.96.0.7 . tcp . 80 -> #0", "service-addresses 10.96.0.7",
                "endpoints-1 #0 -> 10.0.0.1 . 8080", "hairpins 10.0.0.1 . 10.0.0.1",
            ])
        // A pod of another node does not reach itself here.
        #expect(!words(Self.service(), [("10.0.0.1", "b", Self.ready)]).contains { $0.hasPrefix("hairpins") })
    }

    @Test func withoutEndpointsItIsRefusedAndUnderLocalDropped() {
        #expect(words(Self.service(), []).contains("unserved #0"))
        let internalLocal = Self.service("web", ["internalTrafficPolicy": "Local"])
        #expect(words(internalLocal, []).contains("unserved #8"))
        let elsewhere = words(internalLocal, [("10.0.0.1", "b", Self.ready)])
        #expect(elsewhere.contains("silent #8") && elsewhere.contains("fronts 10.96.0.7 . tcp . 80 -> #8"))
        #expect(!elsewhere.contains { $0.hasPrefix("endpoints") })
        #expect(
            words(internalLocal, [("10.0.0.1", "a", Self.ready), ("10.0.0.2", "b", Self.ready)]).contains(
                "endpoints-1 #8 -> 10.0.0.1 . 8080"))
    }

    @Test func externalTrafficKeepsToTheNodeUnderLocal() {
        let local = Self.service(
            "web", ["externalTrafficPolicy": "Local", "ports": [["port": 80, "nodePort": 30080]]],
            balancer: ["192.0.2.10"])
        let found = words(local, [("10.0.0.1", "a", Self.ready), ("10.0.0.2", "b", Self.ready)])
        #expect(found.contains("fronts 10.96.0.7 . tcp . 80 -> #0"))
        #expect(found.contains("fronts 192.0.2.10 . tcp . 80 -> #3"))
        #expect(found.contains("node-fronts tcp . 30080 -> #3"))
        #expect(found.contains("endpoints-1 #8 -> 10.0.0.1 . 8080"))
        #expect(found.count { $0.hasPrefix("endpoints-16 #0 ") } == 16)
        #expect(words(local, [("10.0.0.2", "b", Self.ready)]).contains("silent #8"))
    }

    @Test func sourceRangesAreOfBalancersAndNoneHoldsAnother() {
        let ranged = Self.service(
            "web",
            [
                "loadBalancerSourceRanges": ["10.0.0.0/8", "10.1.0.0/16", "192.168.1.5/24 ", "fd00::/8"],
                "externalIPs": ["198.51.100.1"], "ports": [["port": 80, "nodePort": 30080]],
            ], balancer: ["192.0.2.10"])
        let found = words(ranged, [])
        #expect(
            Set(found.filter { $0.hasPrefix("source") }) == [
                "source-ranges 192.0.2.10 . tcp . 80 . 10.0.0.0/8",
                "source-ranges 192.0.2.10 . tcp . 80 . 192.168.1.0/24",
            ])
        #expect(found.contains("fronts 192.0.2.10 . tcp . 80 -> #5"))
        #expect(
            found.contains("fronts 198.51.100.1 . tcp . 80 -> #1") && found.contains("node-fronts tcp . 30080 -> #1"))
        let open = Self.service("web", ["loadBalancerSourceRanges": ["0.0.0.0/0"]], balancer: ["192.0.2.10"])
        #expect(words(open, []).contains("fronts 192.0.2.10 . tcp . 80 -> #1"))
    }

    @Test func endingEndpointsServeWhereNoneIsReadyForEachPolicyByItself() {
        let local = Self.service(
            "web", ["externalTrafficPolicy": "Local", "ports": [["port": 80, "nodePort": 30080]]])
        let found = words(local, [("10.0.0.1", "a", Self.ending), ("10.0.0.2", "b", Self.ready)])
        #expect(found.contains("endpoints-1 #0 -> 10.0.0.2 . 8080"))
        #expect(found.contains("endpoints-1 #8 -> 10.0.0.1 . 8080"))
        #expect(words(Self.service(), [("10.0.0.1", "a", Self.gone)]).contains("unserved #0"))
    }

    @Test func affinityIsOfItsGroupsAndTime() {
        let found = words(Self.service("web", ["sessionAffinity": "ClientIP"]), [])
        #expect(found.contains("sticky-10800 #0"))
        let timed = Self.service(
            "web",
            ["sessionAffinity": "ClientIP", "sessionAffinityConfig": ["clientIP": ["timeoutSeconds": 12]]])
        #expect(words(timed, []).contains("sticky-12 #0"))
        let ports = ServiceModel.ports(of: timed, slices: [])
        let rules = NFTPlan.content(NetworkPlan(), ports).chains["remember"]?.rules
        #expect(rules?.count == 1 && rules?.first?.contains("timeout 12s") == true)
    }

    @Test func othersServicesAreLeftToThem() {
        for label in ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"] {
            var object = Self.service()
            object["metadata"]["labels"] = [label: "x"]
            #expect(ServiceModel.ports(of: object, slices: []).isEmpty, "\(label)")
        }
    }

    @Test(arguments: [2, 3, 4, 5, 7, 16, 17, 40, 128])
    func slotsAreSharedEvenlyAndMostStay(_ count: Int) {
        let endpoints = (1...count).map { ServicePort.Endpoint(IPAddress(v4: 0x0A00_0000 + UInt32($0)), 8080) }
        let slots = SlotTable.count(count)
        let before = SlotTable.assign(endpoints, slots).map { endpoints[$0] }
        let loads = Dictionary(grouping: before, by: \.self).mapValues(\.count)
        #expect(loads.count == count && (loads.values.max() ?? 0) - (loads.values.min() ?? 0) <= 1)
        #expect((loads.values.max() ?? 0) * 4 <= (loads.values.min() ?? 0) * 5)
        let fewer = endpoints.filter { $0 != endpoints[count / 2] }
        guard fewer.count > 1, SlotTable.count(fewer.count) == slots else { return }
        let after = SlotTable.assign(fewer, slots).map { fewer[$0] }
        let moved = zip(before, after).count { $0 != $1 }
        // Its own, and those that a limit of load pushes on; all others would be two thirds and more.
        #expect(moved <= 6 * (Int(slots) / count + 1), "\(moved) of \(slots) slots moved when one of \(count) went")
    }
}

/// After any events, in any order, with repeats and deletions, the steps come to what the whole computation says.
@Suite struct ServiceCalculationTests {
    private struct World {
        var services: [ObjectKey: KubeObject] = [:]
        var slices: [ObjectKey: KubeObject] = [:]
        var nodes: [IPAddress: String] = [:]
        var networks: Set<CIDR> = []

        var ports: [ServicePort] {
            services.values.flatMap { service in
                ServiceModel.ports(
                    of: service,
                    slices: slices.values.filter {
                        $0.labels["kubernetes.io/service-name"] == service.name && $0.namespace == service.namespace
                    })
            }
        }

        var owners: AddressOwners {
            var plan = NetworkPlan()
            plan.nodeNames = nodes
            plan.podNetworks = networks
            return AddressOwners(plan, ports)
        }
    }

    private struct Dice {
        var state: UInt64
        mutating func roll(_ count: Int) -> Int {
            state = SlotTable.mix(state)
            return Int(state % UInt64(count))
        }
        mutating func pick<T>(_ items: [T]) -> T { items[roll(items.count)] }
        mutating func some<T>(_ items: [T]) -> [T] { items.filter { _ in roll(2) == 0 } }
    }

    private static let names = ["a", "b", "c", "d", "kubernetes"]
    private static let addresses = ["192.0.2.1", "192.0.2.2", "172.31.0.1", "10.96.0.1", "10.244.0.9"]

    private static func service(_ dice: inout Dice) -> KubeObject {
        let name = dice.pick(names)
        var object = KubeObject(.services, kind: "Service", name: name, namespace: "default")
        var ports: [JSON] = []
        for (number, transport) in [(80, "TCP"), (53, "UDP"), (53, "TCP"), (132, "SCTP")] where dice.roll(2) == 0 {
            var port: JSON = [
                "name": .string("\(transport.lowercased())-\(number)"), "port": JSON(number),
                "protocol": JSON(transport),
            ]
            if dice.roll(2) == 0 { port["nodePort"] = JSON(30000 + number + dice.roll(2)) }
            ports.append(port)
        }
        let address = "10.96.0.\(1 + dice.roll(3))"
        object["spec"] = [
            "clusterIP": JSON(dice.roll(8) == 0 ? "None" : address),
            "clusterIPs": dice.roll(3) == 0 ? [JSON(address), "fd00:96::1"] : [JSON(address)],
            "ports": .array(ports), "externalIPs": JSON(dice.some(addresses)),
            "sessionAffinity": JSON(dice.pick(["None", "ClientIP"])),
            "externalTrafficPolicy": JSON(dice.pick(["Cluster", "Local"])),
            "internalTrafficPolicy": JSON(dice.pick(["Cluster", "Local"])),
            "type": JSON(dice.pick(["ClusterIP", "LoadBalancer", "ExternalName"])), "healthCheckNodePort": 31000,
            "loadBalancerSourceRanges": JSON(dice.some(["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0"])),
            "sessionAffinityConfig": ["clientIP": ["timeoutSeconds": JSON(dice.pick([10, 10800]))]],
        ]
        if dice.roll(2) == 0 {
            object["status"] = [
                "loadBalancer": ["ingress": .array(dice.some(addresses).map { ["ip": JSON($0)] })]
            ]
        }
        return object
    }

    private static func slice(_ dice: inout Dice) -> KubeObject {
        let isV6 = dice.roll(4) == 0
        var slice = KubeObject(
            .endpointSlices, kind: "EndpointSlice", name: "slice-\(dice.roll(6))", namespace: "default",
            labels: dice.roll(8) == 0 ? [:] : ["kubernetes.io/service-name": dice.pick(names)])
        slice["addressType"] = isV6 ? "IPv6" : "IPv4"
        slice["ports"] = .array(
            dice.some(["tcp-80", "udp-53", "tcp-53", "sctp-132"]).map {
                ["name": JSON($0), "port": JSON(8080 + dice.roll(2))]
            })
        let conditions = [ServiceElementTests.ready, ServiceElementTests.ending, ServiceElementTests.gone]
        slice["endpoints"] = .array(
            (0..<dice.roll(7)).map { _ in
                let last = 1 + dice.roll(20)
                var endpoint: JSON = [
                    "addresses": [JSON(isV6 ? "fd00:244::\(last)" : "10.244.0.\(last)")],
                    "conditions": dice.pick(conditions),
                ]
                if dice.roll(4) != 0 { endpoint["nodeName"] = JSON(dice.pick(["here", "there"])) }
                return endpoint
            })
        return slice
    }

    private static func event(_ dice: inout Dice, _ world: inout World) -> ServiceCalculation.Event {
        switch dice.roll(10) {
        case 0...3:
            let object = service(&dice)
            let isGone = dice.roll(4) == 0
            world.services[object.key] = isGone ? nil : object
            return .service(object.key, isGone ? nil : object)
        case 4...8:
            let object = slice(&dice)
            let isGone = dice.roll(4) == 0
            world.slices[object.key] = isGone ? nil : object
            return .slice(object.key, isGone ? nil : object)
        default:
            world.nodes = Dictionary(
                uniqueKeysWithValues: dice.some(addresses).compactMap { IPAddress($0) }.map { ($0, "n") })
            world.networks = Set(dice.some(["10.244.0.0/16", "192.0.2.0/31"]).compactMap { CIDR($0) })
            return .owners(nodes: world.nodes, podNetworks: world.networks)
        }
    }

    /// Applies changes to a table as the kernel would: what is not there cannot go, what is there cannot come.
    private static func apply(
        _ changes: ServiceChanges, _ tables: inout [IPFamily: [ServiceElement: ServiceElement.Value]]
    ) -> [String] {
        var wrong: [String] = []
        for (family, elements) in changes.elements {
            for (element, change) in elements {
                if tables[family]?[element] != change.before {
                    wrong.append("\(element.text) was \(tables[family]?[element] as Any), not \(change.before as Any)")
                }
                tables[family, default: [:]][element] = change.after
            }
        }
        return wrong
    }

    @Test(arguments: [28, 5]) func stepsComeToTheWhole(_ bits: Int) throws {
        for round in 0..<40 {
            let seed = UInt64.random(in: 0 ... .max)
            var dice = Dice(state: seed)
            var world = World()
            var calculation = ServiceCalculation(node: "here", numberBits: bits)
            var tables: [IPFamily: [ServiceElement: ServiceElement.Value]] = [:]
            var pending = ServiceChanges()
            for step in 0..<60 {
                let event = Self.event(&dice, &world)
                pending.merge(calculation.take(event))
                // The same once more changes nothing.
                if dice.roll(3) == 0 { #expect(calculation.take(event).elements.isEmpty, "seed \(seed), step \(step)") }
                if dice.roll(3) == 0 { continue }
                let wrong = Self.apply(pending, &tables)
                #expect(wrong.isEmpty, "seed \(seed), step \(step)")
                pending = ServiceChanges()
                let whole = NFTPlan.elements(world.owners, world.ports, node: "here") {
                    calculation.number(of: $0) ?? 0
                }
                for family in IPFamily.allCases {
                    let steps = calculation.elements(family)
                    #expect(steps == whole[family] ?? [:], "seed \(seed), bits \(bits), round \(round), step \(step)")
                    #expect((tables[family] ?? [:]) == steps, "seed \(seed), step \(step)")
                    #expect(calculation.affinityTimes(family) == NFTPlan.affinityTimes(steps), "seed \(seed)")
                    #expect(calculation.isUsed(family) == !steps.isEmpty)
                    guard steps == whole[family] ?? [:] else { return }
                }
            }
            // All that came goes again.
            for key in world.services.keys { pending.merge(calculation.take(.service(key, nil))) }
            for key in world.slices.keys { pending.merge(calculation.take(.slice(key, nil))) }
            #expect(Self.apply(pending, &tables).isEmpty, "seed \(seed)")
            #expect(IPFamily.allCases.allSatisfy { tables[$0]?.isEmpty ?? true }, "seed \(seed)")
            #expect(calculation.problems.isEmpty && calculation.healthCheckPorts.isEmpty, "seed \(seed)")
        }
    }

    @Test func anEndpointTouchesAFewElementsHoweverManyServicesThereAre() {
        var calculation = ServiceCalculation(node: "a")
        for number in 0..<200 {
            var object = ServiceElementTests.service("s\(number)")
            object["spec"]["clusterIP"] = .string("10.96.1.\(number + 1)")
            object["spec"]["clusterIPs"] = nil
            _ = calculation.take(.service(object.key, object))
            let slice = ServiceElementTests.slice(
                "s\(number)", of: "s\(number)",
                (1...4).map { ("10.244.\(number).\($0)", "b", ServiceElementTests.ready) })
            _ = calculation.take(.slice(slice.key, slice))
        }
        let slice = ServiceElementTests.slice(
            "s7", of: "s7", (2...5).map { ("10.244.7.\($0)", "b", ServiceElementTests.ready) })
        let changes = calculation.take(.slice(slice.key, slice))
        let touched = changes.elements[.v4]?.count ?? 0
        #expect((4...10).contains(touched), "\(touched)")
    }

    @Test func twoServicesWithOneAddressAreTold() {
        var calculation = ServiceCalculation(node: "a")
        for (name, address) in [("b", "10.96.0.8"), ("a", "10.96.0.9")] {
            var object = ServiceElementTests.service(name, ["externalIPs": ["198.51.100.1"]])
            object["spec"]["clusterIP"] = JSON(address)
            object["spec"]["clusterIPs"] = [JSON(address)]
            _ = calculation.take(.service(object.key, object))
        }
        #expect(
            calculation.problems == [
                "Service default/b: 198.51.100.1 . tcp . 80 is Service default/a's already, which it leads to; give one of them another address or port"
            ])
    }

    @Test func loadBalancersAreToldOfReadyEndpointsHere() {
        var calculation = ServiceCalculation(node: "a")
        let service = ServiceElementTests.service(
            "web", ["type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31234])
        #expect(calculation.take(.service(service.key, service)).healthChecks)
        #expect(calculation.healthCheckPorts.map(\.localEndpoints) == [0])
        let slice = ServiceElementTests.slice(
            "web-1", of: "web",
            [
                ("10.0.0.1", "a", ServiceElementTests.ready), ("10.0.0.2", "a", ServiceElementTests.ending),
                ("10.0.0.3", "b", ServiceElementTests.ready),
            ])
        #expect(calculation.take(.slice(slice.key, slice)).healthChecks)
        #expect(calculation.healthCheckPorts.map(\.localEndpoints) == [1])
        #expect(calculation.healthCheckPorts.first?.port == 31234)
    }

    @Test func connectionsOverUDPAreStaleWhenTheirEndpointHasGone() throws {
        var calculation = ServiceCalculation(node: "a")
        let service = ServiceElementTests.service("dns", ["ports": [["port": 53, "protocol": "UDP"]]])
        let fresh = calculation.take(.service(service.key, service))
        #expect(fresh.freshUDP == [.v4])
        let one = ServiceElementTests.slice("x", of: "dns", [("10.0.0.1", "a", ServiceElementTests.ready)])
        let two = ServiceElementTests.slice("x", of: "dns", [("10.0.0.2", "a", ServiceElementTests.ready)])
        _ = calculation.take(.slice(one.key, one))
        let port = try #require(ServiceModel.ports(of: service, slices: []).first)
        let number = try #require(calculation.number(of: port))
        let front = ServicePort.Endpoint(IPAddress(10, 96, 0, 7), 53)
        func flow(_ endpoint: ServicePort.Endpoint, mark: UInt32) -> ServiceCalculation.Flow {
            .init(destination: front, endpoint: endpoint, mark: mark)
        }
        let old = ServicePort.Endpoint(IPAddress(10, 0, 0, 1), 8080)
        #expect(!calculation.isStale(flow(old, mark: number), lost: []))
        #expect(calculation.isStale(flow(front, mark: 0), lost: []))
        let changes = calculation.take(.slice(two.key, two))
        #expect(changes.lostUDP == [.v4: [number]])
        #expect(calculation.isStale(flow(old, mark: number), lost: []))
        let gone = calculation.take(.service(service.key, nil))
        #expect(gone.lostUDP == [.v4: [number]])
        #expect(calculation.isStale(flow(old, mark: number), lost: [number]))
        #expect(!calculation.isStale(flow(old, mark: 0x990), lost: [number]))
    }
}
