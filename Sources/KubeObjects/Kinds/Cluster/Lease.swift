// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let lease = KindDescription(
        "coordination.k8s.io", "Lease",
        strategy: Strategy(allowsCreateOnUpdate: true, allowsUnconditionalUpdate: false),
        columns: [.objectName, .text("Holder", "spec.holderIdentity", missing: ""), .age],
        rules: { inspection in
            let spec = inspection.object["spec"]
            inspection.positive(spec["leaseDurationSeconds"], "spec.leaseDurationSeconds")
            inspection.notNegative(spec["leaseTransitions"], "spec.leaseTransitions")
            inspection.text(spec["strategy"], "spec.strategy", Names.qualifiedNameProblems)
            if spec["preferredHolder"].string?.isEmpty == false, (spec["strategy"].string ?? "").isEmpty {
                inspection.report(
                    .forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined"))
            }
        })

    static let componentStatus = KindDescription(
        "", "ComponentStatus",
        columns: [
            .objectName,
            TableColumn("Status") { status in
                let healthy = (status["conditions"].array ?? []).first { $0["type"].string == "Healthy" }
                return JSON(healthy?["status"].string == "True" ? "Healthy" : "Unhealthy")
            },
            TableColumn("Message") { JSON($0["conditions"][0]["message"].string ?? "") },
            TableColumn("Error") { JSON($0["conditions"][0]["error"].string ?? "") },
        ])
}
