// SPDX-License-Identifier: Apache-2.0

import Controllers
import KubeObjects
import Testing
import Values

@Suite struct SchedulingTests {
    static func node(
        _ name: String, zone: String = "z1", cpu: String = "4", memory: String = "8Gi", pods: String = "110",
        taints: [JSON] = [], unschedulable: Bool = false, labels: [String: String] = [:]
    ) -> KubeObject {
        var all = labels
        all["kubernetes.io/hostname"] = name
        all["topology.kubernetes.io/zone"] = zone
        var node = KubeObject(.nodes, kind: "Node", name: name, labels: all)
        node.metadata["uid"] = JSON("uid-\(name)")
        if !taints.isEmpty { node["spec"]["taints"] = .array(taints) }
        if unschedulable { node["spec"]["unschedulable"] = true }
        node["status"] = ["allocatable": ["cpu": JSON(cpu), "memory": JSON(memory), "pods": JSON(pods)]]
        return node
    }

    static func pod(
        _ name: String, cpu: String? = nil, owner: String? = nil, labels: [String: String] = [:], spec: JSON = [:]
    ) -> KubeObject {
        var pod = KubeObject(.pods, kind: "Pod", name: name, namespace: "default", labels: labels)
        pod.metadata["uid"] = JSON("uid-\(name)")
        if let owner {
            pod.metadata["ownerReferences"] = [
                ["apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": JSON(owner), "controller": true]
            ]
        }
        var spec = spec
        var container: JSON = ["name": "c", "image": "i"]
        if let cpu { container["resources"]["requests"] = ["cpu": JSON(cpu)] }
        if spec["containers"] == nil { spec["containers"] = [container] }
        pod["spec"] = spec
        return pod
    }

    private func state(_ nodes: [KubeObject]) -> SchedulingState {
        var state = SchedulingState()
        for node in nodes { _ = state.nodeChanged(node) }
        return state
    }

    private func place(_ pod: KubeObject, _ state: inout SchedulingState) -> String {
        _ = state.podChanged(pod)
        switch state.next() {
        case .bind(_, let node): return node
        case .reject(_, let message): return message
        case .preempt(_, let preemption, _): return "preempting on \(preemption.node)"
        case nil: return "nothing to do"
        }
    }

    @Test func twoReplicasOnTwoNodesLandOneOnEach() {
        var state = state([Self.node("a"), Self.node("b", zone: "z2")])
        _ = state.podChanged(Self.pod("dns", cpu: "500m"))
        _ = state.next()
        let places = [
            place(Self.pod("w1", owner: "rs1"), &state), place(Self.pod("w2", owner: "rs1"), &state),
        ]
        #expect(Set(places) == ["a", "b"])
    }

    @Test func everyReasonIsCountedAndSorted() {
        let taint: JSON = ["key": "dedicated", "value": "db", "effect": "NoSchedule"]
        var state = state([
            Self.node("a", cpu: "1"), Self.node("b", taints: [taint]), Self.node("c", unschedulable: true),
            Self.node("d", cpu: "1"),
        ])
        _ = state.nodeChanged(Self.node("e", pods: "0"))
        let expected =
            "0/5 nodes are available: 1 Too many pods, 1 node(s) had untolerated taint(s), "
            + "1 node(s) were unschedulable, 2 Insufficient cpu. preemption: 0/5 nodes are available: "
            + "1 No preemption victims found for incoming pod, 4 Preemption is not helpful for scheduling."
        #expect(place(Self.pod("big", cpu: "2"), &state) == expected)
    }

    @Test func noNodesIsSaidSo() {
        var state = SchedulingState()
        #expect(place(Self.pod("p"), &state) == "no nodes available to schedule pods")
    }

