// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Diagnosis
import Testing
import Values

/// Why a pod is not Ready, by what its status and its events say.
@Suite struct PodJudgementTests {
    struct Row: Sendable {
        let pod: KubeObject
        var events: [(reason: String, message: String)] = []
        var words: String?
        let reason: String
        let cause: String
        let next: String
    }

    private static func waiting(_ reason: String, _ message: String? = nil) -> JSON {
        var state: JSON = ["reason": JSON(reason)]
        if let message { state["message"] = JSON(message) }
        return ["waiting": state]
    }

    static let rows: [Row] = [
        Row(
            pod: Sample.pod(waiting("CreateContainerConfigError", "configmap \"a\" not found")),
            reason: "MissingConfigMap", cause: "configmap \"a\" not found",
            next: "kubectl create configmap a -n default --from-literal=KEY=VALUE"),
        Row(
            pod: Sample.pod(waiting("CreateContainerConfigError", "secret \"a\" not found")), reason: "MissingSecret",
            cause: "secret \"a\" not found",
            next: "kubectl create secret generic a -n default --from-literal=KEY=VALUE"),
        Row(
            pod: Sample.pod(waiting("CreateContainerConfigError", "couldn't find key pw in Secret default/login")),
            reason: "MissingKey", cause: "couldn't find key pw in Secret default/login",
            next: "kubectl patch secret login -n default -p '{\"stringData\":{\"pw\":\"VALUE\"}}'"),
        Row(
            pod: Sample.pod(waiting("CreateContainerConfigError", "container has runAsNonRoot")),
            reason: "ContainerConfig", cause: "container has runAsNonRoot",
            next: "change container c in the manifest, then kubectl replace --force -f FILE"),
        Row(
            pod: Sample.pod(waiting("RunContainerError", "no such file")), reason: "ContainerCannotStart",
            cause: "no such file",
            next: "change the command of container c in the manifest, then kubectl replace --force -f FILE"),
        Row(
            pod: Sample.pod(waiting("ImagePullBackOff", "Back-off pulling image")),
            events: [("Failed", "Failed to pull image \"shop:v1\": no route"), ("Failed", "Error: ErrImagePull")],
            reason: "ImageUnavailable", cause: "Failed to pull image \"shop:v1\": no route",
            next: "catbird image pull shop:v1, or catbird image load ARCHIVE.tar"),
        Row(
            pod: Sample.pod(waiting("InvalidImageName", "invalid reference")), reason: "ImageUnavailable",
            cause: "invalid reference",
            next: "change the image shop:v1 in the manifest, then kubectl replace --force -f FILE"),
        Row(
            pod: Sample.pod(
                waiting("CrashLoopBackOff"),
                last: ["exitCode": 3, "reason": "Error", "startedAt": "2026-11-30T11:59:00Z"],
                restarts: 2), words: "no database", reason: "CrashLoop",
            cause: "it ended with 3 (Error); its last lines: no database",
            next: "kubectl logs p -n default -c c --previous"),
        Row(
            pod: Sample.pod(waiting("CrashLoopBackOff"), last: ["exitCode": 1, "reason": "Error"], restarts: 1),
            words: "",
            reason: "CrashLoop", cause: "it ended with 1 (Error); it wrote nothing",
            next: "kubectl logs p -n default -c c --previous"),
        Row(
            pod: Sample.pod(
                waiting("CrashLoopBackOff"), last: ["exitCode": 137, "reason": "OOMKilled"], restarts: 1,
                container: ["name": "c", "resources": ["limits": ["memory": "6Mi"]]]),
            reason: "OutOfMemory", cause: "it took more than 6Mi",
            next: "change resources.limits.memory of container c in the manifest, then kubectl replace --force "
                + "-f FILE"),
        Row(
            pod: Sample.pod(
                waiting("CrashLoopBackOff"),
                last: ["exitCode": 143, "reason": "Error", "startedAt": "2026-11-30T11:59:59Z"], restarts: 1,
                container: ["name": "c", "livenessProbe": ["exec": ["command": ["test", "-f", "/ok"]]]]),
            events: [("Unhealthy", "Liveness probe failed: nothing there")], reason: "LivenessProbe",
            cause: "test -f /ok: failed: nothing there", next: "kubectl logs p -n default -c c --previous"),
        Row(
            // What was answered in an earlier life of the container is not why it ended now.
            pod: Sample.pod(
                waiting("CrashLoopBackOff"),
                last: ["exitCode": 2, "reason": "Error", "startedAt": "2026-11-30T12:00:05Z"], restarts: 1,
                container: ["name": "c", "livenessProbe": ["exec": ["command": ["true"]]]]),
            events: [("Unhealthy", "Liveness probe failed: nothing there")], reason: "CrashLoop",
            cause: "it ended with 2 (Error)", next: "kubectl logs p -n default -c c --previous"),
        Row(
            pod: Sample.pod(
                ["running": [:]], container: ["name": "c", "readinessProbe": ["httpGet": ["port": "http"]]],
                more: ["started": true]),
            events: [("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 500")],
            reason: "ReadinessProbe", cause: "GET :http/ every 10 s: failed: HTTP probe failed with statuscode: 500",
            next: "kubectl logs p -n default -c c"),
        Row(
            pod: Sample.pod(
                ["running": [:]],
                container: ["name": "c", "startupProbe": ["tcpSocket": ["port": 81]], "readinessProbe": [:]],
                more: ["started": false]), reason: "StartupProbe",
            cause: "a connection to port 81: it has not answered yet", next: "kubectl logs p -n default -c c"),
        Row(
            pod: Sample.pod(waiting("ContainerCreating")),
            events: [("FailedMount", "MountVolume.SetUp failed for volume \"v\" : secret \"tls\" not found")],
            reason: "FailedMount", cause: "MountVolume.SetUp failed for volume \"v\" : secret \"tls\" not found",
            next: "kubectl create secret generic tls -n default --from-literal=KEY=VALUE"),
        Row(
            pod: Sample.pod(waiting("ContainerCreating")), events: [("FailedCreatePodSandBox", "pool all is full")],
            reason: "NoAddress", cause: "pool all is full",
            next: "catbird calicoctl get ippools -o wide; kubectl get nodes --show-labels"),
        Row(
            pod: Sample.pod(waiting("ContainerCreating")), reason: "Starting", cause: "waiting: c (ContainerCreating)",
            next: "kubectl wait --for=condition=Ready pod/p -n default --timeout=60s"),
        Row(
            pod: Sample.pod("p", status: ["phase": "Failed", "reason": "Evicted", "message": "The node was low"]),
            reason: "Evicted", cause: "Evicted; The node was low", next: "kubectl delete pod p -n default"),
        Row(
            pod: Sample.pod(
                "p",
                status: [
                    "phase": "Failed",
                    "containerStatuses": [["name": "c", "state": ["terminated": ["exitCode": 4, "reason": "Error"]]]],
                ]), words: "no", reason: "PodFailed", cause: "container c ended with 4 (Error); its last lines: no",
            next: "kubectl logs p -n default --all-containers"),
        Row(
            pod: Sample.pod("p", node: "gone"), reason: "NodeGone", cause: "its node gone is not registered any more",
            next: "kubectl delete pod p -n default"),
        Row(
            pod: Sample.pod(
                "p",
                status: [
                    "initContainerStatuses": [
                        ["name": "i", "restartCount": 0, "started": true, "state": ["running": ["startedAt": "T"]]]
                    ],
                    "containerStatuses": [["name": "c", "state": waiting("PodInitializing")]],
                ]), reason: "InitContainerRuns", cause: "it runs since T", next: "kubectl logs p -n default -c i"),
    ]

