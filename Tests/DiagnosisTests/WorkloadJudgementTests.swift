// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Diagnosis
import Testing
import Values

@Suite struct WorkloadJudgementTests {
    private func deployment(_ status: JSON, spec: JSON = ["replicas": 2]) -> KubeObject {
        var object = KubeObject(.deployments, kind: "Deployment", name: "web", namespace: "shop")
        object.json["metadata"]["uid"] = "d"
        object["spec"] = spec
        object["status"] = status
        return object
    }

    private func findings(_ object: KubeObject, _ more: [GroupVersionResource: [KubeObject]] = [:]) -> [Finding] {
        Examination.findings(Sample.cluster([.deployments: [object]].merging(more) { _, new in new }))
            .filter { $0.object.hasPrefix("deployment") }
    }

    @Test(arguments: [
        (
            "pods \"web-5-x\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1",
            "QuotaExceeded", "kubectl describe quota small -n shop"
        ),
        (
            "pods \"web-5-x\" is forbidden: failed quota: small: must specify requests.cpu for: c", "QuotaExceeded",
            "kubectl set resources deployment web -n shop --requests=cpu=100m,memory=64Mi"
        ),
        (
            "pods \"web-5-x\" is forbidden: error looking up service account shop/me: serviceaccount \"me\" not found",
            "MissingServiceAccount", "kubectl create serviceaccount me -n shop"
        ),
        (
            "pods \"web-5-x\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot", "PodSecurity",
            "kubectl label namespace shop pod-security.kubernetes.io/enforce=privileged --overwrite"
        ),
        (
            "pods \"web-5-x\" is forbidden: maximum cpu usage per Container is 1", "PodsRefused",
            "kubectl describe deployment web -n shop"
        ),
    ])
    func saysWhatRefusesPods(message: String, reason: String, next: String) throws {
        let found = findings(
            deployment([
                "availableReplicas": 1,
                "conditions": [["type": "ReplicaFailure", "status": "True", "message": JSON(message)]],
            ]))
        let finding = try #require(found.first)
        #expect(found.count == 1)
        #expect(finding.reason == reason)
        #expect(finding.problem == "has 1 of 2 replicas")
        // The name is another at each attempt.
        #expect(!finding.cause.contains("web-5-x") && finding.cause.hasPrefix("a new pod is forbidden: "))
        #expect(finding.nextStep == next)
    }

    @Test func aDeploymentWithAllItsReplicasIsWell() {
        #expect(findings(deployment(["availableReplicas": 2])).isEmpty)
        #expect(findings(deployment([:], spec: ["replicas": 0])).isEmpty)
    }

    @Test func pausedAndStuckAreSaid() {
        let paused = findings(deployment(["availableReplicas": 2], spec: ["replicas": 2, "paused": true]))
        #expect(paused.map(\.nextStep) == ["kubectl rollout resume deployment/web -n shop"])
        let stuck = findings(
            deployment([
                "availableReplicas": 2,
                "conditions": [
                    [
                        "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
                        "message": "has timed out progressing",
                    ]
                ],
            ]))
        #expect(stuck.map(\.cause) == ["has timed out progressing"])
    }

    @Test func theCauseIsThatOfItsPods() throws {
        let object = deployment(["availableReplicas": 0], spec: ["replicas": 1])
        var set = KubeObject(.replicaSets, kind: "ReplicaSet", name: "web-1", namespace: "shop")
        set.json["metadata"]["uid"] = "s"
        set.json["metadata"]["ownerReferences"] = .array([OwnerReference(controller: object).json])
        var pod = Sample.pod(
            "web-1-a", in: "shop",
            status: [
                "containerStatuses": [
                    [
                        "name": "c", "image": "x",
                        "state": ["waiting": ["reason": "ErrImagePull", "message": "no such image"]],
                    ]
                ]
            ])
        pod.json["metadata"]["ownerReferences"] = .array([OwnerReference(controller: set).json])
        let finding = try #require(findings(object, [.replicaSets: [set], .pods: [pod]]).first)
        #expect(finding.reason == "BelowReplicas")
        #expect(
            finding.cause.hasPrefix("1 of its pods is not Ready; pod shop/web-1-a, container c cannot get its image"))
        #expect(finding.nextStep.hasPrefix("catbird image pull x"))
    }

    @Test func daemonSetsThatRunNowhereAndBelow() {
        var set = KubeObject(.daemonSets, kind: "DaemonSet", name: "logs", namespace: "shop")
        set["spec"] = ["template": ["spec": ["nodeSelector": ["gpu": "yes"]]]]
        set["status"] = ["desiredNumberScheduled": 0]
        let nowhere = Examination.findings(Sample.cluster([.daemonSets: [set]]))
        #expect(nowhere.map(\.reason) == ["NoNodeSelected"])
        #expect(nowhere.map(\.nextStep) == ["kubectl label node n gpu=yes"])
        set["status"] = ["desiredNumberScheduled": 2, "numberAvailable": 1]
        #expect(Examination.findings(Sample.cluster([.daemonSets: [set]])).map(\.problem) == ["has 1 of 2 replicas"])
    }
}
