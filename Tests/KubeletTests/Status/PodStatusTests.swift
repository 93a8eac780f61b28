// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Kubelet
import Testing
import Values

@Suite("Pod status") struct PodStatusTests {
    static let now = Timestamp(seconds: 1_700_000_000)

    static func record(
        _ name: String, _ state: ContainerRecord.State, ready: Bool = false,
        last: Termination? = nil
    ) -> ContainerRecord {
        var record = ContainerRecord(name: name, image: "i", state: state)
        record.isReady = ready
        record.last = last
        return record
    }
    static func ended(_ code: Int) -> ContainerRecord.State {
        .terminated(Termination(exitCode: code, reason: code == 0 ? "Completed" : "Error"))
    }
    static let waiting = ContainerRecord.State.waiting(reason: "ContainerCreating", message: nil)
    static let crash = ContainerRecord.State.waiting(reason: "CrashLoopBackOff", message: "m")
    static let running = ContainerRecord.State.running(now)

    static func facts(_ states: [ContainerRecord.State], initial: [ContainerRecord.State] = [], crashed: Int? = nil)
        -> PodFacts
    {
        PodFacts(
            containers: states.enumerated().map { index, state in
                record(
                    "c\(index)", state, ready: state == running,
                    last: state == crash ? Termination(exitCode: crashed ?? 1, reason: "Error") : nil)
            }, initContainers: initial.enumerated().map { record("i\($0)", $1) }, hostIP: "192.168.49.2")
    }

    static func pod(_ policy: String, gates: Bool = false) throws -> PodView {
        try KubeletTests.pod(
            """
            {"metadata":{"name":"p","namespace":"n","uid":"u","generation":3},"spec":{"restartPolicy":"\(policy)",
             \(gates ? #""readinessGates":[{"conditionType":"g"}],"# : "")
             "initContainers":[{"name":"i0"}],"containers":[{"name":"c0"},{"name":"c1"}]}}
            """)
    }

    @Test(
        "phases",
        arguments: [
            ([waiting, waiting], [], "Always", "Pending"),
            ([running, waiting], [], "Always", "Pending"),
            ([running, running], [], "Always", "Running"),
            ([running, crash], [], "Always", "Running"),
            ([crash, crash], [], "Always", "Running"),
            ([ended(0), ended(0)], [], "Always", "Running"),
            ([ended(0), ended(0)], [], "OnFailure", "Succeeded"),
            ([ended(0), ended(1)], [], "OnFailure", "Running"),
            ([ended(0), ended(1)], [], "Never", "Failed"),
            ([ended(0), ended(0)], [], "Never", "Succeeded"),
            ([running, ended(1)], [], "Never", "Running"),
            ([waiting, waiting], [running], "Always", "Pending"),
            ([waiting, waiting], [ended(1)], "Never", "Failed"),
            ([waiting, waiting], [ended(1)], "Always", "Pending"),
            ([running, running], [ended(0)], "Always", "Running"),
        ] as [([ContainerRecord.State], [ContainerRecord.State], String, String)])
    func phases(states: [ContainerRecord.State], initial: [ContainerRecord.State], policy: String, expected: String)
        throws
    {
        #expect(PodStatus.phase(try Self.pod(policy), Self.facts(states, initial: initial)) == expected)
    }

    func condition(_ status: JSON, _ type: String) -> JSON? {
        status["conditions"].array?.first { $0["type"].string == type }
    }

    @Test("conditions name who is not ready")
    func conditions() throws {
        let pod = try Self.pod("Always")
        let status = PodStatus.compute(
            pod, Self.facts([Self.running, Self.waiting], initial: [Self.running]), now: Self.now)
        #expect(condition(status, "Ready")["message"].string == "containers with unready status: [c1]")
        #expect(condition(status, "Ready")["reason"].string == "ContainersNotReady")
        #expect(condition(status, "Initialized")["message"].string == "containers with incomplete status: [i0]")
        #expect(condition(status, "PodReadyToStartContainers")["status"].string == "False")
        #expect(condition(status, "PodScheduled")["status"].string == "True")
        #expect(status["qosClass"].string == "BestEffort")
        #expect(status["hostIPs"][0]["ip"].string == "192.168.49.2")
        #expect(status["podIP"] == nil)
    }

