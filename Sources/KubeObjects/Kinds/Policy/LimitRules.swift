// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for a LimitRange.
enum LimitRangeRules {
    private static let lists = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"]

    static func inspect(_ inspection: inout Inspection) {
        var types = Set<String>()
        inspection.each(inspection.object["spec"]["limits"], "spec.limits") { inspection, item, path in
            let type = item["type"].string ?? ""
            let problems = Names.qualifiedNameProblems(type)
            inspection.invalid("\(path).type", JSON(type), problems)
            if problems.isEmpty, !type.contains("/"), !["Pod", "Container", "PersistentVolumeClaim"].contains(type) {
                inspection.report(
                    .invalid("\(path).type", JSON(type), "must be a standard limit type or fully qualified"))
            }
            if !types.insert(type).inserted { inspection.report(.duplicate("\(path).type", JSON(type))) }
            var names = Set<String>()
            for list in lists {
                let members = item[list].object ?? [:]
                if type == "Pod", list.hasPrefix("default") {
                    if !members.isEmpty {
                        inspection.report(.forbidden("\(path).\(list)", "may not be specified when `type` is 'Pod'"))
                    }
                    continue
                }
                for name in members.keys {
                    let field = "\(path).\(list)[\(name)]"
                    names.insert(name)
                    if type == "Pod" || type == "Container" {
                        ResourceRules.containerName(&inspection, name, at: field)
                    } else {
                        _ = ResourceRules.name(&inspection, name, at: field)
                    }
                }
            }
            if type == "PersistentVolumeClaim", item["min"]["storage"] == nil, item["max"]["storage"] == nil {
                inspection.report(
                    .required(
                        "\(path).limits",
                        "either minimum or maximum storage value is required, but neither was provided"))
            }
            for name in names.sorted() { amounts(&inspection, item, name, at: path) }
        }
    }

    private static func amounts(_ inspection: inout Inspection, _ item: JSON, _ name: String, at path: String) {
        func amount(_ list: String) -> Quantity? { PodResources.quantity(item[list][name]) }
        // What is smaller, what is larger, whose field is blamed, which amount is shown, and what both are called.
        let orders: [(less: String, more: String, blamed: String, shown: String, text: (String, String))] = [
            ("min", "max", "min", "min", ("min value", "max value")),
            ("min", "defaultRequest", "defaultRequest", "defaultRequest", ("min value", "default request value")),
            ("defaultRequest", "max", "defaultRequest", "defaultRequest", ("default request value", "max value")),
            (
                "defaultRequest", "default", "defaultRequest", "defaultRequest",
                ("default request value", "default limit value")
            ),
            ("min", "default", "default", "min", ("min value", "default value")),
            ("default", "max", "default", "max", ("default value", "max value")),
        ]
        for order in orders {
            guard let less = amount(order.less), let more = amount(order.more), less > more else { continue }
            inspection.report(
                .invalid(
                    "\(path).\(order.blamed)[\(name)]", item[order.shown][name] ?? .null,
                    "\(order.text.0) \(less) is greater than \(order.text.1) \(more)"))
        }
        // What cannot be promised twice is asked for and limited alike.
        if !ResourceRules.isDivisible(name), let most = amount("default"), let asked = amount("defaultRequest"),
            most != asked
        {
            inspection.report(
                .invalid(
                    "\(path).defaultRequest[\(name)]", item["defaultRequest"][name] ?? .null,
                    "default value \(most) must equal to defaultRequest value \(asked) in \(name)"))
        }
        guard let ratio = amount("maxLimitRequestRatio") else { return }
        let field = "\(path).maxLimitRequestRatio[\(name)]"
        let value = item["maxLimitRequestRatio"][name] ?? .null
        if ratio < Quantity(1) { inspection.report(.invalid(field, value, "ratio \(ratio) is less than 1")) }
        if let least = amount("min"), let most = amount("max"), !least.isZero {
            let bound = most.double / least.double
            if ratio.double > bound {
                inspection.report(
                    .invalid(field, value, "ratio \(ratio) is greater than max/min = \(GoFormat.fixed(bound))"))
            }
        }
    }
}

