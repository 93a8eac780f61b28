// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let statefulSet = KindDescription(
        "apps", "StatefulSet",
        strategy: Strategy(countsGenerations: true),
        columns: [
            .objectName,
            TableColumn("Ready") { object in
                JSON("\(object["status"]["readyReplicas"].int ?? 0)/\(object["spec"]["replicas"].int ?? 0)")
            },
            .age,
        ] + TemplateTable.withoutSelector,
        initialStatus: { _ in ["replicas": 0, "availableReplicas": 0] },
        defaults: { set in
            set.make("spec") { spec in
                spec.fill("replicas", 1)
                spec.fill("revisionHistoryLimit", 10)
                spec.fillText("podManagementPolicy", "OrderedReady")
                spec.make("updateStrategy") { strategy in
                    strategy.fillText("type", "RollingUpdate")
                    guard strategy["type"].string == "RollingUpdate" else { return }
                    strategy.make("rollingUpdate") { $0.fill("partition", 0) }
                }
                spec.make("persistentVolumeClaimRetentionPolicy") { policy in
                    policy.fillText("whenDeleted", "Retain")
                    policy.fillText("whenScaled", "Retain")
                }
                spec.each("volumeClaimTemplates") { claim in
                    claim.fill("apiVersion", "v1")
                    claim.fill("kind", "PersistentVolumeClaim")
                    claim.change("spec") { $0.fillText("volumeMode", "Filesystem") }
                    claim.fill("status", ["phase": "Pending"])
                }
                PodDefaults.template(in: &spec)
            }
        },
        rules: { inspection in
            let spec = inspection.object["spec"]
            WorkloadRules.counts(&inspection, ["replicas", "minReadySeconds", "revisionHistoryLimit"])
            inspection.oneOf(spec["podManagementPolicy"], "spec.podManagementPolicy", ["OrderedReady", "Parallel"])
            inspection.oneOf(spec["updateStrategy"]["type"], "spec.updateStrategy.type", ["OnDelete", "RollingUpdate"])
            inspection.notNegative(
                spec["updateStrategy"]["rollingUpdate"]["partition"], "spec.updateStrategy.rollingUpdate.partition")
            PodRules.template(&inspection, kind: "statefulset")
            StatefulSetUpdate.inspect(&inspection)
        })
}

private enum StatefulSetUpdate {
    private static let changeable = [
        "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
    ]

    static func inspect(_ inspection: inout Inspection) {
        guard let old = inspection.old else { return }
        var before = old["spec"] ?? .object([:])
        var after = inspection.object["spec"] ?? .object([:])
        for field in changeable {
            before[field] = nil
            after[field] = nil
        }
        guard before != after else { return }
        inspection.report(
            .forbidden(
                "spec",
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
                    + "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
            ))
    }
}