    @Test("a transition keeps its time while the status stays")
    func transitions() throws {
        let pod = try Self.pod("Always")
        let first = PodStatus.compute(
            pod, Self.facts([Self.running, Self.running], initial: [Self.ended(0)]), now: Self.now)
        let later = Self.now.adding(seconds: 60)
        let second = PodStatus.compute(
            pod, Self.facts([Self.running, Self.waiting], initial: [Self.ended(0)]),
            previous: first["conditions"].array, now: later)
        #expect(condition(second, "Ready")["lastTransitionTime"].string == later.description)
        #expect(condition(second, "Initialized")["lastTransitionTime"].string == Self.now.description)
    }

    @Test("readiness gates and completed pods")
    func gates() throws {
        let gated = try Self.pod("Always", gates: true)
        let status = PodStatus.compute(
            gated, Self.facts([Self.running, Self.running], initial: [Self.ended(0)]), now: Self.now)
        #expect(condition(status, "ContainersReady")["status"].string == "True")
        #expect(condition(status, "Ready")["reason"].string == "ReadinessGatesNotReady")
        let done = PodStatus.compute(
            try Self.pod("Never"), Self.facts([Self.ended(0), Self.ended(0)], initial: [Self.ended(0)]), now: Self.now)
        #expect(condition(done, "Ready")["reason"].string == "PodCompleted")
        #expect(condition(done, "Initialized")["status"].string == "True")
    }

    @Test("container statuses have all that strict clients require")
    func containerStatuses() throws {
        var record = Self.record(
            "c0", Self.running, ready: true,
            last: Termination(
                exitCode: 3, reason: "Error", startedAt: Self.now, finishedAt: Self.now, containerID: "abc"))
        record.restartCount = 2
        record.containerID = "def"
        record.imageID = "sha256:1"
        let facts = PodFacts(containers: [record], initContainers: [], hostIP: "")
        let status = PodStatus.compute(try Self.pod("Always"), facts, now: Self.now)["containerStatuses"][0]
        #expect(status["containerID"].string == "catbird://def")
        #expect(status["lastState"]["terminated"]["exitCode"].int == 3)
        #expect(status["lastState"]["terminated"]["containerID"].string == "catbird://abc")
        for field in ["name", "image", "imageID", "ready", "restartCount"] { #expect(status[field] != nil) }
    }

    @Test("ephemeral containers are told of, and do not count")
    func ephemeralContainers() throws {
        let pod = try KubeletTests.pod(
            """
            {"metadata":{"name":"p","namespace":"n","uid":"u"},"spec":{"restartPolicy":"Never","containers":[{"name":"c0"}],
             "ephemeralContainers":[{"name":"e","image":"i","targetContainerName":"c0"}]}}
            """)
        var facts = PodFacts(
            containers: [Self.record("c0", Self.running, ready: true)], initContainers: [], hostIP: "")
        facts.ephemeralContainers = [Self.record("e", Self.ended(1))]
        let status = PodStatus.compute(pod, facts, now: Self.now)
        #expect(status["phase"].string == "Running")
        #expect(condition(status, "Ready")["status"].string == "True")
        let told = status["ephemeralContainerStatuses"][0]
        #expect(told["state"]["terminated"]["exitCode"].int == 1)
        #expect(told["ready"].bool == false && told["started"] == nil)
        #expect(pod.ephemeralContainers.first?.fieldPath == "spec.ephemeralContainers{e}")
        #expect(pod.ephemeralContainers.first?.target == "c0")
        #expect(!pod.allContainers.contains { $0.name == "e" })
    }

    @Test("a patch carries what changed")
    func difference() {
        let old: JSON = ["phase": "Pending", "podIP": "1"]
        #expect(PodStatus.difference(["phase": "Running", "podIP": "1"], from: old) == ["phase": "Running"])
        #expect(PodStatus.difference(old, from: old) == nil)
        #expect(PodStatus.difference(["reason": .null], from: old) == nil)
        // By its merge key, a new address would join the old one instead of taking its place.
        let moved = PodStatus.difference(["podIPs": [["ip": "2"]]], from: ["podIPs": [["ip": "1"]]])
        #expect(moved == ["podIPs": [["$patch": "replace"], ["ip": "2"]]])
    }

    @Test("a node's conditions")
    func node() {
        let away = NodeConditions.compute(networkMessage: "no conflist", previous: [], now: Self.now)
        #expect(
            away.last["message"].string
                == "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:no conflist"
        )
        let ready = NodeConditions.compute(networkMessage: nil, previous: away, now: Self.now.adding(seconds: 5))
        #expect(ready.last["reason"].string == "KubeletReady")
        #expect(ready.first["lastTransitionTime"].string == Self.now.description)
    }
}
