// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import Testing
import Values

@Suite struct PodSecurityTests {
    private let prefix = "pod-security.kubernetes.io/"
    private let pods = "/api/v1/namespaces/default/pods"
    private let merge = "application/merge-patch+json"

    @discardableResult
    private func label(_ fixture: Fixture, _ labels: [String: String]) async throws -> Fixture.Answer {
        let all = Dictionary(uniqueKeysWithValues: labels.map { (prefix + $0.key, $0.value) })
        return try await fixture.send(
            "PATCH", "/api/v1/namespaces/default", ["metadata": ["labels": JSON(all)]], type: merge)
    }

    private func body(_ name: String, container: JSON = [:], spec: JSON = [:]) -> JSON {
        var pod = pod(name)
        for (key, value) in spec.object ?? [:] { pod["spec"][key] = value }
        pod["spec"]["containers"] = [["name": "c", "image": "busybox", "securityContext": container]]
        return pod.json
    }

    private let hardened: JSON = [
        "allowPrivilegeEscalation": false, "capabilities": ["drop": ["ALL"]], "runAsNonRoot": true,
        "seccompProfile": ["type": "RuntimeDefault"],
    ]

    private func warnings(_ answer: Fixture.Answer) -> [String] {
        answer.headers.filter { $0.0 == "Warning" }.map(\.1)
    }

    @Test func restrictedNamespacesTakeHardenedPodsOnly() async throws {
        let fixture = try await Fixture()
        try await label(fixture, ["enforce": "restricted"])
        let refused = try await fixture.send("POST", pods, body("a"))
        #expect(refused.status == 403)
        #expect(
            refused.json["message"].string == "pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\": "
                + "allowPrivilegeEscalation != false (container \"c\" must set "
                + "securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"c\" must set "
                + "securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"c\" must set "
                + "securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must set "
                + "securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")")
        let taken = try await fixture.send("POST", pods, body("b", container: hardened))
        #expect(taken.status == 201)
        #expect(warnings(taken).isEmpty)
        // What a kubelet says of a pod is not judged.
        let status = try await fixture.send("PATCH", pods + "/b/status", ["status": ["phase": "Running"]], type: merge)
        #expect(status.status == 200)
    }

    @Test func baselineNamespacesRefuseWhatReachesTheNode() async throws {
        let fixture = try await Fixture()
        try await label(fixture, ["enforce": "baseline", "enforce-version": "v1.30"])
        func refusal(_ container: JSON, _ spec: JSON = [:]) async throws -> String {
            let answer = try await fixture.send("POST", pods, body("a", container: container, spec: spec))
            let start = "pods \"a\" is forbidden: violates PodSecurity \"baseline:v1.30\": "
            let message = answer.json["message"].string ?? ""
            #expect(message.hasPrefix(start), "\(message)")
            return String(message.dropFirst(start.count))
        }
        #expect(
            try await refusal(["privileged": true], ["hostNetwork": true, "hostPID": true])
                == "host namespaces (hostNetwork=true, hostPID=true), privileged (container \"c\" must not set "
                + "securityContext.privileged=true)")
        #expect(
            try await refusal(["capabilities": ["add": ["NET_ADMIN", "CHOWN"]]])
                == "non-default capabilities (container \"c\" must not include \"NET_ADMIN\" in "
                + "securityContext.capabilities.add)")
        #expect(
            try await refusal([:], ["volumes": [["name": "root", "hostPath": ["path": "/"]]]])
                == "hostPath volumes (volume \"root\")")
        #expect(
            try await refusal(["seccompProfile": ["type": "Unconfined"]])
                == "seccompProfile (container \"c\" must not set securityContext.seccompProfile.type to \"Unconfined\")"
        )
        #expect(
            try await refusal([:], ["securityContext": ["sysctls": [["name": "net.ipv4.tcp_rmem", "value": "1"]]]])
                == "forbidden sysctls (net.ipv4.tcp_rmem)")
        #expect(try await fixture.send("POST", pods, body("b")).status == 201)
    }

    @Test func warningsComeWithPodsAndTemplates() async throws {
        let fixture = try await Fixture()
        try await label(fixture, ["warn": "baseline"])
        let pod = try await fixture.send("POST", pods, body("a", container: ["privileged": true]))
        #expect(pod.status == 201)
        let text =
            #"would violate PodSecurity \"baseline:latest\": privileged (container \"c\" must not set "#
            + "securityContext.privileged=true)"
        #expect(warnings(pod) == ["299 - \"\(text)\""])
        try await label(fixture, ["warn": "privileged", "enforce": "baseline"])
        _ = try await fixture.send(
            "PATCH", "/api/v1/namespaces/default",
            ["metadata": ["labels": .object([(prefix + "warn"): .null] as JSONObject)]], type: merge)
        let template: JSON = [
            "metadata": ["labels": ["a": "b"]], "spec": body("x", container: ["privileged": true])["spec"] ?? .null,
        ]
        let deployment: JSON = [
            "metadata": ["name": "d"], "spec": ["selector": ["matchLabels": ["a": "b"]], "template": template],
        ]
        let made = try await fixture.send("POST", "/apis/apps/v1/namespaces/default/deployments", deployment)
        #expect(made.status == 201)
        #expect(warnings(made) == ["299 - \"\(text)\""])
    }

    @Test func labelsThatSayNothingAreRefused() async throws {
        let fixture = try await Fixture()
        let answer = try await label(fixture, ["enforce": "strict", "warn-version": "1.20"])
        #expect(answer.status == 422)
        #expect(
            answer.json["message"].string == "Namespace \"default\" is invalid: [metadata.labels["
                + "\(prefix)enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted, "
                + "metadata.labels[\(prefix)warn-version]: Invalid value: \"1.20\": must be \"latest\" or \"v1.x\"]")
    }

    @Test func aStricterLevelNamesThePodsThatWouldNotDo() async throws {
        let fixture = try await Fixture()
        for name in ["a", "b"] {
            _ = try await fixture.send("POST", pods, body(name, container: ["privileged": true]))
        }
        _ = try await fixture.send("POST", pods, body("c", spec: ["hostNetwork": true]))
        let answer = try await label(fixture, ["enforce": "baseline"])
        #expect(answer.status == 200)
        #expect(
            warnings(answer) == [
                #"299 - "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"baseline:latest\"""#,
                #"299 - "a (and 1 other pod): privileged""#, #"299 - "c: host namespaces""#,
            ])
        #expect(warnings(try await label(fixture, ["enforce": "baseline"])).isEmpty)
    }
}
