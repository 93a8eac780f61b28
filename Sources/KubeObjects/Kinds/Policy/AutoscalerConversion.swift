// SPDX-License-Identifier: Apache-2.0

import Values

/// The older version of autoscalers has one number where the newer has a list of metrics. What it has no field for
/// stands in annotations, so that nothing is lost on the way there and back.
enum AutoscalerConversion {
    private static let prefix = "autoscaling.alpha.kubernetes.io/"
    private static let metrics = prefix + "metrics"
    private static let currentMetrics = prefix + "current-metrics"
    private static let conditions = prefix + "conditions"
    private static let behavior = prefix + "behavior"

    static func toV2(_ object: inout JSON) {
        var wanted = taken(metrics, from: &object).array?.map { metric($0, kind: "target", toOlder: false) } ?? []
        if let target = object["spec"]["targetCPUUtilizationPercentage"] {
            object["spec"]["targetCPUUtilizationPercentage"] = nil
            wanted.append([
                "type": "Resource",
                "resource": ["name": "cpu", "target": ["type": "Utilization", "averageUtilization": target]],
            ])
        }
        if !wanted.isEmpty { object["spec"]["metrics"] = .array(wanted) }
        var current =
            taken(currentMetrics, from: &object).array?.map { metric($0, kind: "current", toOlder: false) } ?? []
        if let used = object["status"]["currentCPUUtilizationPercentage"] {
            object["status"]["currentCPUUtilizationPercentage"] = nil
            current.append([
                "type": "Resource", "resource": ["name": "cpu", "current": ["averageUtilization": used]],
            ])
        }
        if !current.isEmpty { object["status"]["currentMetrics"] = .array(current) }
        if let list = taken(conditions, from: &object) { object["status"]["conditions"] = list }
        if let rules = taken(behavior, from: &object) { object["spec"]["behavior"] = rules }
    }

    static func toV1(_ object: inout JSON) {
        var others: [JSON] = []
        for metric in object["spec"]["metrics"].array ?? [] {
            if let target = cpu(metric)["target"]["averageUtilization"] {
                object["spec"]["targetCPUUtilizationPercentage"] = target
            } else {
                others.append(self.metric(metric, kind: "target", toOlder: true))
            }
        }
        var current: [JSON] = []
        for metric in object["status"]["currentMetrics"].array ?? [] {
            if let used = cpu(metric)["current"]["averageUtilization"] {
                object["status"]["currentCPUUtilizationPercentage"] = used
            }
            // What is used now is also told as an amount, which the number has no room for.
            if cpu(metric)["current"]["averageUtilization"] == nil || cpu(metric)["current"]["averageValue"] != nil {
                current.append(self.metric(metric, kind: "current", toOlder: true))
            }
        }
        put(.array(others), metrics, &object, isEmpty: others.isEmpty)
        put(.array(current), currentMetrics, &object, isEmpty: current.isEmpty)
        let list = object["status"]["conditions"] ?? .array([])
        put(list, conditions, &object, isEmpty: list.array?.isEmpty ?? true)
        put(object["spec"]["behavior"] ?? .null, behavior, &object, isEmpty: object["spec"]["behavior"] == nil)
        for field in ["metrics", "behavior"] where object["spec"][field] != nil { object["spec"][field] = nil }
        for field in ["currentMetrics", "conditions"] where object["status"][field] != nil {
            object["status"][field] = nil
        }
    }

    private static func cpu(_ metric: JSON) -> JSON? {
        guard metric["type"].string == "Resource", metric["resource"]["name"].string == "cpu" else { return nil }
        return metric["resource"]
    }

    private static func put(_ value: JSON, _ annotation: String, _ object: inout JSON, isEmpty: Bool) {
        if !isEmpty { object["metadata"]["annotations"][annotation] = JSON(value.text()) }
    }

    /// What an annotation holds, which goes with it; one that holds no JSON goes too.
    private static func taken(_ annotation: String, from object: inout JSON) -> JSON? {
        guard let text = object["metadata"]["annotations"][annotation].string else { return nil }
        object["metadata"]["annotations"][annotation] = nil
        if object["metadata"]["annotations"].object?.isEmpty == true { object["metadata"]["annotations"] = nil }
        return try? JSON(parsing: text)
    }

    /// The members of a metric: what the newer version has in objects of their own the older has side by side.
    private static func metric(_ metric: JSON, kind: String, toOlder: Bool) -> JSON {
        let type = metric["type"].string ?? ""
        let member = type.prefix(1).lowercased() + type.dropFirst()
        guard let source = metric[member] else { return metric }
        return [
            "type": JSON(type),
            member: toOlder ? older(source, type, kind) : newer(source, type, kind),
        ]
    }

    /// How the older version calls what the newer has in `target` or `current`.
    private static func names(_ type: String, _ kind: String) -> [(new: String, old: String)] {
        let isTarget = kind == "target"
        let averageValue =
            switch type {
            case "Object": "averageValue"
            default: isTarget ? "targetAverageValue" : "currentAverageValue"
            }
        return [
            ("averageUtilization", isTarget ? "targetAverageUtilization" : "currentAverageUtilization"),
            ("averageValue", averageValue), ("value", isTarget ? "targetValue" : "currentValue"),
        ]
    }

    private static func older(_ source: JSON, _ type: String, _ kind: String) -> JSON {
        var result = JSON.object([:])
        for field in ["name", "container"] { result[field] = source[field] }
        result["target"] = source["describedObject"]
        result["metricName"] = source["metric"]["name"]
        result[type == "External" ? "metricSelector" : "selector"] = source["metric"]["selector"]
        for pair in names(type, kind) { result[pair.old] = source[kind][pair.new] }
        return result
    }

    private static func newer(_ source: JSON, _ type: String, _ kind: String) -> JSON {
        var result = JSON.object([:])
        for field in ["name", "container"] { result[field] = source[field] }
        result["describedObject"] = source["target"]
        if let name = source["metricName"] {
            result["metric"] = ["name": name]
            result["metric"]["selector"] = source[type == "External" ? "metricSelector" : "selector"]
        }
        var amounts = JSON.object([:])
        for pair in names(type, kind) where source[pair.old] != nil {
            amounts[pair.new] = source[pair.old]
            guard kind == "target" else { continue }
            amounts["type"] = JSON(
                pair.new == "averageUtilization" ? "Utilization" : pair.new == "value" ? "Value" : "AverageValue")
        }
        // The older version gives objects a value of zero beside an average.
        if type == "Object", amounts["averageValue"] != nil { amounts["value"] = nil }
        result[kind] = amounts
        return result
    }
}
