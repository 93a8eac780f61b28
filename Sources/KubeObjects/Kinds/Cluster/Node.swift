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
        defaults: { node in
            node.make("spec") { spec in
                // The first range stands in two fields, an older and a newer.
                if let range = spec["podCIDR"].string, !range.isEmpty, (spec["podCIDRs"].array ?? []).isEmpty {
                    spec["podCIDRs"] = [JSON(range)]
                }
                if let first = spec["podCIDRs"][0] { spec.fill("podCIDR", first) }
            }
            node.change("status") { status in
                if let capacity = status["capacity"] { status.fill("allocatable", capacity) }
            }
        },
        rules: NodeRules.inspect, statusRules: NodeRules.status)
}

private enum NodeRules {
    static func inspect(_ inspection: inout Inspection) {
        let spec = inspection.object["spec"]
        // Upstream looks for taints where names are.
        SchedulingRules.taints(&inspection, spec["taints"], at: "metadata.taints")
        inspection.each(spec["taints"], "spec.taints") { inspection, _, path in
            for field in ["key", "effect"] { inspection.judge("\(path).\(field)") }
        }
        let ranges = spec["podCIDRs"].array?.compactMap(\.string) ?? []
        inspection.each(spec["podCIDRs"], "spec.podCIDRs") { $0.network($1, $2) }
        if ranges.count > 1 {
            if ranges.count > 2 || !AddressRules.isDualStack(ranges) {
                inspection.report(
                    .invalid(
                        "spec.podCIDRs", JSON(ranges), "may specify no more than one CIDR for each IP family"))
            }
            var seen = Set<String>()
            inspection.each(spec["podCIDRs"], "spec.podCIDRs") { $0.unique($1, $2, &seen) }
        }
        guard let old = inspection.old?["spec"] else { return }
        let before = old["podCIDRs"].array ?? []
        if !before.isEmpty, before != spec["podCIDRs"].array ?? [] {
            inspection.report(
                .forbidden("spec.podCIDRs", "node updates may not change podCIDR except from \"\" to valid"))
        }
        if let provider = old["providerID"].string, !provider.isEmpty, provider != spec["providerID"].string ?? "" {
            inspection.report(
                .forbidden("spec.providerID", "node updates may not change providerID except from \"\" to valid"))
        }
    }

    static func status(_ inspection: inout Inspection) {
        let status = inspection.object["status"]
        for list in ["capacity", "allocatable"] {
            for (name, value) in status[list].object ?? [:] {
                ResourceRules.amount(
                    &inspection, value, at: "status.\(list).\(name)",
                    isWhole: ResourceRules.isWhole(name))
            }
        }
        var seen = Set<JSON>()
        inspection.each(status["addresses"], "status.addresses") { inspection, address, path in
            if !seen.insert(address).inserted { inspection.report(.duplicate(path, address)) }
        }
    }
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
