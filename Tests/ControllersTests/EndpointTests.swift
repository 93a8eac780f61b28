// SPDX-License-Identifier: Apache-2.0

import Controllers
import KubeObjects
import Testing
import Values

@Suite struct EndpointTests {
    private func service(_ spec: JSON) -> KubeObject {
        var service = KubeObject(.services, kind: "Service", name: "web", namespace: "default", labels: ["a": "b"])
        service.metadata["uid"] = "uid-web"
        service["spec"] = spec
        return service
    }

    private func pod(_ name: String, ip: String, ready: Bool = true, port: Int = 8080, deleting: Bool = false)
        -> KubeObject
    {
        var pod = KubeObject(.pods, kind: "Pod", name: name, namespace: "default")
        pod.metadata["uid"] = JSON("uid-\(name)")
        if deleting { pod.metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z" }
        pod["spec"] = [
            "nodeName": "n1", "hostname": JSON(name), "subdomain": "web",
            "containers": [
                ["name": "c", "ports": [["name": "http", "containerPort": JSON(port), "protocol": "TCP"]]]
            ],
        ]
        pod["status"] = [
            "phase": "Running", "podIP": JSON(ip),
            "conditions": [["type": "Ready", "status": JSON(ready ? "True" : "False")]],
        ]
        return pod
    }

    private let named: JSON = ["ports": [["name": "web", "port": 80, "targetPort": "http", "protocol": "TCP"]]]

    @Test func namedPortsAreResolvedOnEachPod() {
        let computation = EndpointComputation(
            service: service(named), pods: [pod("a", ip: "10.0.0.1"), pod("b", ip: "10.0.0.2", port: 9090)],
            zones: ["n1": "z1"])
        let groups = computation.groups()
        #expect(groups.count == 2)
        #expect(Set(groups.keys.compactMap { $0.ports.first?.number }) == [8080, 9090])
        let endpoint = groups.values.flatMap { $0 }.first { $0.address == "10.0.0.1" }
        #expect(endpoint?.zone == "z1")
        #expect(endpoint?.hostname == "a")
        #expect(endpoint?.isReady == true)
    }

    @Test func readinessAndTermination() {
        let pods = [
            pod("ready", ip: "10.0.0.1"), pod("waiting", ip: "10.0.0.2", ready: false),
            pod("leaving", ip: "10.0.0.3", deleting: true),
        ]
        let all = EndpointComputation(service: service(named), pods: pods, zones: [:]).groups().values.flatMap { $0 }
        var conditions: [String: [Bool]] = [:]
        for endpoint in all {
            conditions[endpoint.address] = [endpoint.isReady, endpoint.isServing, endpoint.isTerminating]
        }
        #expect(conditions["10.0.0.1"] == [true, true, false])
        #expect(conditions["10.0.0.2"] == [false, false, false])
        #expect(conditions["10.0.0.3"] == [false, true, true])
        var eager = named
        eager["publishNotReadyAddresses"] = true
        let published = EndpointComputation(service: service(eager), pods: pods, zones: [:]).groups().values.flatMap {
            $0
        }
        #expect(published.allSatisfy { $0.isReady })
    }

    @Test func legacySubsets() {
        let subsets = EndpointComputation(
            service: service(named), pods: [pod("b", ip: "10.0.0.2", ready: false), pod("a", ip: "10.0.0.1")],
            zones: [:]
        ).subsets()
        #expect(subsets.count == 1)
        #expect(subsets.first?["addresses"][0]["ip"].string == "10.0.0.1")
        #expect(subsets.first?["notReadyAddresses"][0]["ip"].string == "10.0.0.2")
        #expect(subsets.first?["ports"][0]["port"].int == 8080)
    }

    @Test func aPlanChangesOnlyWhatHasToChange() {
        let pods = (1...3).map { pod("p\($0)", ip: "10.0.0.\($0)") }
        let computation = EndpointComputation(service: service(named), pods: pods, zones: [:])
        let first = SlicePlan(computation: computation, existing: [])
        #expect(first.create.count == 1)
        guard var slice = first.create.first else { return }
        slice.metadata["name"] = "web-abcde"
        #expect(slice.labels["kubernetes.io/service-name"] == "web")
        #expect(slice["endpoints"].array?.count == 3)
        let again = SlicePlan(computation: computation, existing: [slice])
        #expect(again.create.isEmpty && again.update.isEmpty && again.delete.isEmpty)
        let fewer = EndpointComputation(service: service(named), pods: Array(pods.prefix(2)), zones: [:])
        let shrunk = SlicePlan(computation: fewer, existing: [slice])
        #expect(shrunk.update.first?["endpoints"].array?.count == 2)
        #expect(shrunk.create.isEmpty && shrunk.delete.isEmpty)
    }

    @Test func slicesHoldAHundred() {
        let pods = (0..<250).map { pod("p\($0)", ip: "10.0.\($0 / 200).\($0 % 200 + 1)") }
        let plan = SlicePlan(
            computation: EndpointComputation(service: service(named), pods: pods, zones: [:]), existing: [])
        #expect(plan.create.map { $0["endpoints"].array?.count ?? 0 } == [100, 100, 50])
    }

    @Test func aServiceWithoutPodsHasOneEmptySlice() {
        let computation = EndpointComputation(service: service(named), pods: [], zones: [:])
        let plan = SlicePlan(computation: computation, existing: [])
        #expect(plan.create.count == 1)
        #expect(plan.create.first?["endpoints"].array?.isEmpty == true)
    }
}
