// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let pod = KindDescription(
        "", "Pod",
        strategy: Strategy(countsGenerations: true, deletesGracefully: true, answersWithDeleted: true),
        selectable: [
            "spec.nodeName": SelectableField(path: "spec.nodeName"),
            "spec.restartPolicy": SelectableField(path: "spec.restartPolicy"),
            "spec.schedulerName": SelectableField(path: "spec.schedulerName"),
            "spec.serviceAccountName": SelectableField(path: "spec.serviceAccountName"),
            "spec.hostNetwork": SelectableField(path: "spec.hostNetwork", missing: "false"),
            "status.phase": SelectableField(path: "status.phase"),
            "status.podIP": SelectableField(path: "status.podIP"),
            "status.podIPs": SelectableField { pod in
                (pod["status"]["podIPs"].array ?? []).compactMap { $0["ip"].string }.joined(separator: ",")
            },
            "status.nominatedNodeName": SelectableField(path: "status.nominatedNodeName"),
        ],
        columns: [
            .objectName,
            TableColumn("Ready") { JSON(PodTable.ready($0.json)) },
            TableColumn("Status") { JSON(PodTable.status($0.json)) },
            TableColumn("Restarts") { JSON(PodTable.restarts($0.json, now: $1)) },
            .age,
            TableColumn("IP", wide: true) { pod in
                JSON(
                    pod["status"]["podIPs"][0]["ip"].string ?? pod["status"]["podIP"].string.flatMap {
                        $0.isEmpty ? nil : $0
                    } ?? "<none>")
            },
            .text("Node", "spec.nodeName", wide: true),
            .text("Nominated Node", "status.nominatedNodeName", wide: true),
            TableColumn("Readiness Gates", wide: true) { JSON(PodTable.readinessGates($0.json)) },
        ],
        initialStatus: { pod in
            var status: JSON = ["phase": "Pending", "qosClass": JSON(QualityOfService.of(podSpec: pod["spec"]))]
            guard !(pod["spec"]["schedulingGates"].array ?? []).isEmpty else { return status }
            status["conditions"] = [
                [
                    "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                    "lastTransitionTime": pod["metadata"]["creationTimestamp"] ?? .null,
                ]
            ]
            return status
        },
        defaults: PodDefaults.pod,
        rules: { inspection in
            let spec = inspection.object["spec"] ?? .object([:])
            if inspection.old == nil, !(spec["ephemeralContainers"].array ?? []).isEmpty {
                inspection.report(.forbidden("spec.ephemeralContainers", "cannot be set on create"))
            }
            PodRules.spec(&inspection, spec, at: "spec")
            PodUpdate.inspect(&inspection)
        })

    static let podTemplate = KindDescription(
        "", "PodTemplate", strategy: Strategy(answersWithDeleted: true),
        columns: [
            .objectName,
            TableColumn("Containers") { JSON(TemplateTable.containers($0["template"]["spec"])) },
            TableColumn("Images") { JSON(TemplateTable.images($0["template"]["spec"])) },
            TableColumn("Pod Labels") { JSON(TemplateTable.labels($0["template"]["metadata"]["labels"])) },
        ],
        defaults: { PodDefaults.template(in: &$0) },
        rules: { inspection in
            PodRules.spec(&inspection, inspection.object["template"]["spec"] ?? .object([:]), at: "template.spec")
        })
}

/// A pod that exists can hardly be changed.
enum PodUpdate {
    private static let message =
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
        + "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
        + "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"

    static func inspect(_ inspection: inout Inspection) {
        // Subresources are the ways to change the rest: binding, ephemeralcontainers, resize.
        guard let old = inspection.old, inspection.subresource == nil else { return }
        let before = old["spec"]["tolerations"].array ?? []
        let after = inspection.object["spec"]["tolerations"].array ?? []
        if !before.allSatisfy({ after.contains($0) }) {
            inspection.report(
                .forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"))
        }
        var gates = inspection.object["spec"]["schedulingGates"].array ?? []
        gates.removeAll { (old["spec"]["schedulingGates"].array ?? []).contains($0) }
        for gate in gates {
            inspection.report(
                .forbidden(
                    "spec.schedulingGates",
                    "only deletion is allowed, but found new scheduling gate '\(gate["name"].string ?? "")'"))
        }
        if fixed(inspection.object) != fixed(old) { inspection.report(.forbidden("spec", message)) }
    }

    /// The part of the spec that may not change.
    private static func fixed(_ pod: JSON) -> JSON {
        var spec = pod["spec"] ?? .object([:])
        let isGated = !(pod["spec"]["schedulingGates"].array ?? []).isEmpty
        for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] { spec[field] = nil }
        // A pod that nobody may schedule yet can still be told where to go.
        if isGated { spec["nodeSelector"] = nil }
        for list in ["containers", "initContainers"] { spec.each(list) { $0["image"] = nil } }
        return spec
    }
}
