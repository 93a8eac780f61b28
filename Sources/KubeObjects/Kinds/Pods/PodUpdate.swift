// SPDX-License-Identifier: Apache-2.0

import Values

/// A pod that exists can hardly be changed.
enum PodUpdate {
    /// Marks what a kubelet shows of a pod that it has from a file.
    static let mirror = "kubernetes.io/config.mirror"

    private static let message =
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
        + "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
        + "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"

    static func inspect(_ inspection: inout Inspection) {
        guard let old = inspection.old else { return }
        let before = old["spec"] ?? .object([:])
        let after = inspection.object["spec"] ?? .object([:])
        mirrors(&inspection, old)
        for list in ["containers", "initContainers"]
        where (before[list].array ?? []).count != (after[list].array ?? []).count {
            inspection.report(.forbidden("spec.\(list)", "pod updates may not add or remove containers"))
            return
        }
        deadline(&inspection, before["activeDeadlineSeconds"], after["activeDeadlineSeconds"])
        tolerations(&inspection, before["tolerations"].array ?? [], after["tolerations"].array ?? [])
        let known = (before["schedulingGates"].array ?? []).compactMap { $0["name"].string }
        inspection.each(after["schedulingGates"], "spec.schedulingGates") { inspection, gate, path in
            guard let name = gate["name"].string, !known.contains(name) else { return }
            inspection.report(
                .forbidden("\(path).name", "only deletion is allowed, but found new scheduling gate '\(name)'"))
        }
        let isGated = !known.isEmpty
        if isGated { gated(&inspection, before, after) }
        if fixed(after, isGated, before) != fixed(before, isGated, before) {
            inspection.report(.forbidden("spec", message))
        }
    }

    private static func mirrors(_ inspection: inout Inspection, _ old: JSON) {
        let before = old["metadata"]["annotations"][mirror]
        let after = inspection.object["metadata"]["annotations"][mirror]
        guard before != after else { return }
        inspection.report(
            .forbidden(
                "metadata.annotations[\(mirror)]",
                before == nil
                    ? "may not add mirror pod annotation" : "may not remove or update mirror pod annotation"))
    }

    /// A deadline can be set once, and then only come nearer.
    private static func deadline(_ inspection: inout Inspection, _ before: JSON?, _ after: JSON?) {
        let path = "spec.activeDeadlineSeconds"
        guard let after else {
            if before != nil {
                inspection.report(.invalid(path, .null, "must not update from a positive integer to nil value"))
            }
            return
        }
        if let was = before.int, let wanted = after.int, was < wanted {
            inspection.report(.invalid(path, after, "must be less than or equal to previous value"))
        }
    }