    @Test(arguments: rows.indices) func saysWhyAPodIsNotReady(place: Int) throws {
        let row = Self.rows[place]
        var cluster = Sample.cluster([
            .pods: [row.pod], .events: row.events.map { Sample.event(of: row.pod, $0.reason, $0.message) },
        ])
        cluster.lastWords = row.words.map { [ContainerKey(row.pod.key, "c"): $0] } ?? [:]
        let findings = Examination.findings(cluster)
        let finding = try #require(findings.first)
        #expect(findings.count == 1)
        #expect(finding.reason == row.reason)
        #expect(finding.cause == row.cause)
        #expect(finding.nextStep == row.next)
        #expect(finding.object.hasPrefix("pod default/p"))
    }

    @Test func podsThatAreReadyOrDoneAreWell() {
        let cluster = Sample.cluster([
            .pods: [Sample.pod("a", isReady: true), Sample.pod("b", status: ["phase": "Succeeded"])]
        ])
        #expect(Examination.findings(cluster).isEmpty)
    }

    @Test func aTemplateIsWhatOneEdits() throws {
        var deployment = KubeObject(.deployments, kind: "Deployment", name: "web", namespace: "default")
        deployment.json["metadata"]["uid"] = "d"
        deployment["spec"] = ["replicas": 0]
        var set = KubeObject(.replicaSets, kind: "ReplicaSet", name: "web-1", namespace: "default")
        set.json["metadata"]["uid"] = "s"
        set.json["metadata"]["ownerReferences"] = .array([OwnerReference(controller: deployment).json])
        var pod = Sample.pod(Self.waiting("CreateContainerError", "no such file"))
        pod.json["metadata"]["ownerReferences"] = .array([OwnerReference(controller: set).json])
        let cluster = Sample.cluster([.deployments: [deployment], .replicaSets: [set], .pods: [pod]])
        let finding = try #require(Examination.findings(cluster).first { $0.reason == "ContainerCannotStart" })
        #expect(finding.nextStep == "kubectl edit deployment web -n default")
    }

