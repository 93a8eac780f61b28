// SPDX-License-Identifier: Apache-2.0

import APIServer
import KubeClient
import KubeObjects
import Testing
import Values

/// The ways by which somebody could come to more than they were given, and where each ends: the table of
/// docs/security.md.
@Suite struct EscalationTests {
    private static let rbac = "/apis/rbac.authorization.k8s.io/v1"
    private static let everything: JSON = [["apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]]]

    /// Gives bob the rules in the whole cluster.
    private func fixture(_ rules: JSON...) async throws -> Fixture {
        let fixture = try await Fixture()
        var role = KubeObject(.clusterRoles, kind: "ClusterRole", name: "bob")
        role["rules"] = .array(rules)
        _ = try await fixture.client.create(.clusterRoles, role)
        var binding = KubeObject(.clusterRoleBindings, kind: "ClusterRoleBinding", name: "bob")
        binding["roleRef"] = ["apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bob"]
        binding["subjects"] = [["kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"]]
        _ = try await fixture.client.create(.clusterRoleBindings, binding)
        return fixture
    }

    private static func rule(_ group: String, _ resources: [String], _ verbs: [String]) -> JSON {
        ["apiGroups": [JSON(group)], "resources": JSON(resources), "verbs": JSON(verbs)]
    }

    private static let writesRoles = rule(
        "rbac.authorization.k8s.io", ["roles", "clusterroles", "rolebindings", "clusterrolebindings"],
        ["get", "create", "update", "patch", "delete"])

    private static let all: JSON = ["clusterRoleSelectors": [["matchLabels": [:]]]]

    private static func binding(to role: String) -> JSON {
        [
            "metadata": ["name": "mine"],
            "roleRef": ["apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": JSON(role)],
            "subjects": [["kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"]],
        ]
    }

    private static let words = "must have cluster-admin privileges to use the aggregationRule"

    @Test func anAggregationRuleAsksForEverything() async throws {
        let fixture = try await fixture(Self.writesRoles)
        func message(_ answer: Fixture.Answer) -> String { answer.json["message"].string ?? "" }
        let roles = "\(Self.rbac)/clusterroles"
        // The attack: an empty role, bound to oneself, then made to select all.
        #expect(
            try await fixture.send("POST", roles, ["metadata": ["name": "empty"], "rules": []], as: "bob").status == 201
        )
        #expect(
            try await fixture.send("POST", "\(Self.rbac)/clusterrolebindings", Self.binding(to: "empty"), as: "bob")
                .status == 201)
        for type in ["application/merge-patch+json", "application/strategic-merge-patch+json"] {
            let patched = try await fixture.send(
                "PATCH", "\(roles)/empty", ["aggregationRule": Self.all], type: type, as: "bob")
            #expect(patched.status == 403 && message(patched).hasSuffix(Self.words), "\(patched.json)")
        }
        let applied = try await fixture.send(
            "PATCH", "\(roles)/empty?fieldManager=bob&force=true",
            [
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": ["name": "empty"],
                "aggregationRule": Self.all,
            ], type: "application/apply-patch+yaml", as: "bob")
        #expect(applied.status == 403, "\(applied.json)")
        let made = try await fixture.send(
            "POST", roles, ["metadata": ["name": "other"], "aggregationRule": Self.all], as: "bob")
        #expect(made.status == 403 && message(made).hasSuffix(Self.words), "\(made.json)")
        #expect(try await fixture.send("GET", "/api/v1/secrets", as: "bob").status == 403)
        // Nor may it be changed where it stands: what is to be taken away would stay.
        let labels: JSON = ["metadata": ["labels": ["a": "b"]]]
        let labelled = try await fixture.send(
            "PATCH", "\(roles)/view", labels, type: "application/merge-patch+json", as: "bob")
        #expect(labelled.status == 403, "\(labelled.json)")
        // Who holds everything without being of system:masters may.
        let holder = try await self.fixture(
            ["apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]], ["nonResourceURLs": ["*"], "verbs": ["*"]])
        let allowed = try await holder.send(
            "POST", roles, ["metadata": ["name": "other"], "aggregationRule": Self.all], as: "bob")
        #expect(allowed.status == 201, "\(allowed.json)")
    }

    @Test func rolesThatOthersSelectAreGivenNoMoreThanTheirWriterHolds() async throws {
        let fixture = try await fixture(Self.writesRoles)
        let label: JSON = ["rbac.authorization.k8s.io/aggregate-to-view": "true"]
        let made = try await fixture.send(
            "POST", "\(Self.rbac)/clusterroles",
            ["metadata": ["name": "more", "labels": label], "rules": Self.everything], as: "bob")
        #expect(made.status == 403)
        let labelled = try await fixture.send(
            "PATCH", "\(Self.rbac)/clusterroles/cluster-admin", ["metadata": ["labels": label]],
            type: "application/merge-patch+json", as: "bob")
        #expect(labelled.status == 403)
    }

    @Test func bindingsGiveNoMoreThanTheirWriterHolds() async throws {
        let fixture = try await fixture(Self.writesRoles)
        let bound = try await fixture.send(
            "POST", "\(Self.rbac)/clusterrolebindings", Self.binding(to: "cluster-admin"), as: "bob")
        #expect(bound.status == 403)
        let missing = try await fixture.send(
            "POST", "\(Self.rbac)/clusterrolebindings", Self.binding(to: "later"), as: "bob")
        #expect(missing.status == 404)
        _ = try await fixture.send("POST", "\(Self.rbac)/clusterrolebindings", Self.binding(to: "bob"), as: "bob")
        let moved = try await fixture.send(
            "PATCH", "\(Self.rbac)/clusterrolebindings/mine", ["roleRef": ["name": "cluster-admin"]],
            type: "application/merge-patch+json", as: "bob")
        #expect(moved.status == 422 && moved.json["message"].string?.contains("cannot change roleRef") == true)
    }

    @Test func whoMayBindOrEscalateDoes() async throws {
        let binder = try await fixture(
            Self.writesRoles, Self.rule("rbac.authorization.k8s.io", ["clusterroles"], ["bind"]))
        #expect(
            try await binder.send(
                "POST", "\(Self.rbac)/clusterrolebindings", Self.binding(to: "cluster-admin"), as: "bob"
            ).status == 201)
        let escalator = try await fixture(
            Self.writesRoles, Self.rule("rbac.authorization.k8s.io", ["clusterroles"], ["escalate"]))
        #expect(
            try await escalator.send(
                "POST", "\(Self.rbac)/clusterroles", ["metadata": ["name": "more"], "rules": Self.everything], as: "bob"
            ).status == 201)
    }

