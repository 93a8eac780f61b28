// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Diagnosis
import Testing
import Values

@Suite struct ServiceJudgementTests {
    private func only(_ objects: [GroupVersionResource: [KubeObject]], listening: [Listener: Bool] = [:]) -> Finding? {
        var cluster = Sample.cluster(objects)
        cluster.listening = listening
        return Examination.findings(cluster).first { $0.object.hasPrefix("service") }
    }

    struct Slip: Sendable {
        let selector: [String: String]
        let labels: [String: String]
        let cause: String
        let patch: String
    }

    @Test(arguments: [
        Slip(
            selector: ["app": "lab4app"], labels: ["app": "lab4"],
            cause: "nearest to app=lab4app is app=lab4, which 1 pod has", patch: #"{"app":"lab4"}"#),
        // More than half of the letters differ: it is the word that is the same.
        Slip(
            selector: ["app": "app-deployment"], labels: ["app": "app"],
            cause: "nearest to app=app-deployment is app=app, which 1 pod has", patch: #"{"app":"app"}"#),
        Slip(
            selector: ["app": "web"], labels: ["app": "web-frontend-v1"],
            cause: "nearest to app=web is app=web-frontend-v1, which 1 pod has", patch: #"{"app":"web-frontend-v1"}"#),
        // The wrong key has to go.
        Slip(
            selector: ["k8s-app": "web"], labels: ["app": "web"],
            cause: "nearest to k8s-app=web is app=web, which 1 pod has", patch: #"{"app":"web","k8s-app":null}"#),
        Slip(
            selector: ["app": "web", "tier": "fronted"], labels: ["app": "web", "tier": "frontend"],
            cause: "nearest to tier=fronted is tier=frontend, which 1 pod has", patch: #"{"tier":"frontend"}"#),
    ])
    func findsWhatWasMeant(slip: Slip) throws {
        let finding = try #require(
            only([
                .pods: [Sample.pod("p", labels: slip.labels, isReady: true)],
                .services: [Sample.service("s", selector: slip.selector)],
            ]))
        #expect(finding.reason == "SelectsNothing")
        #expect(finding.cause == slip.cause)
        #expect(finding.nextStep == "kubectl patch service s -n default -p '{\"spec\":{\"selector\":\(slip.patch)}}'")
    }

    @Test func labelsThatHaveNothingInCommonAreNotProposed() throws {
        let finding = try #require(
            only([
                .pods: [Sample.pod("p", labels: ["run": "database", "pod-template-hash": "app-1"], isReady: true)],
                .services: [Sample.service("s", selector: ["app": "web"])],
            ]))
        #expect(finding.cause == "no pod in namespace default carries app=web")
        #expect(finding.nextStep == "kubectl get pods -n default --show-labels")
    }

    @Test func labelsThatNoPodHasTogetherAreNamed() throws {
        let finding = try #require(
            only([
                .pods: [
                    Sample.pod("a", labels: ["app": "web", "tier": "back"], isReady: true),
                    Sample.pod("b", labels: ["app": "db", "tier": "front"], isReady: true),
                ],
                .services: [Sample.service("s", selector: ["app": "web", "tier": "front"])],
            ]))
        #expect(finding.cause.hasPrefix("no pod carries all of them: "))
    }

    @Test func aWorkloadWithoutPodsAndPodsElsewhereAreFound() throws {
        var deployment = KubeObject(.deployments, kind: "Deployment", name: "web", namespace: "default")
        deployment["spec"] = ["replicas": 0, "template": ["metadata": ["labels": ["app": "web"]]]]
        let scaled = try #require(
            only([.deployments: [deployment], .services: [Sample.service("s", selector: ["app": "web"])]]))
        #expect(scaled.cause == "deployment web makes such pods, and is scaled to 0")
        #expect(scaled.nextStep == "kubectl scale deployment web -n default --replicas=1")
        let elsewhere = try #require(
            only([
                .pods: [Sample.pod("p", in: "prod", labels: ["app": "web"], isReady: true)],
                .services: [Sample.service("s", selector: ["app": "web"])],
            ]))
        #expect(elsewhere.cause.hasPrefix("pod prod/p carries them, in another namespace"))
    }

