// SPDX-License-Identifier: Apache-2.0

import Values

/// What a kubelet may say of a pod.
enum PodStatusRules {
    static func inspect(_ inspection: inout Inspection) {
        let status = inspection.object["status"]
        inspection.each(status["conditions"], "metadata.conditions") { inspection, condition, path in
            let type = condition["type"].string ?? ""
            guard !["PodScheduled", "Ready", "Initialized"].contains(type) else { return }
            inspection.invalid("\(path).Type", JSON(type), Names.qualifiedNameProblems(type))
        }
        inspection.text(status["nominatedNodeName"], "status.nominatedNodeName", Names.subdomainProblems)
        addresses(&inspection, status["podIPs"], at: "status.podIPs")
        addresses(&inspection, status["hostIPs"], at: "status.hostIPs")
        transitions(&inspection)
    }

    /// One address of each family at most.
    private static func addresses(_ inspection: inout Inspection, _ list: JSON?, at path: String) {
        let texts = (list.array ?? []).map { $0["ip"].string ?? "" }
        for (index, text) in texts.enumerated() { inspection.address(JSON(text), "\(path)[\(index)]") }
        guard texts.count > 1 else { return }
        if texts.count > 2 || !AddressRules.isDualStack(texts) {
            inspection.report(
                .invalid(path, list ?? .array([]), "may specify no more than one IP for each IP family"))
        }
    }

    /// A container that has ended and is not to be started again stays ended.
    private static func transitions(_ inspection: inout Inspection) {
        guard let old = inspection.old else { return }
        let spec = old["spec"]
        let sidecars = Set(
            (spec["initContainers"].array ?? []).filter { $0["restartPolicy"].string == "Always" }
                .compactMap { $0["name"].string })
        let owners = (spec["containers"].array ?? []) + (spec["initContainers"].array ?? [])
        // What is said for a container alone counts more than what is said for the pod.
        func policy(_ name: String, _ list: String) -> String {
            if list == "ephemeralContainerStatuses" { return "Never" }
            let own = owners.first { $0["name"].string == name }
            if own?["restartPolicyRules"] != nil { return "Always" }
            return own?["restartPolicy"].string ?? spec["restartPolicy"].string ?? "Always"
        }
        for list in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
            let now = inspection.object["status"][list].array ?? []
            for (index, was) in (old["status"][list].array ?? []).enumerated() {
                guard let name = was["name"].string, let ended = was["state"]["terminated"], !sidecars.contains(name)
                else { continue }
                let policy = policy(name, list)
                let failed = (ended["exitCode"].int ?? 0) != 0
                if policy == "Always" || policy == "OnFailure" && failed { continue }
                if now.contains(where: { $0["name"].string == name && $0["state"]["terminated"] == nil }) {
                    inspection.report(
                        .forbidden(
                            "status.\(list)[\(index)].state", "may not be transitioned to non-terminated state"))
                }
            }
        }
    }
}
