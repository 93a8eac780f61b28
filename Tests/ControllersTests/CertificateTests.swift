// SPDX-License-Identifier: Apache-2.0

import Controllers
import KubeClient
import KubeObjects
import PKI
import Testing
import Values

extension GroupVersionResource {
    static let certificateRequests = GroupVersionResource("certificates.k8s.io", "v1", "certificatesigningrequests")
}

/// Requests for certificates: who approves them, who signs them, when they go.
@Suite(.timeLimit(.minutes(1))) struct CertificateTests {
    private static func request(
        _ name: String, _ signer: String, _ pem: String, usages: [String], seconds: Int? = nil
    ) -> KubeObject {
        var request = KubeObject(.certificateRequests, kind: "CertificateSigningRequest", name: name)
        request["spec"] = [
            "signerName": JSON("kubernetes.io/\(signer)"), "request": JSON(Base64.text(Array(pem.utf8))),
            "usages": JSON(usages),
        ]
        if let seconds { request["spec"]["expirationSeconds"] = JSON(seconds) }
        return request
    }

    private static func approve(_ client: KubeClient, _ name: String, at time: Timestamp = .now) async throws {
        let condition: JSON = [
            "type": "Approved", "status": "True", "reason": "Test", "lastUpdateTime": JSON(time.description),
        ]
        try await client.patch(
            .certificateRequests, name, type: .merge, ["status": ["conditions": .array([condition])]],
            subresource: "approval")
    }

    private static func summary(_ request: KubeObject?) throws -> CertificateSummary {
        let bytes = try #require(Base64.bytes(request?["status"]["certificate"].string ?? ""))
        return try CertificateSummary(pem: String(decoding: bytes, as: UTF8.self))
    }

    private static let nodeUsages = ["digital signature", "key encipherment", "client auth"]

    @Test func aKubeletsOwnRequestIsApprovedAndSigned() async throws {
        try await TestCluster.with(nodes: ["a"]) { cluster in
            let name = "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient"
            var binding = KubeObject(.clusterRoleBindings, kind: "ClusterRoleBinding", name: "renew")
            binding["roleRef"] = ["apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": JSON(name)]
            binding["subjects"] = [
                ["apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"]
            ]
            try await cluster.client.create(.clusterRoleBindings, binding)
            let node = cluster.client("system:node:a", groups: ["system:nodes"])
            let own = try CertificateRequest.create(commonName: "system:node:a", organizations: ["system:nodes"])
            try await node.create(
                .certificateRequests,
                Self.request(
                    "own", "kube-apiserver-client-kubelet", own.requestPEM, usages: Self.nodeUsages, seconds: 3600))
            let signed = try await cluster.until(.certificateRequests) {
                $0.named("own")?["status"]["certificate"] != nil
            }.named("own")
            #expect(signed?["status"]["conditions"][0]["reason"].string == "AutoApproved")
            #expect(
                signed?["status"]["conditions"][0]["message"].string
                    == "Auto approving self kubelet client certificate after SubjectAccessReview.")
            let summary = try Self.summary(signed)
            #expect(summary.commonName == "system:node:a" && summary.organizations == ["system:nodes"])
            let left = summary.notAfter.seconds(since: .now)
            // Certificates know whole seconds.
            #expect(left <= 3601 && left > 3000)
            // Another's certificate is not its to have: nobody approves it.
            let other = try CertificateRequest.create(commonName: "system:node:b", organizations: ["system:nodes"])
            try await node.create(
                .certificateRequests,
                Self.request("other", "kube-apiserver-client-kubelet", other.requestPEM, usages: Self.nodeUsages))
            try await node.create(
                .certificateRequests,
                Self.request("last", "kube-apiserver-client-kubelet", own.requestPEM, usages: Self.nodeUsages))
            let all = try await cluster.until(.certificateRequests) {
                $0.named("last")?["status"]["certificate"] != nil
            }
            #expect(all.named("other")?["status"]["conditions"] == nil)
        }
    }

    @Test func aSignerSaysWhyItDoesNotSign() async throws {
        try await TestCluster.with(nodes: []) { cluster in
            let client = cluster.client
            let jane = try CertificateRequest.create(commonName: "jane", organizations: ["dev"])
            let node = try CertificateRequest.create(
                commonName: "system:node:a", organizations: ["system:nodes"], dnsNames: ["a"])
            let serving = ["digital signature", "key encipherment", "server auth"]
            let cases: [(name: String, KubeObject, refusal: String?)] = [
                ("jane", Self.request("jane", "kube-apiserver-client", jane.requestPEM, usages: ["client auth"]), nil),
                (
                    "wrong", Self.request("wrong", "kube-apiserver-client", jane.requestPEM, usages: serving),
                    "invalid usage for client certificate: server auth"
                ),
                ("serving", Self.request("serving", "kubelet-serving", node.requestPEM, usages: serving), nil),
                (
                    "nobody", Self.request("nobody", "kubelet-serving", jane.requestPEM, usages: serving),
                    "subject organization is not system:nodes"
                ),
                (
                    "named",
                    Self.request(
                        "named", "kube-apiserver-client-kubelet", node.requestPEM, usages: Self.nodeUsages),
                    "DNS subjectAltNames are not allowed"
                ),
                (
                    "usages", Self.request("usages", "kubelet-serving", node.requestPEM, usages: Self.nodeUsages),
                    "usages did not match [digital signature key encipherment server auth]"
                ),
            ]
            for (name, request, _) in cases {
                try await client.create(.certificateRequests, request)
                try await Self.approve(client, name)
            }
            let done = try await cluster.until(.certificateRequests) { requests in
                requests.count == cases.count
                    && requests.allSatisfy {
                        $0["status"]["certificate"] != nil || $0["status"]["conditions"].array?.count == 2
                    }
            }
            for (name, _, refusal) in cases {
                let request = done.named(name)
                if let refusal {
                    #expect(request?["status"]["certificate"] == nil, "\(name)")
                    let failed = request?["status"]["conditions"].array?.first { $0["type"].string == "Failed" }
                    #expect(failed?["reason"].string == "SignerValidationFailure", "\(name)")
                    #expect(failed?["message"].string == refusal, "\(name)")
                } else {
                    #expect(request?["status"]["conditions"].array?.count == 1, "\(name)")
                }
            }
            #expect(try Self.summary(done.named("jane")).organizations == ["dev"])
            #expect(try Self.summary(done.named("jane")).notAfter.seconds(since: .now) > 364 * 86400)
            #expect(try Self.summary(done.named("serving")).dnsNames == ["a"])
        }
    }

    @Test func whatWasDecidedLongAgoIsDeleted() async throws {
        try await TestCluster.with(nodes: []) { cluster in
            let jane = try CertificateRequest.create(commonName: "jane")
            for name in ["old", "new"] {
                try await cluster.client.create(
                    .certificateRequests,
                    Self.request(name, "kube-apiserver-client", jane.requestPEM, usages: ["client auth"]))
            }
            try await Self.approve(cluster.client, "old", at: Timestamp.now.adding(seconds: -3700))
            try await Self.approve(cluster.client, "new")
            try await cluster.until(.certificateRequests) {
                $0.named("old") == nil && $0.named("new")?["status"]["certificate"] != nil
            }
        }
    }

    @Test func aRequestLivesAsLongAsItIsOfUse() throws {
        let made = Timestamp(seconds: 1_000_000)
        var request = Self.request("x", "kube-apiserver-client", "", usages: [])
        request.metadata["creationTimestamp"] = JSON(made.description)
        #expect(CertificateRequestLife(request).end == made.adding(seconds: 86400))
        request["status"] = ["conditions": [["type": "Denied", "lastUpdateTime": JSON(made.description)]]]
        #expect(CertificateRequestLife(request).end == made.adding(seconds: 3600))
        // One that has run out goes although it was approved just now.
        let issued = try CertificateAuthority.create(commonName: "ca").issue(commonName: "x", validity: 0)
        let ends = try CertificateSummary(pem: issued.certificatePEM).notAfter
        request["status"] = [
            "conditions": [["type": "Approved", "lastUpdateTime": JSON(Timestamp.now.description)]],
            "certificate": JSON(Base64.text(Array(issued.certificatePEM.utf8))),
        ]
        #expect(CertificateRequestLife(request).end == ends)
    }
}
