// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let limitRange = KindDescription(
        "", "LimitRange", columns: [.objectName, .createdAt],
        defaults: { range in
            range.change("spec") { spec in
                spec.each("limits") { item in
                    guard item["type"].string == "Container" else { return }
                    for (name, amount) in item["max"].object ?? [:] { item.make("default") { $0.fill(name, amount) } }
                    for source in ["default", "min"] {
                        for (name, amount) in item[source].object ?? [:] {
                            item.make("defaultRequest") { $0.fill(name, amount) }
                        }
                    }
                }
            }
        },
        rules: LimitRangeRules.inspect)

    static let resourceQuota = KindDescription(
        "", "ResourceQuota", strategy: Strategy(answersWithDeleted: true), immutable: ["spec.scopes"],
        columns: [
            .objectName, TableColumn("Request") { JSON(QuotaTable.usage($0.json, limits: false)) },
            TableColumn("Limit") { JSON(QuotaTable.usage($0.json, limits: true)) }, .age,
        ],
        initialStatus: { _ in .object([:]) }, rules: ResourceQuotaRules.inspect)

    static let priorityClass = KindDescription(
        "scheduling.k8s.io", "PriorityClass",
        immutable: ["value", "preemptionPolicy"],
        columns: [
            .objectName, .number("Value", "value"), .text("Global-Default", "globalDefault", missing: "false"), .age,
            .text("PreemptionPolicy", "preemptionPolicy", missing: ""),
        ],
        defaults: { $0.fillText("preemptionPolicy", "PreemptLowerPriority") },
        rules: { inspection in
            let name = inspection.object["metadata"]["name"].string ?? ""
            let value = inspection.object["value"].int ?? 0
            if value > 1_000_000_000, !name.hasPrefix("system-") {
                inspection.report(
                    .forbidden("value", "maximum allowed value of a user defined priority is 1000000000"))
            }
        })

    static let podDisruptionBudget = KindDescription(
        "policy", "PodDisruptionBudget",
        strategy: Strategy(countsGenerations: true),
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
            LabelSelectorRules.inspect(&inspection, spec["selector"], at: "spec.selector")
        })

    static let horizontalPodAutoscaler = KindDescription(
        "autoscaling", "HorizontalPodAutoscaler",
        columns: [
            .objectName,
            TableColumn("Reference") { scaler in
                let target = scaler["spec"]["scaleTargetRef"]
                return JSON("\(target["kind"].string ?? "")/\(target["name"].string ?? "")")
            },
            TableColumn("Targets") { JSON(AutoscalerTable.targets($0.json)) },
            TableColumn("MinPods") { JSON($0["spec"]["minReplicas"].int.map { String($0) } ?? "<unset>") },
            .number("MaxPods", "spec.maxReplicas"), .number("Replicas", "status.currentReplicas"), .age,
        ],
        initialStatus: { _ in ["currentReplicas": 0, "desiredReplicas": 0] },
        defaults: { scaler in
            scaler.make("spec") { spec in
                spec.fill("minReplicas", 1)
                if (spec["metrics"].array ?? []).isEmpty {
                    spec["metrics"] = [
                        [
                            "type": "Resource",
                            "resource": ["name": "cpu", "target": ["type": "Utilization", "averageUtilization": 80]],
                        ]
                    ]
                }
            }
        },
        rules: { inspection in
            let spec = inspection.object["spec"]
            let most = spec["maxReplicas"].int ?? 0
            if most < 1 { inspection.report(.invalid("spec.maxReplicas", JSON(most), "must be greater than 0")) }
            if let least = spec["minReplicas"].int, least > most {
                inspection.report(
                    .invalid("spec.maxReplicas", JSON(most), "must be greater than or equal to `minReplicas`"))
            }
        })

    static let runtimeClass = KindDescription(
        "node.k8s.io", "RuntimeClass", immutable: ["handler"],
        columns: [.objectName, .text("Handler", "handler", missing: ""), .age])

    static let lease = KindDescription(
        "coordination.k8s.io", "Lease",
        strategy: Strategy(allowsCreateOnUpdate: true),
        columns: [.objectName, .text("Holder", "spec.holderIdentity", missing: ""), .age],
        rules: { inspection in
            for field in ["leaseDurationSeconds"] {
                guard let value = inspection.object["spec"][field], let number = value.int, number <= 0 else {
                    continue
                }
                inspection.report(.invalid("spec.\(field)", value, "must be greater than 0"))
            }
        })

    static let componentStatus = KindDescription(
        "", "ComponentStatus",
        columns: [
            .objectName,
            TableColumn("Status") { status in
                let healthy = (status["conditions"].array ?? []).first { $0["type"].string == "Healthy" }
                return JSON(healthy?["status"].string == "True" ? "Healthy" : "Unhealthy")
            },
            TableColumn("Message") { JSON($0["conditions"][0]["message"].string ?? "") },
            TableColumn("Error") { JSON($0["conditions"][0]["error"].string ?? "") },
        ])
}

private enum QuotaTable {
    static func usage(_ quota: JSON, limits: Bool) -> String {
        (quota["status"]["hard"].object ?? [:]).filter { $0.key.hasPrefix("limits.") == limits }
            .sorted { $0.key < $1.key }
            .map { name, hard in
                "\(name): \(quota["status"]["used"][name].string ?? "0")/\(hard.string ?? "")"
            }.joined(separator: ", ")
    }
}

private enum AutoscalerTable {
    static func targets(_ scaler: JSON) -> String {
        let current = scaler["status"]["currentMetrics"].array ?? []
        let texts = (scaler["spec"]["metrics"].array ?? []).enumerated().map { index, metric -> String in
            let resource = metric["resource"]
            let name = resource["name"].string ?? (metric["type"].string ?? "")
            let now = index < current.count ? current[index]["resource"]["current"] : nil
            if let wanted = resource["target"]["averageUtilization"].int {
                return "\(name): \(now["averageUtilization"].int.map { "\($0)%" } ?? "<unknown>")/\(wanted)%"
            }
            let wanted = resource["target"]["averageValue"].string ?? "<auto>"
            return "\(name): \(now["averageValue"].string ?? "<unknown>")/\(wanted)"
        }
        if texts.isEmpty { return "<none>" }
        return texts.prefix(2).joined(separator: ", ") + (texts.count > 2 ? " + \(texts.count - 2) more..." : "")
    }
}
