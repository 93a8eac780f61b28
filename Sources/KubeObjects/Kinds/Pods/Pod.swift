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
        keepInStatus: { pod, old in
            // What class of service a pod has was decided when it was made, and so was whose it is.
            pod["status"]["qosClass"] = old["status"]["qosClass"]
            pod["metadata"]["ownerReferences"] = old["metadata"]["ownerReferences"]
            PodAddresses.complete(&pod)
        },
        defaults: PodDefaults.pod,
        rules: PodKindRules.inspect, statusRules: PodStatusRules.inspect)

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
            PodRules.template(&inspection, inspection.object["template"], at: "template")
        })
}

/// What must hold for a pod beside what holds for its spec as such.
private enum PodKindRules {
    private static let deletionCost = "controller.kubernetes.io/pod-deletion-cost"

    static func inspect(_ inspection: inout Inspection) {
        let spec = inspection.object["spec"] ?? .object([:])
        PodRules.spec(&inspection, spec, at: "spec", pod: inspection.object["metadata"]["name"].string ?? "")
        annotations(&inspection, spec)
        tokens(&inspection, spec)
        if inspection.old == nil {
            if !(spec["ephemeralContainers"].array ?? []).isEmpty {
                inspection.report(.forbidden("spec.ephemeralContainers", "cannot be set on create"))
            }
            if spec["nodeName"].string?.isEmpty == false, !(spec["schedulingGates"].array ?? []).isEmpty {
                inspection.report(
                    .forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared"))
            }
        }
        switch inspection.subresource {
        case nil: PodUpdate.inspect(&inspection)
        case "ephemeralcontainers": PodUpdate.ephemeral(&inspection)
        case "resize": PodResize.inspect(&inspection)
        default: break
        }
    }

    private static func annotations(_ inspection: inout Inspection, _ spec: JSON) {
        let annotations = inspection.object["metadata"]["annotations"]
        if let value = annotations[PodUpdate.mirror], (spec["nodeName"].string ?? "").isEmpty {
            inspection.report(
                .invalid(
                    "metadata.annotations[\(PodUpdate.mirror)]", value,
                    "must set spec.nodeName if mirror pod annotation is set"))
        }
        if let cost = annotations[deletionCost].string, Int32(cost) == nil || cost.hasPrefix("+") {
            inspection.report(
                .invalid("metadata.annotations[\(deletionCost)]", JSON(cost), "must be a 32bit integer"))
        }
    }

    private static func tokens(_ inspection: inout Inspection, _ spec: JSON) {
        guard (spec["serviceAccountName"].string ?? "").isEmpty else { return }
        inspection.each(spec["volumes"], "spec.volumes") { inspection, volume, path in
            inspection.each(volume["projected"]["sources"], "\(path).projected.sources") { inspection, source, path in
                inspection.forbid(
                    source["serviceAccountToken"], "\(path).serviceAccountToken",
                    "must not be specified when serviceAccountName is not set")
            }
        }
    }
}

/// The first address of a pod and of its node stand in two fields, an older and a newer.
private enum PodAddresses {
    static func complete(_ pod: inout JSON) {
        pod.change("status") { status in
            for (one, all) in [("podIP", "podIPs"), ("hostIP", "hostIPs")] {
                if let first = status[all][0]["ip"] {
                    status.fillText(one, first.string ?? "")
                } else if let address = status[one].string, !address.isEmpty {
                    status[all] = [["ip": JSON(address)]]
                }
            }
        }
    }
}
