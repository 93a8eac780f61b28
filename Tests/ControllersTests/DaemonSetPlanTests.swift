// SPDX-License-Identifier: Apache-2.0

import Controllers
import KubeObjects
import Testing
import Values

@Suite struct DaemonSetPlanTests {
    private let now = Timestamp(seconds: 1_800_000_000)

    private func set(_ spec: JSON = [:]) -> KubeObject {
        var set = KubeObject(.daemonSets, kind: "DaemonSet", name: "agent", namespace: "kube-system")
        set.metadata["uid"] = "uid-agent"
        var spec = spec
        if spec["template"] == nil {
            spec["template"] = ["metadata": ["labels": ["app": "agent"]], "spec": ["containers": [["name": "c"]]]]
        }
        set["spec"] = spec
        return set
    }

    private func pod(_ name: String, node: String, hash: String = "h1", ready: Bool = true) -> KubeObject {
        var pod = KubeObject(
            .pods, kind: "Pod", name: name, namespace: "kube-system", labels: ["controller-revision-hash": hash])
        pod.metadata["uid"] = JSON(name)
        pod["spec"] = ["nodeName": JSON(node)]
        pod["status"] = [
            "phase": "Running", "conditions": [["type": "Ready", "status": JSON(ready ? "True" : "False")]],
        ]
        return pod
    }

    private func plan(_ set: KubeObject, _ nodes: [KubeObject], _ pods: [KubeObject]) -> DaemonSetPlan {
        DaemonSetPlan(set: set, nodes: nodes, pods: pods, hash: "h1", now: now)
    }

    @Test func everyEligibleNodeGetsOne() {
        let nodes = [
            SchedulingTests.node("a"),
            SchedulingTests.node(
                "new",
                taints: [
                    ["key": "node.kubernetes.io/not-ready", "effect": "NoExecute"],
                    ["key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"],
                ], unschedulable: true),
            SchedulingTests.node("special", taints: [["key": "gpu", "effect": "NoSchedule"]]),
        ]
        let plan = plan(set(), nodes, [])
        // not-ready is borne with NoExecute, as every pod of a DaemonSet bears it.
        #expect(plan.create == ["a", "new"])
        #expect(plan.status.desired == 2)
    }

    @Test func thePodIsMadeForItsNode() {
        let pod = DaemonSetPlan.pod(of: set(), node: "a", hash: "h1")
        #expect(DaemonSetPlan.target(of: pod) == "a")
        #expect(pod.labels["controller-revision-hash"] == "h1")
        #expect(pod["spec"]["tolerations"].array?.count == 6)
    }

    @Test func podsOfNodesThatNoLongerMatchGo() {
        var spec: JSON = [:]
        spec["template"] = ["spec": ["nodeSelector": ["disk": "ssd"], "containers": [["name": "c"]]]]
        let plan = plan(
            set(spec), [SchedulingTests.node("a", labels: ["disk": "ssd"]), SchedulingTests.node("b")],
            [pod("pa", node: "a"), pod("pb", node: "b")])
        #expect(plan.delete.map(\.name) == ["pb"])
        #expect(plan.status.misscheduled == 1)
        #expect(plan.status.ready == 1)
    }

    @Test func secondsPodsGo() {
        let plan = plan(
            set(), [SchedulingTests.node("a")], [pod("one", node: "a", ready: false), pod("two", node: "a")])
        #expect(plan.delete.map(\.name) == ["one"])
    }

    @Test func anUpdateTakesOneNodeAtATime() {
        let nodes = ["a", "b", "c"].map { SchedulingTests.node($0) }
        let old = ["a", "b", "c"].map { pod("p\($0)", node: $0, hash: "h0") }
        #expect(plan(set(), nodes, old).delete.map(\.name) == ["pa"])
        // One is being replaced: the others wait.
        #expect(plan(set(), nodes, Array(old.dropFirst())).delete.isEmpty)
        // Pods that serve nobody need not wait.
        let broken = [pod("pa", node: "a", hash: "h0", ready: false), old[1], old[2]]
        #expect(plan(set(), nodes, broken).delete.map(\.name) == ["pa"])
        let half = set(["updateStrategy": ["rollingUpdate": ["maxUnavailable": "50%"]]])
        #expect(plan(half, nodes, old).delete.count == 2)
        let manual = set(["updateStrategy": ["type": "OnDelete"]])
        #expect(plan(manual, nodes, old).delete.isEmpty)
    }

    @Test func failedPodsAreReplaced() {
        var failed = pod("p", node: "a")
        failed["status"]["phase"] = "Failed"
        let plan = plan(set(), [SchedulingTests.node("a")], [failed])
        #expect(plan.failed.map(\.name) == ["p"])
        #expect(plan.create.isEmpty)
    }
}