/// What must hold for a ResourceQuota.
enum ResourceQuotaRules {
    private static let standard: Set<String> = [
        "cpu", "memory", "ephemeral-storage", "pods", "services", "replicationcontrollers", "resourcequotas", "secrets",
        "configmaps", "persistentvolumeclaims", "services.nodeports", "services.loadbalancers", "requests.storage",
        "requests.cpu", "requests.memory", "requests.ephemeral-storage", "limits.cpu", "limits.memory",
        "limits.ephemeral-storage",
    ]
    private static let perPod: Set<String> = [
        "pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory",
    ]
    static func inspect(_ inspection: inout Inspection) {
        let spec = inspection.object["spec"]
        amounts(&inspection, spec["hard"], at: "spec.hard")
        scopes(&inspection, spec)
        selector(&inspection, spec["scopeSelector"]["matchExpressions"].array ?? [], spec)
        guard let old = inspection.old else { return }
        func names(_ object: JSON) -> Set<JSON> { Set(object["spec"]["scopes"].array ?? []) }
        if names(old) != names(inspection.object) {
            inspection.report(.invalid("spec.scopes", spec["scopes"] ?? .null, "field is immutable"))
        }
    }

    static func status(_ inspection: inout Inspection) {
        for list in ["hard", "used"] {
            amounts(&inspection, inspection.object["status"][list], at: "status.\(list)")
        }
    }

    private static func amounts(_ inspection: inout Inspection, _ list: JSON?, at path: String) {
        inspection.eachMember(list, path) { inspection, name, value, place in
            let isCounted = name.hasPrefix("count/") || ResourceRules.isWhole(name)
            _ = ResourceRules.name(&inspection, name, at: place)
            if !name.contains("/"), !standard.contains(name), !isHugePages(name) {
                inspection.report(.invalid(place, JSON(name), "must be a standard resource for quota"))
            }
            ResourceRules.amount(&inspection, value, at: place, isWhole: isCounted)
        }
    }

    private static func isHugePages(_ name: String) -> Bool {
        name.hasPrefix("hugepages-") || name.hasPrefix("requests.hugepages-")
    }

    private static func scopes(_ inspection: inout Inspection, _ spec: JSON?) {
        guard let value = spec["scopes"], let scopes = value.array?.compactMap(\.string), !scopes.isEmpty else {
            return
        }
        for scope in scopes {
            if !QuotaScope.names.contains(scope) {
                inspection.report(.invalid("spec.scopes", value, "unsupported scope"))
            } else if (spec["hard"].object?.keys ?? []).contains(where: { !isCounted($0, in: scope) }) {
                inspection.report(.invalid("spec.scopes", value, "unsupported scope applied to resource"))
            }
        }
        for pair in [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]]
        where pair.allSatisfy(scopes.contains) {
            inspection.report(.invalid("spec.scopes", value, "conflicting scopes"))
        }
    }

    private static func isCounted(_ name: String, in scope: String) -> Bool {
        switch scope {
        case "BestEffort": name == "pods"
        case "Terminating", "NotTerminating", "NotBestEffort", "PriorityClass":
            perPod.contains(name) || name == "ephemeral-storage" || name.hasSuffix(".ephemeral-storage")
                || (name.hasPrefix("requests.") && name.contains("/"))
        default: true
        }
    }

    private static func selector(_ inspection: inout Inspection, _ expressions: [JSON], _ spec: JSON?) {
        let path = "spec.scopeSelector.matchExpressions"
        for expression in expressions {
            let scope = expression["scopeName"].string ?? ""
            let operation = expression["operator"].string ?? ""
            let values = expression["values"].array ?? []
            if !QuotaScope.names.contains(scope) {
                inspection.report(.invalid("\(path).scopeName", JSON(scope), "unsupported scope"))
            } else if (spec["hard"].object?.keys ?? []).contains(where: { !isCounted($0, in: scope) }) {
                inspection.report(.invalid(path, .array(expressions), "unsupported scope applied to resource"))
            }
            if scope != "PriorityClass", operation != "Exists" {
                inspection.report(
                    .invalid(
                        "\(path).operator", JSON(operation),
                        "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "
                            + "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
                            + "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"))
            }
            switch operation {
            case "In", "NotIn":
                if values.isEmpty {
                    inspection.report(
                        .required(
                            "\(path).values",
                            "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                        ))
                }
            case "Exists", "DoesNotExist":
                if !values.isEmpty {
                    inspection.report(
                        .invalid(
                            "\(path).values", .array(values),
                            "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"))
                }
            default: inspection.report(.invalid("\(path).operator", JSON(operation), "not a valid selector operator"))
            }
        }
    }
}

/// Numbers as Go's `%f` writes them.
public enum GoFormat {
    /// Six digits behind the point.
    public static func fixed(_ number: Double) -> String {
        guard number.isFinite, abs(number) < 1e12 else { return "\(number)" }
        let millionths = Int64((abs(number) * 1_000_000).rounded())
        let digits = String(millionths % 1_000_000)
        let fraction = String(repeating: "0", count: 6 - digits.count) + digits
        return "\(number < 0 ? "-" : "")\(millionths / 1_000_000).\(fraction)"
    }
}
