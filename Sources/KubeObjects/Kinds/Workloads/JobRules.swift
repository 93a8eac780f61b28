// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for a Job, also for those that a CronJob makes.
enum JobRules {
    private static let limit = 100_000
    /// What is left of the others when there are more completions than `limit`.
    private static let smallerLimit = 10_000

    static func spec(_ inspection: inout Inspection, _ spec: JSON, at path: String) {
        for field in [
            "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
            "backoffLimitPerIndex", "maxFailedIndexes",
        ] { inspection.notNegative(spec[field], "\(path).\(field)") }
        if let manager = spec["managedBy"].string {
            inspection.invalid("\(path).managedBy", JSON(manager), Names.domainPathProblems(manager))
            inspection.atMost(63, spec["managedBy"], "\(path).managedBy")
        }
        inspection.oneOf(spec["completionMode"], "\(path).completionMode", ["NonIndexed", "Indexed"])
        indexes(&inspection, spec, at: path)
        JobPolicyRules.failure(&inspection, spec, at: path)
        JobPolicyRules.success(&inspection, spec, at: path)
        inspection.oneOf(
            spec["podReplacementPolicy"], "\(path).podReplacementPolicy",
            spec["podFailurePolicy"] != nil ? ["Failed"] : ["Failed", "TerminatingOrFailed"])
        PodRules.template(&inspection, spec["template"], at: "\(path).template")
        // What nobody chose is Always by then.
        if ["Always", ""].contains(spec["template"]["spec"]["restartPolicy"].string ?? "") {
            inspection.report(
                .required("\(path).template.spec.restartPolicy", "valid values: \"OnFailure\", \"Never\""))
        }
    }

    private static func indexes(_ inspection: inout Inspection, _ spec: JSON, at path: String) {
        let isIndexed = spec["completionMode"].string == "Indexed"
        func exceeds(_ field: String, _ most: Int, _ detail: String) {
            guard let number = spec[field].int, number > most else { return }
            inspection.report(.invalid("\(path).\(field)", JSON(number), detail))
        }
        if isIndexed {
            guard let completions = spec["completions"].int else {
                inspection.report(.required("\(path).completions", "when completion mode is Indexed"))
                return
            }
            exceeds("parallelism", limit, "must be less than or equal to \(limit) when completion mode is Indexed")
            exceeds("maxFailedIndexes", completions, "must be less than or equal to completions")
            exceeds("maxFailedIndexes", limit, "must be less than or equal to \(limit)")
            if completions > limit, spec["backoffLimitPerIndex"] != nil {
                if spec["maxFailedIndexes"] == nil {
                    inspection.report(
                        .required("\(path).maxFailedIndexes", "must be specified when completions is above \(limit)"))
                }
                for field in ["parallelism", "maxFailedIndexes"] {
                    exceeds(
                        field, smallerLimit,
                        "must be less than or equal to \(smallerLimit) when completions are above \(limit) and used with "
                            + "backoff limit per index")
                }
            }
        } else {
            for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                guard let value = spec[field] else { continue }
                inspection.report(.invalid("\(path).\(field)", value, "requires indexed completion mode"))
            }
        }
        if spec["maxFailedIndexes"] != nil, spec["backoffLimitPerIndex"] == nil {
            inspection.report(.required("\(path).backoffLimitPerIndex", "when maxFailedIndexes is specified"))
        }
    }

    /// The pods of a Job are told apart by labels that it makes up, or that somebody chose.
    static func selector(_ inspection: inout Inspection, _ spec: JSON) {
        guard let selector = spec["selector"] else {
            inspection.report(.required("spec.selector"))
            return
        }
        LabelSelectorRules.inspect(&inspection, selector, at: "spec.selector")
        LabelSelectorRules.matches(
            &inspection, try? LabelSelector(object: selector), template: spec["template"], at: "spec")
    }

    /// Pods of an indexed Job are called by it and their index, which must be the name of a host.
    static func name(_ inspection: inout Inspection, _ spec: JSON) {
        guard inspection.old == nil, spec["completionMode"].string == "Indexed",
            let completions = spec["completions"].int, completions > 0,
            let name = inspection.object["metadata"]["name"].string
        else { return }
        let longest = "\(name)-\(completions - 1)"
        if !Names.labelProblems(longest).isEmpty {
            inspection.report(
                .invalid(
                    "metadata.name", JSON(name), "will not able to create pod with invalid DNS label: \(longest)"))
        }
    }
}

/// What of a Job can change when it exists.
enum JobUpdate {
    static func inspect(_ inspection: inout Inspection) {
        guard let old = inspection.old else { return }
        let before = old["spec"]
        let after = inspection.object["spec"]
        if before["completions"] != after["completions"] {
            let isIndexed = before["completionMode"].string == "Indexed"
            if !isIndexed || before["completions"] == nil || after["completions"] == nil {
                inspection.immutable("spec.completions")
            } else if after["completions"] != after["parallelism"] {
                inspection.report(
                    .invalid(
                        "spec.completions", after["completions"] ?? .null,
                        "can only be modified in tandem with spec.parallelism"))
            }
        }
        let waits = before["suspend"].bool == true && old["status"]["startTime"] == nil
        if fixed(before["template"], waits) != fixed(after["template"], waits) {
            inspection.report(.invalid("spec.template", after["template"] ?? .null, "field is immutable"))
        }
    }

    /// The part of the template that stays: where its pods go is open until the Job has been started.
    private static func fixed(_ template: JSON?, _ waits: Bool) -> JSON? {
        guard waits, var template else { return template }
        for field in ["nodeSelector", "tolerations", "schedulingGates"] { template["spec"][field] = nil }
        template["spec"]["affinity"]["nodeAffinity"] = nil
        if template["spec"]["affinity"].object?.isEmpty == true { template["spec"]["affinity"] = nil }
        for field in ["labels", "annotations"] { template["metadata"][field] = nil }
        return template
    }
}
