// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    private static let replicaColumns: [TableColumn] = [
        .objectName, .number("Desired", "spec.replicas"), .number("Current", "status.replicas"),
        .number("Ready", "status.readyReplicas"), .age,
    ]

    private static let partialCounts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"]
    private static let replicaCounts = ["replicas"] + partialCounts

    static let replicaSet = KindDescription(
        "apps", "ReplicaSet",
        strategy: Strategy(countsGenerations: true),
        immutable: ["spec.selector"],
        columns: replicaColumns + TemplateTable.wide,
        initialStatus: { _ in ["replicas": 0] },
        defaults: { set in
            set.make("spec") { spec in
                spec.fill("replicas", 1)
                PodDefaults.template(in: &spec)
            }
        },
        rules: { inspection in
            WorkloadRules.counts(&inspection, ["replicas", "minReadySeconds"])
            // Upstream's words name the kind that most ReplicaSets belong to.
            LabelSelectorRules.ofController(
                &inspection, emptyDetail: "empty selector is invalid for deployment",
                template: inspection.object["spec"]["template"])
            WorkloadRules.template(&inspection, controller: "ReplicaSet")
        },
        statusRules: { WorkloadRules.statusCounts(&$0, replicaCounts, atMostReplicas: partialCounts) })

    static let replicationController = KindDescription(
        "", "ReplicationController",
        strategy: Strategy(countsGenerations: true),
        selectable: ["status.replicas": SelectableField(path: "status.replicas", missing: "0")],
        columns: replicaColumns + TemplateTable.withoutSelector + [
            TableColumn("Selector", wide: true) { JSON(TemplateTable.labels($0["spec"]["selector"])) }
        ],
        initialStatus: { _ in ["replicas": 0] },
        defaults: { controller in
            let labels = controller["spec"]["template"]["metadata"]["labels"]
            controller.make("spec") { spec in
                spec.fill("replicas", 1)
                if let labels { spec.fill("selector", labels) }
                PodDefaults.template(in: &spec)
            }
            if let labels { controller.make("metadata") { $0.fill("labels", labels) } }
        },
        rules: { inspection in
            let spec = inspection.object["spec"]
            WorkloadRules.counts(&inspection, ["replicas", "minReadySeconds"])
            let selector = spec["selector"].object?.strings ?? [:]
            if selector.isEmpty { inspection.report(.required("spec.selector")) }
            LabelSelectorRules.matches(
                &inspection, LabelSelector(matchLabels: selector), template: spec["template"], at: "spec")
            WorkloadRules.template(&inspection, controller: "ReplicationController")
        },
        statusRules: { WorkloadRules.statusCounts(&$0, replicaCounts, atMostReplicas: partialCounts) })
}
