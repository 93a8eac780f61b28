// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

@Suite struct ResourceQuotaTests {
    private let base = "/api/v1/namespaces/default"

    private func quota(_ fixture: Fixture, _ hard: [String: String], _ spec: JSON = [:]) async throws {
        var spec = spec
        spec["hard"] = JSON(hard)
        let made = try await fixture.send(
            "POST", "\(base)/resourcequotas", ["metadata": ["name": "q"], "spec": spec])
        #expect(made.status == 201, "\(made.json)")
    }

    private func used(_ fixture: Fixture) async throws -> JSON? {
        try await fixture.send("GET", "\(base)/resourcequotas/q").json["status"]["used"]
    }

    private func body(_ name: String, _ resources: JSON = [:], _ spec: JSON = [:]) -> JSON {
        var pod = pod(name)
        for (key, value) in spec.object ?? [:] { pod["spec"][key] = value }
        pod["spec"]["containers"] = [["name": "c", "image": "busybox", "resources": resources]]
        return pod.json
    }

    @Test func podsAreChargedUntilTheQuotaIsFull() async throws {
        let fixture = try await Fixture()
        // Counted already, although the quota is made afterwards.
        _ = try await fixture.send("POST", "\(base)/pods", body("zero", ["requests": ["cpu": "200m"]]))
        try await quota(fixture, ["pods": "2", "requests.cpu": "1", "count/pods": "5"])
        let first = try await fixture.send("POST", "\(base)/pods", body("a", ["requests": ["cpu": "500m"]]))
        #expect(first.status == 201)
        #expect(try await used(fixture) == ["pods": "2", "requests.cpu": "700m", "count/pods": "2"])
        let second = try await fixture.send("POST", "\(base)/pods", body("b", ["requests": ["cpu": "500m"]]))
        #expect(second.status == 403)
        #expect(
            second.json["message"].string == "pods \"b\" is forbidden: exceeded quota: q, requested: "
                + "pods=1,requests.cpu=500m, used: pods=2,requests.cpu=700m, limited: pods=2,requests.cpu=1")
        #expect(try await used(fixture) == ["pods": "2", "requests.cpu": "700m", "count/pods": "2"])
    }

    @Test func whatIsCountedMustBeSaid() async throws {
        let fixture = try await Fixture()
        try await quota(fixture, ["cpu": "4", "limits.memory": "4Gi"])
        let silent = try await fixture.send("POST", "\(base)/pods", body("a"))
        #expect(silent.status == 403)
        #expect(
            silent.json["message"].string
                == "pods \"a\" is forbidden: failed quota: q: must specify cpu for: c; limits.memory for: c")
        let whole = try await fixture.send(
            "POST", "\(base)/pods", body("b", ["requests": ["cpu": "1"], "limits": ["memory": "1Gi"]]))
        #expect(whole.status == 201)
        #expect(try await used(fixture) == ["cpu": "1", "limits.memory": "1Gi"])
    }

    @Test func fiftyAtOnceNeverExceedIt() async throws {
        let fixture = try await Fixture()
        try await quota(fixture, ["configmaps": "20"])
        let made = try await withThrowingTaskGroup(of: Int.self) { group in
            for index in 0..<50 {
                group.addTask {
                    try await fixture.send("POST", "\(base)/configmaps", ["metadata": ["name": "m\(index)"]]).status
                }
            }
            return try await group.reduce(into: [Int: Int]()) { $0[$1, default: 0] += 1 }
        }
        #expect(made == [201: 20, 403: 30])
        #expect(try await used(fixture) == ["configmaps": "20"])
        #expect(try await fixture.client.list(.configMaps, in: "default").items.count == 20)
    }

    @Test func whatIsNotMadeIsGivenBack() async throws {
        let fixture = try await Fixture()
        try await quota(fixture, ["configmaps": "3"])
        let path = "\(base)/configmaps"
        #expect(try await fixture.send("POST", path, ["metadata": ["name": "a"]]).status == 201)
        #expect(try await fixture.send("POST", path, ["metadata": ["name": "a"]]).status == 409)
        #expect(try await fixture.send("POST", path, ["metadata": ["name": "not A name"]]).status == 422)
        #expect(try await fixture.send("POST", path + "?dryRun=All", ["metadata": ["name": "b"]]).status == 201)
        #expect(try await used(fixture) == ["configmaps": "1"])
        for name in ["b", "c"] { _ = try await fixture.send("POST", path, ["metadata": ["name": JSON(name)]]) }
        // Nothing is charged by a dry run, but it is refused like any other.
        let dry = try await fixture.send("POST", path + "?dryRun=All", ["metadata": ["name": "d"]])
        #expect(dry.status == 403)
    }

    @Test func servicesAreChargedTheDifferenceOfAnUpdate() async throws {
        let fixture = try await Fixture()
        try await quota(fixture, ["services": "5", "services.nodeports": "2", "services.loadbalancers": "0"])
        let path = "\(base)/services"
        let service: JSON = ["metadata": ["name": "s"], "spec": ["ports": [["port": 80]]]]
        #expect(try await fixture.send("POST", path, service).status == 201)
        // Besides the one that leads to the API server.
        #expect(
            try await used(fixture) == ["services": "2", "services.nodeports": "0", "services.loadbalancers": "0"])
        let merge = "application/merge-patch+json"
        let opened = try await fixture.send("PATCH", path + "/s", ["spec": ["type": "NodePort"]], type: merge)
        #expect(opened.status == 200)
        #expect(try await used(fixture)?["services.nodeports"] == "1")
        let balanced = try await fixture.send("PATCH", path + "/s", ["spec": ["type": "LoadBalancer"]], type: merge)
        #expect(
            balanced.json["message"].string == "services \"s\" is forbidden: exceeded quota: q, requested: "
                + "services.loadbalancers=1, used: services.loadbalancers=0, limited: services.loadbalancers=0")
        #expect(try await used(fixture)?["services.nodeports"] == "1")
    }

    @Test func claimsCountByClassAndSize() async throws {
        let fixture = try await Fixture()
        let class_ = "fast.storageclass.storage.k8s.io/"
        try await quota(
            fixture, ["requests.storage": "10Gi", class_ + "requests.storage": "2Gi", "persistentvolumeclaims": "9"])
        func claim(_ name: String, _ size: String, _ storageClass: String) async throws -> Fixture.Answer {
            try await fixture.send(
                "POST", "\(base)/persistentvolumeclaims",
                [
                    "metadata": ["name": JSON(name)],
                    "spec": [
                        "accessModes": ["ReadWriteOnce"], "storageClassName": JSON(storageClass),
                        "resources": ["requests": ["storage": JSON(size)]],
                    ],
                ])
        }
        #expect(try await claim("a", "2Gi", "fast").status == 201)
        #expect(try await claim("b", "1Gi", "fast").status == 403)
        #expect(try await claim("c", "4Gi", "slow").status == 201)
        #expect(
            try await used(fixture)
                == [
                    "requests.storage": "6Gi", .init(class_ + "requests.storage"): "2Gi", "persistentvolumeclaims": "2",
                ])
    }

    @Test func scopesChooseThePods() async throws {
        let fixture = try await Fixture()
        try await quota(fixture, ["pods": "1"], ["scopes": ["BestEffort"]])
        #expect(try await fixture.send("POST", "\(base)/pods", body("a")).status == 201)
        #expect(try await fixture.send("POST", "\(base)/pods", body("b")).status == 403)
        let better = try await fixture.send("POST", "\(base)/pods", body("c", ["requests": ["cpu": "1m"]]))
        #expect(better.status == 201)
        #expect(try await used(fixture) == ["pods": "1"])
    }

    @Test func scopeSelectorsChooseByPriorityClass() async throws {
        let fixture = try await Fixture()
        try await quota(
            fixture, ["pods": "0"],
            [
                "scopeSelector": [
                    "matchExpressions": [
                        ["scopeName": "PriorityClass", "operator": "In", "values": ["system-node-critical"]]
                    ]
                ]
            ])
        #expect(try await fixture.send("POST", "\(base)/pods", body("a")).status == 201)
        let important = body("b", [:], ["priorityClassName": "system-node-critical"])
        #expect(try await fixture.send("POST", "\(base)/pods", important).status == 403)
    }

    @Test func anyKindCanBeCounted() async throws {
        let fixture = try await Fixture()
        try await quota(fixture, ["count/deployments.apps": "0", "requests.example.com/gpu": "1"])
        let deployment = try await fixture.send(
            "POST", "/apis/apps/v1/namespaces/default/deployments",
            [
                "metadata": ["name": "d"],
                "spec": [
                    "selector": ["matchLabels": ["a": "b"]],
                    "template": [
                        "metadata": ["labels": ["a": "b"]], "spec": ["containers": [["name": "c", "image": "x"]]],
                    ],
                ],
            ])
        #expect(
            deployment.json["message"].string == "deployments.apps \"d\" is forbidden: exceeded quota: q, requested: "
                + "count/deployments.apps=1, used: count/deployments.apps=0, limited: count/deployments.apps=0")
        let greedy = try await fixture.send(
            "POST", "\(base)/pods", body("g", ["limits": ["example.com/gpu": "2"]]))
        #expect(greedy.status == 403)
    }

    @Test func quotasThatMakeNoSenseAreRefused() async throws {
        let fixture = try await Fixture()
        let answer = try await fixture.send(
            "POST", "\(base)/resourcequotas",
            [
                "metadata": ["name": "q"],
                "spec": [
                    "hard": ["bananas": "1", "pods": "1500m", "services": "-1"],
                    "scopes": ["BestEffort", "NotBestEffort", "Often"],
                ],
            ])
        #expect(answer.status == 422)
        let message = answer.json["message"].string ?? ""
        #expect(
            message.contains("spec.hard[bananas]: Invalid value: \"bananas\": must be a standard resource for quota"))
        #expect(message.contains("spec.hard[pods]: Invalid value: \"1500m\": must be an integer"))
        #expect(message.contains("spec.hard[services]: Invalid value: \"-1\": must be greater than or equal to 0"))
        #expect(message.contains("conflicting scopes"))
        #expect(message.contains("unsupported scope"))
    }
}
