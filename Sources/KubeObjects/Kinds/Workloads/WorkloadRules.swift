// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for every controller of pods.
enum WorkloadRules {
    private static let percentProblem =
        "a valid percent string must be a numeric string followed by an ending '%' "
        + "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"

    static func counts(_ inspection: inout Inspection, _ fields: [String], in part: String = "spec") {
        for field in fields { inspection.notNegative(inspection.object[part][field], "\(part).\(field)") }
    }

    /// The template of pods that are started again for as long as their controller lives.
    static func template(_ inspection: inout Inspection, controller: String) {
        restart(&inspection, inspection.object["spec"]["template"], controller: controller)
        PodRules.template(&inspection, inspection.object["spec"]["template"], at: "spec.template")
    }

    static func restart(_ inspection: inout Inspection, _ template: JSON?, controller: String) {
        let spec = template["spec"]
        let policy = spec["restartPolicy"].string ?? ""
        if ["OnFailure", "Never"].contains(policy) {
            inspection.report(.notSupported("spec.template.spec.restartPolicy", JSON(policy), ["Always"]))
        }
        inspection.forbid(
            spec["activeDeadlineSeconds"], "spec.template.spec.activeDeadlineSeconds",
            "activeDeadlineSeconds in \(controller) is not Supported")
    }

    /// A count, or a part of a hundred.
    static func countOrPercent(_ inspection: inout Inspection, _ value: JSON?, at path: String) {
        guard let value else { return }
        guard let text = value.string else {
            inspection.notNegative(value, path)
            return
        }
        if percent(text) == nil { inspection.report(.invalid(path, value, percentProblem)) }
    }

    /// The number before the sign; nil for text that is no percentage.
    static func percent(_ text: String) -> Int? {
        let digits = text.dropLast()
        guard text.hasSuffix("%"), !digits.isEmpty, digits.utf8.allSatisfy(Names.isDigit) else { return nil }
        return Int(digits) ?? .max
    }

    static func atMostHundredPercent(_ inspection: inout Inspection, _ value: JSON?, at path: String) {
        guard let value, let text = value.string, let number = percent(text), number > 100 else { return }
        inspection.report(.invalid(path, value, "must not be greater than 100%"))
    }

    /// Nothing, said as a number or as a percentage.
    static func isZero(_ value: JSON?) -> Bool {
        switch value {
        case nil, .null?: true
        case .string(let text)?: (percent(text) ?? 0) == 0
        case let value: value.int == 0
        }
    }

    /// Counts of pods that a controller reports: some of them cannot be more than others.
    static func statusCounts(
        _ inspection: inout Inspection, _ counts: [String], atMostReplicas parts: [String]
    ) {
        let status = inspection.object["status"]
        self.counts(&inspection, counts + ["observedGeneration", "collisionCount"], in: "status")
        let all = status["replicas"].int ?? 0
        for part in parts where (status[part].int ?? 0) > all {
            inspection.report(
                .invalid("status.\(part)", status[part] ?? 0, "cannot be greater than status.replicas"))
        }
        if let available = status["availableReplicas"].int, available > status["readyReplicas"].int ?? 0 {
            inspection.report(
                .invalid("status.availableReplicas", JSON(available), "cannot be greater than readyReplicas"))
        }
        if let before = inspection.old?["status"]["collisionCount"].int, status["collisionCount"].int ?? 0 < before {
            inspection.report(
                .invalid("status.collisionCount", status["collisionCount"] ?? 0, "cannot be decremented"))
        }
    }
}
