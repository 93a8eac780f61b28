// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let deployment = KindDescription(
        "apps", "Deployment",
        strategy: Strategy(countsGenerations: true, countsAnnotations: true),
        immutable: ["spec.selector"],
        columns: [
            .objectName,
            TableColumn("Ready") { object in
                JSON("\(object["status"]["readyReplicas"].int ?? 0)/\(object["spec"]["replicas"].int ?? 0)")
            },
            .number("Up-to-date", "status.updatedReplicas"),
            .number("Available", "status.availableReplicas"),
            .age,
        ] + TemplateTable.wide,
        initialStatus: { _ in .object([:]) },
        defaults: { deployment in
            deployment.make("spec") { spec in
                spec.fill("replicas", 1)
                spec.fill("revisionHistoryLimit", 10)
                spec.fill("progressDeadlineSeconds", 600)
                spec.make("strategy") { strategy in
                    strategy.fillText("type", "RollingUpdate")
                    guard strategy["type"].string == "RollingUpdate" else { return }
                    strategy.make("rollingUpdate") { rolling in
                        rolling.fill("maxUnavailable", "25%")
                        rolling.fill("maxSurge", "25%")
                    }
                }
                PodDefaults.template(in: &spec)
            }
        },
        rules: { inspection in
            let spec = inspection.object["spec"]
            WorkloadRules.counts(
                &inspection, ["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"])
            LabelSelectorRules.ofController(
                &inspection, emptyDetail: "empty selector is invalid for deployment", template: spec["template"])
            WorkloadRules.template(&inspection, controller: "ReplicaSet")
            inspection.oneOf(
                spec["strategy"]["type"], "spec.strategy.type", ["Recreate", "RollingUpdate"], missing: .notSupported)
            let rolling = spec["strategy"]["rollingUpdate"]
            let path = "spec.strategy.rollingUpdate"
            if spec["strategy"]["type"].string == "Recreate" {
                inspection.forbid(rolling, path, "may not be specified when strategy `type` is 'Recreate'")
            } else if spec["strategy"]["type"].string == "RollingUpdate" {
                for field in ["maxUnavailable", "maxSurge"] {
                    WorkloadRules.countOrPercent(&inspection, rolling[field], at: "\(path).\(field)")
                }
                if WorkloadRules.isZero(rolling["maxUnavailable"]), WorkloadRules.isZero(rolling["maxSurge"]) {
                    inspection.report(
                        .invalid(
                            "\(path).maxUnavailable", rolling["maxUnavailable"] ?? 0,
                            "may not be 0 when `maxSurge` is 0"))
                }
                WorkloadRules.atMostHundredPercent(
                    &inspection, rolling["maxUnavailable"], at: "\(path).maxUnavailable")
            }
            if let deadline = spec["progressDeadlineSeconds"].int, deadline <= spec["minReadySeconds"].int ?? 0 {
                inspection.report(
                    .invalid(
                        "spec.progressDeadlineSeconds", JSON(deadline), "must be greater than minReadySeconds"))
            }
        },
        statusRules: {
            WorkloadRules.statusCounts(
                &$0, ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas"],
                atMostReplicas: ["updatedReplicas", "readyReplicas", "availableReplicas"])
        })
}
