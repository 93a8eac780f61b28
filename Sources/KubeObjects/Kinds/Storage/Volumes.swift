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
        initialStatus: { _ in ["phase": "Pending"] },
        defaults: { volume in
            volume.make("spec") { spec in
                spec.fillText("persistentVolumeReclaimPolicy", "Retain")
                spec.fillText("volumeMode", "Filesystem")
                spec.change("hostPath") { $0.fill("type", "") }
            }
        },
        rules: { inspection in
            let spec = inspection.object["spec"]
            if (spec["accessModes"].array ?? []).isEmpty { inspection.report(.required("spec.accessModes")) }
            VolumeAccess.inspect(&inspection, spec["accessModes"], at: "spec.accessModes")
            if (spec["capacity"].object ?? [:]).isEmpty { inspection.report(.required("spec.capacity")) }
            inspection.oneOf(
                spec["persistentVolumeReclaimPolicy"], "spec.persistentVolumeReclaimPolicy",
                ["Delete", "Recycle", "Retain"])
            inspection.oneOf(spec["volumeMode"], "spec.volumeMode", ["Block", "Filesystem"])
        })

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
        defaults: { claim in claim.make("spec") { $0.fillText("volumeMode", "Filesystem") } },
        rules: { inspection in
            let spec = inspection.object["spec"]
            if (spec["accessModes"].array ?? []).isEmpty {
                inspection.report(.required("spec.accessModes", "at least 1 access mode is required"))
            }
            VolumeAccess.inspect(&inspection, spec["accessModes"], at: "spec.accessModes")
            if spec["resources"]["requests"]["storage"] == nil {
                inspection.report(.required("spec.resources[storage]"))
            }
            ResourceRules.inspect(&inspection, spec["resources"], at: "spec.resources")
            ClaimUpdate.inspect(&inspection)
        })

    static let storageClass = KindDescription(
        "storage.k8s.io", "StorageClass",
        strategy: Strategy(answersWithDeleted: true),
        immutable: ["provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"],
        columns: [
            TableColumn("Name", format: "name") { object, _ in
                let isDefault = object.annotations["storageclass.kubernetes.io/is-default-class"] == "true"
                return JSON(object.name + (isDefault ? " (default)" : ""))
            },
            .text("Provisioner", "provisioner", missing: ""),
            .text("ReclaimPolicy", "reclaimPolicy", missing: "Delete"),
            .text("VolumeBindingMode", "volumeBindingMode", missing: "Immediate"),
            .text("AllowVolumeExpansion", "allowVolumeExpansion", missing: "false"), .age,
        ],
        defaults: { object in
            object.fillText("reclaimPolicy", "Delete")
            object.fillText("volumeBindingMode", "Immediate")
        },
        rules: { inspection in
            inspection.requireText(inspection.object["provisioner"], "provisioner")
            inspection.oneOf(inspection.object["reclaimPolicy"], "reclaimPolicy", ["Delete", "Retain"])
            inspection.oneOf(
                inspection.object["volumeBindingMode"], "volumeBindingMode", ["Immediate", "WaitForFirstConsumer"])
        })

    static let volumeAttachment = KindDescription(
        "storage.k8s.io", "VolumeAttachment",
        strategy: Strategy(answersWithDeleted: true),
        columns: [
            .objectName, .text("Attacher", "spec.attacher", missing: ""),
            .text("PV", "spec.source.persistentVolumeName", missing: ""), .text("Node", "spec.nodeName", missing: ""),
            .text("Attached", "status.attached", missing: "false"), .age,
        ])

    static let csiNode = KindDescription(
        "storage.k8s.io", "CSINode",
        strategy: Strategy(answersWithDeleted: true),
        columns: [
            .objectName, TableColumn("Drivers", type: "integer") { JSON($0["spec"]["drivers"].array?.count ?? 0) },
            .age,
        ])

    static let volumeAttributesClass = KindDescription(
        "storage.k8s.io", "VolumeAttributesClass", strategy: Strategy(answersWithDeleted: true),
        immutable: ["driverName", "parameters"], columns: [.objectName, .text("DriverName", "driverName"), .age])

    static let csiDriver = KindDescription(
        "storage.k8s.io", "CSIDriver",
        strategy: Strategy(answersWithDeleted: true),
        columns: [
            .objectName, .text("AttachRequired", "spec.attachRequired", missing: "true"),
            .text("PodInfoOnMount", "spec.podInfoOnMount", missing: "false"),
            .text("StorageCapacity", "spec.storageCapacity", missing: "false"),
            TableColumn("TokenRequests") { driver in
                let names = (driver["spec"]["tokenRequests"].array ?? []).compactMap { $0["audience"].string }
                return JSON(names.isEmpty ? "<unset>" : names.joined(separator: ","))
            },
            .text("RequiresRepublish", "spec.requiresRepublish", missing: "false"),
            TableColumn("Modes") { driver in
                let modes = driver["spec"]["volumeLifecycleModes"].array?.compactMap(\.string) ?? []
                return JSON(modes.isEmpty ? "<none>" : modes.joined(separator: ","))
            },
            .age,
        ],
        defaults: { driver in
            driver.make("spec") { spec in
                spec.fill("attachRequired", true)
                spec.fill("podInfoOnMount", false)
                spec.fill("storageCapacity", false)
                spec.fill("requiresRepublish", false)
                spec.fill("seLinuxMount", false)
                spec.fillText("fsGroupPolicy", "ReadWriteOnceWithFSType")
                if (spec["volumeLifecycleModes"].array ?? []).isEmpty { spec["volumeLifecycleModes"] = ["Persistent"] }
            }
        })
}

/// A claim that exists can only be bound and grow.
private enum ClaimUpdate {
    static func inspect(_ inspection: inout Inspection) {
        guard let old = inspection.old, inspection.subresource == nil else { return }
        let isBound = old["status"]["phase"].string == "Bound"
        if fixed(inspection.object, old, isBound) != fixed(old, old, isBound) {
            inspection.report(
                .forbidden(
                    "spec",
                    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
                        + "claims"))
        }
        func amount(_ value: JSON?) -> Quantity? { PodResources.quantity(value) }
        guard let wanted = amount(inspection.object["spec"]["resources"]["requests"]["storage"]),
            let before = amount(old["spec"]["resources"]["requests"]["storage"]), wanted < before
        else { return }
        let given = amount(old["status"]["capacity"]["storage"]) ?? before
        if wanted < given || !isBound {
            inspection.report(
                .forbidden("spec.resources.requests.storage", "field can not be less than status.capacity"))
        }
    }

    /// The part of the spec that may not change.
    private static func fixed(_ claim: JSON, _ old: JSON, _ isBound: Bool) -> JSON {
        var spec = claim["spec"] ?? .object([:])
        // Whoever binds the claim writes the volume's name, and a class is given to claims that were made without.
        if (old["spec"]["volumeName"].string ?? "").isEmpty { spec["volumeName"] = nil }
        if old["spec"]["storageClassName"] == nil { spec["storageClassName"] = nil }
        if isBound {
            spec["resources"]["requests"] = nil
            spec["volumeAttributesClassName"] = nil
        }
        return spec
    }
}

private enum VolumeAccess {
    static func inspect(_ inspection: inout Inspection, _ modes: JSON?, at path: String) {
        for mode in modes.array ?? [] {
            inspection.oneOf(mode, path, ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"])
        }
    }
}

private enum VolumeTable {
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
