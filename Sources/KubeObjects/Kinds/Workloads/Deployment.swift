// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let deployment = KindDescription(
        "apps", "Deployment",
        strategy: Strategy(countsGenerations: true),
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
            inspection.oneOf(spec["strategy"]["type"], "spec.strategy.type", ["Recreate", "RollingUpdate"])
            let rolling = spec["strategy"]["rollingUpdate"]
            if spec["strategy"]["type"].string == "Recreate", rolling != nil {
                inspection.report(
                    .forbidden(
                        "spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"))
            }
            WorkloadRules.rolling(&inspection, rolling, at: "spec.strategy.rollingUpdate")
            if let deadline = spec["progressDeadlineSeconds"].int, deadline <= spec["minReadySeconds"].int ?? 0 {
                inspection.report(
                    .invalid(
                        "spec.progressDeadlineSeconds", JSON(deadline), "must be greater than minReadySeconds"))
            }
            PodRules.template(&inspection, kind: "deployment")
        })
}

/// What must hold for every controller of pods.
enum WorkloadRules {
    static func counts(_ inspection: inout Inspection, _ fields: [String]) {
        for field in fields { inspection.notNegative(inspection.object["spec"][field], "spec.\(field)") }
    }

    /// How many pods a roll-out may take away and add: numbers or percentages, not both zero.
    static func rolling(_ inspection: inout Inspection, _ rolling: JSON?, at path: String) {
        guard let rolling, rolling.object != nil else { return }
        for field in ["maxUnavailable", "maxSurge"] {
            guard let value = rolling[field] else { continue }
            if let text = value.string {
                let digits = text.dropLast()
                if !text.hasSuffix("%") || digits.isEmpty || !digits.utf8.allSatisfy(Names.isDigit) {
                    inspection.report(
                        .invalid(
                            "\(path).\(field)", value,
                            "a valid percent string must be a numeric string followed by an ending '%' "
                                + "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"))
                } else if field == "maxUnavailable", (Int(digits) ?? 101) > 100 {
                    inspection.report(.invalid("\(path).\(field)", value, "must not be greater than 100%"))
                }
            } else {
                inspection.notNegative(value, "\(path).\(field)")
            }
        }
        if isZero(rolling["maxUnavailable"]), isZero(rolling["maxSurge"]) {
            inspection.report(
                .invalid(
                    "\(path).maxUnavailable", rolling["maxUnavailable"] ?? 0, "may not be 0 when `maxSurge` is 0"))
        }
    }

    private static func isZero(_ value: JSON?) -> Bool {
        switch value {
        case nil, .int(0)?: true
        case .string(let text)?: text.hasSuffix("%") && text.dropLast().allSatisfy { $0 == "0" }
        default: false
        }
    }
}
