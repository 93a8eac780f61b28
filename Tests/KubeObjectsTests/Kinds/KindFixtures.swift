// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

/// An object of each kind that nothing is wrong with, which the rows of the tables change.
enum KindFixtures {
    private static let pod = #"{"containers":[{"name":"c","image":"i"}]}"#
    private static let template = #"{"metadata":{"labels":{"a":"b"}},"spec":\#(pod)}"#
    private static let controller = #""spec":{"selector":{"matchLabels":{"a":"b"}},"template":\#(template)}"#
    private static let job = #"{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}"#
    private static let rule =
        #"{"operations":["CREATE"],"apiGroups":[""],"apiVersions":["v1"],"resources":["pods"]}"#
    private static let webhook =
        #""webhooks":[{"name":"a.example.com","sideEffects":"None","admissionReviewVersions":["v1"],"clientConfig":{"url":"https://x"},"rules":[\#(rule)]}]"#
    private static let role = #""roleRef":{"kind":"ClusterRole","name":"view"},"subjects":[{"kind":"User","name":"u"}]"#
    private static let claim = #"{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}"#

    /// By group and kind, what stands beside the metadata.
    static let bodies: [String: String] = [
        "Pod": #""spec":\#(pod)"#, "PodTemplate": #""template":\#(template)"#,
        "Deployment.apps": controller, "ReplicaSet.apps": controller, "DaemonSet.apps": controller,
        "StatefulSet.apps": controller.replacing(#""spec":{"sel"#, with: #""spec":{"serviceName":"s","sel"#),
        "ReplicationController": #""spec":{"selector":{"a":"b"},"template":\#(template)}"#,
        "Job.batch": #""spec":\#(job)"#,
        "CronJob.batch": #""spec":{"schedule":"*/5 * * * *","jobTemplate":{"spec":\#(job)}}"#,
        "ControllerRevision.apps": #""revision":1,"data":{"a":1}"#,
        "HorizontalPodAutoscaler.autoscaling":
            #""spec":{"maxReplicas":3,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"d"}}"#,
        "Service": #""spec":{"ports":[{"port":80}]}"#,
        "Endpoints": #""subsets":[{"addresses":[{"ip":"10.0.0.1"}],"ports":[{"port":80}]}]"#,
        "EndpointSlice.discovery.k8s.io":
            #""addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"]}],"ports":[{"port":80}]"#,
        "Ingress.networking.k8s.io":
            #""spec":{"defaultBackend":{"service":{"name":"s","port":{"number":80}}}}"#,
        "IngressClass.networking.k8s.io": #""spec":{"controller":"example.com/x"}"#,
        "NetworkPolicy.networking.k8s.io": #""spec":{"podSelector":{}}"#,
        "ServiceCIDR.networking.k8s.io": #""spec":{"cidrs":["10.200.0.0/24"]}"#,
        "IPAddress.networking.k8s.io":
            #""spec":{"parentRef":{"resource":"services","name":"x","namespace":"n"}}"#,
        "PersistentVolume":
            #""spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"hostPath":{"path":"/x"}}"#,
        "PersistentVolumeClaim": #""spec":\#(claim)"#,
        "StorageClass.storage.k8s.io": #""provisioner":"example.com/x""#,
        "CSIDriver.storage.k8s.io": #""spec":{}"#,
        "CSINode.storage.k8s.io": #""spec":{"drivers":[{"name":"d.example.com","nodeID":"n"}]}"#,
        "CSIStorageCapacity.storage.k8s.io": #""storageClassName":"s""#,
        "VolumeAttachment.storage.k8s.io":
            #""spec":{"attacher":"x","nodeName":"n","source":{"persistentVolumeName":"v"}}"#,
        "VolumeAttributesClass.storage.k8s.io": #""driverName":"d.example.com","parameters":{"a":"b"}"#,
        "ResourceQuota": #""spec":{"hard":{"pods":"2"}}"#,
        "LimitRange": #""spec":{"limits":[{"type":"Container","max":{"cpu":"2"}}]}"#,
        "PriorityClass.scheduling.k8s.io": #""value":7"#, "RuntimeClass.node.k8s.io": #""handler":"x""#,
        "PodDisruptionBudget.policy": #""spec":{"minAvailable":1,"selector":{"matchLabels":{"a":"b"}}}"#,
        "Role.rbac.authorization.k8s.io": #""rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]"#,
        "ClusterRole.rbac.authorization.k8s.io":
            #""rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]"#,
        "RoleBinding.rbac.authorization.k8s.io": role, "ClusterRoleBinding.rbac.authorization.k8s.io": role,
        "Lease.coordination.k8s.io": #""spec":{"holderIdentity":"h","leaseDurationSeconds":15}"#,
        "Event": #""involvedObject":{"kind":"Pod","name":"p","namespace":"n"},"reason":"R","type":"Normal""#,
        "Event.events.k8s.io":
            #""regarding":{"kind":"Pod","name":"p","namespace":"n"},"reason":"R","type":"Normal","action":"A","reportingController":"example.com/x","reportingInstance":"i","eventTime":"2026-01-01T00:00:00.000000Z""#,
        "CertificateSigningRequest.certificates.k8s.io":
            #""spec":{"request":"eA==","signerName":"example.com/x","usages":["client auth"]}"#,
        "ValidatingWebhookConfiguration.admissionregistration.k8s.io": webhook,
        "MutatingWebhookConfiguration.admissionregistration.k8s.io": webhook,
        "ValidatingAdmissionPolicy.admissionregistration.k8s.io":
            #""spec":{"validations":[{"expression":"true"}],"matchConstraints":{"resourceRules":[\#(rule)]}}"#,
        "MutatingAdmissionPolicy.admissionregistration.k8s.io":
            #""spec":{"mutations":[{"patchType":"JSONPatch","jsonPatch":{"expression":"[]"}}],"matchConstraints":{"resourceRules":[\#(rule)]}}"#,
        "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io":
            #""spec":{"policyName":"x","validationActions":["Deny"]}"#,
        "MutatingAdmissionPolicyBinding.admissionregistration.k8s.io": #""spec":{"policyName":"x"}"#,
        "CustomResourceDefinition.apiextensions.k8s.io":
            #""spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"things","kind":"Thing"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}}]}"#,
        "APIService.apiregistration.k8s.io":
            #""spec":{"group":"example.com","version":"v1","groupPriorityMinimum":100,"versionPriority":10,"service":{"name":"s","namespace":"n"}}"#,
        "FlowSchema.flowcontrol.apiserver.k8s.io": #""spec":{"priorityLevelConfiguration":{"name":"exempt"}}"#,
        "PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io":
            #""spec":{"type":"Limited","limited":{"limitResponse":{"type":"Queue","queuing":{}}}}"#,
        "DeviceClass.resource.k8s.io": #""spec":{}"#, "ResourceClaim.resource.k8s.io": #""spec":{}"#,
        "ResourceClaimTemplate.resource.k8s.io": #""spec":{"spec":{}}"#,
        "ResourceSlice.resource.k8s.io":
            #""spec":{"driver":"d.example.com","nodeName":"n","pool":{"name":"p","generation":1,"resourceSliceCount":1}}"#,
    ]

    private static let names = [
        "CustomResourceDefinition.apiextensions.k8s.io": "things.example.com",
        "APIService.apiregistration.k8s.io": "v1.example.com", "IPAddress.networking.k8s.io": "10.0.0.1",
        "CSIDriver.storage.k8s.io": "d.example.com",
    ]

    /// The type of a kind that tables name as `Kind.group`; the preferred version of it.
    static func type(_ name: String) throws -> ResourceType {
        try #require(ResourceRegistry.shared.resources.first { $0.groupKind == name }, "no kind \(name)")
    }

    /// The good object of a kind as a client sends it, changed by a merge patch.
    static func object(_ type: ResourceType, _ patch: String = "{}") throws -> JSON {
        let namespace = type.isNamespaced ? #","namespace":"n""# : ""
        let body = bodies[type.groupKind].map { "," + $0 } ?? ""
        let text = """
            {"apiVersion":"\(type.apiVersion)","kind":"\(type.kind)","metadata":{"name":"\(names[type.groupKind] ?? "x")"\
            \(namespace),"uid":"u"}\(body)}
            """
        return MergePatch.apply(try JSON(parsing: patch), to: try JSON(parsing: text))
    }

    /// As it is judged: read by its schema, with its defaults, and made ready to be stored.
    static func stored(_ type: ResourceType, _ patch: String = "{}") throws -> KubeObject {
        let decoded = ResourceRegistry.shared.decode(KubeObject(try object(type, patch)), as: type)
        #expect(decoded.typeError == nil && decoded.unknownFields == [], "\(type.kind) \(patch)")
        return type.preparedForCreate(type.defaulted(decoded.object))
    }

    /// What is wrong with a new object.
    static func problems(_ kind: String, _ patch: String) throws -> [String] {
        let type = try type(kind)
        return type.validate(try stored(type, patch)).map(\.description)
    }

    /// What is wrong with a change of the object that `before` makes of the good one.
    static func problems(
        _ kind: String, from before: String, to after: String, subresource: String? = nil
    ) throws -> [String] {
        let type = try type(kind)
        let old = try stored(type, before)
        var new = KubeObject(MergePatch.apply(try JSON(parsing: after), to: old.json))
        new = type.preparedForUpdate(type.defaulted(new), old: old, subresource: subresource)
        return type.validate(new, old: old, subresource: subresource).map(\.description)
    }
}

/// A kind, a change of its good object, and what is wrong with it then.
struct KindRow: Sendable, CustomTestStringConvertible {
    let kind: String
    let patch: String
    let problems: [String]

    init(_ kind: String, _ patch: String, _ problems: [String]) {
        self.kind = kind
        self.patch = patch
        self.problems = problems
    }

    var testDescription: String { "\(kind) \(patch)" }

    func check() throws { #expect(try KindFixtures.problems(kind, patch) == problems) }
}

@Suite struct KindFixtureTests {
    @Test func eachKindHasAGoodObjectThatPasses() throws {
        for type in ResourceRegistry.shared.resources where type.isStored && !type.isCustom {
            let object = try KindFixtures.stored(type)
            #expect(type.validate(object).map(\.description) == [], "\(type.groupKind)")
            #expect(type.defaulted(object) == object, "\(type.groupKind): defaults change what has them")
            #expect(
                type.validate(object, old: object).map(\.description) == [], "\(type.groupKind): an update of nothing")
            let table = TableRenderer(type).table([object], now: Timestamp(seconds: 0))
            #expect(
                table["rows"][0]["cells"].array?.count == table["columnDefinitions"].array?.count, "\(type.groupKind)")
        }
    }
}
