// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let persistentVolume = KindDescription(
        "", "PersistentVolume",
        strategy: Strategy(answersWithDeleted: true),
        columns: [
            .objectName, .text("Capacity", "spec.capacity.storage", missing: ""),
            TableColumn("Access Modes") { JSON(VolumeTable.accessModes($0["spec"]["accessModes"])) },
            .text("Reclaim Policy", "spec.persistentVolumeReclaimPolicy", missing: ""),
            TableColumn("Status") { JSON(VolumeTable.phase($0)) },
            TableColumn("Claim") { volume in
                guard let claim = volume["spec"]["claimRef"] else { return "" }
                return JSON("\(claim["namespace"].string ?? "")/\(claim["name"].string ?? "")")
            },
            .text("StorageClass", "spec.storageClassName", missing: ""),
            .text("VolumeAttributesClass", "spec.volumeAttributesClassName", missing: "<unset>"),
            .text("Reason", "status.reason", missing: ""), .age,
            .text("VolumeMode", "spec.volumeMode", missing: "<unset>", wide: true),
        ],
        initialStatus: { volume in
            ["phase": "Pending", "lastPhaseTransitionTime": volume["metadata"]["creationTimestamp"] ?? .null]
        },
        keepInStatus: { volume, old in
            // Who changes the phase without saying when does it now.
            let status = volume["status"]
            guard status["phase"] != old["status"]["phase"],
                status["lastPhaseTransitionTime"] == old["status"]["lastPhaseTransitionTime"]
                    || status["lastPhaseTransitionTime"] == nil
            else { return }
            volume["status"]["lastPhaseTransitionTime"] = JSON(Timestamp.now.description)
        },
        defaults: { volume in
            volume.make("spec") { spec in
                spec.fillText("persistentVolumeReclaimPolicy", "Retain")
                spec.fillText("volumeMode", "Filesystem")
                VolumeSourceDefaults.fill(&spec)
            }
        },
        rules: { inspection in
            let spec = inspection.object["spec"] ?? .object([:])
            VolumeSpecRules.inspect(
                &inspection, spec, at: "spec", volume: inspection.object["metadata"]["name"].string ?? "")
            VolumeSpecRules.update(&inspection)
        })
}

enum VolumeTable {
    static func accessModes(_ modes: JSON?) -> String {
        let short = [
            "ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP",
        ]
        let present = Set(modes.array?.compactMap(\.string) ?? [])
        return ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"].filter { present.contains($0) }
            .compactMap { short[$0] }.joined(separator: ",")
    }

    static func phase(_ object: KubeObject) -> String {
        object.isBeingDeleted ? "Terminating" : object["status"]["phase"].string ?? ""
    }
}
