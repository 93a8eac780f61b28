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
            WorkloadRules.counts(&inspection, ["minReadySeconds", "revisionHistoryLimit"])
            inspection.oneOf(strategy["type"], "spec.updateStrategy.type", ["OnDelete", "RollingUpdate"])
            WorkloadRules.rolling(&inspection, strategy["rollingUpdate"], at: "spec.updateStrategy.rollingUpdate")
            PodRules.template(&inspection, kind: "daemonset")
        })
}
