// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let job = KindDescription(
        "batch", "Job",
        strategy: Strategy(countsGenerations: true),
        immutable: ["spec.selector", "spec.completionMode", "spec.podFailurePolicy"],
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
            WorkloadRules.counts(
                &inspection,
                ["parallelism", "completions", "backoffLimit", "ttlSecondsAfterFinished", "activeDeadlineSeconds"])
            inspection.oneOf(
                inspection.object["spec"]["completionMode"], "spec.completionMode", ["Indexed", "NonIndexed"])
            if inspection.object["spec"]["completionMode"].string == "Indexed",
                inspection.object["spec"]["completions"] == nil
            {
                inspection.report(.required("spec.completions", "when completion mode is Indexed"))
            }
            PodRules.template(
                &inspection, kind: "job", restartPolicies: ["OnFailure", "Never"], matchesSelector: false)
        })

    static let cronJob = KindDescription(
        "batch", "CronJob",
        strategy: Strategy(countsGenerations: true),
        columns: [
            .objectName, .text("Schedule", "spec.schedule", missing: ""), .text("Timezone", "spec.timeZone"),
            TableColumn("Suspend", type: "boolean") { JSON(($0["spec"]["suspend"].bool ?? false) ? "True" : "False") },
            TableColumn("Active", type: "integer") { JSON($0["status"]["active"].array?.count ?? 0) },
            TableColumn("Last Schedule") { object, now in
                guard let time = object["status"]["lastScheduleTime"].string else { return "<none>" }
                return JSON(HumanDuration.age(since: Timestamp(time), now: now))
            },
            .age,
            TableColumn("Containers", wide: true) {
                JSON(TemplateTable.containers($0["spec"]["jobTemplate"]["spec"]["template"]["spec"]))
            },
            TableColumn("Images", wide: true) {
                JSON(TemplateTable.images($0["spec"]["jobTemplate"]["spec"]["template"]["spec"]))
            },
            TableColumn("Selector", wide: true) {
                JSON(TemplateTable.selector($0["spec"]["jobTemplate"]["spec"]["selector"]))
            },
        ],
        initialStatus: { _ in .object([:]) },
        defaults: { cron in
            cron.make("spec") { spec in
                spec.fillText("concurrencyPolicy", "Allow")
                spec.fill("suspend", false)
                spec.fill("successfulJobsHistoryLimit", 3)
                spec.fill("failedJobsHistoryLimit", 1)
                spec.make("jobTemplate") { template in
                    template.make("metadata") { _ in }
                    template.make("spec") { PodDefaults.template(in: &$0) }
                }
            }
        },
        rules: { inspection in
            let spec = inspection.object["spec"]
            inspection.requireText(spec["schedule"], "spec.schedule")
            inspection.oneOf(spec["concurrencyPolicy"], "spec.concurrencyPolicy", ["Allow", "Forbid", "Replace"])
            WorkloadRules.counts(
                &inspection, ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"])
            if let name = inspection.object["metadata"]["name"].string, name.utf8.count > 52 {
                inspection.report(.invalid("metadata.name", JSON(name), "must be no more than 52 characters"))
            }
            PodRules.spec(
                &inspection, spec["jobTemplate"]["spec"]["template"]["spec"] ?? .object([:]),
                at: "spec.jobTemplate.spec.template.spec", restartPolicies: ["OnFailure", "Never"])
        })

    static let controllerRevision = KindDescription(
        "apps", "ControllerRevision",
        immutable: ["data"],
        columns: [
            .objectName,
            TableColumn("Controller") { object in
                guard let owner = object.controller else { return "<none>" }
                let group = GroupVersionKind(apiVersion: owner.apiVersion, kind: owner.kind).group
                return JSON("\(owner.kind.lowercased())\(group.isEmpty ? "" : ".\(group)")/\(owner.name)")
            },
            .number("Revision", "revision"), .age,
        ])
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
