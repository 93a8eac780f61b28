// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for the object form of a label selector.
enum LabelSelectorRules {
    static func inspect(_ inspection: inout Inspection, _ selector: JSON?, at path: String) {
        MetadataRules.labels(&inspection, selector["matchLabels"], "\(path).matchLabels")
        inspection.each(selector["matchExpressions"], "\(path).matchExpressions") { inspection, expression, place in
            let values = expression["values"].array ?? []
            switch expression["operator"].string ?? "" {
            case "In", "NotIn":
                if values.isEmpty {
                    inspection.report(
                        .required("\(place).values", "must be specified when `operator` is 'In' or 'NotIn'"))
                }
            case "Exists", "DoesNotExist":
                if !values.isEmpty {
                    inspection.report(
                        .forbidden(
                            "\(place).values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
                }
            case let other:
                inspection.report(.invalid("\(place).operator", JSON(other), "not a valid selector operator"))
            }
            let key = expression["key"].string ?? ""
            inspection.invalid("\(place).key", JSON(key), Names.qualifiedNameProblems(key))
            inspection.eachText(expression["values"], "\(place).values") { inspection, value, place in
                inspection.invalid(place, JSON(value), Names.labelValueProblems(value))
            }
        }
    }

    /// A selector of pods that a controller owns: it selects something, and what its template makes.
    static func ofController(
        _ inspection: inout Inspection, emptyDetail: String, template: JSON?, at path: String = "spec"
    ) {
        let value = JSON.member("\(path).selector", of: inspection.object)
        guard let object = value.object else {
            inspection.report(.required("\(path).selector"))
            return
        }
        inspect(&inspection, value, at: "\(path).selector")
        let hasTerms =
            !(object["matchLabels"].object ?? [:]).isEmpty || !(object["matchExpressions"].array ?? []).isEmpty
        guard hasTerms else {
            inspection.report(.invalid("\(path).selector", value, emptyDetail))
            return
        }
        matches(&inspection, try? LabelSelector(object: value), template: template, at: path)
    }

    /// A controller must find the pods that it makes.
    static func matches(_ inspection: inout Inspection, _ selector: LabelSelector?, template: JSON?, at path: String) {
        let labels = template["metadata"]["labels"] ?? .object([:])
        guard let selector, !selector.matches(labels.object?.strings ?? [:]) else { return }
        inspection.report(
            .invalid(
                "\(path).template.metadata.labels", labels, "`selector` does not match template `labels`"))
    }
}
