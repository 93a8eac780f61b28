// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for an autoscaler.
enum AutoscalerRules {
    private static let longestWindow = 3600
    private static let longestPeriod = 1800
    /// The kinds of metrics and the members that tell of them.
    private static let kinds = [
        ("ContainerResource", "containerResource"), ("External", "external"), ("Object", "object"), ("Pods", "pods"),
        ("Resource", "resource"),
    ]

    static func inspect(_ inspection: inout Inspection) {
        let spec = inspection.object["spec"]
        inspection.positive(spec["minReplicas"], "spec.minReplicas")
        let most = spec["maxReplicas"].int ?? 0
        inspection.positive(JSON(most), "spec.maxReplicas")
        if let least = spec["minReplicas"].int, least > most {
            inspection.report(
                .invalid("spec.maxReplicas", JSON(most), "must be greater than or equal to `minReplicas`"))
        }
        reference(&inspection, spec["scaleTargetRef"], at: "spec.scaleTargetRef")
        inspection.each(spec["metrics"], "spec.metrics") { metric(&$0, $1, at: $2) }
        // The older version has one number in place of the list.
        inspection.positive(spec["targetCPUUtilizationPercentage"], "spec.targetCPUUtilizationPercentage")
        for direction in ["scaleUp", "scaleDown"] {
            guard let rules = spec["behavior"][direction] else { continue }
            scaling(&inspection, rules, at: "spec.behavior.\(direction)")
        }
    }

    private static func reference(_ inspection: inout Inspection, _ reference: JSON?, at path: String) {
        for field in ["kind", "name"] {
            inspection.requireText(reference[field], "\(path).\(field)", Names.pathSegmentProblems)
        }
    }

    private static func metric(_ inspection: inout Inspection, _ metric: JSON, at path: String) {
        let type = metric["type"].string ?? ""
        if type.isEmpty { inspection.report(.required("\(path).type", "must specify a metric source type")) }
        inspection.oneOf(metric["type"], "\(path).type", kinds.map(\.0), missing: .notSupported)
        let wanted = kinds.first { $0.0 == type }?.1 ?? ""
        let present = kinds.map(\.1).filter { metric[$0] != nil }
        if let member = present.first, let source = metric[member] {
            self.source(&inspection, source, member, at: "\(path).\(member)")
        }
        if !present.contains(wanted) {
            inspection.report(
                .required("\(path).\(wanted)", "must populate information for the given metric source"))
        }
        if present.count > 1 {
            for other in present where other != wanted {
                inspection.report(
                    .forbidden("\(path).\(other)", "must populate the given metric source only"))
            }
        }
    }

    private static func source(_ inspection: inout Inspection, _ source: JSON, _ kind: String, at path: String) {
        let target = source["target"]
        let place = "\(path).target"
        self.target(&inspection, target, at: place)
        switch kind {
        case "resource", "containerResource":
            inspection.requireText(source["name"], "\(path).name", "must specify a resource name")
            if kind == "containerResource" {
                inspection.requireText(source["container"], "\(path).container", "must specify a container")
            }
            switch (target["averageUtilization"], target["averageValue"]) {
            case (nil, nil):
                inspection.report(
                    .required(
                        "\(place).averageUtilization", "must set either a target raw value or a target utilization"))
            case (_?, _?):
                inspection.report(
                    .forbidden(
                        "\(place).averageValue", "may not set both a target raw value and a target utilization"))
            default: break
            }
        case "pods":
            identifier(&inspection, source["metric"], at: "\(path).metric")
            if (PodResources.quantity(target["averageValue"]) ?? .zero) <= .zero {
                inspection.report(.required("\(place).averageValue", "must specify a positive target averageValue"))
            }
        default:
            if kind == "object" {
                reference(&inspection, source["describedObject"], at: "\(path).describedObject")
            }
            identifier(&inspection, source["metric"], at: "\(path).metric")
            switch (target["value"], target["averageValue"]) {
            case (nil, nil):
                inspection.report(
                    .required(
                        "\(place).averageValue",
                        "must set either a target value for metric or a per-pod target"))
            case (_?, _?) where kind == "external":
                inspection.report(
                    .forbidden(
                        "\(place).value", "may not set both a target value for metric and a per-pod target"))
            default: break
            }
        }
    }

    private static func identifier(_ inspection: inout Inspection, _ metric: JSON?, at path: String) {
        if let name = inspection.requireText(metric["name"], "\(path).name", "must specify a metric name") {
            inspection.invalid("\(path).name", JSON(name), Names.pathSegmentProblems(name))
        }
    }

    private static func target(_ inspection: inout Inspection, _ target: JSON?, at path: String) {
        if inspection.requireText(target["type"], "\(path).type", "must specify a metric target type") != nil {
            inspection.oneOf(target["type"], "\(path).type", ["AverageValue", "Utilization", "Value"])
        }
        for field in ["value", "averageValue"] {
            guard let value = target[field], let amount = PodResources.quantity(value), amount <= .zero else {
                continue
            }
            inspection.report(.invalid("\(path).\(field)", value, "must be positive"))
        }
        inspection.positive(target["averageUtilization"], "\(path).averageUtilization")
    }

    private static func scaling(_ inspection: inout Inspection, _ rules: JSON, at path: String) {
        if let window = rules["stabilizationWindowSeconds"].int {
            let field = "\(path).stabilizationWindowSeconds"
            if window < 0 {
                inspection.report(.invalid(field, JSON(window), "must be greater than or equal to zero"))
            }
            if window > longestWindow {
                inspection.report(.invalid(field, JSON(window), "must be less than or equal to \(longestWindow)"))
            }
        }
        inspection.oneOf(rules["selectPolicy"], "\(path).selectPolicy", ["Disabled", "Max", "Min"])
        if (rules["policies"].array ?? []).isEmpty {
            inspection.report(.required("\(path).policies", "must specify at least one Policy"))
        }
        inspection.each(rules["policies"], "\(path).policies") { inspection, policy, place in
            inspection.oneOf(policy["type"], "\(place).type", ["Percent", "Pods"], missing: .notSupported)
            for field in ["value", "periodSeconds"] {
                inspection.positive(policy[field] ?? 0, "\(place).\(field)", "must be greater than zero")
            }
            if let period = policy["periodSeconds"].int, period > longestPeriod {
                inspection.report(
                    .invalid(
                        "\(place).periodSeconds", JSON(period), "must be less than or equal to \(longestPeriod)"))
            }
        }
    }
}
