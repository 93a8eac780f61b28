// SPDX-License-Identifier: Apache-2.0

import APIServer
import HTTPServing
import KubeClient
import KubeObjects
import NIOHTTP1
import Testing
import Values

@Suite struct AccessTests {
    private let pods = "/api/v1/namespaces/default/pods"

    @Test func refusalsHaveKubernetesWords() async throws {
        let fixture = try await Fixture()
        let list = try await fixture.send("GET", pods, as: "bob")
        #expect(list.status == 403)
        #expect(
            list.json["message"].string == "pods is forbidden: User \"bob\" cannot list resource \"pods\" in API group "
                + "\"\" in the namespace \"default\"")
        #expect(list.json["reason"].string == "Forbidden")
        #expect(list.json["details"] == ["kind": "pods"])
        let get = try await fixture.send("GET", "/apis/apps/v1/deployments", as: "bob")
        #expect(
            get.json["message"].string == "deployments.apps is forbidden: User \"bob\" cannot list resource "
                + "\"deployments\" in API group \"apps\" at the cluster scope")
        let log = try await fixture.send("GET", pods + "/x/log", as: "bob")
        #expect(
            log.json["message"].string == "pods \"x\" is forbidden: User \"bob\" cannot get resource \"pods/log\" in "
                + "API group \"\" in the namespace \"default\"")
        let path = try await fixture.send("GET", "/metrics", as: "bob")
        #expect(path.json["message"].string == "forbidden: User \"bob\" cannot get path \"/metrics\"")
    }

    @Test func aCertificateIsLookedAtBeforeAToken() async throws {
        let fixture = try await Fixture()
        for (user, status) in [("bob", 403), (nil, 401)] {
            let request = try #require(
                HTTPRequest(
                    method: "GET", target: pods, headers: ["Authorization": "Bearer nobody's"],
                    client: user.map { ClientCertificate(commonName: $0, organizations: []) }))
            #expect(await fixture.server.respond(to: request).status == status)
        }
    }

    private func role(_ fixture: Fixture, _ rule: JSON) async throws {
        var role = KubeObject(.roles, kind: "Role", name: "r", namespace: "default")
        role["rules"] = .array([rule])
        _ = try await fixture.client.create(.roles, role)
        var binding = KubeObject(.roleBindings, kind: "RoleBinding", name: "r", namespace: "default")
        binding["roleRef"] = ["apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"]
        binding["subjects"] = [["kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"]]
        _ = try await fixture.client.create(.roleBindings, binding)
    }

    @Test func rolesHoldInTheirNamespaceAndForTheirNames() async throws {
        let fixture = try await Fixture()
        try await role(
            fixture, ["apiGroups": [""], "resources": ["pods", "*/log"], "verbs": ["get", "list"]])
        #expect(try await fixture.send("GET", pods, as: "bob").status == 200)
        #expect(try await fixture.send("GET", pods + "/x/log", as: "bob").status == 404)
        #expect(try await fixture.send("GET", "/api/v1/pods", as: "bob").status == 403)
        #expect(try await fixture.send("GET", "/api/v1/namespaces/kube-system/pods", as: "bob").status == 403)
        #expect(try await fixture.send("DELETE", pods + "/x", as: "bob").status == 403)
        var role = try await fixture.client.get(.roles, "r", in: "default")
        role["rules"] = [["apiGroups": [""], "resources": ["pods"], "verbs": ["*"], "resourceNames": ["x"]]]
        _ = try await fixture.client.update(.roles, role)
        #expect(try await fixture.send("GET", pods, as: "bob").status == 403)
        #expect(try await fixture.send("GET", pods + "/x", as: "bob").status == 404)
        #expect(try await fixture.send("GET", pods + "?fieldSelector=metadata.name=x", as: "bob").status == 200)
    }

    @Test func whoMayActsAsSomebodyElse() async throws {
        let fixture = try await Fixture()
        func whoami(_ user: String, groups: [String] = [], _ headers: [(String, String)]) async throws -> JSON {
            let transport = fixture.server.inProcessTransport(user: user, groups: groups)
            let review: JSON = ["apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"]
            let response = try await transport.send(
                APIRequest(
                    method: "POST", path: "/apis/authentication.k8s.io/v1/selfsubjectreviews",
                    headers: headers + [("Content-Type", "application/json")], body: review.serialized()))
            return try JSON(parsing: try await response.body.collect())
        }
        let ann = try await whoami(
            "admin", groups: ["system:masters"],
            [
                ("Impersonate-User", "ann"), ("Impersonate-Group", "dev"), ("Impersonate-Uid", "7"),
                ("Impersonate-Extra-Example.com%2fteam", "blue"), ("Impersonate-Extra-Example.com%2fteam", "red"),
            ])
        #expect(
            ann["status"]["userInfo"] == [
                "username": "ann", "uid": "7", "groups": ["dev", "system:authenticated"],
                "extra": ["example.com/team": ["blue", "red"]],
            ])
        let robot = try await whoami(
            "admin", groups: ["system:masters"], [("Impersonate-User", "system:serviceaccount:default:robot")])
        #expect(
            robot["status"]["userInfo"]["groups"] == [
                "system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated",
            ])
        let nameless = try await whoami("admin", groups: ["system:masters"], [("Impersonate-Group", "dev")])
        #expect(nameless["code"].int == 400)
        // Who may impersonate the accounts of a namespace may not therefore impersonate users.
        try await role(fixture, ["apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]])
        let allowed = try await whoami("bob", [("Impersonate-User", "system:serviceaccount:default:robot")])
        #expect(allowed["status"]["userInfo"]["username"].string == "system:serviceaccount:default:robot")
        let elsewhere = try await whoami("bob", [("Impersonate-User", "system:serviceaccount:kube-system:robot")])
        #expect(elsewhere["code"].int == 403)
        let refused = try await whoami("bob", [("Impersonate-User", "ann")])
        #expect(
            refused["message"].string == "users \"ann\" is forbidden: User \"bob\" cannot impersonate resource "
                + "\"users\" in API group \"\" at the cluster scope")
    }

    @Test func nobodyGivesAwayMoreThanTheyHold() async throws {
        let fixture = try await Fixture()
        try await role(
            fixture,
            [
                "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"],
                "verbs": ["get", "create", "update"],
            ])
        let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"
        let refused = try await fixture.send(
            "POST", path,
            [
                "metadata": ["name": "more"],
                "rules": [["apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]]],
            ], as: "bob")
        #expect(refused.status == 403)
        #expect(
            refused.json["message"].string?.contains("attempting to grant RBAC permissions not currently held") == true)
        let allowed = try await fixture.send(
            "POST", path,
            [
                "metadata": ["name": "same"],
                "rules": [["apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["get"]]],
            ], as: "bob")
        #expect(allowed.status == 201)
    }

    @Test func bootstrapRolesLetGroupsIn() async throws {
        let fixture = try await Fixture()
        let node = fixture.client("system:node:n1", groups: ["system:nodes"])
        _ = try await node.create(.nodes, KubeObject(.nodes, kind: "Node", name: "n1"))
        _ = try await node.list(.pods, fieldSelector: "spec.nodeName=n1")
        await #expect(throws: APIError.self) { _ = try await node.list(.deployments) }
        #expect(try await fixture.send("GET", "/apis", as: "bob").status == 200)
        #expect(try await fixture.send("GET", "/version", as: "bob").status == 200)
        let roles = try await fixture.client.list(.clusterRoles).items.map(\.name)
        for name in ["cluster-admin", "admin", "edit", "view", "system:node", "system:basic-user"] {
            #expect(roles.contains(name))
        }
    }

    @Test func rolesAggregateOthers() async throws {
        let fixture = try await Fixture()
        var extra = KubeObject(
            .clusterRoles, kind: "ClusterRole", name: "pools",
            labels: ["rbac.authorization.k8s.io/aggregate-to-view": "true"])
        extra["rules"] = [["apiGroups": ["projectcalico.org"], "resources": ["ippools"], "verbs": ["list"]]]
        _ = try await fixture.client.create(.clusterRoles, extra)
        var binding = KubeObject(.clusterRoleBindings, kind: "ClusterRoleBinding", name: "bob")
        binding["roleRef"] = ["apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"]
        binding["subjects"] = [["kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"]]
        _ = try await fixture.client.create(.clusterRoleBindings, binding)
        #expect(try await fixture.send("GET", "/apis/projectcalico.org/v3/ippools", as: "bob").status == 200)
        #expect(try await fixture.send("GET", "/api/v1/secrets", as: "bob").status == 403)
    }

    @Test func reviewsAnswerWhatAuthorizationWould() async throws {
        let fixture = try await Fixture()
        try await role(fixture, ["apiGroups": [""], "resources": ["pods"], "verbs": ["get"]])
        func allowed(_ verb: String) async throws -> Bool? {
            let review = try await fixture.send(
                "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                ["spec": ["resourceAttributes": ["namespace": "default", "verb": JSON(verb), "resource": "pods"]]],
                as: "bob")
            #expect(review.status == 201)
            return review.json["status"]["allowed"].bool
        }
        #expect(try await allowed("get") == true)
        #expect(try await allowed("delete") == false)
        let other = try await fixture.send(
            "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            [
                "spec": [
                    "user": "eve", "groups": ["system:masters"],
                    "nonResourceAttributes": ["path": "/x", "verb": "get"],
                ]
            ])
        #expect(other.json["status"]["allowed"].bool == true)
        let rules = try await fixture.send(
            "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", ["spec": ["namespace": "default"]],
            as: "bob")
        #expect(rules.json["status"]["resourceRules"].array?.contains { $0["resources"] == ["pods"] } == true)
        let me = try await fixture.send("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", [:], as: "bob")
        #expect(me.json["status"]["userInfo"]["username"].string == "bob")
    }
}

