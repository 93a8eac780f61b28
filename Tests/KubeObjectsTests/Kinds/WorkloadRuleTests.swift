// SPDX-License-Identifier: Apache-2.0

import Testing

@Suite struct WorkloadRuleTests {
    static let workloads: [KindRow] = [
        KindRow(
            "Deployment.apps", #"{"spec":{"replicas":-1}}"#,
            ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]
        ),
        KindRow("Deployment.apps", #"{"spec":{"selector":null}}"#, ["spec.selector: Required value"]),
        KindRow(
            "Deployment.apps", #"{"spec":{"selector":{"matchLabels":null}}}"#,
            ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]
        ),
        KindRow(
            "Deployment.apps", #"{"spec":{"template":{"spec":{"restartPolicy":"Never"}}}}"#,
            [#"spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always""#]
        ),
        KindRow(
            "Deployment.apps", #"{"spec":{"template":{"spec":{"activeDeadlineSeconds":5}}}}"#,
            [
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported"
            ]
        ),
        KindRow(
            "Deployment.apps", #"{"spec":{"strategy":{"rollingUpdate":{"maxSurge":0,"maxUnavailable":"0%"}}}}"#,
            [
                #"spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0"#
            ]
        ),
        KindRow(
            "Deployment.apps", #"{"spec":{"strategy":{"rollingUpdate":{"maxUnavailable":"101%"}}}}"#,
            [#"spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%"#]
        ),
        KindRow(
            "Deployment.apps", #"{"spec":{"strategy":{"type":"Recreate","rollingUpdate":{"maxSurge":1}}}}"#,
            ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"]
        ),
        KindRow(
            "Deployment.apps", #"{"spec":{"strategy":{"type":"Odd"}}}"#,
            [#"spec.strategy.type: Unsupported value: "Odd": supported values: "Recreate", "RollingUpdate""#]
        ),
        KindRow(
            "Deployment.apps", #"{"spec":{"progressDeadlineSeconds":5,"minReadySeconds":5}}"#,
            ["spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"]
        ),
        KindRow(
            "Deployment.apps", #"{"spec":{"template":{"spec":{"ephemeralContainers":[{"name":"e","image":"i"}]}}}}"#,
            ["spec.template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template"]
        ),
        KindRow("Deployment.apps", #"{"spec":{"template":{"spec":{"containers":[{"name":"c","image":" i"}]}}}}"#, []),
        KindRow(
            "ReplicaSet.apps", #"{"spec":{"template":{"metadata":{"labels":{"a":"c"}}}}}"#,
            [
                #"spec.template.metadata.labels: Invalid value: {"a":"c"}: `selector` does not match template `labels`"#
            ]
        ),
        KindRow(
            "ReplicationController", #"{"spec":{"selector":null,"template":{"metadata":null}}}"#,
            ["spec.selector: Required value"]
        ),
        KindRow(
            "DaemonSet.apps", #"{"spec":{"updateStrategy":{"rollingUpdate":{"maxUnavailable":1,"maxSurge":1}}}}"#,
            [
                "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"
            ]
        ),
        KindRow(
            "DaemonSet.apps", #"{"spec":{"updateStrategy":{"rollingUpdate":{"maxUnavailable":0}}}}"#,
            ["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"]
        ),
        KindRow(
            "StatefulSet.apps", #"{"spec":{"podManagementPolicy":"Odd"}}"#,
            [#"spec.podManagementPolicy: Invalid value: "Odd": must be 'OrderedReady' or 'Parallel'"#]
        ),
        KindRow(
            "StatefulSet.apps", #"{"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":{"partition":1}}}}"#,
            [
                #"spec.updateStrategy.rollingUpdate: Invalid value: {"partition":1}: only allowed for updateStrategy 'RollingUpdate'"#
            ]
        ),
        KindRow(
            "StatefulSet.apps",
            #"{"spec":{"volumeClaimTemplates":[{"metadata":{"name":"d"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}],"template":{"spec":{"containers":[{"name":"c","image":"i","volumeMounts":[{"name":"d","mountPath":"/d"}]}]}}}}"#,
            []
        ),
        KindRow(
            "StatefulSet.apps", #"{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Odd"}}}"#,
            [
                #"spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: "Odd": supported values: "Retain", "Delete""#
            ]
        ),
        KindRow("ControllerRevision.apps", #"{"data":null}"#, ["data: Required value: data is mandatory"]),
        KindRow(
            "ControllerRevision.apps", #"{"revision":-1}"#,
            ["revision: Invalid value: -1: must be greater than or equal to 0"]
        ),
    ]

    static let jobs: [KindRow] = [
        KindRow(
            "Job.batch", #"{"spec":{"template":{"spec":{"restartPolicy":null}}}}"#,
            [#"spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never""#]
        ),
        KindRow(
            "Job.batch", #"{"spec":{"completionMode":"Indexed"}}"#, []
        ),
        KindRow(
            "Job.batch", #"{"spec":{"completionMode":"Indexed","parallelism":2}}"#,
            ["spec.completions: Required value: when completion mode is Indexed"]
        ),
        KindRow(
            "Job.batch", #"{"spec":{"backoffLimitPerIndex":1}}"#,
            ["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"]
        ),
        KindRow(
            "Job.batch", #"{"spec":{"completionMode":"Odd"}}"#,
            [#"spec.completionMode: Unsupported value: "Odd": supported values: "NonIndexed", "Indexed""#]
        ),
        KindRow(
            "Job.batch", #"{"spec":{"podFailurePolicy":{"rules":[{"action":"FailJob"}]}}}"#,
            [
                #"spec.podFailurePolicy.rules[0]: Invalid value: "": specifying one of OnExitCodes and OnPodConditions is required"#
            ]
        ),
        KindRow(
            "Job.batch",
            #"{"spec":{"podFailurePolicy":{"rules":[{"action":"FailIndex","onExitCodes":{"operator":"In","values":[3,0,3],"containerName":"z"}}]}}}"#,
            [
                #"spec.podFailurePolicy.rules[0].action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set"#,
                #"spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: "z": must be one of the container or initContainer names in the pod template"#,
                "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
                "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 3",
                "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [3,0,3]: must be ordered",
            ]
        ),
        KindRow(
            "Job.batch", #"{"spec":{"successPolicy":{"rules":[]},"completionMode":"Indexed","completions":3}}"#,
            [
                "spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is specified"
            ]
        ),
        KindRow(
            "Job.batch",
            #"{"spec":{"successPolicy":{"rules":[{"succeededIndexes":"0-1","succeededCount":3}]},"completionMode":"Indexed","completions":3}}"#,
            [
                "spec.successPolicy.rules[0].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)"
            ]
        ),
        KindRow(
            "Job.batch", #"{"spec":{"managedBy":"nobody"}}"#,
            [#"spec.managedBy: Invalid value: "nobody": must be a domain-prefixed path (such as "acme.io/foo")"#]
        ),
        KindRow("CronJob.batch", #"{"spec":{"schedule":""}}"#, ["spec.schedule: Required value"]),
        KindRow(
            "CronJob.batch", #"{"spec":{"schedule":"* * *"}}"#,
            [#"spec.schedule: Invalid value: "* * *": expected exactly 5 fields, found 3: [* * *]"#]
        ),
        KindRow(
            "CronJob.batch", #"{"spec":{"schedule":"TZ=UTC 0 0 * * *"}}"#,
            [
                #"spec.schedule: Invalid value: "TZ=UTC 0 0 * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead"#
            ]
        ),
        KindRow("CronJob.batch", #"{"spec":{"timeZone":"Europe/Berlin"}}"#, []),
        KindRow(
            "CronJob.batch", #"{"spec":{"timeZone":"Nowhere"}}"#,
            [#"spec.timeZone: Invalid value: "Nowhere": unknown time zone Nowhere"#]
        ),
        KindRow(
            "CronJob.batch", #"{"spec":{"concurrencyPolicy":"Odd"}}"#,
            [#"spec.concurrencyPolicy: Unsupported value: "Odd": supported values: "Allow", "Forbid", "Replace""#]
        ),
        KindRow(
            "CronJob.batch", #"{"spec":{"jobTemplate":{"spec":{"manualSelector":true}}}}"#,
            [#"spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false""#]
        ),
        KindRow(
            "CronJob.batch", #"{"metadata":{"name":"a2345678901234567890123456789012345678901234567890123"}}"#,
            [
                #"metadata.name: Invalid value: "a2345678901234567890123456789012345678901234567890123": must be no more than 52 characters"#
            ]
        ),
    ]

    @Test(arguments: workloads) func rowsOfWorkloads(_ row: KindRow) throws { try row.check() }
    @Test(arguments: jobs) func rowsOfJobs(_ row: KindRow) throws { try row.check() }
}
