// SPDX-License-Identifier: Apache-2.0

import Values

extension Unheeded {
    /// Kinds that nothing acts upon.
    static let kinds: [GroupKind: String] = {
        var kinds: [GroupKind: String] = [:]
        func add(_ group: String, _ names: String..., message: String) {
            for name in names { kinds[GroupKind(group: group, name)] = message }
        }
        add(
            "batch", "Job",
            message: "no controller makes its pods yet: kubectl run NAME --restart=Never runs one to its end")
        add("batch", "CronJob", message: "no controller makes its Jobs yet")
        add("apps", "StatefulSet", message: "no controller makes its pods yet: a Deployment runs pods without an order")
        add(
            "autoscaling", "HorizontalPodAutoscaler",
            message: "no controller scales by it yet: kubectl scale sets the replicas")
        let volumes = "no controller binds claims and no kubelet mounts them yet: use emptyDir or hostPath"
        add("", "PersistentVolumeClaim", "PersistentVolume", message: volumes)
        add("storage.k8s.io", "StorageClass", message: "nothing provisions volumes by it yet")
        add("storage.k8s.io", "VolumeAttachment", "CSIDriver", "VolumeAttributesClass", message: volumes)
        add(
            "networking.k8s.io", "Ingress",
            message: "Catbird brings no controller for it: nothing answers until you install one, such as Traefik")
        let policy = "this version of Catbird does not enforce network policy"
        add("networking.k8s.io", "NetworkPolicy", message: policy)
        for group in ["projectcalico.org", "crd.projectcalico.org"] {
            add(group, "NetworkPolicy", "GlobalNetworkPolicy", "HostEndpoint", message: policy)
            add(
                group, "CalicoNodeStatus",
                message: "its status stays empty: calicoctl node status asks a node itself")
        }
        let admission = "admissionregistration.k8s.io"
        add(
            admission, "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration",
            message: "its webhooks are not called yet")
        add(
            admission, "ValidatingAdmissionPolicy", "MutatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
            "MutatingAdmissionPolicyBinding", message: "admission policies are not evaluated yet")
        add(
            "flowcontrol.apiserver.k8s.io", "FlowSchema", "PriorityLevelConfiguration",
            message: "the API server does not queue requests by priority")
        add(
            "resource.k8s.io", "ResourceClaim", "ResourceClaimTemplate", "DeviceClass", "ResourceSlice",
            message: "devices are not allocated yet")
        return kinds
    }()

    /// Fields of kinds that are acted upon otherwise.
    static let fields: [GroupKind: [Line]] = [
        GroupKind(group: "", "Service"): [
            Line("spec.trafficDistribution", "every endpoint is as near as any other") { !($0.string ?? "").isEmpty },
            Line("spec.ipFamilyPolicy", is: "RequireDualStack", "the Service gets an address of one family"),
        ],
        GroupKind(group: "apiextensions.k8s.io", "CustomResourceDefinition"): [
            Line(
                "spec.conversion.strategy", is: "Webhook",
                "the webhook is not called yet: objects differ between versions in apiVersion alone")
        ],
        GroupKind(group: "apiregistration.k8s.io", "APIService"): [
            Line("spec.service", "requests are not passed on to other API servers yet") { $0.object != nil }
        ],
        GroupKind(group: "node.k8s.io", "RuntimeClass"): [
            Line("handler", "pods of every class are run by crun") { !["", "crun", "runc"].contains($0.string ?? "") }
        ],
    ]

    /// Where each kind keeps the spec of its pods.
    static let podSpecs: [GroupKind: [String]] = {
        let template = ["spec", "template", "spec"]
        var paths = [
            GroupKind(group: "", "Pod"): ["spec"], GroupKind(group: "", "ReplicationController"): template,
        ]
        for kind in ["Deployment", "ReplicaSet", "DaemonSet"] { paths[GroupKind(group: "apps", kind)] = template }
        return paths
    }()
}

/// What of pods no kubelet acts upon. What it refuses is not among it.
enum PodLines {
    private static let both: [Unheeded.Line] = [
        Unheeded.Line("securityContext.seLinuxOptions", "SELinux is not set up for containers") { $0.object != nil },
        Unheeded.Line("securityContext.appArmorProfile", "AppArmor profiles are not loaded for containers") {
            $0.object != nil && $0["type"].string != "Unconfined"
        },
        Unheeded.Line("securityContext.windowsOptions", "containers run on Linux") { $0.object != nil },
    ]

    static let ofPods: [Unheeded.Line] =
        both + [
            Unheeded.Line("resources", "containers are limited one by one, not the pod as a whole") {
                !($0["limits"].object ?? [:]).isEmpty
            },
            Unheeded.Line("runtimeClassName", "crun is the only runtime of a node") { !($0.string ?? "").isEmpty },
        ]

    static let ofContainers: [Unheeded.Line] =
        both + [
            Unheeded.Line("restartPolicyRules", "the container is started again as restartPolicy says") {
                !($0.array ?? []).isEmpty
            }
        ]

    static func all(_ spec: JSON?) -> [(field: String, message: String)] {
        var found = ofPods.filter { $0.isUsed(Unheeded.value(spec, $0.path[...])) }.map {
            ($0.path.joined(separator: "."), $0.message)
        }
        for list in ["initContainers", "containers"] {
            for (index, container) in (spec[list].array ?? []).enumerated() {
                for line in ofContainers where line.isUsed(Unheeded.value(container, line.path[...])) {
                    found.append(("\(list)[\(index)].\(line.path.joined(separator: "."))", line.message))
                }
            }
        }
        return found
    }
}
