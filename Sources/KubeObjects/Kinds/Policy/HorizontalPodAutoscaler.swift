// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
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
        defaults: AutoscalerDefaults.fill,
        rules: AutoscalerRules.inspect,
        statusRules: { WorkloadRules.counts(&$0, ["currentReplicas", "desiredReplicas"], in: "status") })
}

/// What an autoscaler does when nobody says otherwise. Source of the figures: Kubernetes' API reference.
private enum AutoscalerDefaults {
    private static func policy(_ type: String, _ value: Int) -> JSON {
        ["type": JSON(type), "value": JSON(value), "periodSeconds": 15]
    }

    static func fill(_ scaler: inout JSON) {
        scaler.make("spec") { spec in
            spec.fill("minReplicas", 1)
            if spec["targetCPUUtilizationPercentage"] == nil, (spec["metrics"].array ?? []).isEmpty {
                spec["metrics"] = [
                    [
                        "type": "Resource",
                        "resource": ["name": "cpu", "target": ["type": "Utilization", "averageUtilization": 80]],
                    ]
                ]
            }
            spec.change("behavior") { behavior in
                behavior.make("scaleUp") { rules in
                    rules.fill("stabilizationWindowSeconds", 0)
                    rules.fillText("selectPolicy", "Max")
                    rules.fill("policies", [policy("Pods", 4), policy("Percent", 100)])
                }
                behavior.make("scaleDown") { rules in
                    rules.fillText("selectPolicy", "Max")
                    rules.fill("policies", [policy("Percent", 100)])
                }
            }
        }
    }
}

private enum AutoscalerTable {
    static func targets(_ scaler: JSON) -> String {
        let current = scaler["status"]["currentMetrics"].array ?? []
        let texts = (scaler["spec"]["metrics"].array ?? []).enumerated().map { index, metric in
            target(metric, now: index < current.count ? current[index] : nil)
        }
        if texts.isEmpty { return "<none>" }
        return texts.prefix(2).joined(separator: ", ") + (texts.count > 2 ? " + \(texts.count - 2) more..." : "")
    }

    private static func target(_ metric: JSON, now: JSON?) -> String {
        let type = metric["type"].string ?? ""
        let member = type.prefix(1).lowercased() + type.dropFirst()
        let target = metric[member]["target"]
        let current = now[member]["current"]
        func pair(_ field: String) -> String {
            "\(current[field].string ?? "<unknown>")/\(target[field].string ?? "<auto>")"
        }
        switch type {
        case "Resource", "ContainerResource":
            let name = metric[member]["name"].string ?? ""
            if target["averageValue"] != nil { return "\(name): \(pair("averageValue"))" }
            let now = current["averageUtilization"].int.map { "\($0)%" } ?? "<unknown>"
            return "\(name): \(now)/\(target["averageUtilization"].int.map { "\($0)%" } ?? "<auto>")"
        case "Pods": return pair("averageValue")
        case "Object", "External":
            return target["averageValue"] != nil ? "\(pair("averageValue")) (avg)" : pair("value")
        default: return "<unknown type>"
        }
    }
}
