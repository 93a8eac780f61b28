// SPDX-License-Identifier: Apache-2.0

import APIServer
import HTTPServing
import KubeClient
import KubeObjects
import NIOHTTP1
import PKI
import Testing
import Values

/// Tokens that stand in Secrets: their use is noted, and those marked as invalid are refused.
@Suite struct SecretTokenTests {
    private static let lastUsed = "kubernetes.io/legacy-token-last-used"
    private static let invalidSince = "kubernetes.io/legacy-token-invalid-since"

    /// Makes the Secret of an account's token, as the controllers do.
    private static func secret(
        _ name: String, _ account: KubeObject, _ signer: TokenSigner, labels: [String: String] = [:]
    ) throws -> (object: KubeObject, token: String) {
        let prefix = "kubernetes.io/serviceaccount"
        let token = try signer.sign(
            .object([
                "iss": "kubernetes/serviceaccount", "sub": JSON("system:serviceaccount:default:\(account.name)"),
                "\(prefix)/namespace": "default", "\(prefix)/secret.name": JSON(name),
                "\(prefix)/service-account.name": JSON(account.name),
                "\(prefix)/service-account.uid": JSON(account.uid),
            ]))
        var secret = KubeObject(.secrets, kind: "Secret", name: name, namespace: "default", labels: labels)
        secret.metadata["annotations"] = ["kubernetes.io/service-account.name": JSON(account.name)]
        secret["type"] = "kubernetes.io/service-account-token"
        secret["data"] = ["token": JSON(Base64.text(Array(token.utf8)))]
        return (secret, token)
    }

    @Test func theDayOfTheLastUseIsNotedAndAMarkedTokenIsRefused() async throws {
        let signer = TokenSigner.create()
        let nobody = ClientCertificate(commonName: "", organizations: [])
        let today = String(Timestamp.now.description.prefix(10))
        try await NetworkFixture.with(adjust: { $0.tokenSigner = signer }, user: nobody) { fixture in
            var robot = KubeObject(.serviceAccounts, kind: "ServiceAccount", name: "robot", namespace: "default")
            robot["secrets"] = [["name": "generated"]]
            let account = try await fixture.client.create(.serviceAccounts, robot)
            /// Who the bearer is, what they hear, and the labels of their Secret then.
            func use(_ name: String, _ token: String) async throws -> (String?, String?, [String: String]) {
                let answer = try await fixture.send(
                    "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
                    headers: ["Authorization": "Bearer \(token)", "Content-Type": "application/json"],
                    body: Array(#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#.utf8))
                let user = answer.status == 201 ? answer.json["status"]["userInfo"]["username"].string : nil
                #expect(user != nil || answer.status == 401)
                return (
                    user, answer.headers.first(name: "warning"),
                    try await fixture.client.get(.secrets, name, in: "default").labels
                )
            }
            let generated = try Self.secret("generated", account, signer, labels: [Self.lastUsed: "2020-01-01"])
            let manual = try Self.secret("manual", account, signer)
            for secret in [generated, manual] { _ = try await fixture.client.create(.secrets, secret.object) }
            let byHand = try await use("manual", manual.token)
            #expect(byHand.0 == "system:serviceaccount:default:robot" && byHand.1 == nil)
            #expect(byHand.2 == [Self.lastUsed: today])
            let before = try await fixture.client.get(.secrets, "manual", in: "default")
            #expect(before.metadata["managedFields"].array?.contains { $0["manager"] == "kube-apiserver" } == true)
            _ = try await use("manual", manual.token)
            let after = try await fixture.client.get(.secrets, "manual", in: "default")
            #expect(after.resourceVersion == before.resourceVersion)
            let old = try await use("generated", generated.token)
            #expect(old.0 == "system:serviceaccount:default:robot" && old.2 == [Self.lastUsed: today])
            #expect(old.1?.contains("secret default/generated was made automatically") == true)
            // A token that is marked is refused, and that it was tried is noted all the same.
            let mark: JSON = [
                "metadata": ["labels": .object([Self.invalidSince: "2020-02-02", Self.lastUsed: "2020-01-01"])]
            ]
            try await fixture.client.patch(.secrets, "generated", in: "default", type: .merge, mark)
            let refused = try await use("generated", generated.token)
            #expect(refused.0 == nil && refused.2 == [Self.invalidSince: "2020-02-02", Self.lastUsed: today])
            // Who takes the mark away can use it again.
            try await fixture.client.patch(
                .secrets, "generated", in: "default", type: .merge,
                ["metadata": ["labels": .object([Self.invalidSince: .null])]])
            #expect(try await use("generated", generated.token).0 == "system:serviceaccount:default:robot")
        }
    }
}
