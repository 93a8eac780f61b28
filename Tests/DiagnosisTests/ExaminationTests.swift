// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Diagnosis
import Testing
import Values

@Suite struct ExaminationTests {
    private func pod(_ name: String, labels: [String: String] = [:], node: String? = nil, status: JSON = [:])
        -> KubeObject
    {
        var pod = KubeObject(.pods, kind: "Pod", name: name, namespace: "default", labels: labels)
        pod.json["metadata"]["uid"] = JSON("uid-\(name)")
        if let node { pod["spec"]["nodeName"] = JSON(node) }
        pod["status"] = status
        return pod
    }

    private func node(_ name: String, labels: [String: String], ready: Bool = true) -> KubeObject {
        var node = KubeObject(.nodes, kind: "Node", name: name, labels: labels)
        node["status"] = [
            "conditions": [
                [
                    "type": "Ready", "status": ready ? "True" : "Unknown",
                    "message": "Kubelet stopped posting node status.",
                ]
            ]
        ]
        return node
    }

    private func pool(_ name: String, _ cidr: String, _ selector: String) -> KubeObject {
        var pool = KubeObject(.ipPools, kind: "IPPool", name: name)
        pool["spec"] = ["cidr": JSON(cidr), "nodeSelector": JSON(selector)]
        return pool
    }

    private func event(_ pod: KubeObject, _ reason: String, _ message: String) -> KubeObject {
        KubeObject([
            "reason": JSON(reason), "message": JSON(message), "lastTimestamp": "2026-11-23T00:00:00Z",
            "involvedObject": ["uid": JSON(pod.uid)],
        ])
    }

    @Test func aStoppedNodeIsKnownBeforeTheAPINotices() throws {
        let cluster = ClusterSnapshot(
            [
                .nodes: [node("lab", labels: [:]), node("lab-m02", labels: [:])],
                .ipPools: [pool("default", "10.244.0.0/16", "all()")],
            ], stoppedNodes: ["lab-m02"])
        let findings = Examination.findings(cluster)
        let only = try #require(findings.first)
        #expect(findings.count == 1)
        #expect(only.object == "node lab-m02")
        #expect(only.problem == "is stopped")
        #expect(only.nextStep == "catbird node start lab-m02")
    }

    private static let statefulSets = GroupVersionResource("apps", "v1", "statefulsets")

    @Test func whatNothingActsUponIsNamedFromTheTable() {
        var service = KubeObject(.services, kind: "Service", name: "web", namespace: "default")
        service["spec"] = ["type": "ExternalName", "externalName": "x.example", "trafficDistribution": "PreferClose"]
        let set = KubeObject(Self.statefulSets, kind: "StatefulSet", name: "db", namespace: "default")
        let findings = Examination.findings(ClusterSnapshot([.services: [service], Self.statefulSets: [set]]))
            .filter { $0.reason == "NotActedUpon" }
        #expect(findings.map(\.object).sorted() == ["service default/web", "statefulset default/db"])
        for finding in findings {
            let facts = Unheeded.facts(finding.object.hasPrefix("service") ? service : set)
            #expect(facts.contains { finding.cause.hasSuffix($0.message) }, "\(finding)")
        }
    }

    @Test func aHealthyClusterHasNoFindings() {
        let ready: JSON = ["podIP": "1.2.3.4", "conditions": [["type": "Ready", "status": "True"]]]
        let cluster = ClusterSnapshot([
            .pods: [pod("a", labels: ["app": "x"], node: "n", status: ready)],
            .nodes: [node("n", labels: ["zone": "east"])], .ipPools: [pool("p", "10.0.0.0/16", "all()")],
        ])
        #expect(Examination.findings(cluster).isEmpty)
    }

    @Test func namesTheNearestLabel() {
        var service = KubeObject(.services, kind: "Service", name: "web", namespace: "default")
        service["spec"]["selector"] = ["app": "lab4app"]
        let cluster = ClusterSnapshot([
            .pods: [pod("a", labels: ["app": "lab4"]), pod("b", labels: ["app": "lab4"])], .services: [service],
        ])
        let finding = Examination.findings(cluster).first { $0.object == "service default/web" }
        #expect(finding?.cause == "nearest to app=lab4app is app=lab4, which 2 pods have")
        #expect(finding?.nextStep.contains(#"{"spec":{"selector":{"app":"lab4"}}}"#) == true)
    }

    @Test func namesPoolsAndNodesThatDoNotMeet() {
        let cluster = ClusterSnapshot([
            .nodes: [node("n", labels: ["zone": "north"])], .ipPools: [pool("east", "10.0.0.0/16", "zone == \"east\"")],
        ])
        let findings = Examination.findings(cluster)
        #expect(findings.map(\.object) == ["ippool east", "node n"])
        #expect(findings.first?.cause.contains("n has zone=north") == true)
        #expect(findings.last?.cause.contains("zone is \"north\"") == true)
    }

    @Test func tellsImagesAndAddressesApart() {
        let starved = pod("starved", node: "n")
        let waiting = pod(
            "waiting", node: "n",
            status: [
                "podIP": "1.2.3.4",
                "containerStatuses": [
                    [
                        "name": "c", "image": "reg.test/x",
                        "state": ["waiting": ["reason": "ImagePullBackOff", "message": "Back-off"]],
                    ]
                ],
            ])
        let cluster = ClusterSnapshot([
            .pods: [starved, waiting], .nodes: [node("n", labels: [:])], .ipPools: [pool("p", "10.0.0.0/16", "all()")],
            .events: [
                event(starved, "FailedCreatePodSandBox", "no address: pool p is full"),
                event(waiting, "Failed", "Failed to pull image \"reg.test/x\": no route to the registry reg.test"),
            ],
        ])
        let findings = Examination.findings(cluster)
        #expect(findings.contains { $0.object == "pod default/starved" && $0.cause.contains("pool p is full") })
        #expect(
            findings.contains {
                $0.object == "pod default/waiting, container c" && $0.cause.contains("no route to the registry")
            })
    }

    @Test(arguments: [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "abc", 0), ("app=lab4app", "app=lab4", 3)])
    func distances(left: String, right: String, expected: Int) {
        #expect(NearestLabels.distance(left, right) == expected)
        #expect(NearestLabels.distance(right, left) == expected)
    }
}
