// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let node = KindDescription(
        "", "Node",
        selectable: ["spec.unschedulable": SelectableField(path: "spec.unschedulable", missing: "false")],
        columns: [
            .objectName,
            TableColumn("Status") { JSON(NodeTable.status($0.json)) },
            TableColumn("Roles") { JSON(NodeTable.roles($0)) },
            .age,
            .text("Version", "status.nodeInfo.kubeletVersion", missing: ""),
            TableColumn("Internal-IP", wide: true) { JSON(NodeTable.address($0.json, "InternalIP")) },
            TableColumn("External-IP", wide: true) { JSON(NodeTable.address($0.json, "ExternalIP")) },
            .text("OS-Image", "status.nodeInfo.osImage", missing: "<unknown>", wide: true),
            TableColumn("Kernel-Version", wide: true) { node in
                let info = node["status"]["nodeInfo"]
                let architecture = info["architecture"].string ?? ""
                let kernel = info["kernelVersion"].string ?? ""
                return JSON(
                    kernel.isEmpty ? "<unknown>" : architecture.isEmpty ? kernel : "\(kernel) (\(architecture))")
            },
            .text("Container-Runtime", "status.nodeInfo.containerRuntimeVersion", missing: "<unknown>", wide: true),
        ],
        // A kubelet registers its node together with its first status.
        initialStatus: { $0["status"] ?? .object([:]) },
        defaults: { node in node.make("spec") { _ in } },
        rules: { inspection in
            for (index, taint) in (inspection.object["spec"]["taints"].array ?? []).enumerated() {
                let path = "spec.taints[\(index)]"
                if let key = inspection.requireText(taint["key"], "\(path).key") {
                    inspection.invalid("\(path).key", JSON(key), Names.qualifiedNameProblems(key))
                }
                inspection.oneOf(taint["effect"], "\(path).effect", ["NoExecute", "NoSchedule", "PreferNoSchedule"])
            }
            for (index, value) in (inspection.object["spec"]["podCIDRs"].array ?? []).enumerated() {
                guard CIDR(value.string ?? "") == nil else { continue }
                inspection.report(
                    .invalid(
                        "spec.podCIDRs[\(index)]", value,
                        "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"))
            }
        })
}

private enum NodeTable {
    static func status(_ node: JSON) -> String {
        let ready = (node["status"]["conditions"].array ?? []).first { $0["type"].string == "Ready" }
        let text = ready.map { $0["status"].string == "True" ? "Ready" : "NotReady" } ?? "Unknown"
        return node["spec"]["unschedulable"].bool == true ? text + ",SchedulingDisabled" : text
    }

    static func roles(_ node: KubeObject) -> String {
        let prefix = "node-role.kubernetes.io/"
        var roles = Set<String>()
        for (key, value) in node.labels {
            if key.hasPrefix(prefix), key.count > prefix.count { roles.insert(String(key.dropFirst(prefix.count))) }
            if key == "kubernetes.io/role", !value.isEmpty { roles.insert(value) }
        }
        return roles.isEmpty ? "<none>" : roles.sorted().joined(separator: ",")
    }

    static func address(_ node: JSON, _ type: String) -> String {
        let found = (node["status"]["addresses"].array ?? []).first { $0["type"].string == type }
        return found?["address"].string ?? "<none>"
    }
}
