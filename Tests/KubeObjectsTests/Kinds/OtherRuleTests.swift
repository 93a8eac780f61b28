// SPDX-License-Identifier: Apache-2.0

import Testing

@Suite struct OtherRuleTests {
    static let others: [KindRow] = [
        KindRow(
            "ConfigMap", #"{"data":{"a b":"x"}}"#,
            [
                #"data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"#
            ]
        ),
        KindRow(
            "ConfigMap", #"{"data":{"a":"x"},"binaryData":{"a":"eA=="}}"#,
            [#"data[a]: Invalid value: "a": duplicate of key present in binaryData"#]
        ),
        KindRow(
            "Secret", #"{"type":"kubernetes.io/tls"}"#,
            ["data[tls.crt]: Required value", "data[tls.key]: Required value"]
        ),
        KindRow(
            "Secret", #"{"type":"kubernetes.io/basic-auth"}"#,
            ["data[username]: Required value", "data[password]: Required value"]
        ),
        KindRow("Secret", #"{"type":"kubernetes.io/basic-auth","stringData":{"password":"x"}}"#, []),
        KindRow(
            "Secret", #"{"type":"kubernetes.io/dockerconfigjson","data":{".dockerconfigjson":""}}"#,
            [
                #"data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": unexpected end of JSON input"#
            ]
        ),
        KindRow(
            "Secret", #"{"type":"kubernetes.io/service-account-token"}"#,
            ["metadata.annotations[kubernetes.io/service-account.name]: Required value"]
        ),
        KindRow(
            "Node", #"{"spec":{"taints":[{"key":"a","effect":"NoSchedule"},{"key":"a","effect":"NoSchedule"}]}}"#,
            [
                #"metadata.taints[1]: Duplicate value: {"key":"a","effect":"NoSchedule"}: taints must be unique by key and effect pair"#
            ]
        ),
        KindRow("Node", #"{"spec":{"taints":[{"key":"a"}]}}"#, ["metadata.taints[0].effect: Required value"]),
        KindRow(
            "Namespace", #"{"spec":{"finalizers":["odd"]}}"#,
            [
                #"spec.finalizers: Invalid value: "odd": name is neither a standard finalizer name nor is it fully qualified"#
            ]
        ),
        KindRow(
            "LimitRange", #"{"spec":{"limits":[{"type":"Container","min":{"cpu":"2"},"max":{"cpu":"1"}}]}}"#,
            [
                #"spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1"#,
                #"spec.limits[0].defaultRequest[cpu]: Invalid value: "1": min value 2 is greater than default request value 1"#,
                #"spec.limits[0].default[cpu]: Invalid value: "2": min value 2 is greater than default value 1"#,
            ]
        ),
        KindRow(
            "LimitRange", #"{"spec":{"limits":[{"type":"Odd"}]}}"#,
            [#"spec.limits[0].type: Invalid value: "Odd": must be a standard limit type or fully qualified"#]
        ),
        KindRow(
            "ResourceQuota", #"{"spec":{"hard":{"odd":"1"}}}"#,
            [
                #"spec.hard[odd]: Invalid value: "odd": must be a standard resource type or fully qualified"#,
                #"spec.hard[odd]: Invalid value: "odd": must be a standard resource for quota"#,
            ]
        ),
        KindRow(
            "ResourceQuota", #"{"spec":{"hard":{"pods":"1500m"}}}"#,
            [#"spec.hard[pods]: Invalid value: "1500m": must be an integer"#]
        ),
        KindRow(
            "PriorityClass.scheduling.k8s.io", #"{"metadata":{"name":"system-mine"}}"#,
            [
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-mine is not a known system priority class"
            ]
        ),
        KindRow(
            "PriorityClass.scheduling.k8s.io", #"{"value":1000000001}"#,
            ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]
        ),
        KindRow(
            "PodDisruptionBudget.policy", #"{"spec":{"maxUnavailable":"x"}}"#,
            [
                #"spec: Invalid value: {"minAvailable":1,"selector":{"matchLabels":{"a":"b"}},"maxUnavailable":"x"}: minAvailable and maxUnavailable cannot be both set"#,
                #"spec.maxUnavailable: Invalid value: "x": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"#,
            ]
        ),
        KindRow(
            "Lease.coordination.k8s.io", #"{"spec":{"leaseDurationSeconds":0,"leaseTransitions":-1}}"#,
            [
                "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
                "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
            ]
        ),
        KindRow(
            "RuntimeClass.node.k8s.io", #"{"overhead":{"podFixed":{"odd":"1"}}}"#,
            [
                #"overhead.podFixed.limits[odd]: Invalid value: "odd": must be a standard resource type or fully qualified"#,
                #"overhead.podFixed.limits[odd]: Invalid value: "odd": must be a standard resource for containers"#,
            ]
        ),
        KindRow(
            "HorizontalPodAutoscaler.autoscaling", #"{"spec":{"minReplicas":5,"scaleTargetRef":{"name":null}}}"#,
            [
                "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`",
                "spec.scaleTargetRef.name: Required value",
            ]
        ),
        KindRow(
            "HorizontalPodAutoscaler.autoscaling",
            #"{"spec":{"metrics":[{"type":"Pods","resource":{"name":"cpu","target":{"type":"Utilization"}}}]}}"#,
            [
                "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization",
                "spec.metrics[0].pods: Required value: must populate information for the given metric source",
            ]
        ),
        KindRow(
            "HorizontalPodAutoscaler.autoscaling",
            #"{"spec":{"behavior":{"scaleDown":{"stabilizationWindowSeconds":4000,"policies":[{"type":"Odd","value":0,"periodSeconds":1}]}}}}"#,
            [
                "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 4000: must be less than or equal to 3600",
                #"spec.behavior.scaleDown.policies[0].type: Unsupported value: "Odd": supported values: "Percent", "Pods""#,
                "spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than zero",
            ]
        ),
        KindRow(
            "Role.rbac.authorization.k8s.io", #"{"rules":[{"nonResourceURLs":["/x"],"verbs":["get"]}]}"#,
            [
                #"rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs"#
            ]
        ),
        KindRow(
            "ClusterRole.rbac.authorization.k8s.io", #"{"aggregationRule":{}}"#,
            [
                "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil"
            ]
        ),
        KindRow(
            "ClusterRoleBinding.rbac.authorization.k8s.io",
            #"{"roleRef":{"kind":"Role"},"subjects":[{"kind":"ServiceAccount","name":"a"},{"kind":"Odd","name":"a"}]}"#,
            [
                #"roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole""#,
                "subjects[0].namespace: Required value",
                #"subjects[1].kind: Unsupported value: "Odd": supported values: "ServiceAccount", "User", "Group""#,
            ]
        ),
        KindRow(
            "Event", #"{"involvedObject":{"namespace":"other"}}"#,
            [#"involvedObject.namespace: Invalid value: "other": does not match event.namespace"#]
        ),
        KindRow(
            "Event.events.k8s.io", #"{"eventTime":null,"type":"Odd","deprecatedCount":2}"#,
            [
                "eventTime: Required value", #"type: Invalid value: "": has invalid value: Odd"#,
                #"count: Invalid value: "": needs to be unset"#,
            ]
        ),
        KindRow(
            "Event.events.k8s.io",
            #"{"action":null,"series":{"count":1,"lastObservedTime":"2026-01-01T00:00:00.000000Z"}}"#,
            ["action: Required value", #"series.count: Invalid value: "": should be at least 2"#]
        ),
        KindRow(
            "ValidatingWebhookConfiguration.admissionregistration.k8s.io",
            #"{"webhooks":[{"name":"a","clientConfig":{},"timeoutSeconds":99}]}"#,
            [
                #"webhooks[0].name: Invalid value: "a": should be a domain with at least three segments separated by dots"#,
                "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
                "webhooks[0].timeoutSeconds: Invalid value: 99: the timeout value must be between 1 and 30 seconds",
                "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
                "webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1",
            ]
        ),
        KindRow(
            "ValidatingAdmissionPolicy.admissionregistration.k8s.io",
            #"{"spec":{"validations":[],"matchConstraints":{"resourceRules":[]}}}"#,
            [
                "spec.matchConstraints.resourceRules: Required value",
                "spec.validations: Required value: validations or auditAnnotations must be non-empty",
                "spec.auditAnnotations: Required value: validations or auditAnnotations must be non-empty",
            ]
        ),
        KindRow(
            "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io",
            #"{"spec":{"validationActions":["Deny","Warn","Odd"]}}"#,
            [
                #"spec.validationActions[2]: Unsupported value: "Odd": supported values: "Audit", "Deny", "Warn""#,
                #"spec.validationActions: Invalid value: ["Deny","Warn","Odd"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"#,
            ]
        ),
        KindRow(
            "MutatingAdmissionPolicy.admissionregistration.k8s.io",
            #"{"spec":{"mutations":[{"patchType":"ApplyConfiguration","applyConfiguration":{"expression":" "}}]}}"#,
            [
                "spec.mutations[0].applyConfiguration.expression: Required value: expression is not specified"
            ]
        ),
        KindRow(
            "APIService.apiregistration.k8s.io",
            #"{"spec":{"versionPriority":0,"caBundle":"eA==","insecureSkipTLSVerify":true}}"#,
            [
                "spec.versionPriority: Invalid value: 0: must be positive and less than 1000",
                "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present",
            ]
        ),
        KindRow(
            "FlowSchema.flowcontrol.apiserver.k8s.io",
            #"{"spec":{"matchingPrecedence":1,"rules":[{"subjects":[{"kind":"User","group":{"name":"g"}}]}]}}"#,
            [
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
                "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
                "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
                "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
            ]
        ),
        KindRow(
            "PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io",
            #"{"spec":{"limited":{"limitResponse":{"queuing":{"queues":4,"handSize":5}}}}}"#,
            [
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 5: should not be greater than queues (4)"
            ]
        ),
        KindRow(
            "ResourceClaim.resource.k8s.io",
            #"{"spec":{"devices":{"requests":[{"name":"r"},{"name":"r","exactly":{"allocationMode":"All","count":2}}]}}}"#,
            [
                "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
                #"spec.devices.requests[1]: Duplicate value: "r""#,
                "spec.devices.requests[1].exactly.deviceClassName: Required value",
                "spec.devices.requests[1].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'",
            ]
        ),
        KindRow(
            "ResourceSlice.resource.k8s.io", #"{"spec":{"nodeName":null,"devices":[{"name":"d"},{"name":"d"}]}}"#,
            [
                "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required",
                #"spec.devices[1]: Duplicate value: "d""#,
            ]
        ),
    ]

    @Test(arguments: others) func rowsOfOthers(_ row: KindRow) throws { try row.check() }
}
