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

    private static let made = "2020-01-10T06:00:00Z"

    @Test(
        "when a token that nobody uses is given up",
        arguments: [
            // Without a note of its use, what counts is when it was made and since when uses are noted.
            ("2020-01-01", [:], .invalidate, "2020-01-20T06:00:00Z"),
            ("2020-01-10", [:], .invalidate, "2020-01-21T00:00:00Z"),
            // A day is over at its end.
            ("2020-01-01", ["last-used": "2020-02-01"], .invalidate, "2020-02-12T00:00:00Z"),
            ("2020-01-01", ["invalid-since": "2020-02-12"], .delete, "2020-02-23T00:00:00Z"),
            (
                "2020-01-01", ["last-used": "2020-03-01", "invalid-since": "2020-02-12"], .delete,
                "2020-03-12T00:00:00Z"
            ),
            // A mark that is no day is made anew; of a use that is no day nothing is known.
            ("2020-01-01", ["invalid-since": "2020-02-30"], .invalidate, "2020-01-20T06:00:00Z"),
            ("2020-01-01", ["last-used": "yesterday"], nil, ""),
        ] as [(String, [String: String], LegacyTokenLife.Step?, String)])
    func life(tracked: String, labels: [String: String], step: LegacyTokenLife.Step?, end: String) throws {
        var secret = Self.secret("t", account: "robot")
        secret.metadata["creationTimestamp"] = JSON(Self.made)
        secret.metadata["labels"] = JSON(
            Dictionary(uniqueKeysWithValues: labels.map { ("kubernetes.io/legacy-token-\($0.key)", $0.value) }))
        let since = try #require(Timestamp("\(tracked)T00:00:00Z"))
        let life = LegacyTokenLife(secret, trackedSince: since, period: 10 * 86400)
        #expect(life?.step == step && life?.end.description ?? "" == end)
    }

    @Test func aTokenThatNobodyUsesIsMarkedAndThenDeleted() async throws {
        let (lastUsed, invalidSince) = (
            "kubernetes.io/legacy-token-last-used", "kubernetes.io/legacy-token-invalid-since"
        )
        let tracking = "kube-apiserver-legacy-service-account-token-tracking"
        let today = String(Timestamp.now.description.prefix(10))
        let configuration = ControllerConfiguration(
            clusterCACertificatePEM: "PEM", legacyTokenPeriod: .seconds(1))
        try await TestCluster.with(nodes: [], configuration: configuration) { cluster in
            let client = cluster.client
            for name in ["robot", "human"] {
                var account = KubeObject(.serviceAccounts, kind: "ServiceAccount", name: name, namespace: "default")
                // Only the account's reference tells a token that was made for it from one that somebody made.
                if name == "robot" { account["secrets"] = [["name": "robot-token"], ["name": "mounted"]] }
                try await client.create(.serviceAccounts, account)
            }
            var pod = KubeObject(.pods, kind: "Pod", name: "user", namespace: "default")
            pod["spec"] = [
                "containers": [["name": "c", "image": "i"]],
                "volumes": [["name": "v", "secret": ["secretName": "mounted"]]],
            ]
            try await client.create(.pods, pod)
            for (name, account) in [("robot-token", "robot"), ("mounted", "robot"), ("human-token", "human")] {
                try await client.create(.secrets, Self.secret(name, account: account))
            }
            let filled = try await cluster.until(.secrets, in: "default") { all in
                all.count == 3 && all.allSatisfy { $0["data"]["token"] != nil }
            }
            func token(_ name: String) -> String {
                let text = filled.named(name)?["data"]["token"].string ?? ""
                return String(decoding: Base64.bytes(text) ?? [], as: UTF8.self)
            }
            #expect(try await Self.review(cluster, token("human-token"))["authenticated"].bool == true)
            // Uses are noted since today: it is too early to say that one was not used.
            let map = try await cluster.until(.configMaps, in: "kube-system") { $0.named(tracking) != nil }
            #expect(map.named(tracking)?["data"]["since"].string == today)
            try await client.patch(
                .configMaps, tracking, in: "kube-system", type: .merge, ["data": ["since": "2020-01-01"]])
            let marked = try await cluster.until(.secrets, in: "default") { all in
                all.named("robot-token")?.labels[invalidSince] != nil
            }
            #expect(marked.named("robot-token")?.labels == [invalidSince: today])
            #expect(marked.named("human-token")?.labels == [lastUsed: today])
            #expect(marked.named("mounted")?.labels == [:])
            let refused = try await Self.review(cluster, token("robot-token"))
            #expect(refused["authenticated"].bool != true)
            #expect(refused["error"].string?.contains(invalidSince) == true)
            #expect(
                try await client.get(.secrets, "robot-token", in: "default").labels
                    == [invalidSince: today, lastUsed: today])
            try await client.patch(
                .secrets, "robot-token", in: "default", type: .merge,
                ["metadata": ["labels": .object([invalidSince: "2020-02-01", lastUsed: "2020-01-01"])]])
            try await cluster.until(.secrets, in: "default") { $0.named("robot-token") == nil }
            try await cluster.until(.serviceAccounts, in: "default") {
                $0.named("robot")?["secrets"] == [["name": "mounted"]]
            }
            // What a pod used is given up when the pod is gone.
            try await client.delete(.pods, "user", in: "default", gracePeriodSeconds: 0)
            try await cluster.until(.secrets, in: "default") { $0.named("mounted")?.labels[invalidSince] == today }
            #expect(try await client.get(.secrets, "human-token", in: "default").labels == [lastUsed: today])
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