    private static func tolerations(_ inspection: inout Inspection, _ before: [JSON], _ after: [JSON]) {
        let kept = Set(after.map { $0.without(["tolerationSeconds"]) })
        if !before.allSatisfy({ kept.contains($0.without(["tolerationSeconds"])) }) {
            inspection.report(
                .forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"))
        }
    }

    /// A pod that nobody may schedule yet can still be told more precisely where to go.
    private static func gated(_ inspection: inout Inspection, _ before: JSON, _ after: JSON) {
        let wanted = after["nodeSelector"].object?.strings ?? [:]
        if (before["nodeSelector"].object?.strings ?? [:]).contains(where: { wanted[$0.key] != $0.value }) {
            inspection.report(
                .invalid(
                    "spec.nodeSelector", after["nodeSelector"] ?? .null,
                    "only additions to spec.nodeSelector are allowed (no mutations or deletions)"))
        }
        func terms(_ spec: JSON) -> [JSON] {
            spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
                .array ?? []
        }
        let path =
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
        let (old, new) = (terms(before), terms(after))
        if old.isEmpty { return }
        guard old.count == new.count else {
            inspection.report(
                .invalid(
                    path, .array(new), "no additions/deletions to non-empty NodeSelectorTerms list are allowed"))
            return
        }
        for (index, pair) in zip(old, new).enumerated() {
            let isKept = ["matchExpressions", "matchFields"].allSatisfy { list in
                let now = pair.1[list].array ?? []
                return (pair.0[list].array ?? []).allSatisfy { now.contains($0) }
            }
            if !isKept {
                inspection.report(
                    .invalid("\(path)[\(index)]", pair.1, "only additions are allowed (no mutations or deletions)"))
            }
        }
    }

    /// The part of the spec that may not change.
    private static func fixed(_ spec: JSON, _ isGated: Bool, _ before: JSON) -> JSON {
        var spec = spec.without(["activeDeadlineSeconds", "tolerations", "schedulingGates"])
        if isGated {
            spec["nodeSelector"] = nil
            spec["affinity"]["nodeAffinity"] = nil
            if spec["affinity"].object?.isEmpty == true { spec["affinity"] = nil }
        }
        // A grace period below zero means the shortest.
        if (before["terminationGracePeriodSeconds"].int ?? 0) < 0, spec["terminationGracePeriodSeconds"].int == 1 {
            spec["terminationGracePeriodSeconds"] = before["terminationGracePeriodSeconds"]
        }
        for list in ["containers", "initContainers"] { spec.each(list) { $0["image"] = nil } }
        return spec
    }

    /// Containers that look on can be added, and that is all.
    static func ephemeral(_ inspection: inout Inspection) {
        guard let old = inspection.old else { return }
        if old["metadata"]["annotations"][mirror] != nil {
            inspection.report(.forbidden("[]", "static pods do not support ephemeral containers"))
            return
        }
        let path = "spec.ephemeralContainers"
        let now = inspection.object["spec"]["ephemeralContainers"].array ?? []
        for container in old["spec"]["ephemeralContainers"].array ?? [] {
            let name = JSON(container["name"].string ?? "").text()
            guard let same = now.first(where: { $0["name"] == container["name"] }) else {
                inspection.report(.forbidden(path, "existing ephemeral containers \(name) may not be removed\n"))
                continue
            }
            if same != container {
                inspection.report(.forbidden(path, "existing ephemeral containers \(name) may not be changed\n"))
            }
        }
    }
}

/// What containers may use can change while they run.
enum PodResize {
    static func inspect(_ inspection: inout Inspection) {
        guard let old = inspection.old else { return }
        let before = old["spec"]
        let after = inspection.object["spec"]
        if let refusal = refusal(old) {
            inspection.report(.forbidden("[]", refusal))
            return
        }
        let quality = QualityOfService.of(podSpec: after)
        if (old["status"]["qosClass"].string ?? QualityOfService.of(podSpec: before)) != quality {
            inspection.report(
                .invalid("spec", JSON(quality), "Pod QOS Class may not change as a result of resizing"))
        }
        for list in ["initContainers", "containers"] {
            let were = before[list].array ?? []
            for (index, now) in (after[list].array ?? []).enumerated() where index < were.count {
                let was = were[index]
                let isInitial = list == "initContainers"
                if isInitial, now["restartPolicy"].string != "Always" {
                    if now != was {
                        inspection.report(
                            .forbidden("spec", "resources for non-sidecar init containers are immutable"))
                    }
                    continue
                }
                container(&inspection, was, now, at: "spec.\(list)[\(index)].resources")
                if others(now["resources"]) != others(was["resources"]) {
                    let ofSidecars = isInitial ? " for sidecar containers" : ""
                    inspection.report(
                        .forbidden("spec", "only cpu and memory resources\(ofSidecars) are mutable"))
                }
            }
        }
    }

    /// Why nothing of the pod can be resized.
    private static func refusal(_ old: JSON) -> String? {
        if old["metadata"]["annotations"][PodUpdate.mirror] != nil { return "static pods cannot be resized." }
        if old["spec"]["os"]["name"].string == "windows" { return "windows pods cannot be resized." }
        return nil
    }

    /// What of a container's resources stays.
    private static func others(_ resources: JSON?) -> JSON {
        var rest = resources ?? .object([:])
        for list in ["limits", "requests"] {
            rest[list] = (rest[list] ?? .object([:])).without(["cpu", "memory"])
        }
        return rest
    }

    private static func container(_ inspection: inout Inspection, _ was: JSON, _ now: JSON, at path: String) {
        for (list, word) in [("requests", "requests"), ("limits", "limits")] {
            let names = Set(now["resources"][list].object?.keys ?? [])
            if !Set(was["resources"][list].object?.keys ?? []).isSubset(of: names) {
                inspection.report(.forbidden("\(path).\(list)", "resource \(word) cannot be removed"))
            }
        }
    }
}