    @Test func nodeSelectorAndMatchFields() {
        var state = state([Self.node("a", labels: ["disk": "ssd"]), Self.node("b")])
        #expect(place(Self.pod("p", spec: ["nodeSelector": ["disk": "ssd"]]), &state) == "a")
        let terms: JSON = [
            "nodeAffinity": [
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    "nodeSelectorTerms": [
                        ["matchFields": [["key": "metadata.name", "operator": "In", "values": ["b"]]]]
                    ]
                ]
            ]
        ]
        #expect(place(Self.pod("q", spec: ["affinity": terms]), &state) == "b")
        let nowhere = place(Self.pod("r", spec: ["nodeSelector": ["disk": "tape"]]), &state)
        #expect(nowhere.hasPrefix("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."))
    }

    @Test(
        arguments: [
            ("In", ["5"], "5", true), ("In", ["4"], "5", false), ("NotIn", ["5"], nil, true), ("Exists", [], "x", true),
            ("Exists", [], nil, false), ("DoesNotExist", [], nil, true), ("Gt", ["4"], "5", true),
            ("Gt", ["5"], "5", false),
            ("Lt", ["6"], "5", true), ("Lt", ["6"], "many", false), ("Gt", ["1"], nil, false),
        ] as [(String, [String], String?, Bool)])
    func nodeRequirements(operation: String, values: [String], value: String?, holds: Bool) {
        let requirement = NodeRequirement(["key": "k", "operator": JSON(operation), "values": JSON(values)])
        #expect(requirement.holds(for: value) == holds)
    }

    @Test func hostPortsConflict() {
        let ports: JSON = ["containers": [["name": "c", "ports": [["containerPort": 80, "hostPort": 8080]]]]]
        var state = state([Self.node("a")])
        #expect(place(Self.pod("one", spec: ports), &state) == "a")
        #expect(place(Self.pod("two", spec: ports), &state).contains("didn't have free ports"))
    }

    @Test func antiAffinityHoldsBothWays() {
        let apart: JSON = [
            "affinity": [
                "podAntiAffinity": [
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        ["labelSelector": ["matchLabels": ["app": "db"]], "topologyKey": "kubernetes.io/hostname"]
                    ]
                ]
            ]
        ]
        var state = state([Self.node("a"), Self.node("b")])
        let first = place(Self.pod("one", labels: ["app": "db"], spec: apart), &state)
        let second = place(Self.pod("two", labels: ["app": "db"], spec: apart), &state)
        #expect(Set([first, second]) == ["a", "b"])
        #expect(
            place(Self.pod("three", labels: ["app": "db"], spec: apart), &state)
                .contains("2 node(s) didn't match pod anti-affinity rules"))
        #expect(
            place(Self.pod("four", labels: ["app": "db"]), &state)
                .contains("2 node(s) didn't satisfy existing pods anti-affinity rules"))
    }

    @Test func theFirstOfAGroupThatWantsToBeTogetherFindsAPlace() {
        let together: JSON = [
            "affinity": [
                "podAffinity": [
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        ["labelSelector": ["matchLabels": ["app": "web"]], "topologyKey": "kubernetes.io/hostname"]
                    ]
                ]
            ]
        ]
        var state = state([Self.node("a"), Self.node("b")])
        let first = place(Self.pod("one", labels: ["app": "web"], spec: together), &state)
        #expect(["a", "b"].contains(first))
        #expect(place(Self.pod("two", labels: ["app": "web"], spec: together), &state) == first)
        #expect(place(Self.pod("other", spec: together), &state) == first)
    }

    @Test func hardSpreadKeepsTheSkew() {
        let spread: JSON = [
            "topologySpreadConstraints": [
                [
                    "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": ["matchLabels": ["app": "web"]],
                ]
            ]
        ]
        var state = state([
            Self.node("a", zone: "z1"), Self.node("b", zone: "z2", taints: [["key": "k", "effect": "NoSchedule"]]),
        ])
        #expect(place(Self.pod("one", labels: ["app": "web"], spec: spread), &state) == "a")
        #expect(
            place(Self.pod("two", labels: ["app": "web"], spec: spread), &state)
                .contains("1 node(s) didn't match pod topology spread constraints"))
    }

    @Test func resourcesComeBackWhenAPodGoesAndWakeWhoWaits() {
        var state = state([Self.node("a", cpu: "1")])
        let first = Self.pod("one", cpu: "800m")
        #expect(place(first, &state) == "a")
        #expect(place(Self.pod("two", cpu: "800m"), &state).contains("1 Insufficient cpu"))
        #expect(!state.hasWork)
        let outcome1 = state.podLeft(first)
        #expect(outcome1)
        guard case .bind(let pod, "a") = state.next() else {
            Issue.record("two was not retried")
            return
        }
        #expect(pod.pod.name == "two")
    }

    @Test func ourOwnStatusDoesNotWakeAPodThatFitsNowhere() {
        var state = SchedulingState()
        var pod = Self.pod("p")
        _ = place(pod, &state)
        pod["status"]["conditions"] = [["type": "PodScheduled", "status": "False"]]
        let outcome2 = state.podChanged(pod)
        #expect(!outcome2)
        let outcome3 = state.nodeChanged(Self.node("a"))
        #expect(outcome3)
        #expect(place(pod, &state) == "a")
    }

    @Test func heartbeatsWakeNobody() {
        var state = state([Self.node("a", cpu: "1")])
        _ = place(Self.pod("p", cpu: "2"), &state)
        var node = Self.node("a", cpu: "1")
        node["status"]["conditions"] = [["type": "Ready", "lastHeartbeatTime": "2026-01-01T00:00:00Z"]]
        let outcome4 = state.nodeChanged(node)
        #expect(!outcome4)
        let outcome5 = state.nodeChanged(Self.node("a", cpu: "3"))
        #expect(outcome5)
    }

    @Test func gatedPodsWait() {
        var state = state([Self.node("a")])
        #expect(place(Self.pod("p", spec: ["schedulingGates": [["name": "g"]]]), &state) == "nothing to do")
    }

    @Test func aFailedBindingFreesThePlace() {
        var state = state([Self.node("a", cpu: "1")])
        let pod = Self.pod("one", cpu: "1")
        #expect(place(pod, &state) == "a")
        state.forget(PodInfo(pod))
        #expect(place(Self.pod("two", cpu: "1"), &state) == "a")
    }

    @Test func requestsAreThoseOfTheHungriestMoment() {
        let spec: JSON = [
            "containers": [["resources": ["requests": ["cpu": "1"]]], ["resources": ["requests": ["cpu": "500m"]]]],
            "initContainers": [
                ["restartPolicy": "Always", "resources": ["requests": ["cpu": "200m"]]],
                ["resources": ["requests": ["cpu": "2", "memory": "1Gi"]]],
            ],
            "overhead": ["cpu": "100m"],
        ]
        let requests = Resources.requested(by: spec)
        #expect(requests["cpu"] == 2300)
        #expect(requests["memory"] == 1 << 30)
    }

    @Test(
        arguments: [
            (["key": "k", "operator": "Exists"], ["key": "k", "value": "v", "effect": "NoSchedule"], true),
            (["key": "k", "value": "v"], ["key": "k", "value": "v", "effect": "NoExecute"], true),
            (["key": "k", "value": "w"], ["key": "k", "value": "v", "effect": "NoSchedule"], false),
            (["operator": "Exists"], ["key": "any", "effect": "NoExecute"], true),
            (["key": "k", "operator": "Exists", "effect": "NoSchedule"], ["key": "k", "effect": "NoExecute"], false),
        ] as [(JSON, JSON, Bool)])
    func tolerations(toleration: JSON, taint: JSON, tolerates: Bool) {
        #expect(Toleration(toleration).tolerates(Taint(taint)) == tolerates)
    }

    @Test func evictionTakesTheShortestToleration() {
        let taints = [Taint("a", effect: "NoExecute"), Taint("b", effect: "NoExecute")]
        let a = Toleration(["key": "a", "operator": "Exists", "tolerationSeconds": 300])
        let b = Toleration(["key": "b", "operator": "Exists", "tolerationSeconds": 20])
        #expect(Eviction.of([a, b], under: taints) == .after(20))
        #expect(Eviction.of([a], under: taints) == .now)
        #expect(Eviction.of([Toleration(["operator": "Exists"])], under: taints) == .never)
        #expect(Eviction.of([], under: [Taint("a", effect: "NoSchedule")]) == .never)
    }
}

