// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let volumeAttachment = KindDescription(
        "storage.k8s.io", "VolumeAttachment",
        strategy: Strategy(allowsUnconditionalUpdate: false, answersWithDeleted: true),
        columns: [
            .objectName, .text("Attacher", "spec.attacher", missing: ""),
            .text("PV", "spec.source.persistentVolumeName", missing: ""), .text("Node", "spec.nodeName", missing: ""),
            .text("Attached", "status.attached", missing: "false"), .age,
        ],
        initialStatus: { _ in ["attached": false] },
        rules: { inspection in
            let spec = inspection.object["spec"]
            VolumeSourceRules.driverName(&inspection, spec["attacher"], at: "spec.attacher")
            let node = spec["nodeName"].string ?? ""
            inspection.invalid("spec.nodeName", JSON(node), Names.subdomainProblems(node))
            source(&inspection, spec["source"] ?? .object([:]))
            inspection.immutable("spec")
        })

    private static func source(_ inspection: inout Inspection, _ source: JSON) {
        let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        switch (source["inlineVolumeSpec"], source["persistentVolumeName"]) {
        case (nil, nil): inspection.report(.required("spec.source", detail))
        case (_?, _?): inspection.report(.forbidden("spec.source", detail))
        case (nil, let name?):
            inspection.requireText(
                name, "spec.source.persistentVolumeName", "must specify non empty persistentVolumeName")
        case (let inline?, nil):
            VolumeSpecRules.inspect(&inspection, inline, at: "spec.source.inlineVolumeSpec", volume: nil)
        }
    }

    static let csiNode = KindDescription(
        "storage.k8s.io", "CSINode",
        strategy: Strategy(allowsUnconditionalUpdate: false, answersWithDeleted: true),
        columns: [
            .objectName, TableColumn("Drivers", type: "integer") { JSON($0["spec"]["drivers"].array?.count ?? 0) },
            .age,
        ],
        rules: CSIRules.node)

    static let csiDriver = KindDescription(
        "storage.k8s.io", "CSIDriver",
        strategy: Strategy(allowsUnconditionalUpdate: false, answersWithDeleted: true),
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
        },
        rules: CSIRules.driver)

    static let csiStorageCapacity = KindDescription(
        "storage.k8s.io", "CSIStorageCapacity",
        strategy: Strategy(allowsUnconditionalUpdate: false, answersWithDeleted: true),
        immutable: ["nodeTopology", "storageClassName"],
        columns: [.objectName, .createdAt],
        rules: { inspection in
            let name = inspection.object["storageClassName"].string ?? ""
            inspection.invalid("storageClassName", JSON(name), Names.subdomainProblems(name))
            LabelSelectorRules.inspect(&inspection, inspection.object["nodeTopology"], at: "nodeTopology")
            for field in ["capacity", "maximumVolumeSize"] {
                guard let value = inspection.object[field], let amount = PodResources.quantity(value), amount < .zero
                else { continue }
                inspection.report(.invalid(field, value, "must be greater than or equal to 0"))
            }
        })
}

/// What must hold for drivers of volumes, and for where they run.
private enum CSIRules {
    private static let longestIdentifier = 192

    static func node(_ inspection: inout Inspection) {
        var names = Set<String>()
        inspection.each(inspection.object["spec"]["drivers"], "spec.drivers") { inspection, driver, path in
            VolumeSourceRules.driverName(&inspection, driver["name"], at: "\(path).name")
            inspection.unique(driver["name"], "\(path).name", &names)
            inspection.requireText(driver["nodeID"], "\(path).nodeID")
            if let identifier = driver["nodeID"].string, identifier.utf8.count > longestIdentifier {
                inspection.report(
                    .invalid(
                        "\(path).nodeID", JSON(identifier), "must be \(longestIdentifier) characters or less"))
            }
            inspection.notNegative(driver["allocatable"]["count"], "\(path).allocatable.count")
            var keys = Set<String>()
            inspection.each(driver["topologyKeys"], "\(path).topologyKeys") { inspection, key, _ in
                if (key.string ?? "").isEmpty { inspection.report(.required(path)) }
                inspection.unique(key, path, &keys)
                inspection.text(key, path, Names.qualifiedNameProblems)
            }
        }
        // A driver goes and comes, but does not change.
        for was in inspection.old?["spec"]["drivers"].array ?? [] {
            let now = (inspection.object["spec"]["drivers"].array ?? []).first { $0["name"] == was["name"] }
            guard let now, now.without(["allocatable"]) != was.without(["allocatable"]) else { continue }
            inspection.report(.invalid("CSINodeDriver", now, "field is immutable"))
        }
    }

    static func driver(_ inspection: inout Inspection) {
        let spec = inspection.object["spec"]
        VolumeSourceRules.driverName(&inspection, inspection.object["metadata"]["name"], at: "name")
        inspection.oneOf(
            spec["fsGroupPolicy"], "spec.fsGroupPolicy", ["File", "None", "ReadWriteOnceWithFSType"])
        for mode in spec["volumeLifecycleModes"].array ?? [] {
            inspection.oneOf(mode, "spec.volumeLifecycleModes", ["Ephemeral", "Persistent"])
        }
        var audiences = Set<String>()
        inspection.each(spec["tokenRequests"], "spec.tokenRequests") { inspection, request, path in
            let audience = request["audience"].string ?? ""
            if !audiences.insert(audience).inserted {
                inspection.report(.duplicate("\(path).audience", JSON(audience)))
            }
            VolumeRules.tokenLife(&inspection, request["expirationSeconds"], at: "\(path).expirationSeconds")
        }
        if let old = inspection.old?["spec"], old["attachRequired"] != spec["attachRequired"] {
            inspection.report(
                .invalid("spec.attachedRequired", spec["attachRequired"] ?? .null, "field is immutable"))
        }
        inspection.immutable("spec.volumeLifecycleModes")
    }
}
