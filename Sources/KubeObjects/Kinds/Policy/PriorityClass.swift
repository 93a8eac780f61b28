// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let priorityClass = KindDescription(
        "scheduling.k8s.io", "PriorityClass",
        immutable: ["preemptionPolicy"],
        columns: [
            .objectName, .number("Value", "value"), .text("Global-Default", "globalDefault", missing: "false"), .age,
            .text("PreemptionPolicy", "preemptionPolicy", missing: ""),
        ],
        // It never changes in a way that counts.
        complete: { $0["metadata"]["generation"] = 1 },
        defaults: { $0.fillText("preemptionPolicy", "PreemptLowerPriority") },
        rules: PriorityClassRules.inspect)
}

private enum PriorityClassRules {
    private static let highest = 1_000_000_000
    private static let prefix = "system-"
    private static let known = ["system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000]

    static func inspect(_ inspection: inout Inspection) {
        let name = inspection.object["metadata"]["name"].string ?? ""
        let value = inspection.object["value"].int ?? 0
        if name.hasPrefix(prefix) {
            if let problem = problem(name, value, isDefault: inspection.object["globalDefault"].bool ?? false) {
                inspection.report(
                    .forbidden(
                        "metadata.name",
                        "priority class names with 'system-' prefix are reserved for system use only. error: \(problem)"
                    ))
            }
        } else if value > highest {
            inspection.report(
                .forbidden("value", "maximum allowed value of a user defined priority is \(highest)"))
        }
        inspection.oneOf(
            inspection.object["preemptionPolicy"], "preemptionPolicy", ["PreemptLowerPriority", "Never"],
            missing: .required)
        if let old = inspection.old, old["value"].int ?? 0 != value {
            inspection.report(.forbidden("value", "may not be changed in an update."))
        }
    }

    /// Why a class of the system is not one of those that there are.
    private static func problem(_ name: String, _ value: Int, isDefault: Bool) -> String? {
        guard let wanted = known[name] else { return "\(name) is not a known system priority class" }
        if value != wanted { return "value of \(name) PriorityClass must be \(wanted)" }
        return isDefault ? "globalDefault of \(name) PriorityClass must be false" : nil
    }
}
