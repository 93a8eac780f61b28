// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
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
            if let schedule = inspection.requireText(spec["schedule"], "spec.schedule") {
                if schedule.contains("TZ") {
                    inspection.report(
                        .invalid(
                            "spec.schedule", JSON(schedule),
                            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"))
                }
                if let problem = CronSyntax.problem(in: schedule) {
                    inspection.report(.invalid("spec.schedule", JSON(schedule), problem))
                }
            }
            if let zone = spec["timeZone"].string {
                inspection.invalid("spec.timeZone", JSON(zone), TimeZoneNames.problems(zone))
            }
            inspection.oneOf(
                spec["concurrencyPolicy"], "spec.concurrencyPolicy", ["Allow", "Forbid", "Replace"],
                missing: .required)
            WorkloadRules.counts(
                &inspection, ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"])
            if let name = inspection.object["metadata"]["name"].string, name.utf8.count > 52 {
                inspection.report(.invalid("metadata.name", JSON(name), "must be no more than 52 characters"))
            }
            let job = spec["jobTemplate"]["spec"] ?? .object([:])
            let path = "spec.jobTemplate.spec"
            JobRules.spec(&inspection, job, at: path)
            if let selector = job["selector"] {
                inspection.report(.invalid("\(path).selector", selector, "`selector` will be auto-generated"))
            }
            if job["manualSelector"].bool == true {
                inspection.report(.notSupported("\(path).manualSelector", true, ["nil", "false"]))
            }
        })
}
