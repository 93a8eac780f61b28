// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let persistentVolumeClaim = KindDescription(
        "", "PersistentVolumeClaim",
        strategy: Strategy(answersWithDeleted: true),
        columns: [
            .objectName, TableColumn("Status") { JSON(VolumeTable.phase($0)) },
            .text("Volume", "spec.volumeName", missing: ""),
            TableColumn("Capacity") { claim in
                JSON(
                    (claim["spec"]["volumeName"].string ?? "").isEmpty
                        ? "" : claim["status"]["capacity"]["storage"].string ?? "")
            },
            TableColumn("Access Modes") { JSON(VolumeTable.accessModes($0["status"]["accessModes"])) },
            .text("StorageClass", "spec.storageClassName", missing: ""),
            .text("VolumeAttributesClass", "spec.volumeAttributesClassName", missing: "<unset>"), .age,
            .text("VolumeMode", "spec.volumeMode", missing: "<unset>", wide: true),
        ],
        initialStatus: { _ in ["phase": "Pending"] },
        complete: ClaimSources.complete,
        defaults: { claim in claim.make("spec") { $0.fillText("volumeMode", "Filesystem") } },
        rules: { inspection in
            ClaimRules.spec(&inspection, inspection.object["spec"] ?? .object([:]), at: "spec")
            ClaimUpdate.inspect(&inspection)
        },
        statusRules: { inspection in
            inspection.eachMember(inspection.object["status"]["capacity"], "status.capacity") {
                inspection, _, value, path in
                guard let amount = PodResources.quantity(value), amount < .zero else { return }
                inspection.report(.invalid(path, value, "must be a valid resource quantity"))
            }
        })
}

/// A claim that is to begin with the content of something says so in two fields, an older and a newer.
private enum ClaimSources {
    static func complete(_ claim: inout JSON) {
        claim.change("spec") { spec in
            switch (spec["dataSource"], spec["dataSourceRef"]) {
            case (let source?, nil): spec["dataSourceRef"] = source
            case (nil, let source?) where (source["namespace"].string ?? "").isEmpty:
                spec["dataSource"] = source.without(["namespace"])
            default: break
            }
        }
    }
}
