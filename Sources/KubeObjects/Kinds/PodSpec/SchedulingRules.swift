// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for taints, for what tolerates them, and for how pods are spread.
enum SchedulingRules {
    private static let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"]

    static func tolerations(_ inspection: inout Inspection, _ tolerations: JSON?, at path: String) {
        inspection.each(tolerations, path) { inspection, toleration, place in
            let key = toleration["key"].string ?? ""
            let comparison = toleration["operator"].string ?? ""
            let value = toleration["value"].string ?? ""
            inspection.text(toleration["key"], "\(place).key", Names.qualifiedNameProblems)
            if key.isEmpty, comparison != "Exists" {
                inspection.report(
                    .invalid(
                        "\(place).operator", JSON(comparison),
                        "operator must be Exists when `key` is empty, which means \"match all values and all keys\""))
            }
            if toleration["tolerationSeconds"] != nil, toleration["effect"].string != "NoExecute" {
                inspection.report(
                    .invalid(
                        "\(place).effect", toleration["effect"] ?? "",
                        "effect must be 'NoExecute' when `tolerationSeconds` is set"))
            }
            switch comparison {
            case "", "Equal":
                let problems = Names.labelValueProblems(value)
                if !problems.isEmpty {
                    inspection.report(
                        .invalid("\(place).operator", JSON(value), problems.joined(separator: ";")))
                }
            case "Exists":
                if !value.isEmpty {
                    inspection.report(
                        .invalid("\(place).operator", JSON(value), "value must be empty when `operator` is 'Exists'"))
                }
            default: inspection.oneOf(toleration["operator"], "\(place).operator", ["Equal", "Exists"])
            }
            inspection.oneOf(toleration["effect"], "\(place).effect", effects)
        }
    }

    static func taints(_ inspection: inout Inspection, _ taints: JSON?, at path: String) {
        var seen = Set<[String]>()
        inspection.each(taints, path) { inspection, taint, place in
            let key = taint["key"].string ?? ""
            inspection.invalid("\(place).key", JSON(key), Names.qualifiedNameProblems(key))
            let problems = Names.labelValueProblems(taint["value"].string ?? "")
            if !problems.isEmpty {
                inspection.report(
                    .invalid("\(place).value", taint["value"] ?? "", problems.joined(separator: ";")))
            }
            inspection.oneOf(taint["effect"], "\(place).effect", effects, missing: .required)
            if !seen.insert([key, taint["effect"].string ?? ""]).inserted {
                inspection.report(
                    FieldError(
                        .duplicate, place, value: taint, detail: "taints must be unique by key and effect pair"))
            }
        }
    }

    static func spread(_ inspection: inout Inspection, _ constraints: JSON?, at path: String) {
        let all = constraints.array ?? []
        for (index, constraint) in all.enumerated() {
            let place = "\(path)[\(index)]"
            let action = constraint["whenUnsatisfiable"].string ?? ""
            let key = constraint["topologyKey"].string ?? ""
            inspection.positive(constraint["maxSkew"] ?? 0, "\(place).maxSkew", "must be greater than zero")
            if key.isEmpty { inspection.report(.required("\(place).topologyKey", "can not be empty")) }
            inspection.oneOf(
                constraint["whenUnsatisfiable"], "\(place).whenUnsatisfiable", ["DoNotSchedule", "ScheduleAnyway"],
                missing: .notSupported)
            let repeats = all[(index + 1)...].contains {
                $0["topologyKey"] == constraint["topologyKey"]
                    && $0["whenUnsatisfiable"] == constraint["whenUnsatisfiable"]
            }
            if repeats {
                inspection.report(
                    .duplicate("\(place).{topologyKey, whenUnsatisfiable}", JSON("{\(key), \(action)}")))
            }
            inspection.positive(constraint["minDomains"], "\(place).minDomains", "must be greater than zero")
            if let domains = constraint["minDomains"], action != "DoNotSchedule" {
                inspection.report(
                    .invalid(
                        "\(place).minDomains", domains,
                        "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not \(action)"))
            }
            for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
                inspection.oneOf(constraint[field], "\(place).\(field)", ["Honor", "Ignore"])
            }
            keys(&inspection, constraint, at: "\(place).matchLabelKeys")
            LabelSelectorRules.inspect(&inspection, constraint["labelSelector"], at: "\(place).labelSelector")
        }
    }

    private static func keys(_ inspection: inout Inspection, _ constraint: JSON, at path: String) {
        guard let keys = constraint["matchLabelKeys"].array, !keys.isEmpty else { return }
        let selector = constraint["labelSelector"]
        if selector == nil {
            inspection.report(.forbidden(path, "must not be specified when labelSelector is not set"))
        }
        let selected =
            (selector["matchLabels"].object?.keys ?? [])
            + (selector["matchExpressions"].array ?? []).compactMap { $0["key"].string }
        inspection.eachText(constraint["matchLabelKeys"], path) { inspection, key, place in
            inspection.invalid(place, JSON(key), Names.qualifiedNameProblems(key))
            if selected.contains(key) {
                inspection.report(
                    .invalid(place, JSON(key), "exists in both matchLabelKeys and labelSelector"))
            }
        }
    }
}
