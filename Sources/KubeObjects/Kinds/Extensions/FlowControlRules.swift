// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for a FlowSchema.
enum FlowSchemaRules {
    private static let lowestPrecedence = 10000
    private static let verbs: Set<String> = [
        "get", "list", "create", "update", "delete", "deletecollection", "patch", "watch", "proxy",
    ]
    /// The kinds of subjects, and the members that tell of them.
    private static let subjects = [("Group", "group"), ("ServiceAccount", "serviceAccount"), ("User", "user")]

    static func inspect(_ inspection: inout Inspection) {
        let spec = inspection.object["spec"]
        let path = "spec.matchingPrecedence"
        let precedence = JSON(spec["matchingPrecedence"].int ?? 0)
        inspection.positive(precedence, path, "must be a positive value")
        if let number = precedence.int, number > lowestPrecedence {
            inspection.report(.invalid(path, precedence, "must not be greater than \(lowestPrecedence)"))
        }
        if precedence == 1, inspection.object["metadata"]["name"] != "exempt" {
            inspection.report(
                .invalid(path, precedence, "only the schema named 'exempt' may have matchingPrecedence 1"))
        }
        if let method = spec["distinguisherMethod"] {
            inspection.oneOf(
                method["type"], "spec.distinguisherMethod.type", ["ByNamespace", "ByUser"], missing: .notSupported)
        }
        if let name = inspection.requireText(
            spec["priorityLevelConfiguration"]["name"], "spec.priorityLevelConfiguration.name",
            "must reference a priority level")
        {
            inspection.invalid(
                "spec.priorityLevelConfiguration.name", JSON(name), Names.subdomainProblems(name))
        }
        inspection.each(spec["rules"], "spec.rules") { rule(&$0, $1, at: $2) }
    }

    private static func rule(_ inspection: inout Inspection, _ rule: JSON, at path: String) {
        if (rule["subjects"].array ?? []).isEmpty {
            inspection.report(.required("\(path).subjects", "subjects must contain at least one value"))
        }
        inspection.each(rule["subjects"], "\(path).subjects") { subject(&$0, $1, at: $2) }
        if ["resourceRules", "nonResourceRules"].allSatisfy({ (rule[$0].array ?? []).isEmpty }) {
            inspection.report(
                .required(path, "at least one of resourceRules and nonResourceRules has to be non-empty"))
        }
        inspection.each(rule["resourceRules"], "\(path).resourceRules") { inspection, rule, place in
            verbs(&inspection, rule, at: place)
            list(
                &inspection, rule, "apiGroups", at: place, missing: "resource rules must supply at least one api group",
                others: "api groups")
            list(
                &inspection, rule, "resources", at: place, missing: "resource rules must supply at least one resource",
                others: "resources")
            if rule["clusterScope"].bool != true || !(rule["namespaces"].array ?? []).isEmpty {
                list(
                    &inspection, rule, "namespaces", at: place,
                    missing: "resource rules that are not cluster scoped must supply at least one namespace",
                    others: "namespaces")
            }
            inspection.eachText(rule["namespaces"], "\(place).namespaces") { inspection, name, field in
                guard name != "*" else { return }
                inspection.invalid(
                    field, JSON(name),
                    Names.labelProblems(name).map {
                        "each member of this list must be '*' or a DNS-1123 label; " + $0
                    })
            }
        }
        inspection.each(rule["nonResourceRules"], "\(path).nonResourceRules") { inspection, rule, place in
            verbs(&inspection, rule, at: place)
            list(
                &inspection, rule, "nonResourceURLs", at: place,
                missing: "nonResourceURLs must contain at least one value", others: "non-resource URLs")
            inspection.eachText(rule["nonResourceURLs"], "\(place).nonResourceURLs") { inspection, text, field in
                if text != "*" { inspection.invalid(field, JSON(text), urlProblems(text)) }
            }
        }
    }

    /// Names, or a star that stands for all and has no others beside it.
    private static func list(
        _ inspection: inout Inspection, _ rule: JSON, _ field: String, at path: String, missing: String,
        others: String
    ) {
        let names = rule[field].array ?? []
        if names.isEmpty { inspection.report(.required("\(path).\(field)", missing)) }
        if names.count > 1, names.contains("*") {
            inspection.report(
                .invalid("\(path).\(field)", .array(names), "if '*' is present, must not specify other \(others)"))
        }
    }

    private static func verbs(_ inspection: inout Inspection, _ rule: JSON, at path: String) {
        list(
            &inspection, rule, "verbs", at: path, missing: "verbs must contain at least one value", others: "verbs")
        let names = rule["verbs"].array?.compactMap(\.string) ?? []
        if !names.contains("*"), !verbs.isSuperset(of: names) {
            inspection.report(.notSupported("\(path).verbs", JSON(names), verbs.sorted()))
        }
    }

    private static func urlProblems(_ text: String) -> [String] {
        if text.isEmpty { return ["must not be empty"] }
        if text == "/" { return [] }
        if !text.hasPrefix("/") { return ["must start with slash"] }
        if text.contains(" ") { return ["must not contain white-space"] }
        if text.contains("//") { return ["must not contain double slash"] }
        let stars = text.filter { $0 == "*" }.count
        return stars > 1 || stars == 1 && text.last != "*" ? ["wildcard can only do suffix matching"] : []
    }

