// SPDX-License-Identifier: Apache-2.0

import APIServer
import KubeClient
import KubeObjects
import PKI
import Testing
import Values

/// What the API server makes of CertificateSigningRequests: what it fills in, what it refuses, who may do what.
@Suite struct CertificateRequestTests {
    private static let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    private static let requests = GroupVersionResource("certificates.k8s.io", "v1", "certificatesigningrequests")

    private static func base64(_ text: String) -> JSON { JSON(Base64.text(Array(text.utf8))) }

    private static func request(
        _ name: String, signer: String = "example.com/signer", pem: String? = nil, organizations: [String] = ["dev"]
    ) throws -> JSON {
        let text = try pem ?? CertificateRequest.create(commonName: "jane", organizations: organizations).requestPEM
        return [
            "metadata": ["name": JSON(name)],
            "spec": ["signerName": JSON(signer), "request": base64(text), "usages": ["client auth"]],
        ]
    }

    private static func condition(_ type: String, _ status: String = "True") -> JSON {
        ["type": JSON(type), "status": JSON(status), "reason": "Test", "message": "by hand"]
    }

    private func refusals(_ fixture: Fixture, _ body: JSON) async throws -> [String: String] {
        let answer = try await fixture.send("POST", Self.path, body)
        #expect(answer.status == 422, "\(answer.json)")
        var refusals: [String: String] = [:]
        for cause in answer.json["details"]["causes"].array ?? [] {
            refusals[cause["field"].string ?? ""] = cause["message"].string
        }
        return refusals
    }

    @Test func whoAsksIsWrittenDownAndNothingChangesAfterwards() async throws {
        let fixture = try await Fixture()
        var body = try Self.request("jane")
        body["spec"]["username"] = "somebody-else"
        body["spec"]["groups"] = ["system:nodes"]
        body["status"] = ["conditions": [Self.condition("Approved")]]
        let made = try await fixture.send("POST", Self.path, body)
        #expect(made.status == 201, "\(made.json)")
        #expect(made.json["spec"]["username"].string == "admin")
        #expect(made.json["spec"]["groups"] == ["system:masters", "system:authenticated"])
        #expect(made.json["spec"]["uid"] == nil && made.json["status"]["conditions"] == nil)
        let changed = try await fixture.send(
            "PATCH", Self.path + "/jane",
            [
                "metadata": ["labels": ["a": "b"]],
                "spec": ["usages": ["server auth"], "username": "other"], "status": ["certificate": "eA=="],
            ],
            type: "application/merge-patch+json")
        #expect(changed.status == 200, "\(changed.json)")
        #expect(changed.json["spec"] == made.json["spec"] && changed.json["metadata"]["labels"] == ["a": "b"])
        #expect(changed.json["status"]["certificate"] == nil)
    }

