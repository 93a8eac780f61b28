// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

@Suite struct KindUpdateTests {
    /// A kind, what it is first, the change of it, and what is wrong with that.
    struct Row: Sendable {
        let kind: String
        let before: String
        let after: String
        let problems: [String]

        init(_ kind: String, _ before: String, _ after: String, _ problems: [String]) {
            self.kind = kind
            self.before = before
            self.after = after
            self.problems = problems
        }
    }

    static let rows: [Row] = [
        Row("Deployment.apps", "{}", #"{"spec":{"replicas":7,"template":{"spec":{"dnsPolicy":"Default"}}}}"#, []),
        Row(
            "ReplicaSet.apps", "{}",
            #"{"spec":{"selector":{"matchLabels":{"a":null,"c":"d"}},"template":{"metadata":{"labels":{"c":"d"}}}}}"#,
            [#"spec.selector: Invalid value: {"matchLabels":{"c":"d"}}: field is immutable"#]
        ),
        Row("StatefulSet.apps", "{}", #"{"spec":{"replicas":2,"minReadySeconds":3}}"#, []),
        Row(
            "StatefulSet.apps", "{}", #"{"spec":{"serviceName":"other"}}"#,
            [
                "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
            ]
        ),
        Row(
            "ControllerRevision.apps", "{}", #"{"data":{"a":2}}"#,
            [#"data: Invalid value: {"a":2}: field is immutable"#]),
        Row(
            "Job.batch", "{}", #"{"spec":{"completions":5}}"#,
            ["spec.completions: Invalid value: 5: field is immutable"]
        ),
        Row(
            "Job.batch", #"{"spec":{"completionMode":"Indexed","completions":2,"parallelism":2}}"#,
            #"{"spec":{"completions":3,"parallelism":3}}"#, []
        ),
        Row(
            "Job.batch", #"{"spec":{"completionMode":"Indexed","completions":2,"parallelism":2}}"#,
            #"{"spec":{"completions":3}}"#,
            ["spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism"]
        ),
        Row(
            "Job.batch", #"{"spec":{"suspend":true}}"#, #"{"spec":{"template":{"spec":{"nodeSelector":{"a":"b"}}}}}"#,
            []
        ),
        Row("Secret", "{}", #"{"type":"odd"}"#, [#"type: Invalid value: "odd": field is immutable"#]),
        Row(
            "ConfigMap", #"{"immutable":true,"data":{"a":"b"}}"#, #"{"immutable":false,"data":{"a":"c"}}"#,
            [
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ]
        ),
        Row(
            "Service", #"{"spec":{"clusterIP":"10.0.0.1","ipFamilies":["IPv4"]}}"#,
            #"{"spec":{"clusterIP":"10.0.0.2","clusterIPs":["10.0.0.2"],"ipFamilies":["IPv6"]}}"#,
            [
                #"spec.clusterIPs[0]: Invalid value: "10.0.0.2": expected an IPv6 value as indicated by `ipFamilies[0]`"#,
                #"spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set"#,
                #"spec.ipFamilies[0]: Invalid value: ["IPv6"]: may not change once set"#,
            ]
        ),
        Row("Service", #"{"spec":{"type":"LoadBalancer"}}"#, #"{"spec":{"type":"ClusterIP"}}"#, []),
        Row(
            "Service", #"{"spec":{"type":"LoadBalancer","loadBalancerClass":"a/b"}}"#,
            #"{"spec":{"loadBalancerClass":"a/c"}}"#,
            [#"spec.loadBalancerClass: Invalid value: "a/c": may not change once set"#]
        ),
        Row(
            "EndpointSlice.discovery.k8s.io", "{}", #"{"addressType":"IPv6","endpoints":[]}"#,
            [#"addressType: Invalid value: "IPv6": field is immutable"#]
        ),
        Row(
            "IngressClass.networking.k8s.io", "{}", #"{"spec":{"controller":"example.com/y"}}"#,
            [#"spec.controller: Invalid value: "example.com/y": field is immutable"#]
        ),
        Row(
            "PersistentVolume", "{}", #"{"spec":{"hostPath":{"path":"/y"}}}"#,
            ["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"]
        ),
        Row("PersistentVolumeClaim", "{}", #"{"spec":{"volumeName":"v"}}"#, []),
        Row(
            "PersistentVolumeClaim", "{}", #"{"spec":{"accessModes":["ReadWriteMany"]}}"#,
            [
                "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
            ]
        ),
        Row(
            "StorageClass.storage.k8s.io", "{}",
            #"{"provisioner":"example.com/y","parameters":{"a":"b"},"reclaimPolicy":"Retain","volumeBindingMode":"WaitForFirstConsumer"}"#,
            [
                "parameters: Forbidden: updates to parameters are forbidden.",
                "provisioner: Forbidden: updates to provisioner are forbidden.",
                "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.",
                #"volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable"#,
            ]
        ),
        Row(
            "CSIDriver.storage.k8s.io", "{}", #"{"spec":{"attachRequired":false,"podInfoOnMount":true}}"#,
            ["spec.attachedRequired: Invalid value: false: field is immutable"]
        ),
        Row(
            "CSINode.storage.k8s.io", "{}", #"{"spec":{"drivers":[{"name":"d.example.com","nodeID":"m"}]}}"#,
            [
                #"CSINodeDriver: Invalid value: {"name":"d.example.com","nodeID":"m"}: field is immutable"#
            ]
        ),
        Row(
            "Node", #"{"spec":{"podCIDR":"10.0.0.0/24","providerID":"a"}}"#,
            #"{"spec":{"podCIDRs":["10.0.1.0/24"],"providerID":"b"}}"#,
            [
                #"spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid"#,
                #"spec.providerID: Forbidden: node updates may not change providerID except from "" to valid"#,
            ]
        ),
        Row(
            "PriorityClass.scheduling.k8s.io", "{}", #"{"value":8,"preemptionPolicy":"Never"}"#,
            [
                "value: Forbidden: may not be changed in an update.",
                #"preemptionPolicy: Invalid value: "Never": field is immutable"#,
            ]
        ),
        Row(
            "ResourceQuota", #"{"spec":{"scopes":["BestEffort"]}}"#, #"{"spec":{"scopes":["NotBestEffort"]}}"#,
            [#"spec.scopes: Invalid value: ["NotBestEffort"]: field is immutable"#]
        ),
        Row(
            "RoleBinding.rbac.authorization.k8s.io", "{}", #"{"roleRef":{"name":"edit"}}"#,
            [
                #"roleRef: Invalid value: {"kind":"ClusterRole","name":"edit","apiGroup":"rbac.authorization.k8s.io"}: cannot change roleRef"#
            ]
        ),
        Row(
            "Event.events.k8s.io", "{}", #"{"note":"other"}"#,
            [#"message: Invalid value: "other": field is immutable"#]
        ),
        Row(
            "ResourceClaim.resource.k8s.io", "{}", #"{"spec":{"devices":{}}}"#,
            [#"spec: Invalid value: {"devices":{}}: field is immutable"#]
        ),
    ]

    @Test(arguments: rows) func rowsOfUpdates(_ row: Row) throws {
        #expect(
            try KindFixtures.problems(row.kind, from: row.before, to: row.after) == row.problems,
            "\(row.kind) \(row.after)")
    }

    /// A kind, a status that is written to it, and what is wrong with that.
    static let statuses: [KindRow] = [
        KindRow(
            "Deployment.apps", #"{"replicas":1,"readyReplicas":2,"availableReplicas":3}"#,
            [
                "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
                "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
                "status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas",
            ]
        ),
        KindRow(
            "DaemonSet.apps", #"{"numberReady":-1}"#,
            ["status.numberReady: Invalid value: -1: must be greater than or equal to 0"]
        ),
        KindRow(
            "Job.batch", #"{"failed":-1}"#, ["status.failed: Invalid value: -1: must be greater than or equal to 0"]),
        KindRow(
            "Namespace", #"{"phase":"Terminating"}"#,
            [
                #"status.Phase: Invalid value: "Terminating": may only be 'Active' if `deletionTimestamp` is empty"#
            ]
        ),
        KindRow(
            "Ingress.networking.k8s.io", #"{"loadBalancer":{"ingress":[{"ip":"x"},{"hostname":"10.0.0.1"}]}}"#,
            [
                #"status.loadBalancer.ingress[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#,
                #"status.loadBalancer.ingress[1].hostname: Invalid value: "10.0.0.1": must be a DNS name, not an IP address"#,
            ]
        ),
        KindRow(
            "Service", #"{"loadBalancer":{"ingress":[{"hostname":"a.b","ipMode":"VIP"}]}}"#,
            ["status.loadBalancer.ingress[0].ipMode: Forbidden: may not be specified when `ip` is not set"]
        ),
        KindRow(
            "Node", #"{"capacity":{"pods":"-1"}}"#,
            [
                #"status.capacity.pods: Invalid value: "-1": must be greater than or equal to 0"#,
                #"status.allocatable.pods: Invalid value: "-1": must be greater than or equal to 0"#,
            ]
        ),
    ]

    @Test(arguments: statuses) func rowsOfStatuses(_ row: KindRow) throws {
        let change = #"{"status":\#(row.patch)}"#
        #expect(
            try KindFixtures.problems(row.kind, from: "{}", to: change, subresource: "status") == row.problems,
            "\(row.kind) \(row.patch)")
    }

    @Test func generationsCountWhatIsAskedFor() throws {
        func generation(_ kind: String, _ change: String) throws -> Int {
            let type = try KindFixtures.type(kind)
            let old = try KindFixtures.stored(type)
            let new = KubeObject(MergePatch.apply(try JSON(parsing: change), to: old.json))
            return type.preparedForUpdate(new, old: old).generation
        }
        #expect(try generation("Deployment.apps", #"{"metadata":{"annotations":{"a":"b"}}}"#) == 2)
        #expect(try generation("ReplicaSet.apps", #"{"metadata":{"annotations":{"a":"b"}}}"#) == 1)
        #expect(try generation("ReplicaSet.apps", #"{"spec":{"replicas":3}}"#) == 2)
        #expect(try generation("PriorityClass.scheduling.k8s.io", #"{"description":"x"}"#) == 1)
        #expect(try generation("ConfigMap", #"{"data":{"a":"b"}}"#) == 0)
        #expect(try generation("ResourceClaimTemplate.resource.k8s.io", #"{"metadata":{"labels":{"a":"b"}}}"#) == 0)
    }

    @Test func templatesOfDaemonSetsAreCounted() throws {
        let type = try KindFixtures.type("DaemonSet.apps")
        let old = try KindFixtures.stored(type)
        let key = "deprecated.daemonset.template.generation"
        #expect(old.annotations[key] == "1")
        var new = old
        new["metadata"]["annotations"] = nil
        #expect(type.preparedForUpdate(new, old: old).annotations[key] == "1")
        new["spec"]["template"]["spec"]["dnsPolicy"] = "Default"
        #expect(type.preparedForUpdate(new, old: old).annotations[key] == "2")
    }

    @Test func whoChangesTheTypeOfAServiceNeedNotClearItsFields() throws {
        let type = try KindFixtures.type("Service")
        let old = try KindFixtures.stored(
            type, #"{"spec":{"type":"LoadBalancer","loadBalancerClass":"a/b","externalTrafficPolicy":"Local"}}"#)
        var new = old
        new["spec"]["type"] = "ClusterIP"
        let kept = type.preparedForUpdate(new, old: old)["spec"]
        for field in ["externalTrafficPolicy", "allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            #expect(kept[field] == nil, "\(field)")
        }
    }

    @Test func aStatusOfAPodLeavesWhatWasDecidedWhenItWasMade() throws {
        let type = try KindFixtures.type("Pod")
        let old = try KindFixtures.stored(type)
        var new = old
        new["status"] = ["phase": "Running", "podIP": "10.0.0.1", "hostIPs": [["ip": "10.1.0.1"]]]
        let status = type.preparedForUpdate(new, old: old, subresource: "status")["status"]
        #expect(status["qosClass"] == "BestEffort" && status["podIPs"] == [["ip": "10.0.0.1"]])
        #expect(status["hostIP"] == "10.1.0.1")
    }

    /// Kinds that a PUT can make, and kinds whose PUT must say what it has read. Source: upstream's strategies.
    @Test func kindsAreWrittenAsTheirStrategiesSay() throws {
        let made = [
            "Endpoints", "Event", "Event.events.k8s.io", "Lease.coordination.k8s.io", "LimitRange",
            "Role.rbac.authorization.k8s.io", "ClusterRole.rbac.authorization.k8s.io",
            "RoleBinding.rbac.authorization.k8s.io", "ClusterRoleBinding.rbac.authorization.k8s.io",
        ]
        let careful = [
            "PodDisruptionBudget.policy", "Lease.coordination.k8s.io", "RuntimeClass.node.k8s.io",
            "VolumeAttachment.storage.k8s.io", "CSINode.storage.k8s.io", "CSIDriver.storage.k8s.io",
            "CSIStorageCapacity.storage.k8s.io", "ValidatingWebhookConfiguration.admissionregistration.k8s.io",
            "MutatingWebhookConfiguration.admissionregistration.k8s.io",
            "ValidatingAdmissionPolicy.admissionregistration.k8s.io",
            "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io",
            "MutatingAdmissionPolicy.admissionregistration.k8s.io",
            "MutatingAdmissionPolicyBinding.admissionregistration.k8s.io", "APIService.apiregistration.k8s.io",
            "CustomResourceDefinition.apiextensions.k8s.io",
        ]
        for type in ResourceRegistry.shared.resources where type.isStored && !type.isCustom {
            let strategy = type.description.strategy
            #expect(strategy.allowsCreateOnUpdate == made.contains(type.groupKind), "\(type.groupKind)")
            #expect(strategy.allowsUnconditionalUpdate != careful.contains(type.groupKind), "\(type.groupKind)")
            #expect(strategy.deletesGracefully == (type.groupKind == "Pod"), "\(type.groupKind)")
        }
    }
}
