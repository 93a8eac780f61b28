// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let podDisruptionBudget = KindDescription(
        "policy", "PodDisruptionBudget",
        strategy: Strategy(allowsUnconditionalUpdate: false, countsGenerations: true),
        columns: [
            .objectName, .text("Min Available", "spec.minAvailable", missing: "N/A"),
            .text("Max Unavailable", "spec.maxUnavailable", missing: "N/A"),
            .number("Allowed Disruptions", "status.disruptionsAllowed"), .age,
        ],
        initialStatus: { _ in
            ["currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0]
        },
        rules: { inspection in
            let spec = inspection.object["spec"]
            if spec["minAvailable"] != nil, spec["maxUnavailable"] != nil {
                inspection.report(
                    .invalid("spec", spec ?? .null, "minAvailable and maxUnavailable cannot be both set"))
            }
            for field in ["minAvailable", "maxUnavailable"] {
                WorkloadRules.countOrPercent(&inspection, spec[field], at: "spec.\(field)")
                WorkloadRules.atMostHundredPercent(&inspection, spec[field], at: "spec.\(field)")
            }
            LabelSelectorRules.inspect(&inspection, spec["selector"], at: "spec.selector")
            inspection.oneOf(
                spec["unhealthyPodEvictionPolicy"], "spec.unhealthyPodEvictionPolicy",
                ["AlwaysAllow", "IfHealthyBudget"])
        },
        statusRules: {
            WorkloadRules.counts(
                &$0, ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"], in: "status")
        })
}
