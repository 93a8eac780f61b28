// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let job = KindDescription(
        "batch", "Job",
        strategy: Strategy(countsGenerations: true),
        immutable: [
            "spec.selector", "spec.completionMode", "spec.podFailurePolicy", "spec.backoffLimitPerIndex",
            "spec.managedBy", "spec.successPolicy",
        ],
        selectable: ["status.successful": SelectableField(path: "status.succeeded", missing: "0")],
        columns: [
            .objectName,
            TableColumn("Status") { JSON(JobTable.status($0.json)) },
            TableColumn("Completions") { JSON(JobTable.completions($0.json)) },
            TableColumn("Duration") { JSON(JobTable.duration($0.json, now: $1)) },
            .age,
        ] + TemplateTable.wide,
        initialStatus: { _ in .object([:]) },
        complete: { job in
            // Pods of a job are told apart by its uid unless somebody chose the selector by hand.
            guard job["spec"]["manualSelector"].bool != true, let uid = job["metadata"]["uid"].string else { return }
            let name = job["metadata"]["name"].string ?? ""
            job["spec"]["selector"] = ["matchLabels": ["batch.kubernetes.io/controller-uid": JSON(uid)]]
            job.change("spec") { spec in
                spec.make("template") { template in
                    template.make("metadata") { metadata in
                        metadata.make("labels") { labels in
                            labels["batch.kubernetes.io/controller-uid"] = JSON(uid)
                            labels["batch.kubernetes.io/job-name"] = JSON(name)
                            labels["controller-uid"] = JSON(uid)
                            labels["job-name"] = JSON(name)
                        }
                    }
                }
            }
        },
        defaults: { job in job.make("spec", JobDefaults.spec) },
        rules: { inspection in
            let spec = inspection.object["spec"] ?? .object([:])
            JobRules.spec(&inspection, spec, at: "spec")
            JobRules.selector(&inspection, spec)
            JobRules.name(&inspection, spec)
            JobUpdate.inspect(&inspection)
        },
        statusRules: {
            WorkloadRules.counts(&$0, ["active", "succeeded", "failed", "ready", "terminating"], in: "status")
        })
}

enum JobDefaults {
    static func spec(_ spec: inout JSON) {
        if spec["completions"] == nil, spec["parallelism"] == nil { spec["completions"] = 1 }
        spec.fill("parallelism", 1)
        // Failures are counted for each index alone where a limit for them is set.
        let countsByIndex = spec["backoffLimitPerIndex"] != nil
        spec.fill("backoffLimit", countsByIndex ? JSON(Int(Int32.max)) : 6)
        spec.fillText("completionMode", "NonIndexed")
        spec.fill("suspend", false)
        let hasFailurePolicy = spec["podFailurePolicy"] != nil
        spec.fillText("podReplacementPolicy", hasFailurePolicy ? "Failed" : "TerminatingOrFailed")
        PodDefaults.template(in: &spec)
    }
}

enum JobTable {
    static func status(_ job: JSON) -> String {
        let conditions = (job["status"]["conditions"].array ?? []).filter { $0["status"].string == "True" }
        let types = Set(conditions.compactMap { $0["type"].string })
        if types.contains("Complete") { return "Complete" }
        if types.contains("Failed") { return "Failed" }
        if job["metadata"]["deletionTimestamp"] != nil { return "Terminating" }
        for type in ["Suspended", "FailureTarget", "SuccessCriteriaMet"] where types.contains(type) { return type }
        return "Running"
    }

    static func completions(_ job: JSON) -> String {
        let done = job["status"]["succeeded"].int ?? 0
        if let wanted = job["spec"]["completions"].int { return "\(done)/\(wanted)" }
        let parallelism = job["spec"]["parallelism"].int ?? 0
        return parallelism > 1 ? "\(done)/1 of \(parallelism)" : "\(done)/1"
    }

    static func duration(_ job: JSON, now: Timestamp) -> String {
        guard let start = job["status"]["startTime"].string.flatMap({ Timestamp($0) }) else { return "" }
        let end = job["status"]["completionTime"].string.flatMap { Timestamp($0) } ?? now
        return HumanDuration.text(seconds: end.seconds(since: start))
    }
}
