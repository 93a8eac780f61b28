// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import PKI
import Testing
import Values

@testable import Diagnosis

/// Nodes, components, Ingresses, deletions and writes.
@Suite struct ClusterJudgementTests {
    // MARK: - Nodes

    @Test func nodesUnderPressureCordonedOrAway() {
        let nodes = [
            Sample.node(
                "a",
                conditions: [
                    ["type": "Ready", "status": "True"],
                    ["type": "DiskPressure", "status": "True", "message": "kubelet has disk pressure"],
                ]),
            Sample.node("b", spec: ["unschedulable": true]),
            Sample.node("c", conditions: [["type": "Ready", "status": "Unknown", "message": "stopped posting"]]),
            Sample.node("d", conditions: [["type": "Ready", "status": "False", "message": "CNI is not there"]]),
        ]
        let findings = Examination.findings(Sample.cluster([.nodes: nodes]))
        #expect(findings.map(\.reason) == ["NodePressure", "NodeCordoned", "NodeNotReady", "NodeNotReady"])
        #expect(findings.map(\.cause).contains("kubelet has disk pressure"))
        #expect(
            findings.map(\.nextStep) == [
                "df -h /var/lib/catbird", "kubectl uncordon b", "catbird node start c", "kubectl describe node d",
            ])
    }

    struct PoolCase: Sendable {
        let spec: JSON
        var meta: JSON = [:]
        let cause: String?
        var step = ""
    }

    /// Whatever keeps the allocator from the only pool: doctor does not say that all is well.
    @Test(arguments: [
        PoolCase(spec: ["disabled": true], cause: "p: it is disabled", step: "calicoctl patch ippool p "),
        PoolCase(
            spec: ["allowedUses": ["Tunnel"]], cause: "p: its allowedUses (Tunnel) leave out Workload",
            step: "To use p: kubectl patch ippool p "),
        PoolCase(spec: ["assignmentMode": "Manual"], cause: "p: its assignmentMode is Manual"),
        PoolCase(
            spec: ["nodeSelector": "rack == '1'"], cause: "p: its nodeSelector rack == '1' does not select the node",
            step: "To use p: kubectl label node a rack=1"),
        PoolCase(spec: [:], meta: ["deletionTimestamp": "2026-01-01T00:00:00Z"], cause: "p: it is being deleted"),
        PoolCase(spec: [:], meta: ["status": "False"], cause: "p: its status says Allocatable=False: CIDROverlap"),
        PoolCase(spec: [:], cause: nil),
    ])
    func aPoolThatTheAllocatorRefuses(_ sample: PoolCase) {
        let (spec, meta, cause, step) = (sample.spec, sample.meta, sample.cause, sample.step)
        var pool = KubeObject(.ipPools, kind: "IPPool", name: "p")
        pool["spec"] = ["cidr": "10.0.0.0/24"]
        for (key, value) in spec.object ?? [:] { pool["spec"][key] = value }
        if let time = meta["deletionTimestamp"] { pool.metadata["deletionTimestamp"] = time }
        if let status = meta["status"] {
            pool["status"] = ["conditions": [["type": "Allocatable", "status": status, "reason": "CIDROverlap"]]]
        }
        let findings = Examination.findings(Sample.cluster([.nodes: [Sample.node("a")], .ipPools: [pool]]))
            .filter { $0.reason == "NodeWithoutPool" }
        #expect(findings.count == (cause == nil ? 0 : 1))
        if let cause { #expect(findings.first?.cause.hasPrefix(cause) == true, "\(findings.map(\.cause))") }
        #expect(findings.first?.nextStep.hasPrefix(step) ?? true, "\(findings.map(\.nextStep))")
    }

    // MARK: - Components

    private func own(
        _ more: [GroupVersionResource: [KubeObject]], annotations: [String: String] = [:]
    ) -> [Finding] {
        var agent = KubeObject(.daemonSets, kind: "DaemonSet", name: "calico-node", namespace: "kube-system")
        agent["spec"] = ["template": ["spec": ["nodeSelector": ["kubernetes.io/os": "linux"]]]]
        agent["status"] = ["desiredNumberScheduled": 1, "numberAvailable": 1]
        if !annotations.isEmpty { agent.metadata["annotations"] = JSON(annotations) }
        var names = KubeObject(.deployments, kind: "Deployment", name: "coredns", namespace: "kube-system")
        names["spec"] = ["replicas": 1]
        names["status"] = ["availableReplicas": 1]
        let service = Sample.service(
            "kube-dns", in: "kube-system", selector: ["k8s-app": "kube-dns"], port: ["port": 53])
        let pods = [
            Sample.pod("calico-node-a", in: "kube-system", labels: ["k8s-app": "calico-node"], isReady: true),
            Sample.pod("coredns-a", in: "kube-system", labels: ["k8s-app": "kube-dns"], isReady: true),
        ]
        var cluster = Sample.cluster(
            [.daemonSets: [agent], .deployments: [names], .services: [service], .pods: pods]
                .merging(more) { _, new in new })
        cluster.profile = "lab"
        cluster.profileNodes = ["n"]
        return Examination.findings(cluster)
    }

    @Test func componentsThatAreNotThere() {
        #expect(own([:]).isEmpty)
        #expect(own([.daemonSets: []]).map(\.reason) == ["AgentDeleted"])
        #expect(own([.daemonSets: []]).map(\.nextStep) == ["catbird stop -p lab && catbird start -p lab"])
        #expect(own([.deployments: []]).map(\.reason) == ["DNSDeleted"])
        #expect(own([.services: []]).map(\.reason) == ["DNSServiceDeleted"])
        #expect(own([.nodes: []]).map(\.reason).contains("NodeNotRegistered"))
        let second = Sample.node("m", labels: ["kubernetes.io/os": "plan9"])
        let missing = own([.nodes: [Sample.node("n"), second]])
        #expect(missing.map(\.reason) == ["AgentMissing"])
        #expect(missing.map(\.nextStep) == ["kubectl label node m kubernetes.io/os=linux --overwrite"])
    }

    /// Of a cluster of somebody else's nothing is said that its API alone does not tell, and no command of ours is named.
    @Test func clustersThatAreNotOurs() {
        let away = Sample.node(
            "c", conditions: [["type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting"]])
        var ingress = KubeObject(
            GroupVersionResource("networking.k8s.io", "v1", "ingresses"), kind: "Ingress", name: "web",
            namespace: "default")
        ingress["spec"] = ["ingressClassName": "nginx", "tls": [["secretName": "web-tls"]]]
        var cluster = Sample.cluster([
            .nodes: [away], .ipPools: [], GroupVersionResource("networking.k8s.io", "v1", "ingresses"): [ingress],
        ])
        cluster.isForeign = true
        cluster.unseen = [
            .ipPools: "the server could not find the requested resource", .secrets: "forbidden",
            GroupVersionResource("networking.k8s.io", "v1", "ingressclasses"): "forbidden",
        ]
        let findings = Examination.findings(cluster)
        #expect(findings.map(\.reason) == ["NodeNotReady"], "\(findings)")
        #expect(findings.map(\.nextStep) == ["kubectl describe node c"])
        cluster.isForeign = false
        cluster.unseen = [:]
        let ours = Examination.findings(cluster).map(\.reason)
        #expect(ours.contains("NodeWithoutPool") && ours.contains("NoIngressController"), "\(ours)")
    }

    @Test func whatWasNotTakenOverOfAnotherManifest() {
        #expect(own([:], annotations: ["catbird.dev/not-taken-over": ""]).isEmpty)
        let findings = own([:], annotations: ["catbird.dev/not-taken-over": "FELIX_BPFENABLED true: set it elsewhere"])
        #expect(findings.map(\.reason) == ["SettingsNotTakenOver"])
        #expect(findings.map(\.cause) == ["FELIX_BPFENABLED true: set it elsewhere"])
    }

    @Test func silenceOfNamesIsToldApart() throws {
        let server = IPAddress(10, 96, 0, 10)
        func judged(_ answers: [String: Bool], direct: [String: Bool] = [:], others: [Finding] = []) -> [Finding] {
            DNSJudgement.findings(
                DNSObservation(server: server, answers: answers, directAnswers: direct), others: others, profile: "lab")
        }
        #expect(judged(["a": true, "b": true]).isEmpty)
        #expect(judged(["a": false, "b": false], direct: ["a": false, "b": false]).map(\.reason) == ["DNSSilent"])
        let one = judged(["a": true, "b": false], direct: ["b": false])
        #expect(one.map(\.nextStep) == ["catbird ssh -p lab -n b -- nft list ruleset"])
        let rules = judged(["a": true, "b": false], direct: ["b": true])
        #expect(rules.map(\.reason) == ["DNSUnreachable"])
        #expect(rules.first?.nextStep.hasSuffix("--field-selector spec.nodeName=b") == true)
        let known = Finding("CrashLoop", object: "pod kube-system/coredns-1", problem: "", cause: "", nextStep: "")
        #expect(judged(["a": false], others: [known]).isEmpty)
    }

    // MARK: - Ingresses

    private func ingress(_ spec: JSON) -> KubeObject {
        var ingress = KubeObject(.ingresses, kind: "Ingress", name: "i", namespace: "default")
        ingress["spec"] = spec
        return ingress
    }

    @Test func classesOfIngresses() {
        var own = KubeObject(.ingressClasses, kind: "IngressClass", name: "nginx")
        let nobody = ingress([:])
        let wrong = ingress(["ingressClassName": "ngnix"])
        #expect(
            Examination.findings(Sample.cluster([.ingresses: [nobody]])).map(\.cause)
                == ["it names no IngressClass, and no ingress controller is installed"])
        let misspelt = Examination.findings(Sample.cluster([.ingresses: [wrong], .ingressClasses: [own]]))
        #expect(misspelt.map(\.cause) == ["there is no IngressClass ngnix; there is nginx"])
        #expect(
            misspelt.map(\.nextStep)
                == [#"kubectl patch ingress i -n default -p '{"spec":{"ingressClassName":"nginx"}}'"#])
        own.json["metadata"]["annotations"] = ["ingressclass.kubernetes.io/is-default-class": "true"]
        #expect(Examination.findings(Sample.cluster([.ingresses: [nobody], .ingressClasses: [own]])).isEmpty)
    }

    @Test func anIngressesCertificateIsReadAndItsTimeIsJudged() throws {
        let issued = try CertificateAuthority.create(commonName: "ca").issue(commonName: "shop.test", validity: 5)
        var secret = KubeObject(.secrets, kind: "Secret", name: "crt", namespace: "default")
        secret["type"] = "kubernetes.io/tls"
        secret["data"] = [
            "tls.crt": JSON(Base64.text(Array(issued.certificatePEM.utf8))), "tls.key": "AA==",
        ]
        var object = ingress(["ingressClassName": "c", "tls": [["secretName": "crt"]]])
        let classes = [KubeObject(.ingressClasses, kind: "IngressClass", name: "c")]
        func reasons(_ days: Double) -> [String] {
            var cluster = Sample.cluster([.ingresses: [object], .ingressClasses: classes, .secrets: [secret]])
            cluster.now = Timestamp.now.adding(seconds: days * 86400)
            return Examination.findings(cluster).map(\.reason)
        }
        #expect(reasons(0) == ["CertificateEndsSoon"])
        #expect(reasons(6) == ["CertificateExpired"])
        #expect(reasons(-40) == ["CertificateNotYetValid"])
        secret["data"] = ["password": "AA=="]
        #expect(reasons(0) == ["MissingIngressSecret"])
        object["spec"]["tls"] = nil
        #expect(reasons(0).isEmpty)
    }

    // MARK: - What stays, and what is written

    @Test func whatIsDeletedAndStays() {
        let now = "2026-11-30T12:00:10Z"
        func deleted(_ at: String, finalizers: [String] = [], runs: Bool = false) -> KubeObject {
            var pod = Sample.pod(
                "p", isReady: true,
                status: ["containerStatuses": [["name": "c", "state": runs ? ["running": [:]] : ["terminated": [:]]]]])
            pod.json["metadata"]["deletionTimestamp"] = JSON(at)
            if !finalizers.isEmpty { pod.json["metadata"]["finalizers"] = JSON(finalizers) }
            return pod
        }
        func reasons(_ pod: KubeObject) -> [String] {
            Examination.findings(Sample.cluster([.pods: [pod]], now: now)).map(\.reason)
        }
        #expect(reasons(deleted("2026-11-30T12:00:30Z", runs: true)).isEmpty)
        #expect(reasons(deleted("2026-11-30T12:00:00Z", runs: true)) == ["StuckDeletion"])
        #expect(reasons(deleted("2026-11-30T12:00:30Z", finalizers: ["a/b"])) == ["Finalizers"])
        #expect(reasons(deleted("2026-11-30T12:00:30Z", finalizers: ["a/b"], runs: true)).isEmpty)
        var namespace = KubeObject(.namespaces, kind: "Namespace", name: "old")
        namespace.json["metadata"]["deletionTimestamp"] = "2026-11-30T11:59:00Z"
        namespace["status"] = [
            "conditions": [
                [
                    "type": "NamespaceContentRemaining", "status": "True",
                    "message": "Some resources are remaining: pods.",
                ]
            ]
        ]
        let stays = Examination.findings(Sample.cluster([.namespaces: [namespace]], now: now))
        #expect(stays.map(\.cause) == ["Some resources are remaining: pods."])
    }

    @Test func whatIsWrittenOftenAndWhatIsNot() {
        var cluster = Sample.cluster([:])
        cluster.writes = [
            WriteCount(kind: "pod", key: ObjectKey("a", "b"), count: 6, seconds: 1, writer: nil),
            WriteCount(kind: "deployment", key: ObjectKey("a", "b"), count: 90, seconds: 2, writer: "controllers"),
        ]
        let findings = Examination.findings(cluster)
        #expect(findings.map(\.object) == ["deployment a/b"])
        #expect(findings.map(\.cause) == ["90 writes in 2 s, the last by controllers"])
    }
}