    @Test func whatNobodyCouldSignIsRefused() async throws {
        let fixture = try await Fixture()
        #expect(
            try await refusals(fixture, Self.request("x", pem: "nonsense"))["spec.request"]?
                .hasSuffix("PEM block type must be CERTIFICATE REQUEST") == true)
        let authority = try CertificateAuthority.create(commonName: "ca")
        #expect(
            try await refusals(fixture, Self.request("x", pem: authority.certificatePEM))["spec.request"]?
                .hasSuffix("PEM block type must be CERTIFICATE REQUEST") == true)
        // One byte of the signature differs.
        let pem = try CertificateRequest.create(commonName: "jane").requestPEM
        var lines = pem.split(separator: "\n").map(String.init)
        var der = try #require(Base64.bytes(lines.dropFirst().dropLast().joined()))
        der[der.count - 1] ^= 1
        lines = [lines[0], Base64.text(der), lines[lines.count - 1]]
        #expect(
            try await refusals(fixture, Self.request("x", pem: lines.joined(separator: "\n")))["spec.request"] != nil)
        var body = try Self.request("x")
        body["spec"]["usages"] = []
        #expect(try await refusals(fixture, body)["spec.usages"] == "Required value")
        body["spec"]["usages"] = ["client auth", "telepathy", "client auth"]
        body["spec"]["expirationSeconds"] = 599
        let many = try await refusals(fixture, body)
        #expect(
            many["spec.usages[1]"]?.hasPrefix("Unsupported value: \"telepathy\": supported values: \"any\"") == true)
        #expect(many["spec.usages[2]"] == "Duplicate value: \"client auth\"")
        #expect(
            many["spec.expirationSeconds"]
                == "Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)")
        let names = [
            "": "Required value",
            "plain":
                "Invalid value: \"plain\": must be a fully qualified domain and path of the form "
                + "'example.com/signer-name'",
            "kubernetes.io/legacy-unknown":
                "Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed via this API "
                + "version",
            "short/name": "Invalid value: \"short\": should be a domain with at least two segments separated by dots",
        ]
        for (name, refusal) in names {
            #expect(try await refusals(fixture, Self.request("x", signer: name))["spec.signerName"] == refusal)
        }
        let masters = try await fixture.send(
            "POST", Self.path,
            Self.request("x", signer: "kubernetes.io/kube-apiserver-client", organizations: ["system:masters"]))
        #expect(masters.status == 403)
        #expect(
            masters.json["message"].string
                == "certificatesigningrequests.certificates.k8s.io \"x\" is forbidden: use of "
                + "kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed")
    }

    @Test func approvalDecidesOnceAndNothingElse() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.send("POST", Self.path, Self.request("jane"))
        func approve(_ conditions: [JSON], _ more: JSON = [:]) async throws -> Fixture.Answer {
            var status = more
            status["conditions"] = .array(conditions)
            return try await fixture.send(
                "PATCH", Self.path + "/jane/approval", ["status": status], type: "application/merge-patch+json")
        }
        func message(_ answer: Fixture.Answer) -> String { answer.json["message"].string ?? "" }
        let both = try await approve([Self.condition("Approved"), Self.condition("Denied")])
        #expect(both.status == 422)
        #expect(
            message(both).hasSuffix(
                "\"Denied\": Approved and Denied conditions are mutually exclusive"))
        let unsure = try await approve([Self.condition("Approved", "False")])
        #expect(
            message(unsure).hasSuffix(
                "status.conditions[0].status: Unsupported value: \"False\": supported values: \"True\""))
        let approved = try await approve([Self.condition("Approved")], ["certificate": "eA=="])
        #expect(approved.status == 200, "\(approved.json)")
        #expect(approved.json["status"]["certificate"] == nil)
        let condition = approved.json["status"]["conditions"][0]
        #expect(condition["lastUpdateTime"].string != nil && condition["lastTransitionTime"].string != nil)
        let removed = try await approve([])
        #expect(
            message(removed).hasSuffix(
                "status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""))
        let other = try await approve([Self.condition("Denied")])
        #expect(other.status == 422)
        #expect(try await approve([Self.condition("Approved"), Self.condition("Denied")]).status == 422)
    }

    @Test func statusBringsTheCertificateOnceAndDecidesNothing() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.send("POST", Self.path, Self.request("jane"))
        func status(_ status: JSON) async throws -> Fixture.Answer {
            try await fixture.send(
                "PATCH", Self.path + "/jane/status", ["status": status], type: "application/merge-patch+json")
        }
        func message(_ answer: Fixture.Answer) -> String { answer.json["message"].string ?? "" }
        let decided = try await status(["conditions": [Self.condition("Approved")]])
        #expect(
            message(decided).hasSuffix(
                "status.conditions: Forbidden: updates may not add a condition of type \"Approved\""))
        _ = try await fixture.send(
            "PATCH", Self.path + "/jane/approval", ["status": ["conditions": [Self.condition("Approved")]]],
            type: "application/merge-patch+json")
        let stored = try await fixture.client.get(Self.requests, "jane")["status"]["conditions"]
        let noPEM = try await status(["certificate": Self.base64("nonsense")])
        #expect(
            message(noPEM).hasSuffix(
                "status.certificate: Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE PEM block"
            ))
        let authority = try CertificateAuthority.create(commonName: "ca")
        let wrong = try await status(["certificate": Self.base64(authority.privateKeyPEM)])
        #expect(
            message(wrong).hasSuffix(
                "only CERTIFICATE PEM blocks are allowed, found \"PRIVATE KEY\""))
        let issued = try authority.issue(commonName: "jane").certificatePEM
        // Whoever signs may add conditions of its own, and cannot change what was decided.
        var moved = try #require(stored?[0])
        moved["message"] = "changed"
        let signed = try await status([
            "certificate": Self.base64(issued), "conditions": .array([moved, Self.condition("Logged", "Unknown")]),
        ])
        #expect(signed.status == 200, "\(signed.json)")
        #expect(signed.json["status"]["conditions"][0] == stored?[0])
        #expect(signed.json["status"]["conditions"][1]["type"].string == "Logged")
        let again = try await status(["certificate": Self.base64(authority.certificatePEM)])
        #expect(
            message(again).hasSuffix(
                "status.certificate: Forbidden: updates may not modify existing certificate content"))
    }

    @Test func signersBelongToWhoMayUseThem() async throws {
        let fixture = try await Fixture()
        for name in ["one", "two"] { _ = try await fixture.send("POST", Self.path, Self.request(name)) }
        func grant(_ user: String, _ verb: String, _ signer: String) async throws {
            var role = KubeObject(.clusterRoles, kind: "ClusterRole", name: user)
            role["rules"] = [
                [
                    "apiGroups": ["certificates.k8s.io"],
                    "resources": ["certificatesigningrequests/approval", "certificatesigningrequests/status"],
                    "verbs": ["patch"],
                ],
                [
                    "apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "verbs": [JSON(verb)],
                    "resourceNames": [JSON(signer)],
                ],
            ]
            _ = try await fixture.client.create(.clusterRoles, role)
            var binding = KubeObject(.clusterRoleBindings, kind: "ClusterRoleBinding", name: user)
            binding["roleRef"] = ["apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": JSON(user)]
            binding["subjects"] = [["kind": "User", "name": JSON(user), "apiGroup": "rbac.authorization.k8s.io"]]
            _ = try await fixture.client.create(.clusterRoleBindings, binding)
        }
        try await grant("approver", "approve", "example.com/signer")
        try await grant("stranger", "approve", "example.com/other")
        try await grant("domain", "sign", "example.com/*")
        func write(_ user: String, _ name: String, _ part: String, _ status: JSON) async throws -> Fixture.Answer {
            try await fixture.send(
                "PATCH", "\(Self.path)/\(name)/\(part)", ["status": status], type: "application/merge-patch+json",
                as: user)
        }
        let approval: JSON = ["conditions": [Self.condition("Approved")]]
        let refused = try await write("stranger", "one", "approval", approval)
        #expect(refused.status == 403)
        #expect(
            refused.json["message"].string
                == "certificatesigningrequests.certificates.k8s.io \"one\" is forbidden: user not permitted to approve "
                + "requests with signerName \"example.com/signer\"")
        #expect(try await write("approver", "one", "approval", approval).status == 200)
        #expect(try await write("domain", "two", "approval", approval).status == 403)
        let failed: JSON = ["conditions": [Self.condition("Failed")]]
        let unsigned = try await write("approver", "two", "status", failed)
        #expect(
            unsigned.json["message"].string?.hasSuffix(
                "user not permitted to sign requests with signerName \"example.com/signer\"") == true)
        #expect(try await write("domain", "two", "status", failed).status == 200)
    }
}
