// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Testing
import Values

@Suite struct KindDefaultTests {
    /// A kind, a change of its good object, and what its defaults are at some paths, as an object of JSON.
    struct Row: Sendable {
        let kind: String
        let patch: String
        let expected: String

        init(_ kind: String, _ patch: String, _ expected: String) {
            self.kind = kind
            self.patch = patch
            self.expected = expected
        }
    }

    static let rows: [Row] = [
        Row(
            "Pod",
            #"{"spec":{"hostNetwork":true,"containers":[{"name":"c","image":"i","ports":[{"containerPort":80}],"startupProbe":{"grpc":{"port":1}},"lifecycle":{"preStop":{"httpGet":{"port":1}}}}]}}"#,
            #"{"spec.containers.0.ports.0.hostPort":80,"spec.containers.0.startupProbe.grpc.service":"","spec.containers.0.startupProbe.failureThreshold":3,"spec.containers.0.lifecycle.preStop.httpGet":{"port":1,"path":"/","scheme":"HTTP"},"spec.preemptionPolicy":null}"#
        ),
        Row(
            "Pod",
            #"{"spec":{"serviceAccount":"s","volumes":[{"name":"a","image":{"reference":"r:v1"}},{"name":"b","rbd":{"monitors":["m"],"image":"i"}},{"name":"c","hostPath":{"path":"/x"}},{"name":"d","iscsi":{"targetPortal":"t","iqn":"i","lun":0}},{"name":"e","downwardAPI":{"items":[{"path":"p","fieldRef":{"fieldPath":"metadata.name"}}]}},{"name":"f","azureDisk":{"diskName":"d","diskURI":"u"}},{"name":"g","scaleIO":{"gateway":"g","system":"s","secretRef":{"name":"n"}}}]}}"#,
            #"{"spec.serviceAccountName":"s","spec.volumes.0.image.pullPolicy":"IfNotPresent","spec.volumes.1.rbd.keyring":"/etc/ceph/keyring","spec.volumes.1.rbd.pool":"rbd","spec.volumes.2.hostPath.type":"","spec.volumes.3.iscsi.iscsiInterface":"default","spec.volumes.4.downwardAPI.defaultMode":420,"spec.volumes.4.downwardAPI.items.0.fieldRef.apiVersion":"v1","spec.volumes.5.azureDisk.cachingMode":"ReadWrite","spec.volumes.6.scaleIO.fsType":"xfs"}"#
        ),
        Row(
            "DaemonSet.apps", "{}",
            #"{"spec.updateStrategy.rollingUpdate":{"maxUnavailable":1,"maxSurge":0}}"#),
        Row(
            "StatefulSet.apps", #"{"spec":{"volumeClaimTemplates":[{"metadata":{"name":"d"},"spec":{}}]}}"#,
            #"{"spec.podManagementPolicy":"OrderedReady","spec.updateStrategy.rollingUpdate.partition":0,"spec.persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Retain","whenScaled":"Retain"},"spec.volumeClaimTemplates.0.spec.volumeMode":"Filesystem","spec.volumeClaimTemplates.0.status.phase":"Pending"}"#
        ),
        Row(
            "ReplicationController", #"{"spec":{"selector":null}}"#,
            #"{"spec.selector":{"a":"b"},"metadata.labels":{"a":"b"}}"#),
        Row(
            "Job.batch", #"{"spec":{"podFailurePolicy":{"rules":[]}}}"#,
            #"{"spec.podReplacementPolicy":"Failed","spec.completionMode":"NonIndexed","spec.backoffLimit":6}"#),
        Row(
            "CronJob.batch", "{}",
            #"{"spec.concurrencyPolicy":"Allow","spec.suspend":false,"spec.failedJobsHistoryLimit":1,"spec.jobTemplate.spec.template.spec.dnsPolicy":"ClusterFirst","spec.jobTemplate.spec.backoffLimit":null}"#
        ),
        Row(
            "Service", #"{"spec":{"clusterIP":"10.0.0.1","externalIPs":["1.1.1.1"],"sessionAffinity":"ClientIP"}}"#,
            #"{"spec.clusterIPs":["10.0.0.1"],"spec.externalTrafficPolicy":"Cluster","spec.sessionAffinityConfig.clientIP.timeoutSeconds":10800,"spec.ports.0.targetPort":80}"#
        ),
        Row(
            "NetworkPolicy.networking.k8s.io", #"{"spec":{"egress":[{"ports":[{"port":1}]}]}}"#,
            #"{"spec.policyTypes":["Ingress","Egress"],"spec.egress.0.ports.0.protocol":"TCP"}"#),
        Row(
            "IngressClass.networking.k8s.io", #"{"spec":{"parameters":{"kind":"K","name":"n"}}}"#,
            #"{"spec.parameters.scope":"Cluster"}"#),
        Row(
            "PersistentVolume", "{}",
            #"{"spec.volumeMode":"Filesystem","spec.persistentVolumeReclaimPolicy":"Retain","spec.hostPath.type":""}"#),
        Row(
            "StorageClass.storage.k8s.io", "{}",
            #"{"reclaimPolicy":"Delete","volumeBindingMode":"Immediate"}"#),
        Row(
            "CSIDriver.storage.k8s.io", "{}",
            #"{"spec.attachRequired":true,"spec.fsGroupPolicy":"ReadWriteOnceWithFSType","spec.volumeLifecycleModes":["Persistent"],"spec.seLinuxMount":false}"#
        ),
        Row(
            "Secret", #"{"stringData":{"a":"x"}}"#,
            #"{"type":"Opaque","data":{"a":"eA=="}}"#),
        Row(
            "Node", #"{"spec":{"podCIDRs":["10.0.0.0/24"]},"status":{"capacity":{"cpu":"1"}}}"#,
            #"{"spec.podCIDR":"10.0.0.0/24","status.allocatable":{"cpu":"1"}}"#),
        Row(
            "LimitRange", "{}",
            #"{"spec.limits.0.default":{"cpu":"2"},"spec.limits.0.defaultRequest":{"cpu":"2"}}"#),
        Row(
            "HorizontalPodAutoscaler.autoscaling", #"{"spec":{"behavior":{}}}"#,
            #"{"spec.minReplicas":1,"spec.metrics.0.resource.target.averageUtilization":80,"spec.behavior.scaleUp.policies.0":{"type":"Pods","value":4,"periodSeconds":15},"spec.behavior.scaleUp.stabilizationWindowSeconds":0,"spec.behavior.scaleDown.policies":[{"type":"Percent","value":100,"periodSeconds":15}],"spec.behavior.scaleDown.stabilizationWindowSeconds":null}"#
        ),
        Row(
            "PriorityClass.scheduling.k8s.io", "{}",
            #"{"preemptionPolicy":"PreemptLowerPriority"}"#),
        Row(
            "ClusterRoleBinding.rbac.authorization.k8s.io", "{}",
            #"{"roleRef.apiGroup":"rbac.authorization.k8s.io","subjects.0.apiGroup":"rbac.authorization.k8s.io"}"#),
        Row(
            "MutatingWebhookConfiguration.admissionregistration.k8s.io", "{}",
            #"{"webhooks.0.failurePolicy":"Fail","webhooks.0.matchPolicy":"Equivalent","webhooks.0.timeoutSeconds":10,"webhooks.0.reinvocationPolicy":"Never","webhooks.0.rules.0.scope":"*","webhooks.0.namespaceSelector":{}}"#
        ),
        Row(
            "MutatingAdmissionPolicy.admissionregistration.k8s.io", "{}",
            #"{"spec.failurePolicy":"Fail","spec.reinvocationPolicy":"Never"}"#),
        Row(
            "APIService.apiregistration.k8s.io", "{}",
            #"{"spec.service.port":443}"#),
        Row(
            "FlowSchema.flowcontrol.apiserver.k8s.io", "{}",
            #"{"spec.matchingPrecedence":1000}"#),
        Row(
            "PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io", "{}",
            #"{"spec.limited.nominalConcurrencyShares":30,"spec.limited.lendablePercent":0,"spec.limited.limitResponse.queuing":{"queues":64,"handSize":8,"queueLengthLimit":50}}"#
        ),
        Row(
            "ResourceClaim.resource.k8s.io",
            #"{"spec":{"devices":{"requests":[{"name":"r","exactly":{"deviceClassName":"c"}}]}}}"#,
            #"{"spec.devices.requests.0.exactly.allocationMode":"ExactCount","spec.devices.requests.0.exactly.count":1}"#
        ),
        Row(
            "CustomResourceDefinition.apiextensions.k8s.io", "{}",
            #"{"spec.names.singular":"thing","spec.names.listKind":"ThingList","spec.conversion.strategy":"None"}"#),
    ]

    @Test(arguments: rows) func rowsOfDefaults(_ row: Row) throws {
        let type = try KindFixtures.type(row.kind)
        let object = type.defaulted(KubeObject(try KindFixtures.object(type, row.patch)))
        for (path, expected) in try JSON(parsing: row.expected).object ?? [:] {
            var value: JSON? = object.json
            for step in path.split(separator: ".") {
                if let index = Int(step) { value = value[index] } else { value = value[String(step)] }
            }
            #expect((value ?? .null) == expected, "\(row.kind) \(path)")
        }
    }

    /// A kind, a change of its good object, and the status that it has when it is made.
    static let statuses: [Row] = [
        Row("ConfigMap", "{}", "null"), Row("Namespace", "{}", #"{"phase":"Active"}"#),
        Row("Pod", #"{"status":{"phase":"Running"}}"#, #"{"phase":"Pending","qosClass":"BestEffort"}"#),
        Row("PersistentVolumeClaim", "{}", #"{"phase":"Pending"}"#), Row("ReplicaSet.apps", "{}", #"{"replicas":0}"#),
        Row("VolumeAttachment.storage.k8s.io", "{}", #"{"attached":false}"#),
        Row(
            "Service", #"{"status":{"loadBalancer":{"ingress":[{"ip":"1.1.1.1"}]}}}"#, #"{"loadBalancer":{}}"#),
    ]

    @Test(arguments: statuses) func rowsOfStatuses(_ row: Row) throws {
        let object = try KindFixtures.stored(try KindFixtures.type(row.kind), row.patch)
        #expect((object["status"] ?? .null) == (try JSON(parsing: row.expected)), "\(row.kind)")
    }

    @Test func anAutoscalerOfTheOlderVersionLosesNothing() throws {
        let registry = ResourceRegistry.shared
        let older = try #require(
            registry.resource(GroupVersionResource("autoscaling", "v1", "horizontalpodautoscalers")))
        let newer = try KindFixtures.type("HorizontalPodAutoscaler.autoscaling")
        let object = KubeObject(
            try KindFixtures.object(
                newer,
                #"{"spec":{"metrics":[{"type":"Pods","pods":{"metric":{"name":"m","selector":{"matchLabels":{"a":"b"}}},"target":{"type":"AverageValue","averageValue":"10"}}},{"type":"Object","object":{"describedObject":{"kind":"K","name":"n"},"metric":{"name":"m"},"target":{"type":"Value","value":"3"}}},{"type":"ContainerResource","containerResource":{"name":"cpu","container":"c","target":{"type":"Utilization","averageUtilization":50}}},{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":70}}}],"behavior":{"scaleUp":{"selectPolicy":"Min"}}},"status":{"conditions":[{"type":"AbleToScale","status":"True"}],"currentMetrics":[{"type":"External","external":{"metric":{"name":"q"},"current":{"value":"4"}}}]}}"#
            ))
        let shown = older.converted(object)
        #expect(shown["spec"]["targetCPUUtilizationPercentage"] == 70 && shown["spec"]["metrics"] == nil)
        let annotation = try #require(shown.annotations["autoscaling.alpha.kubernetes.io/metrics"])
        #expect(
            try JSON(parsing: annotation)[0]
                == JSON(
                    parsing:
                        #"{"type":"Pods","pods":{"metricName":"m","selector":{"matchLabels":{"a":"b"}},"targetAverageValue":"10"}}"#
                ))
        #expect(newer.converted(shown) == object)
    }

    static let schedules: [(text: String, problem: String?)] = [
        ("0 0 1 1 *", nil), ("*/15 8-18 * jan-mar mon,fri", nil), ("@daily", nil), ("@every 1h30m", nil),
        ("5/10 * ? * *", nil), ("", "empty spec string"), ("@often", "unrecognized descriptor: @often"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"), ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        (
            "a * * * *", #"failed to parse int from a: strconv.Atoi: parsing "a": invalid syntax"#
        ),
        (
            "99999999999999999999 * * * *",
            #"failed to parse int from 99999999999999999999: strconv.Atoi: parsing "99999999999999999999": invalid syntax"#
        ),
        ("/ - , / -", #"failed to parse int from : strconv.Atoi: parsing "": invalid syntax"#),
    ]

    @Test(arguments: schedules) func rowsOfSchedules(text: String, problem: String?) {
        #expect(CronSyntax.problem(in: text) == problem)
    }
}
