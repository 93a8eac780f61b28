// SPDX-License-Identifier: Apache-2.0

import Testing
import Values

/// A kind whose API is gone through from the first write to the last.
struct ResourceAPICase: Sendable, CustomTestStringConvertible {
    /// The area of the conformance suite.
    let area: String
    /// The group's path, such as `/apis/apps/v1`.
    let group: String
    let resource: String
    let kind: String
    var isNamespaced = true
    /// The object without apiVersion, kind and metadata.
    var body: JSON = [:]
    /// A change of what is wanted that the kind lets pass; nil where nothing can change.
    var change: JSON?
    /// What is written through `status`; nil without such a path.
    var status: JSON?
    /// Some kinds have names of a certain form.
    var name: @Sendable (_ base: String) -> String = { $0 }

    var testDescription: String { area }

    var collection: String {
        isNamespaced ? "\(group)/namespaces/default/\(resource)" : "\(group)/\(resource)"
    }

    var apiVersion: String { String(group.dropFirst(group.hasPrefix("/apis/") ? 6 : 5)) }

    func object(_ base: String, _ labels: JSON) -> JSON {
        var object: JSON = [
            "apiVersion": JSON(apiVersion), "kind": JSON(kind),
            "metadata": ["name": JSON(name(base)), "labels": labels],
        ]
        for (key, value) in body.object ?? [:] { object[key] = value }
        return object
    }
}