    // MARK: - Ports

    private func pod(_ ports: [JSON], isReady: Bool = true) -> KubeObject {
        Sample.pod(
            "p", labels: ["app": "web"], isReady: isReady, containers: [["name": "c", "ports": .array(ports)]],
            status: ["podIP": "10.0.0.5"])
    }

    private func target(_ port: JSON, _ ports: [JSON], _ listening: Bool? = nil, at number: Int = 80) -> Finding? {
        only(
            [.pods: [pod(ports)], .services: [Sample.service("s", selector: ["app": "web"], port: port)]],
            listening: listening.map { [Listener(address: "10.0.0.5", port: number): $0] } ?? [:])
    }

    @Test func aNameThatNoContainerHasIsFound() throws {
        let finding = try #require(
            target(
                ["port": 80, "targetPort": "htpp"],
                [["name": "http", "containerPort": 3000], ["name": "admin", "containerPort": 9000]]))
        #expect(finding.reason == "PortNotNamed")
        #expect(finding.cause == "its pods have http (3000), admin (9000)")
        #expect(finding.nextStep.contains(#""path":"/spec/ports/0/targetPort","value":"http""#))
        #expect(target(["port": 80, "targetPort": "http"], [["name": "http", "containerPort": 3000]]) == nil)
        // A name belongs to a transport.
        #expect(
            target(["port": 80, "targetPort": "dns"], [["name": "dns", "containerPort": 53, "protocol": "UDP"]])?.reason
                == "PortNotNamed")
    }

    @Test func whatAnswersCountsAndNotWhatIsDeclared() throws {
        // Declared or not: something listens there.
        #expect(target(["port": 80], [["containerPort": 3000]], true) == nil)
        // Declared, and nothing listens there.
        let deaf = try #require(target(["port": 80], [["containerPort": 80]], false))
        #expect(deaf.reason == "PortNotListening")
        #expect(deaf.cause == "nothing listens on port 80 of p; its pods have 80")
        // Nothing is declared, and nothing listens.
        let bare = try #require(target(["port": 80, "targetPort": 8080], [], false, at: 8080))
        #expect(bare.cause == "nothing listens on port 8080 of p; its pods declare no TCP port")
        #expect(bare.nextStep == "kubectl edit service s -n default: its targetPort")
        // Nobody could try: then what is declared is all that is known.
        let declared = try #require(target(["port": 80], [["containerPort": 3000]]))
        #expect(declared.problem == "sends to port 80, which no container of its pods declares")
        #expect(declared.nextStep.contains(#""value":3000"#))
        #expect(target(["port": 80], []) == nil)
        #expect(target(["port": 80, "targetPort": 3000], [["containerPort": 3000]]) == nil)
    }

    @Test func aServiceWithoutReadyPodsIsNamedUnlessItWantsThemAll() {
        var service = Sample.service("s", selector: ["app": "web"], port: ["port": 3000])
        let pods = [pod([["containerPort": 3000]], isReady: false)]
        #expect(only([.pods: pods, .services: [service]])?.reason == "NoReadyPod")
        service["spec"]["publishNotReadyAddresses"] = true
        #expect(only([.pods: pods, .services: [service]]) == nil)
    }

    @Test func servicesThatSelectNothingOnPurposeAreWell() {
        var named = Sample.service("s", selector: ["app": "web"])
        named["spec"]["type"] = "ExternalName"
        #expect(only([.services: [named, Sample.service("t", selector: [:])]]) == nil)
    }

    @Test func aLoadBalancerWithoutAddressIsNamed() {
        var service = Sample.service("s", selector: ["app": "web"], port: ["port": 3000])
        service["spec"]["type"] = "LoadBalancer"
        let pods = [pod([["containerPort": 3000]])]
        #expect(only([.pods: pods, .services: [service]])?.reason == "NoExternalAddress")
        service["status"] = ["loadBalancer": ["ingress": [["ip": "192.168.49.192"]]]]
        #expect(only([.pods: pods, .services: [service]]) == nil)
    }
}
