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
            StatefulSetRules.inspect(&inspection)
            StatefulSetUpdate.inspect(&inspection)
        },
        statusRules: {
            WorkloadRules.statusCounts(
                &$0, ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"],
                atMostReplicas: ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"])
        })
}

private enum StatefulSetRules {
    static func inspect(_ inspection: inout Inspection) {
        let spec = inspection.object["spec"]
        WorkloadRules.counts(&inspection, ["replicas", "minReadySeconds", "revisionHistoryLimit"])
        inspection.notNegative(spec["ordinals"]["start"], "spec.ordinals.start")
        if let policy = spec["podManagementPolicy"].string, !["OrderedReady", "Parallel"].contains(policy) {
            inspection.report(
                .invalid("spec.podManagementPolicy", JSON(policy), "must be 'OrderedReady' or 'Parallel'"))
        }
        strategy(&inspection, spec["updateStrategy"])
        for field in ["whenDeleted", "whenScaled"] {
            let retention = spec["persistentVolumeClaimRetentionPolicy"]
            inspection.oneOf(
                retention[field], "spec.persistentVolumeClaimRetentionPolicy.\(field)", ["Retain", "Delete"])
        }
        LabelSelectorRules.ofController(
            &inspection, emptyDetail: "empty selector is invalid for statefulset", template: spec["template"])
        inspection.text(spec["serviceName"], "spec.serviceName", Names.labelProblems)
        WorkloadRules.restart(&inspection, spec["template"], controller: "StatefulSet")
        PodRules.template(&inspection, withClaims(spec), at: "spec.template")
        inspection.each(spec["volumeClaimTemplates"], "spec.volumeClaimTemplates") { inspection, claim, path in
            ClaimRules.spec(&inspection, claim["spec"] ?? .object([:]), at: "\(path).spec")
        }
    }

    /// The template as its pods will be: each claim is a volume of its name.
    private static func withClaims(_ spec: JSON?) -> JSON? {
        let names = (spec["volumeClaimTemplates"].array ?? []).compactMap { $0["metadata"]["name"].string }
        guard var template = spec["template"], !names.isEmpty else { return spec["template"] }
        let own = (template["spec"]["volumes"].array ?? []).filter { !names.contains($0["name"].string ?? "") }
        template["spec"]["volumes"] = .array(
            own + names.map { ["name": JSON($0), "persistentVolumeClaim": ["claimName": JSON($0)]] })
        return template
    }

    private static func strategy(_ inspection: inout Inspection, _ strategy: JSON?) {
        let rolling = strategy["rollingUpdate"]
        let path = "spec.updateStrategy.rollingUpdate"
        switch strategy["type"].string ?? "" {
        case "": inspection.report(.required("spec.updateStrategy"))
        case "OnDelete":
            if let rolling {
                inspection.report(.invalid(path, rolling, "only allowed for updateStrategy 'RollingUpdate'"))
            }
        case "RollingUpdate":
            inspection.notNegative(rolling["partition"], "\(path).partition")
            guard let most = rolling["maxUnavailable"] else { return }
            WorkloadRules.countOrPercent(&inspection, most, at: "\(path).maxUnavailable")
            WorkloadRules.atMostHundredPercent(&inspection, most, at: "\(path).maxUnavailable")
            if WorkloadRules.isZero(most) {
                inspection.report(.invalid("\(path).maxUnavailable", most, "cannot be 0"))
            }
        default:
            inspection.report(
                .invalid("spec.updateStrategy", strategy ?? .null, "must be 'RollingUpdate' or 'OnDelete'"))
        }
    }
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
