// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// The roles and bindings that every cluster has from the first moment.
enum BootstrapPolicy {
    private static let read = ["get", "list", "watch"]
    private static let write = ["create", "delete", "deletecollection", "patch", "update"]
    private static let all = read + write

    static var objects: [(resource: GroupVersionResource, object: KubeObject)] {
        (clusterRoles + certificateRoles).map { (.clusterRoles, $0) } + bindings.map { (.clusterRoleBindings, $0) }
    }

    // MARK: Roles

    private static var clusterRoles: [KubeObject] {
        [
            role("cluster-admin", PolicyRule.everything),
            // These three hold what the roles that they select hold: the controllers fill them.
            role("admin", [], aggregates: "admin"),
            role("edit", [], aggregates: "edit", part: "admin"),
            role("view", [], aggregates: "view", part: "edit"),
            role("system:aggregate-to-admin", admin, part: "admin"),
            role("system:aggregate-to-edit", edit, part: "edit"),
            role("system:aggregate-to-view", view, part: "view"),
            role("system:discovery", [PolicyRule(["get"], urls: discoveryPaths)]),
            role(
                "system:public-info-viewer",
                [
                    PolicyRule(["get"], urls: ["/healthz", "/livez", "/readyz", "/version", "/version/"])
                ]),
            role(
                "system:service-account-issuer-discovery",
                [
                    PolicyRule(
                        ["get"],
                        urls: [
                            "/.well-known/openid-configuration", "/.well-known/openid-configuration/",
                            "/openid/v1/jwks", "/openid/v1/jwks/",
                        ])
                ]),
            role(
                "system:monitoring",
                [
                    PolicyRule(
                        ["get"],
                        urls: ["/healthz", "/healthz/*", "/livez", "/livez/*", "/metrics", "/readyz", "/readyz/*"])
                ]),
            role(
                "system:basic-user",
                [
                    PolicyRule(
                        ["create"], groups: ["authorization.k8s.io"],
                        resources: ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
                    PolicyRule(["create"], groups: ["authentication.k8s.io"], resources: ["selfsubjectreviews"]),
                ]),
            role("system:node", node),
            // For what asks kubelets directly.
            role(
                "system:kubelet-api-admin",
                [
                    PolicyRule(read, groups: [""], resources: ["nodes"]),
                    PolicyRule(
                        ["*"], groups: [""],
                        resources: [
                            "nodes/configz", "nodes/healthz", "nodes/log", "nodes/metrics", "nodes/pods",
                            "nodes/proxy", "nodes/stats",
                        ]),
                ]),
            role(
                "system:auth-delegator",
                [
                    PolicyRule(["create"], groups: ["authentication.k8s.io"], resources: ["tokenreviews"]),
                    PolicyRule(["create"], groups: ["authorization.k8s.io"], resources: ["subjectaccessreviews"]),
                ]),
        ]
    }

    private static let discoveryPaths = [
        "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version",
        "/version/",
    ]

    private static let view: [PolicyRule] = [
        PolicyRule(
            read, groups: [""],
            resources: [
                "configmaps", "endpoints", "persistentvolumeclaims", "persistentvolumeclaims/status", "pods",
                "replicationcontrollers", "replicationcontrollers/scale", "serviceaccounts", "services",
                "services/status", "bindings", "events", "limitranges", "namespaces/status", "pods/log", "pods/status",
                "replicationcontrollers/status", "resourcequotas", "resourcequotas/status", "namespaces",
            ]),
        PolicyRule(read, groups: ["discovery.k8s.io"], resources: ["endpointslices"]),
        PolicyRule(
            read, groups: ["apps"],
            resources: [
                "controllerrevisions", "daemonsets", "daemonsets/status", "deployments", "deployments/scale",
                "deployments/status", "replicasets", "replicasets/scale", "replicasets/status", "statefulsets",
                "statefulsets/scale", "statefulsets/status",
            ]),
        PolicyRule(
            read, groups: ["autoscaling"],
            resources: ["horizontalpodautoscalers", "horizontalpodautoscalers/status"]),
        PolicyRule(read, groups: ["batch"], resources: ["cronjobs", "cronjobs/status", "jobs", "jobs/status"]),
        PolicyRule(read, groups: ["policy"], resources: ["poddisruptionbudgets", "poddisruptionbudgets/status"]),
        PolicyRule(
            read, groups: ["networking.k8s.io"], resources: ["ingresses", "ingresses/status", "networkpolicies"]),
    ]

    private static let edit: [PolicyRule] = [
        PolicyRule(
            read, groups: [""],
            resources: ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"]),
        PolicyRule(["impersonate"], groups: [""], resources: ["serviceaccounts"]),
        PolicyRule(
            write, groups: [""],
            resources: [
                "pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "configmaps", "events",
                "persistentvolumeclaims", "replicationcontrollers", "replicationcontrollers/scale", "secrets",
                "serviceaccounts", "services", "services/proxy",
            ]),
        PolicyRule(["create"], groups: [""], resources: ["pods/eviction", "serviceaccounts/token"]),
        PolicyRule(
            write, groups: ["apps"],
            resources: [
                "daemonsets", "deployments", "deployments/rollback", "deployments/scale", "replicasets",
                "replicasets/scale", "statefulsets", "statefulsets/scale",
            ]),
        PolicyRule(write, groups: ["autoscaling"], resources: ["horizontalpodautoscalers"]),
        PolicyRule(write, groups: ["batch"], resources: ["cronjobs", "jobs"]),
        PolicyRule(write, groups: ["policy"], resources: ["poddisruptionbudgets"]),
        PolicyRule(write, groups: ["networking.k8s.io"], resources: ["ingresses", "networkpolicies"]),
        PolicyRule(all, groups: ["coordination.k8s.io"], resources: ["leases"]),
    ]

    private static let admin: [PolicyRule] = [
        PolicyRule(["create"], groups: ["authorization.k8s.io"], resources: ["localsubjectaccessreviews"]),
        PolicyRule(all, groups: ["rbac.authorization.k8s.io"], resources: ["rolebindings", "roles"]),
    ]

    static let node: [PolicyRule] = [
        PolicyRule(["create"], groups: ["authentication.k8s.io"], resources: ["tokenreviews"]),
        PolicyRule(
            ["create"], groups: ["authorization.k8s.io"],
            resources: ["localsubjectaccessreviews", "subjectaccessreviews"]),
        PolicyRule(read, groups: [""], resources: ["services", "endpoints", "namespaces"]),
        PolicyRule(read + ["create", "update", "patch"], groups: [""], resources: ["nodes"]),
        PolicyRule(["patch", "update"], groups: [""], resources: ["nodes/status", "pods/status"]),
        PolicyRule(["create", "patch", "update"], groups: ["", "events.k8s.io"], resources: ["events"]),
        PolicyRule(read + ["create", "delete", "patch"], groups: [""], resources: ["pods"]),
        PolicyRule(["create"], groups: [""], resources: ["pods/eviction", "serviceaccounts/token"]),
        PolicyRule(read, groups: [""], resources: ["configmaps", "secrets"]),
        PolicyRule(
            ["get"], groups: [""], resources: ["persistentvolumeclaims", "persistentvolumes", "serviceaccounts"]),
        PolicyRule(
            ["create", "delete", "get", "patch", "update"], groups: ["coordination.k8s.io"], resources: ["leases"]),
        PolicyRule(read, groups: ["discovery.k8s.io"], resources: ["endpointslices"]),
        PolicyRule(read, groups: ["node.k8s.io"], resources: ["runtimeclasses"]),
        PolicyRule(
            ["create", "get", "list", "watch"], groups: ["certificates.k8s.io"],
            resources: ["certificatesigningrequests"]),
    ]

    /// Who approves requests for certificates, and for which signer; and whose are approved by themselves.
    private static var certificateRoles: [KubeObject] {
        let prefix = "system:certificates.k8s.io"
        let own = ["nodeclient", "selfnodeclient"].map { part in
            role(
                "\(prefix):certificatesigningrequests:\(part)",
                [
                    PolicyRule(
                        ["create"], groups: ["certificates.k8s.io"], resources: ["certificatesigningrequests/\(part)"])
                ])
        }
        let signers = [
            "legacy-unknown", "kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving",
        ]
        return own
            + signers.map { signer in
                role(
                    "\(prefix):\(signer)-approver",
                    [
                        PolicyRule(
                            ["approve"], groups: ["certificates.k8s.io"], resources: ["signers"],
                            names: ["kubernetes.io/\(signer)"])
                    ])
            }
    }

    private static func role(
        _ name: String, _ rules: [PolicyRule], aggregates: String? = nil, part: String? = nil
    ) -> KubeObject {
        var labels = Self.labels
        if let part { labels["rbac.authorization.k8s.io/aggregate-to-\(part)"] = "true" }
        var role = KubeObject(.clusterRoles, kind: "ClusterRole", name: name, labels: labels)
        role.metadata["annotations"] = annotations
        role["rules"] = .array(rules.map(\.json))
        if let aggregates {
            let selector: JSON = [
                "matchLabels": .object([
                    "rbac.authorization.k8s.io/aggregate-to-\(aggregates)": "true"
                ])
            ]
            role["aggregationRule"] = ["clusterRoleSelectors": .array([selector])]
        }
        return role
    }

    private static let labels = ["kubernetes.io/bootstrapping": "rbac-defaults"]
    private static let annotations: JSON = ["rbac.authorization.kubernetes.io/autoupdate": "true"]

    // MARK: Bindings

    private static var bindings: [KubeObject] {
        [
            binding("cluster-admin", groups: [UserInfo.Group.masters]),
            binding("system:discovery", groups: [UserInfo.Group.authenticated]),
            binding("system:basic-user", groups: [UserInfo.Group.authenticated]),
            binding(
                "system:public-info-viewer",
                groups: [UserInfo.Group.authenticated, UserInfo.Group.unauthenticated]),
            binding("system:service-account-issuer-discovery", groups: [UserInfo.Group.serviceAccounts]),
            binding("system:monitoring", groups: ["system:monitoring"]),
            // Kubelets have it without being bound to it.
            binding("system:node", groups: []),
        ]
    }

    private static func binding(_ role: String, groups: [String]) -> KubeObject {
        var binding = KubeObject(.clusterRoleBindings, kind: "ClusterRoleBinding", name: role, labels: labels)
        binding.metadata["annotations"] = annotations
        binding["roleRef"] = ["apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": JSON(role)]
        binding["subjects"] = .array(
            groups.map { ["apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": JSON($0)] })
        return binding
    }
}