@Suite struct PreemptionTests {
    private func pod(_ name: String, cpu: String, priority: Int) -> KubeObject {
        var pod = SchedulingTests.pod(name, cpu: cpu)
        pod["spec"]["priority"] = JSON(priority)
        return pod
    }

    private func decide(_ pod: KubeObject, _ state: inout SchedulingState) -> SchedulingState.Decision? {
        _ = state.podChanged(pod)
        return state.next()
    }

    @Test func theLeastImportantGoAndTheirPlaceIsKept() {
        var state = SchedulingState()
        _ = state.nodeChanged(SchedulingTests.node("a", cpu: "2"))
        _ = state.nodeChanged(SchedulingTests.node("b", cpu: "2"))
        var victim = pod("low", cpu: "2", priority: 10)
        victim["spec"]["nodeName"] = "a"
        var other = pod("middle", cpu: "2", priority: 50)
        other["spec"]["nodeName"] = "b"
        _ = state.podChanged(victim)
        _ = state.podChanged(other)

        guard case .preempt(_, let preemption, let message) = decide(pod("high", cpu: "2", priority: 100), &state)
        else {
            Issue.record("nobody is preempted")
            return
        }
        #expect(preemption.node == "a")
        #expect(preemption.victims.map(\.pod.name) == ["low"])
        #expect(message == "0/2 nodes are available: 2 Insufficient cpu.")

        // The freed place is not given to a less important pod that comes meanwhile.
        _ = state.podLeft(victim)
        _ = state.podChanged(pod("small", cpu: "1", priority: 0))
        guard case .bind(let first, "a") = state.next() else {
            Issue.record("the place was not taken")
            return
        }
        #expect(first.pod.name == "high")
        guard case .reject = state.next() else {
            Issue.record("there is no place for the small one")
            return
        }
    }

    @Test func onlyAsManyGoAsNecessary() {
        var state = SchedulingState()
        _ = state.nodeChanged(SchedulingTests.node("a", cpu: "3"))
        for (name, priority) in [("p1", 1), ("p2", 2), ("p3", 3)] {
            var pod = pod(name, cpu: "1", priority: priority)
            pod["spec"]["nodeName"] = "a"
            _ = state.podChanged(pod)
        }
        guard case .preempt(_, let preemption, _) = decide(pod("high", cpu: "2", priority: 9), &state) else {
            Issue.record("nobody is preempted")
            return
        }
        #expect(preemption.victims.map(\.pod.name) == ["p2", "p1"])
    }

    @Test func aPodThatMayNotPreemptSaysSo() {
        var state = SchedulingState()
        _ = state.nodeChanged(SchedulingTests.node("a", cpu: "1"))
        var low = pod("low", cpu: "1", priority: 0)
        low["spec"]["nodeName"] = "a"
        _ = state.podChanged(low)
        var modest = pod("modest", cpu: "1", priority: 9)
        modest["spec"]["preemptionPolicy"] = "Never"
        guard case .reject(_, let message) = decide(modest, &state) else {
            Issue.record("it was not rejected")
            return
        }
        #expect(
            message
                == "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."
        )
    }
}