extension ResourceAPICase {
    private static let template: JSON = [
        "metadata": ["labels": ["app": "x"]],
        "spec": ["containers": [["name": "c", "image": "i"]]],
    ]
    private static let selector: JSON = ["matchLabels": ["app": "x"]]
    private static let pendingCondition: JSON = [
        "conditions": [
            [
                "type": "StatusPatched", "status": "True", "reason": "E2E", "message": "set by the test",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            ]
        ]
    ]
    private static let webhook: JSON = [
        [
            "name": "w.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": ["url": "https://example.com/"],
            "rules": [["apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]]],
        ]
    ]

    static let all: [ResourceAPICase] = core + workloads + network + storage + cluster + admission

    static let core: [ResourceAPICase] = [
        .init(
            area: "ConfigMap: lifecycle", group: "/api/v1", resource: "configmaps", kind: "ConfigMap",
            body: ["data": ["a": "1"]], change: ["data": ["a": "2"]]),
        .init(
            area: "Secrets: lifecycle", group: "/api/v1", resource: "secrets", kind: "Secret",
            body: ["data": ["a": "dg=="], "type": "Opaque"], change: ["data": ["a": "dw=="]]),
        .init(
            area: "ServiceAccounts: lifecycle", group: "/api/v1", resource: "serviceaccounts", kind: "ServiceAccount",
            change: ["automountServiceAccountToken": false]),
        .init(
            area: "Services: lifecycle", group: "/api/v1", resource: "services", kind: "Service",
            body: ["spec": ["type": "LoadBalancer", "ports": [["port": 80]], "selector": ["app": "x"]]],
            change: ["spec": ["selector": ["app": "y"]]],
            status: ["loadBalancer": ["ingress": [["ip": "203.0.113.1"]]]]),
        .init(
            area: "Endpoints: lifecycle", group: "/api/v1", resource: "endpoints", kind: "Endpoints",
            body: ["subsets": [["addresses": [["ip": "10.0.0.24"]], "ports": [["name": "http", "port": 80]]]]],
            change: ["subsets": [["addresses": [["ip": "10.0.0.25"]], "ports": [["name": "http", "port": 80]]]]]),
        .init(
            area: "Events: lifecycle in the core group", group: "/api/v1", resource: "events", kind: "Event",
            body: [
                "involvedObject": ["kind": "Pod", "namespace": "default", "name": "p"], "reason": "Test",
                "message": "first", "type": "Normal", "source": ["component": "test"],
            ], change: ["message": "second"]),
        .init(
            area: "Events: lifecycle in events.k8s.io", group: "/apis/events.k8s.io/v1", resource: "events",
            kind: "Event",
            body: [
                "regarding": ["kind": "Pod", "namespace": "default", "name": "p"], "reason": "Test", "note": "first",
                "type": "Normal", "eventTime": "2026-01-01T00:00:00.000000Z", "action": "Do",
                "reportingController": "test.example.com/c", "reportingInstance": "c-1",
            ],
            change: ["series": ["count": 2, "lastObservedTime": "2026-01-01T00:01:00.000000Z"]]),
        .init(
            area: "PodTemplates: lifecycle", group: "/api/v1", resource: "podtemplates", kind: "PodTemplate",
            body: ["template": template],
            change: ["template": ["metadata": ["labels": ["app": "y"]]]]),
        .init(
            area: "Pods: patching of status", group: "/api/v1", resource: "pods", kind: "Pod",
            body: ["spec": ["containers": [["name": "c", "image": "i"]]]],
            change: ["spec": ["activeDeadlineSeconds": 100]], status: ["message": "set by the test"]),
        .init(
            area: "LimitRange: list, patch and delete by collection", group: "/api/v1", resource: "limitranges",
            kind: "LimitRange",
            body: ["spec": ["limits": [["type": "Pod", "max": ["cpu": "8"]]]]],
            change: ["spec": ["limits": [["type": "Pod", "max": ["cpu": "9"]]]]]),
        .init(
            area: "ResourceQuota: status", group: "/api/v1", resource: "resourcequotas", kind: "ResourceQuota",
            body: ["spec": ["hard": ["pods": "500"]]], change: ["spec": ["hard": ["pods": "600"]]],
            status: ["hard": ["pods": "500"], "used": ["pods": "0"]]),
        .init(
            area: "Leases: API", group: "/apis/coordination.k8s.io/v1", resource: "leases", kind: "Lease",
            body: ["spec": ["holderIdentity": "a", "leaseDurationSeconds": 30]],
            change: ["spec": ["holderIdentity": "b", "leaseTransitions": 1]]),
    ]

    static let workloads: [ResourceAPICase] = [
        .init(
            area: "Deployments: status", group: "/apis/apps/v1", resource: "deployments", kind: "Deployment",
            body: ["spec": ["selector": selector, "template": template]], change: ["spec": ["replicas": 2]],
            status: pendingCondition),
        .init(
            area: "ReplicaSets: status", group: "/apis/apps/v1", resource: "replicasets", kind: "ReplicaSet",
            body: ["spec": ["selector": selector, "template": template]], change: ["spec": ["replicas": 2]],
            status: pendingCondition),
        .init(
            area: "StatefulSets: status", group: "/apis/apps/v1", resource: "statefulsets", kind: "StatefulSet",
            body: ["spec": ["selector": selector, "template": template, "serviceName": "x"]],
            change: ["spec": ["replicas": 2]], status: pendingCondition),
        .init(
            area: "DaemonSets: status", group: "/apis/apps/v1", resource: "daemonsets", kind: "DaemonSet",
            body: ["spec": ["selector": selector, "template": template]], change: ["spec": ["minReadySeconds": 2]],
            status: pendingCondition),
        .init(
            area: "ReplicationControllers: lifecycle", group: "/api/v1", resource: "replicationcontrollers",
            kind: "ReplicationController",
            body: ["spec": ["selector": ["app": "x"], "template": template]], change: ["spec": ["replicas": 2]],
            status: pendingCondition),
        .init(
            area: "ControllerRevisions: lifecycle", group: "/apis/apps/v1", resource: "controllerrevisions",
            kind: "ControllerRevision", body: ["revision": 1, "data": ["a": 1]], change: ["revision": 2]),
        .init(
            area: "Jobs: API", group: "/apis/batch/v1", resource: "jobs", kind: "Job",
            body: [
                "spec": [
                    "suspend": true,
                    "template": ["spec": ["restartPolicy": "Never", "containers": [["name": "c", "image": "i"]]]],
                ]
            ],
            change: ["spec": ["parallelism": 2]],
            status: [
                "conditions": [
                    [
                        "type": "CustomConditionType", "status": "True", "reason": "E2E",
                        "message": "set by the test", "lastTransitionTime": "2026-01-01T00:00:00Z",
                    ]
                ]
            ]),
        .init(
            area: "CronJobs: API", group: "/apis/batch/v1", resource: "cronjobs", kind: "CronJob",
            body: [
                "spec": [
                    "schedule": "* * * * *", "suspend": true,
                    "jobTemplate": [
                        "spec": [
                            "template": [
                                "spec": ["restartPolicy": "Never", "containers": [["name": "c", "image": "i"]]]
                            ]
                        ]
                    ],
                ]
            ],
            change: ["spec": ["schedule": "*/5 * * * *"]], status: ["lastScheduleTime": "2026-01-01T00:00:00Z"]),
        .init(
            area: "PodDisruptionBudgets: status", group: "/apis/policy/v1", resource: "poddisruptionbudgets",
            kind: "PodDisruptionBudget", body: ["spec": ["selector": selector, "minAvailable": 1]],
            change: ["spec": ["minAvailable": 2]],
            status: ["disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2]),
        .init(
            area: "HorizontalPodAutoscalers: API in v2", group: "/apis/autoscaling/v2",
            resource: "horizontalpodautoscalers", kind: "HorizontalPodAutoscaler",
            body: [
                "spec": [
                    "maxReplicas": 3, "scaleTargetRef": ["kind": "Deployment", "name": "d", "apiVersion": "apps/v1"],
                ]
            ],
            change: ["spec": ["maxReplicas": 4]], status: ["desiredReplicas": 2, "currentReplicas": 1]),
        .init(
            area: "HorizontalPodAutoscalers: API in v1", group: "/apis/autoscaling/v1",
            resource: "horizontalpodautoscalers", kind: "HorizontalPodAutoscaler",
            body: [
                "spec": [
                    "maxReplicas": 3, "scaleTargetRef": ["kind": "Deployment", "name": "d", "apiVersion": "apps/v1"],
                ]
            ],
            change: ["spec": ["maxReplicas": 4]], status: ["desiredReplicas": 2, "currentReplicas": 1]),
    ]

    static let network: [ResourceAPICase] = [
        .init(
            area: "EndpointSlices: API", group: "/apis/discovery.k8s.io/v1", resource: "endpointslices",
            kind: "EndpointSlice",
            body: ["addressType": "IPv4", "endpoints": [["addresses": ["10.0.0.1"]]], "ports": [["port": 80]]],
            change: ["endpoints": [["addresses": ["10.0.0.2"]]]]),
        .init(
            area: "Ingress: API", group: "/apis/networking.k8s.io/v1", resource: "ingresses", kind: "Ingress",
            body: ["spec": ["defaultBackend": ["service": ["name": "s", "port": ["number": 80]]]]],
            change: ["spec": ["ingressClassName": "c"]],
            status: ["loadBalancer": ["ingress": [["ip": "203.0.113.2"]]]]),
        .init(
            area: "IngressClass: API", group: "/apis/networking.k8s.io/v1", resource: "ingressclasses",
            kind: "IngressClass", isNamespaced: false, body: ["spec": ["controller": "example.com/c"]],
            change: ["spec": ["parameters": ["kind": "P", "name": "p", "scope": "Cluster"]]]),
        .init(
            area: "NetworkPolicy: API", group: "/apis/networking.k8s.io/v1", resource: "networkpolicies",
            kind: "NetworkPolicy", body: ["spec": ["podSelector": [:]]],
            change: ["spec": ["policyTypes": ["Ingress", "Egress"]]]),
        .init(
            area: "ServiceCIDR: API", group: "/apis/networking.k8s.io/v1", resource: "servicecidrs",
            kind: "ServiceCIDR", isNamespaced: false, body: ["spec": ["cidrs": ["10.200.0.0/24"]]],
            status: pendingCondition),
        .init(
            area: "IPAddress: API", group: "/apis/networking.k8s.io/v1", resource: "ipaddresses", kind: "IPAddress",
            isNamespaced: false,
            body: ["spec": ["parentRef": ["resource": "services", "name": "s", "namespace": "default"]]],
            name: { "10.201.0.\($0.utf8.reduce(0) { ($0 + Int($1)) % 250 } + 1)" }),
    ]

    static let storage: [ResourceAPICase] = [
        .init(
            area: "PersistentVolumes: lifecycle", group: "/api/v1", resource: "persistentvolumes",
            kind: "PersistentVolume", isNamespaced: false,
            body: [
                "spec": [
                    "capacity": ["storage": "1Gi"], "accessModes": ["ReadWriteOnce"], "hostPath": ["path": "/tmp"],
                ]
            ],
            change: ["spec": ["persistentVolumeReclaimPolicy": "Delete"]],
            status: ["message": "set by the test", "reason": "E2E"]),
        .init(
            area: "PersistentVolumeClaims: lifecycle", group: "/api/v1", resource: "persistentvolumeclaims",
            kind: "PersistentVolumeClaim",
            body: [
                "spec": [
                    "accessModes": ["ReadWriteOnce"], "resources": ["requests": ["storage": "1Gi"]],
                    "storageClassName": "",
                ]
            ],
            status: pendingCondition),
        .init(
            area: "StorageClass: API", group: "/apis/storage.k8s.io/v1", resource: "storageclasses",
            kind: "StorageClass", isNamespaced: false, body: ["provisioner": "example.com/p"],
            change: ["allowVolumeExpansion": true]),
        .init(
            area: "CSIDriver: API", group: "/apis/storage.k8s.io/v1", resource: "csidrivers", kind: "CSIDriver",
            isNamespaced: false, body: ["spec": ["attachRequired": false]],
            change: ["spec": ["requiresRepublish": true]]),
        .init(
            area: "CSINode: API", group: "/apis/storage.k8s.io/v1", resource: "csinodes", kind: "CSINode",
            isNamespaced: false, body: ["spec": ["drivers": [["name": "d", "nodeID": "n", "topologyKeys": ["t"]]]]],
            change: [
                "spec": ["drivers": [["name": "d", "nodeID": "n", "topologyKeys": ["t"], "allocatable": ["count": 4]]]]
            ]),
        .init(
            area: "CSIStorageCapacity: API", group: "/apis/storage.k8s.io/v1", resource: "csistoragecapacities",
            kind: "CSIStorageCapacity", body: ["storageClassName": "c", "capacity": "1Gi"], change: ["capacity": "2Gi"]),
        .init(
            area: "VolumeAttachment: API", group: "/apis/storage.k8s.io/v1", resource: "volumeattachments",
            kind: "VolumeAttachment", isNamespaced: false,
            body: ["spec": ["attacher": "d", "nodeName": "n", "source": ["persistentVolumeName": "v"]]],
            status: ["attached": true]),
        .init(
            area: "VolumeAttributesClass: API", group: "/apis/storage.k8s.io/v1", resource: "volumeattributesclasses",
            kind: "VolumeAttributesClass", isNamespaced: false,
            body: ["driverName": "d.example.com", "parameters": ["a": "b"]]),
    ]

    static let cluster: [ResourceAPICase] = [
        .init(
            area: "RuntimeClass: API", group: "/apis/node.k8s.io/v1", resource: "runtimeclasses", kind: "RuntimeClass",
            isNamespaced: false, body: ["handler": "crun"], change: ["scheduling": ["nodeSelector": ["a": "b"]]]),
        .init(
            area: "PriorityClass: endpoints", group: "/apis/scheduling.k8s.io/v1", resource: "priorityclasses",
            kind: "PriorityClass", isNamespaced: false, body: ["value": 5], change: ["description": "words"]),
        .init(
            area: "APF: CRUD of FlowSchema", group: "/apis/flowcontrol.apiserver.k8s.io/v1", resource: "flowschemas",
            kind: "FlowSchema", isNamespaced: false,
            body: [
                "spec": [
                    "matchingPrecedence": 10000, "priorityLevelConfiguration": ["name": "none"],
                    "rules": [
                        [
                            "subjects": [["kind": "User", "user": ["name": "nobody"]]],
                            "nonResourceRules": [["verbs": ["*"], "nonResourceURLs": ["*"]]],
                        ]
                    ],
                ]
            ],
            change: ["spec": ["matchingPrecedence": 9999]], status: pendingCondition),
        .init(
            area: "APF: CRUD of PriorityLevelConfiguration", group: "/apis/flowcontrol.apiserver.k8s.io/v1",
            resource: "prioritylevelconfigurations", kind: "PriorityLevelConfiguration", isNamespaced: false,
            body: [
                "spec": [
                    "type": "Limited",
                    "limited": ["nominalConcurrencyShares": 2, "limitResponse": ["type": "Reject"]],
                ]
            ],
            change: ["spec": ["limited": ["nominalConcurrencyShares": 4]]], status: pendingCondition),
        .init(
            area: "RBAC: roles", group: "/apis/rbac.authorization.k8s.io/v1", resource: "roles", kind: "Role",
            body: ["rules": [["apiGroups": [""], "resources": ["pods"], "verbs": ["get"]]]],
            change: ["rules": [["apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]]]]),
        .init(
            area: "RBAC: role bindings", group: "/apis/rbac.authorization.k8s.io/v1", resource: "rolebindings",
            kind: "RoleBinding",
            body: [
                "roleRef": ["apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"],
                "subjects": [["kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"]],
            ], change: ["subjects": [["kind": "Group", "name": "g", "apiGroup": "rbac.authorization.k8s.io"]]]),
        .init(
            area: "DRA: CRUD of DeviceClass", group: "/apis/resource.k8s.io/v1", resource: "deviceclasses",
            kind: "DeviceClass", isNamespaced: false,
            body: ["spec": ["selectors": [["cel": ["expression": "device.driver == 'd'"]]]]],
            change: ["spec": ["selectors": [["cel": ["expression": "device.driver == 'e'"]]]]]),
        .init(
            area: "DRA: CRUD of ResourceClaim", group: "/apis/resource.k8s.io/v1", resource: "resourceclaims",
            kind: "ResourceClaim",
            body: ["spec": ["devices": ["requests": [["name": "r", "exactly": ["deviceClassName": "c"]]]]]],
            status: ["reservedFor": [["resource": "pods", "name": "p", "uid": "1"]]]),
        .init(
            area: "DRA: CRUD of ResourceClaimTemplate", group: "/apis/resource.k8s.io/v1",
            resource: "resourceclaimtemplates", kind: "ResourceClaimTemplate",
            body: ["spec": ["spec": ["devices": ["requests": [["name": "r", "exactly": ["deviceClassName": "c"]]]]]]]),
        .init(
            area: "DRA: CRUD of ResourceSlice", group: "/apis/resource.k8s.io/v1", resource: "resourceslices",
            kind: "ResourceSlice", isNamespaced: false,
            body: [
                "spec": [
                    "driver": "d.example.com", "allNodes": true,
                    "pool": ["name": "p", "generation": 1, "resourceSliceCount": 1], "devices": [["name": "a"]],
                ]
            ],
            change: ["spec": ["devices": [["name": "b"]]]]),
    ]

    static let admission: [ResourceAPICase] = [
        .init(
            area: "AdmissionWebhook: validating configurations are listed and changed",
            group: "/apis/admissionregistration.k8s.io/v1", resource: "validatingwebhookconfigurations",
            kind: "ValidatingWebhookConfiguration", isNamespaced: false, body: ["webhooks": webhook]),
        .init(
            area: "AdmissionWebhook: mutating configurations are listed and changed",
            group: "/apis/admissionregistration.k8s.io/v1", resource: "mutatingwebhookconfigurations",
            kind: "MutatingWebhookConfiguration", isNamespaced: false, body: ["webhooks": webhook]),
        .init(
            area: "ValidatingAdmissionPolicy: API", group: "/apis/admissionregistration.k8s.io/v1",
            resource: "validatingadmissionpolicies", kind: "ValidatingAdmissionPolicy", isNamespaced: false,
            body: [
                "spec": [
                    "matchConstraints": [
                        "resourceRules": [
                            [
                                "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"],
                                "resources": ["deployments"],
                            ]
                        ]
                    ],
                    "validations": [["expression": "object.spec.replicas <= 100"]],
                ]
            ],
            change: ["spec": ["failurePolicy": "Ignore"]], status: pendingCondition),
        .init(
            area: "ValidatingAdmissionPolicyBinding: API", group: "/apis/admissionregistration.k8s.io/v1",
            resource: "validatingadmissionpolicybindings", kind: "ValidatingAdmissionPolicyBinding",
            isNamespaced: false, body: ["spec": ["policyName": "p", "validationActions": ["Deny"]]],
            change: ["spec": ["validationActions": ["Warn"]]]),
        .init(
            area: "MutatingAdmissionPolicy: API", group: "/apis/admissionregistration.k8s.io/v1",
            resource: "mutatingadmissionpolicies", kind: "MutatingAdmissionPolicy", isNamespaced: false,
            body: [
                "spec": [
                    "reinvocationPolicy": "Never",
                    "matchConstraints": [
                        "resourceRules": [
                            [
                                "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"],
                                "resources": ["deployments"],
                            ]
                        ]
                    ],
                    "mutations": [
                        ["patchType": "ApplyConfiguration", "applyConfiguration": ["expression": "Object{}"]]
                    ],
                ]
            ],
            change: ["spec": ["failurePolicy": "Ignore"]]),
        .init(
            area: "MutatingAdmissionPolicyBinding: API", group: "/apis/admissionregistration.k8s.io/v1",
            resource: "mutatingadmissionpolicybindings", kind: "MutatingAdmissionPolicyBinding", isNamespaced: false,
            body: ["spec": ["policyName": "p"]], change: ["spec": ["policyName": "q"]]),
    ]
}