    @Test(arguments: [
        ("kube-system", 1, "2026-11-30T11:59:00Z", true), ("default", 1, "2026-11-30T11:59:00Z", false),
        ("default", 3, "2026-11-30T11:59:00Z", true), ("default", 3, "2026-11-30T10:00:00Z", false),
        // The node was started after that: its stop ended the container.
        ("kube-system", 1, "2026-11-30T11:50:01Z", false),
    ])
    func whatRestartsAgainAndAgainIsNamed(namespace: String, count: Int, ended: String, isNamed: Bool) {
        let status: JSON = [
            "containerStatuses": [
                [
                    "name": "c", "ready": true, "restartCount": JSON(count),
                    "lastState": ["terminated": ["exitCode": 1, "finishedAt": JSON(ended)]],
                ]
            ]
        ]
        var cluster = Sample.cluster([.pods: [Sample.pod("p", in: namespace, isReady: true, status: status)]])
        cluster.nodeStarts = ["n": Timestamp("2026-11-30T11:50:00Z") ?? .now]
        #expect(Examination.findings(cluster).map(\.reason) == (isNamed ? ["Restarts"] : []))
    }

    // MARK: - Scheduling

    private func unscheduled(_ message: String, spec: JSON = [:], nodes: [KubeObject]) throws -> Finding {
        var pod = Sample.pod("p", node: nil)
        for (key, value) in spec.object?.members ?? [] { pod["spec"][key] = value }
        pod["status"] = ["conditions": [["type": "PodScheduled", "status": "False", "message": JSON(message)]]]
        let findings = Examination.findings(Sample.cluster([.pods: [pod], .nodes: nodes]))
        return try #require(findings.first { $0.object == "pod default/p" })
    }

    @Test func theSchedulersReasonComesWithWhatNodesShow() throws {
        let selector = try unscheduled(
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
            spec: ["nodeSelector": ["disk": "ssd"]], nodes: [Sample.node("n", labels: ["disk": "hdd"])])
        #expect(selector.cause.hasSuffix("Its nodeSelector asks for disk=ssd: n has hdd."))
        #expect(selector.nextStep == "kubectl label node n disk=ssd --overwrite")
        let taint = try unscheduled(
            "0/1 nodes are available: 1 node(s) had untolerated taint(s).",
            nodes: [Sample.node("n", spec: ["taints": [["key": "gpu", "value": "yes", "effect": "NoSchedule"]]])])
        #expect(taint.cause.hasSuffix("Node n has the taint gpu=yes:NoSchedule."))
        #expect(taint.nextStep == "kubectl taint node n gpu:NoSchedule-")
        let cordon = try unscheduled(
            "0/1 nodes are available: 1 node(s) were unschedulable.",
            nodes: [Sample.node("n", spec: ["unschedulable": true])])
        #expect(cordon.nextStep == "kubectl uncordon n")
        let none = try unscheduled("no nodes available to schedule pods", nodes: [])
        #expect(none.nextStep == "catbird node add")
    }

    @Test func aPodThatNobodySchedulesIsNamed() {
        var other = Sample.pod("p", node: nil)
        other["spec"]["schedulerName"] = "mine"
        let waiting = Sample.pod("q", node: nil)
        let findings = Examination.findings(Sample.cluster([.pods: [other, waiting]]))
        #expect(findings.map(\.reason) == ["UnknownScheduler", "NotScheduled"])
    }
}
