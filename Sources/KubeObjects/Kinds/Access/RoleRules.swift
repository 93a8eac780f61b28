// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for roles, and for who has them.
enum RoleRules {
    static let group = "rbac.authorization.k8s.io"

    static func rule(_ inspection: inout Inspection, _ rule: JSON, at path: String, isNamespaced: Bool) {
        func isEmpty(_ list: String) -> Bool { (rule[list].array ?? []).isEmpty }
        if isEmpty("verbs") {
            inspection.report(.required("\(path).verbs", "verbs must contain at least one value"))
        }
        guard isEmpty("nonResourceURLs") else {
            let field = "\(path).nonResourceURLs"
            let value = rule["nonResourceURLs"] ?? .array([])
            if isNamespaced {
                inspection.report(
                    .invalid(field, value, "namespaced rules cannot apply to non-resource URLs"))
            }
            if !["apiGroups", "resources", "resourceNames"].allSatisfy(isEmpty) {
                inspection.report(
                    .invalid(field, value, "rules cannot apply to both regular resources and non-resource URLs"))
            }
            return
        }
        if isEmpty("apiGroups") {
            inspection.report(.required("\(path).apiGroups", "resource rules must supply at least one api group"))
        }
        if isEmpty("resources") {
            inspection.report(.required("\(path).resources", "resource rules must supply at least one resource"))
        }
    }

    static func aggregation(_ inspection: inout Inspection, _ aggregation: JSON) {
        let path = "aggregationRule.clusterRoleSelectors"
        if (aggregation["clusterRoleSelectors"].array ?? []).isEmpty {
            inspection.report(
                .required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil"))
        }
        inspection.each(aggregation["clusterRoleSelectors"], path) { LabelSelectorRules.inspect(&$0, $1, at: $2) }
    }

    static func reference(_ inspection: inout Inspection, kinds: [String]) {
        let reference = inspection.object["roleRef"]
        inspection.oneOf(reference["apiGroup"], "roleRef.apiGroup", [group], missing: .notSupported)
        inspection.oneOf(reference["kind"], "roleRef.kind", kinds, missing: .notSupported)
        inspection.requireText(reference["name"], "roleRef.name", Names.pathSegmentProblems)
    }

    static func subject(_ inspection: inout Inspection, _ subject: JSON, at path: String, isNamespaced: Bool) {
        inspection.requireText(subject["name"], "\(path).name")
        let apiGroup = subject["apiGroup"].string ?? ""
        switch subject["kind"].string {
        case "ServiceAccount":
            inspection.text(subject["name"], "\(path).name", Names.subdomainProblems)
            if !apiGroup.isEmpty { inspection.report(.notSupported("\(path).apiGroup", JSON(apiGroup), [""])) }
            // In a namespace, accounts are those of the binding's own if nothing else is said.
            if !isNamespaced { inspection.requireText(subject["namespace"], "\(path).namespace") }
        case "User", "Group":
            inspection.oneOf(subject["apiGroup"], "\(path).apiGroup", [group], missing: .notSupported)
        default:
            inspection.oneOf(
                subject["kind"], "\(path).kind", ["ServiceAccount", "User", "Group"], missing: .notSupported)
        }
    }
}