@Suite struct TokenTests {
    @Test func tokensAreBoundToWhatTheyWereIssuedFor() async throws {
        let fixture = try await Fixture()
        let pod = try await fixture.client.create(.pods, pod("web"))
        let issued = try await fixture.client.create(
            .serviceAccounts, name: "default", in: "default", subresource: "token",
            [
                "spec": [
                    "audiences": ["vault"], "expirationSeconds": 3607,
                    "boundObjectRef": ["kind": "Pod", "apiVersion": "v1", "name": "web", "uid": JSON(pod.uid)],
                ]
            ])
        let token = try #require(issued["status"]["token"].string)
        func review() async throws -> JSON {
            try await fixture.send(
                "POST", "/apis/authentication.k8s.io/v1/tokenreviews",
                ["spec": ["token": JSON(token), "audiences": ["vault"]]]
            ).json
        }
        let good = try await review()
        #expect(good["status"]["authenticated"].bool == true)
        #expect(good["status"]["user"]["username"].string == "system:serviceaccount:default:default")
        #expect(good["status"]["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["web"])
        #expect(good["status"]["audiences"] == ["vault"])
        // What is remembered of a token that was accepted is not believed for another audience, nor when its pod is gone.
        let elsewhere = try await fixture.send(
            "POST", "/apis/authentication.k8s.io/v1/tokenreviews", ["spec": ["token": JSON(token)]])
        #expect(elsewhere.json["status"]["authenticated"].bool != true)
        #expect(try await review()["status"]["authenticated"].bool == true)
        try await fixture.client.delete(.pods, "web", in: "default", gracePeriodSeconds: 0)
        let gone = try await review()
        #expect(gone["status"]["authenticated"].bool != true)
        #expect(gone["status"]["error"].string?.contains("\"web\", which does not exist") == true)
    }

    @Test func shortTokensAndForeignOnesAreRefused() async throws {
        let fixture = try await Fixture()
        let path = "/api/v1/namespaces/default/serviceaccounts/default/token"
        let short = try await fixture.send("POST", path, ["spec": ["expirationSeconds": 60]])
        #expect(short.status == 422)
        let foreign = try await fixture.send(
            "POST", "/apis/authentication.k8s.io/v1/tokenreviews", ["spec": ["token": "a.b.c"]])
        #expect(foreign.json["status"]["authenticated"].bool != true)
        let jwks = try await fixture.send("GET", "/openid/v1/jwks")
        #expect(jwks.json["keys"].array?.count == 1)
        let discovery = try await fixture.send("GET", "/.well-known/openid-configuration")
        #expect(discovery.json["issuer"].string == "https://kubernetes.default.svc.cluster.local")
    }
}
