// SPDX-License-Identifier: Apache-2.0

import Values

/// Devices that pods claim (`resource.k8s.io`): stored and shown; nothing allocates them yet.
extension KindDescription {
    private static let group = "resource.k8s.io"

    static let dynamicResources = [deviceClass, resourceClaim, resourceClaimTemplate, resourceSlice]

    private static let deviceClass = KindDescription(
        group, "DeviceClass", strategy: Strategy(countsGenerations: true, answersWithDeleted: true),
        columns: [.objectName, .age],
        rules: { inspection in
            let spec = inspection.object["spec"]
            DeviceRules.selectors(&inspection, spec["selectors"], at: "spec.selectors")
            if inspection.atMost(elements: DeviceRules.mostConfigurations, spec["config"], "spec.config") {
                inspection.each(spec["config"], "spec.config") { DeviceRules.configuration(&$0, $1, at: $2) }
            }
            if let name = spec["extendedResourceName"].string, !name.isEmpty, !PodResources.isExtended(name) {
                inspection.report(
                    .invalid("spec.extendedResourceName", JSON(name), "must be a valid extended resource name"))
            }
        })

    private static let resourceClaim = KindDescription(
        group, "ResourceClaim", strategy: Strategy(answersWithDeleted: true), immutable: ["spec"],
        columns: [.objectName, TableColumn("State") { JSON(state($0)) }, .age],
        initialStatus: { _ in .object([:]) },
        defaults: { claim in claim.change("spec", DeviceDefaults.claim) },
        rules: { inspection in
            if inspection.old == nil {
                DeviceRules.claim(&inspection, inspection.object["spec"]["devices"], at: "spec.devices")
            }
        })

    private static let resourceClaimTemplate = KindDescription(
        group, "ResourceClaimTemplate", strategy: Strategy(answersWithDeleted: true), immutable: ["spec"],
        columns: [.objectName, .age],
        defaults: { template in template.change("spec") { $0.change("spec", DeviceDefaults.claim) } },
        rules: { inspection in
            let spec = inspection.object["spec"]
            MetadataRules.labels(&inspection, spec["metadata"]["labels"], "spec.metadata.labels")
            MetadataRules.annotations(&inspection, spec["metadata"]["annotations"], "spec.metadata.annotations")
            DeviceRules.claim(&inspection, spec["spec"]["devices"], at: "spec.spec.devices")
        })

    private static let resourceSlice = KindDescription(
        group, "ResourceSlice", strategy: Strategy(countsGenerations: true, answersWithDeleted: true),
        immutable: ["spec.driver", "spec.pool.name", "spec.nodeName"],
        selectable: [
            "spec.nodeName": SelectableField(path: "spec.nodeName"),
            "spec.driver": SelectableField(path: "spec.driver"),
        ],
        columns: [
            .objectName, .text("Node", "spec.nodeName", missing: "<unset>"),
            .text("Driver", "spec.driver", missing: ""),
            .text("Pool", "spec.pool.name", missing: ""), .age,
        ],
        defaults: { slice in
            slice.change("spec") { spec in
                spec.each("devices") { device in
                    device.each("taints") { $0.fill("timeAdded", JSON(Timestamp.now.description)) }
                }
            }
        },
        rules: ResourceSliceRules.inspect)

    /// How far a claim has come.
    private static func state(_ claim: KubeObject) -> String {
        var words: [String] = []
        if claim.isBeingDeleted { words.append("deleted") }
        if claim["status"]["allocation"] != nil { words.append("allocated") }
        if !(claim["status"]["reservedFor"].array ?? []).isEmpty { words.append("reserved") }
        return words.isEmpty ? "pending" : words.joined(separator: ",")
    }
}

private enum DeviceDefaults {
    static func claim(_ spec: inout JSON) {
        spec.change("devices") { devices in
            devices.each("requests") { request in
                request.change("exactly", self.request)
                request.each("firstAvailable", self.request)
            }
        }
    }

    private static func request(_ request: inout JSON) {
        request.fillText("allocationMode", "ExactCount")
        if request["allocationMode"].string == "ExactCount" { request.fillNumber("count", 1) }
        request.each("tolerations") { $0.fillText("operator", "Equal") }
    }
}
