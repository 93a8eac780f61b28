// SPDX-License-Identifier: Apache-2.0

import Controllers
import KubeClient
import KubeObjects
import Testing
import Values

/// Tokens in Secrets, and roles that are made of others.
@Suite(.timeLimit(.minutes(1))) struct IdentityTests {
    private static func secret(_ name: String, account: String) -> KubeObject {
        var secret = KubeObject(.secrets, kind: "Secret", name: name, namespace: "default")
        secret.metadata["annotations"] = ["kubernetes.io/service-account.name": JSON(account)]
        secret["type"] = "kubernetes.io/service-account-token"
        return secret
    }

    private static func review(_ cluster: TestCluster, _ token: String) async throws -> JSON? {
        let reviews = GroupVersionResource("authentication.k8s.io", "v1", "tokenreviews")
        let review: JSON = [
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": ["token": JSON(token)],
        ]
        return try await cluster.client.create(reviews, KubeObject(review))["status"]
    }

    @Test func aSecretGetsTheTokenOfItsAccountAndGoesWithIt() async throws {
        try await TestCluster.with(nodes: []) { cluster in
            let client = cluster.client
            let account = try await client.create(
                .serviceAccounts,
                KubeObject(.serviceAccounts, kind: "ServiceAccount", name: "robot", namespace: "default"))
            try await client.create(.secrets, Self.secret("robot-token", account: "robot"))
            try await client.create(.secrets, Self.secret("of-nobody", account: "missing"))
            let secrets = try await cluster.until(.secrets, in: "default") {
                $0.named("robot-token")?["data"]["token"] != nil && $0.named("of-nobody") == nil
            }
            let secret = try #require(secrets.named("robot-token"))
            #expect(secret.annotations["kubernetes.io/service-account.uid"] == account.uid)
            func text(_ key: String) -> String {
                String(decoding: Base64.bytes(secret["data"][key].string ?? "") ?? [], as: UTF8.self)
            }
            #expect(text("ca.crt") == "PEM" && text("namespace") == "default")
            let status = try await Self.review(cluster, text("token"))
            #expect(status["authenticated"].bool == true)
            #expect(status["user"]["username"].string == "system:serviceaccount:default:robot")
            #expect(status["user"]["uid"].string == account.uid)
            // What somebody takes out is filled in again, with another token; the old one is no good any more.
            try await client.patch(
                .secrets, "robot-token", in: "default", type: .merge, ["data": ["token": .null, "ca.crt": .null]])
            try await cluster.until(.secrets, in: "default") {
                $0.named("robot-token")?["data"]["token"] != nil && $0.named("robot-token")?["data"]["ca.crt"] != nil
            }
            try await client.delete(.serviceAccounts, "robot", in: "default")
            try await cluster.until(.secrets, in: "default") { $0.named("robot-token") == nil }
            #expect(try await Self.review(cluster, text("token"))["authenticated"].bool != true)
        }
    }

    @Test func aRoleOfRolesHoldsTheirRules() async throws {
        try await TestCluster.with(nodes: []) { cluster in
            @Sendable func resources(_ roles: [KubeObject], _ name: String) -> [String] {
                (roles.named(name)?["rules"].array ?? []).flatMap { $0["resources"].array?.compactMap(\.string) ?? [] }
            }
            // `admin` holds what `edit` holds, which holds what `view` holds.
            try await cluster.until(.clusterRoles) { roles in
                ["rolebindings", "secrets", "endpointslices"].allSatisfy(resources(roles, "admin").contains)
            }
            var custom = KubeObject(
                .clusterRoles, kind: "ClusterRole", name: "see-things",
                labels: ["rbac.authorization.k8s.io/aggregate-to-view": "true"])
            custom["rules"] = [["apiGroups": ["example.com"], "resources": ["things"], "verbs": ["get"]]]
            try await cluster.client.create(.clusterRoles, custom)
            try await cluster.until(.clusterRoles) { roles in
                ["view", "edit", "admin"].allSatisfy { resources(roles, $0).contains("things") }
            }
            try await cluster.client.delete(.clusterRoles, "see-things")
            try await cluster.until(.clusterRoles) { roles in
                !["view", "edit", "admin"].contains { resources(roles, $0).contains("things") }
            }
        }
    }
}
