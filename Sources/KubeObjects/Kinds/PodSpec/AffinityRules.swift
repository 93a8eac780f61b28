// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for which nodes and which other pods a pod wants to be with, or away from.
enum AffinityRules {
    private static let required = "requiredDuringSchedulingIgnoredDuringExecution"
    private static let preferred = "preferredDuringSchedulingIgnoredDuringExecution"

    static func inspect(_ inspection: inout Inspection, _ affinity: JSON?, at path: String) {
        guard let affinity else { return }
        let nodes = affinity["nodeAffinity"]
        if let selector = nodes[required] {
            NodeSelectorRules.inspect(&inspection, selector, at: "\(path).nodeAffinity.\(required)")
        }
        inspection.each(nodes[preferred], "\(path).nodeAffinity.\(preferred)") { inspection, term, place in
            weight(&inspection, term, at: place)
            NodeSelectorRules.term(
                &inspection, term["preference"] ?? .object([:]), at: "\(place).preference", judgesValues: false)
        }
        for kind in ["podAffinity", "podAntiAffinity"] {
            inspection.each(affinity[kind][required], "\(path).\(kind).\(required)") { self.term(&$0, $1, at: $2) }
            inspection.each(affinity[kind][preferred], "\(path).\(kind).\(preferred)") { inspection, term, place in
                weight(&inspection, term, at: place)
                self.term(
                    &inspection, term["podAffinityTerm"] ?? .object([:]), at: "\(place).podAffinityTerm")
            }
        }
    }

    private static func weight(_ inspection: inout Inspection, _ term: JSON, at path: String) {
        let weight = term["weight"].int ?? 0
        guard !(1...100).contains(weight) else { return }
        inspection.report(.invalid("\(path).weight", JSON(weight), "must be in the range 1-100"))
    }

    private static func term(_ inspection: inout Inspection, _ term: JSON, at path: String) {
        LabelSelectorRules.inspect(&inspection, term["labelSelector"], at: "\(path).labelSelector")
        LabelSelectorRules.inspect(&inspection, term["namespaceSelector"], at: "\(path).namespaceSelector")
        for name in term["namespaces"].array?.compactMap(\.string) ?? [] {
            inspection.invalid("\(path).namespace", JSON(name), Names.labelProblems(name))
        }
        let matched = term["matchLabelKeys"].array?.compactMap(\.string) ?? []
        let mismatched = term["mismatchLabelKeys"].array?.compactMap(\.string) ?? []
        for (field, keys) in [("matchLabelKeys", matched), ("mismatchLabelKeys", mismatched)] where !keys.isEmpty {
            guard term["labelSelector"] != nil else {
                inspection.report(
                    .forbidden("\(path).\(field)", "must not be specified when labelSelector is not set"))
                continue
            }
            for (index, key) in keys.enumerated() {
                inspection.invalid("\(path).\(field)[\(index)]", JSON(key), Names.qualifiedNameProblems(key))
            }
        }
        for (index, key) in matched.enumerated() where mismatched.contains(key) {
            inspection.report(
                .invalid(
                    "\(path).matchLabelKeys[\(index)]", JSON(key),
                    "exists in both matchLabelKeys and mismatchLabelKeys"))
        }
        let key = term["topologyKey"].string ?? ""
        if key.isEmpty { inspection.report(.required("\(path).topologyKey", "can not be empty")) }
        inspection.invalid("\(path).topologyKey", JSON(key), Names.qualifiedNameProblems(key))
    }
}

/// What must hold for which nodes something may be on: pods, volumes, devices.
enum NodeSelectorRules {
    static func inspect(_ inspection: inout Inspection, _ selector: JSON, at path: String) {
        if (selector["nodeSelectorTerms"].array ?? []).isEmpty {
            inspection.report(.required("\(path).nodeSelectorTerms", "must have at least one node selector term"))
        }
        inspection.each(selector["nodeSelectorTerms"], "\(path).nodeSelectorTerms") {
            term(&$0, $1, at: $2, judgesValues: true)
        }
    }

    static func term(_ inspection: inout Inspection, _ term: JSON, at path: String, judgesValues: Bool) {
        inspection.each(term["matchExpressions"], "\(path).matchExpressions") { inspection, requirement, place in
            label(&inspection, requirement, at: place, judgesValues: judgesValues)
        }
        inspection.each(term["matchFields"], "\(path).matchFields") { field(&$0, $1, at: $2) }
    }

    private static func label(
        _ inspection: inout Inspection, _ requirement: JSON, at path: String, judgesValues: Bool
    ) {
        let values = requirement["values"].array ?? []
        switch requirement["operator"].string ?? "" {
        case "In", "NotIn":
            if values.isEmpty {
                inspection.report(
                    .required("\(path).values", "must be specified when `operator` is 'In' or 'NotIn'"))
            }
        case "Exists", "DoesNotExist":
            if !values.isEmpty {
                inspection.report(
                    .forbidden(
                        "\(path).values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
            }
        case "Gt", "Lt":
            if values.count != 1 {
                inspection.report(
                    .required(
                        "\(path).values", "must be specified single value when `operator` is 'Lt' or 'Gt'"))
            }
        case let other: inspection.report(.invalid("\(path).operator", JSON(other), "not a valid selector operator"))
        }
        let key = requirement["key"].string ?? ""
        inspection.invalid("\(path).key", JSON(key), Names.qualifiedNameProblems(key))
        guard judgesValues else { return }
        inspection.eachText(requirement["values"], "\(path).values") { inspection, text, place in
            inspection.invalid(place, JSON(text), Names.labelValueProblems(text))
        }
    }

    /// A field of the node: there is only its name.
    private static func field(_ inspection: inout Inspection, _ requirement: JSON, at path: String) {
        switch requirement["operator"].string ?? "" {
        case "In", "NotIn":
            if requirement["values"].array?.count != 1 {
                inspection.report(
                    .required(
                        "\(path).values",
                        "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"))
            }
        case let other: inspection.report(.invalid("\(path).operator", JSON(other), "not a valid selector operator"))
        }
        let key = requirement["key"].string ?? ""
        guard key == "metadata.name" else {
            inspection.report(.invalid("\(path).key", JSON(key), "not a valid field selector key"))
            return
        }
        inspection.eachText(requirement["values"], "\(path).values") { inspection, text, place in
            inspection.invalid(place, JSON(text), Names.subdomainProblems(text))
        }
    }
}