    @Test func theGarbageCollectorLetsGoOfWhatItDoesNotHold() async throws {
        let fixture = try await fixture(Self.writesRoles)
        var role = KubeObject(.roles, kind: "Role", name: "r", namespace: "default")
        role["rules"] = [["apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]]]
        role.metadata["finalizers"] = ["example.com/hold"]
        _ = try await fixture.client.create(.roles, role)
        let path = "\(Self.rbac)/namespaces/default/roles/r"
        func patch(_ metadata: JSON) async throws -> Int {
            try await fixture.send(
                "PATCH", path, ["metadata": metadata], type: "application/merge-patch+json", as: "bob"
            ).status
        }
        #expect(try await patch(["labels": ["a": "b"]]) == 403)
        #expect(try await patch(["finalizers": .null]) == 200)
    }

    /// What is refused to who may write other things: the verbs that lead further are verbs of their own.
    private static let further: [(method: String, path: String, body: JSON, type: String)] = [
        ("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", [:], "application/json"),
        ("GET", "/api/v1/nodes/n1/proxy/pods", [:], "application/json"),
        ("POST", "/api/v1/nodes/n1/proxy/run/x", [:], "application/json"),
        ("POST", "/api/v1/namespaces/default/pods/p/exec", [:], "application/json"),
        ("POST", "/api/v1/namespaces/default/pods/p/binding", [:], "application/json"),
        ("PUT", "/api/v1/namespaces/default/finalize", [:], "application/json"),
        (
            "PUT", "/apis/certificates.k8s.io/v1/certificatesigningrequests/c/approval", [:], "application/json"
        ),
        ("PUT", "/apis/certificates.k8s.io/v1/certificatesigningrequests/c/status", [:], "application/json"),
        (
            "PATCH", "/api/v1/namespaces/default/pods/p/ephemeralcontainers", [:],
            "application/strategic-merge-patch+json"
        ),
        ("GET", "/api/v1/namespaces/default/secrets", [:], "application/json"),
    ]

    @Test func whatLeadsFurtherAsksForARightOfItsOwn() async throws {
        let fixture = try await fixture(
            Self.rule("", ["pods", "nodes", "serviceaccounts", "configmaps", "namespaces"], ["*"]),
            Self.rule("certificates.k8s.io", ["certificatesigningrequests"], ["*"]))
        _ = try await fixture.client.create(.nodes, KubeObject(.nodes, kind: "Node", name: "n1"))
        _ = try await fixture.client.create(.pods, pod("p"))
        for request in Self.further {
            let answer = try await fixture.send(
                request.method, request.path, request.body, type: request.type, as: "bob")
            #expect(answer.status == 403, "\(request.method) \(request.path): \(answer.status)")
        }
        // Who may make pods may have them run as any account of the namespace, as upstream allows.
        var robot = pod("robot")
        _ = try await fixture.client.create(
            .serviceAccounts, KubeObject(.serviceAccounts, kind: "ServiceAccount", name: "robot", namespace: "default"))
        robot["spec"]["serviceAccountName"] = "robot"
        #expect(
            try await fixture.send("POST", "/api/v1/namespaces/default/pods", robot.json, as: "bob").status == 201)
    }

    @Test func finalizersOfOwnersAreNotHeldBack() async throws {
        // OwnerReferencesPermissionEnforcement is off, as upstream has it: who may write an object may say that another
        // one owns it, and that this one's deletion has to wait.
        let fixture = try await fixture(Self.rule("", ["configmaps"], ["create"]))
        let owner = try await fixture.client.create(.pods, pod("owner"))
        var map = configMap("owned")
        map.metadata["ownerReferences"] = [
            [
                "apiVersion": "v1", "kind": "Pod", "name": "owner", "uid": JSON(owner.uid),
                "blockOwnerDeletion": true,
            ]
        ]
        #expect(
            try await fixture.send("POST", "/api/v1/namespaces/default/configmaps", map.json, as: "bob").status == 201)
    }

    @Test func nobodyActsAsAMasterWithoutTheRight() async throws {
        let fixture = try await fixture(Self.rule("", ["users", "serviceaccounts"], ["impersonate"]))
        func status(_ headers: [(String, String)]) async throws -> Int {
            let transport = fixture.server.inProcessTransport(user: "bob", groups: [])
            return try await transport.send(
                APIRequest(method: "GET", path: "/api/v1/secrets", headers: headers)
            ).status
        }
        #expect(
            try await status([("Impersonate-User", "ann"), ("Impersonate-Group", "system:masters")]) == 403)
        #expect(try await status([("Impersonate-Group", "system:masters")]) == 400)
        // What proxies say of their clients is nobody's word here.
        #expect(try await status([("X-Remote-User", "ann"), ("X-Remote-Group", "system:masters")]) == 403)
    }
}