    private static func subject(_ inspection: inout Inspection, _ subject: JSON, at path: String) {
        let kind = subject["kind"].string ?? ""
        guard let (_, member) = subjects.first(where: { $0.0 == kind }) else {
            inspection.oneOf(subject["kind"], "\(path).kind", subjects.map(\.0), missing: .notSupported)
            return
        }
        for (otherKind, other) in subjects where other != member {
            inspection.forbid(
                subject[other], "\(path).\(other)", "\(other) is forbidden when subject kind is not '\(otherKind)'")
        }
        guard let value = subject[member] else {
            inspection.report(.required("\(path).\(member)", "\(member) is required when subject kind is '\(kind)'"))
            return
        }
        inspection.requireText(value["name"], "\(path).\(member).name")
        guard kind == "ServiceAccount" else { return }
        if value["name"].string != "*" {
            inspection.text(value["name"], "\(path).\(member).name", Names.subdomainProblems)
        }
        if let namespace = inspection.requireText(
            value["namespace"], "\(path).\(member).namespace", "must specify namespace for service account")
        {
            inspection.invalid("\(path).\(member).namespace", JSON(namespace), Names.labelProblems(namespace))
        }
    }
}

/// What must hold for a PriorityLevelConfiguration.
enum PriorityLevelRules {
    private static let mostQueues = 10_000_000
    /// A hand is dealt from sixty bits of chance at most.
    private static let mostHands = Double(1 << 60)

    static func inspect(_ inspection: inout Inspection) {
        let spec = inspection.object["spec"]
        let isExempt = inspection.object["metadata"]["name"] == "exempt"
        switch spec["type"].string ?? "" {
        case "Exempt":
            if !isExempt {
                inspection.report(
                    .invalid("spec.type", "Exempt", "must be 'Limited' if the name is not 'exempt'"))
            }
            inspection.forbid(spec["limited"], "spec.limited", "must be nil if the type is not Limited")
            shares(&inspection, spec["exempt"], at: "spec.exempt")
        case "Limited":
            if isExempt {
                inspection.report(.invalid("spec.type", "Limited", "must be 'Exempt' if the name is 'exempt'"))
            }
            inspection.forbid(spec["exempt"], "spec.exempt", "must be nil if the type is Limited")
            guard let limited = spec["limited"] else {
                inspection.report(.required("spec.limited", "must not be empty when type is Limited"))
                return
            }
            shares(&inspection, limited, at: "spec.limited")
            if let percent = limited["borrowingLimitPercent"].int, percent < 0 {
                inspection.report(
                    .invalid(
                        "spec.limited.borrowingLimitPercent", JSON(percent),
                        "if specified, must be a non-negative integer"))
            }
            response(&inspection, limited["limitResponse"], at: "spec.limited.limitResponse")
        default: inspection.oneOf(spec["type"], "spec.type", ["Exempt", "Limited"], missing: .notSupported)
        }
    }

    private static func shares(_ inspection: inout Inspection, _ level: JSON?, at path: String) {
        if let shares = level["nominalConcurrencyShares"].int, shares < 0 {
            inspection.report(
                .invalid("\(path).nominalConcurrencyShares", JSON(shares), "must be a non-negative integer"))
        }
        inspection.within(0...100, level["lendablePercent"], "\(path).lendablePercent")
    }

    private static func response(_ inspection: inout Inspection, _ response: JSON?, at path: String) {
        let queuing = response["queuing"]
        let place = "\(path).queuing"
        switch response["type"].string ?? "" {
        case "Reject":
            inspection.forbid(queuing, place, "must be nil if limited.limitResponse.type is not Limited")
        case "Queue":
            guard queuing != nil else {
                inspection.report(.required(place, "must not be empty if limited.limitResponse.type is Limited"))
                return
            }
            for field in ["queueLengthLimit", "queues", "handSize"] {
                inspection.positive(queuing[field], "\(place).\(field)", "must be positive")
            }
            guard let queues = queuing["queues"].int, let hand = queuing["handSize"].int else { return }
            if queues > mostQueues {
                inspection.report(
                    .invalid("\(place).queues", JSON(queues), "must not be greater than \(mostQueues)"))
            } else if hand > queues {
                inspection.report(
                    .invalid("\(place).handSize", JSON(hand), "should not be greater than queues (\(queues))"))
            } else if hands(queues, hand) > mostHands {
                inspection.report(
                    .invalid(
                        "\(place).handSize", JSON(hand),
                        "required entropy bits of deckSize \(queues) and handSize \(hand) should not be greater than 60"
                    ))
            }
        default:
            inspection.oneOf(response["type"], "\(path).type", ["Queue", "Reject"], missing: .notSupported)
        }
    }

    /// How many hands could be dealt if a queue could stand in one twice.
    private static func hands(_ queues: Int, _ hand: Int) -> Double {
        var hands = 1.0
        for _ in 0..<min(max(hand, 0), 64) { hands *= Double(queues) }
        return hands
    }
}
