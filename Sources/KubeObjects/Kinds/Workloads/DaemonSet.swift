// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let daemonSet = KindDescription(
        "apps", "DaemonSet",
        strategy: Strategy(countsGenerations: true),
        immutable: ["spec.selector"],
        columns: [
            .objectName, .number("Desired", "status.desiredNumberScheduled"),
            .number("Current", "status.currentNumberScheduled"), .number("Ready", "status.numberReady"),
            .number("Up-to-date", "status.updatedNumberScheduled"), .number("Available", "status.numberAvailable"),
            TableColumn("Node Selector") { JSON(TemplateTable.labels($0["spec"]["template"]["spec"]["nodeSelector"])) },
            .age,
        ] + TemplateTable.wide,
        initialStatus: { _ in
            ["currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0]
        },
        complete: TemplateGeneration.start,
        keep: TemplateGeneration.count,
        defaults: { set in
            set.make("spec") { spec in
                spec.fill("revisionHistoryLimit", 10)
                spec.make("updateStrategy") { strategy in
                    strategy.fillText("type", "RollingUpdate")
                    guard strategy["type"].string == "RollingUpdate" else { return }
                    strategy.make("rollingUpdate") { rolling in
                        rolling.fill("maxUnavailable", 1)
                        rolling.fill("maxSurge", 0)
                    }
                }
                PodDefaults.template(in: &spec)
            }
        },
        rules: { inspection in
            let strategy = inspection.object["spec"]["updateStrategy"]
            let path = "spec.updateStrategy"
            WorkloadRules.counts(&inspection, ["minReadySeconds", "revisionHistoryLimit"])
            LabelSelectorRules.ofController(
                &inspection, emptyDetail: "empty selector is invalid for daemonset",
                template: inspection.object["spec"]["template"])
            WorkloadRules.template(&inspection, controller: "DaemonSet")
            inspection.oneOf(
                strategy["type"], "\(path).type", ["RollingUpdate", "OnDelete"], missing: .notSupported)
            guard strategy["type"].string == "RollingUpdate" else { return }
            guard let rolling = strategy["rollingUpdate"] else {
                inspection.report(.required("\(path).rollingUpdate"))
                return
            }
            for field in ["maxUnavailable", "maxSurge"] {
                WorkloadRules.countOrPercent(&inspection, rolling[field], at: "\(path).rollingUpdate.\(field)")
                WorkloadRules.atMostHundredPercent(
                    &inspection, rolling[field], at: "\(path).rollingUpdate.\(field)")
            }
            switch (WorkloadRules.isZero(rolling["maxUnavailable"]), WorkloadRules.isZero(rolling["maxSurge"])) {
            case (false, false):
                inspection.report(
                    .invalid(
                        "\(path).rollingUpdate.maxSurge", rolling["maxSurge"] ?? 0,
                        "may not be set when maxUnavailable is non-zero"))
            case (true, true):
                inspection.report(
                    .required("\(path).rollingUpdate.maxUnavailable", "cannot be 0 when maxSurge is 0"))
            default: break
            }
        },
        statusRules: {
            WorkloadRules.statusCounts(
                &$0,
                [
                    "currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady",
                    "updatedNumberScheduled", "numberAvailable", "numberUnavailable",
                ], atMostReplicas: [])
        })
}

/// How often the template of a DaemonSet has changed, which stands in an annotation since its field went.
private enum TemplateGeneration {
    private static let annotation = "deprecated.daemonset.template.generation"

    static func start(_ set: inout JSON) {
        let given = set["metadata"]["annotations"][annotation].string.flatMap { Int($0) } ?? 0
        set["metadata"]["annotations"][annotation] = JSON(String(max(given, 1)))
    }

    static func count(_ set: inout JSON, _ old: JSON) {
        let before = old["metadata"]["annotations"][annotation].string.flatMap { Int($0) } ?? 0
        let isChanged = set["spec"]["template"] != old["spec"]["template"]
        set["metadata"]["annotations"][annotation] = JSON(String(isChanged ? before &+ 1 : before))
    }
}
