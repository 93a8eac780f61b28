// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for which requests webhooks and policies are about.
enum AdmissionRules {
    private static let mostConditions = 64

    /// A rule with the operations that it is about.
    static func operations(_ inspection: inout Inspection, _ rule: JSON, at path: String) {
        let operations = rule["operations"].array?.compactMap(\.string) ?? []
        if operations.isEmpty { inspection.report(.required("\(path).operations")) }
        if operations.count > 1, operations.contains("*") {
            inspection.report(
                .invalid(
                    "\(path).operations", JSON(operations), "if '*' is present, must not specify other operations"))
        }
        inspection.each(rule["operations"], "\(path).operations") {
            $0.oneOf($1, $2, ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"], missing: .notSupported)
        }
        for (field, word) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
            let names = rule[field].array?.compactMap(\.string) ?? []
            if names.isEmpty { inspection.report(.required("\(path).\(field)")) }
            if names.count > 1, names.contains("*") {
                inspection.report(
                    .invalid("\(path).\(field)", JSON(names), "if '*' is present, must not specify other \(word)"))
            }
            if field == "apiVersions" {
                inspection.each(rule[field], "\(path).\(field)") { $0.requireText($1, $2) }
            }
        }
        resources(&inspection, rule["resources"], at: "\(path).resources")
        inspection.oneOf(rule["scope"], "\(path).scope", ["*", "Cluster", "Namespaced"])
    }

    /// `pods`, `pods/log`, `pods/*`, `*/scale`, `*`, `*/*`; none may contain another.
    private static func resources(_ inspection: inout Inspection, _ resources: JSON?, at path: String) {
        let names = resources.array?.compactMap(\.string) ?? []
        if names.isEmpty { inspection.report(.required(path)) }
        var wholes = Set<String>()
        var parts = Set<String>()
        var hasPlain = false
        inspection.eachText(resources, path) { inspection, name, place in
            if name.isEmpty {
                inspection.report(.required(place))
                return
            }
            let pair = name.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard pair.count == 2 else {
                hasPlain = hasPlain || name != "*"
                return
            }
            if wholes.contains(pair[0]) {
                inspection.report(
                    .invalid(place, JSON(name), "if '\(pair[0])/*' is present, must not specify \(name)"))
            }
            if parts.contains(pair[1]) {
                inspection.report(
                    .invalid(place, JSON(name), "if '*/\(pair[1])' is present, must not specify \(name)"))
            }
            if pair[1] == "*" { wholes.insert(pair[0]) }
            if pair[0] == "*" { parts.insert(pair[1]) }
        }
        if names.count > 1, names.contains("*/*") {
            inspection.report(
                .invalid(path, JSON(names), "if '*/*' is present, must not specify other resources"))
        }
        if names.contains("*"), hasPlain {
            inspection.report(
                .invalid(
                    path, JSON(names),
                    "if '*' is present, must not specify other resources without subresources"))
        }
    }

    static func conditions(_ inspection: inout Inspection, _ conditions: JSON?, at path: String) {
        inspection.atMost(elements: mostConditions, conditions, path)
        var names = Set<String>()
        inspection.each(conditions, path) { inspection, condition, place in
            inspection.requireText(condition["name"], "\(place).name", Names.qualifiedNameProblems)
            inspection.unique(condition["name"], "\(place).name", &names)
            expression(&inspection, condition["expression"], at: "\(place).expression", detail: "")
        }
    }

    /// An expression that says something. What it says is not judged here.
    static func expression(
        _ inspection: inout Inspection, _ value: JSON?, at path: String, detail: String = "expression is not specified"
    ) {
        if (value.string ?? "").allSatisfy(\.isWhitespace) { inspection.report(.required(path, detail)) }
    }

    static func resources(matching match: JSON, at path: String, _ inspection: inout Inspection) {
        inspection.oneOf(match["matchPolicy"], "\(path).matchPolicy", ["Equivalent", "Exact"], missing: .required)
        for selector in ["namespaceSelector", "objectSelector"] {
            guard let value = match[selector] else {
                inspection.report(.required("\(path).\(selector)"))
                continue
            }
            LabelSelectorRules.inspect(&inspection, value, at: "\(path).\(selector)")
        }
        for list in ["resourceRules", "excludeResourceRules"] {
            inspection.each(match[list], "\(path).\(list)") { inspection, rule, place in
                operations(&inspection, rule, at: place)
                if (rule["resourceNames"].array?.count ?? 0) > 0 {
                    var names = Set<String>()
                    inspection.eachText(rule["resourceNames"], "\(place).resourceNames") { inspection, name, place in
                        inspection.invalid(place, JSON(name), Names.pathSegmentProblems(name))
                        inspection.unique(JSON(name), place, &names)
                    }
                }
            }
        }
    }
}
