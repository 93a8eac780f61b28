// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let storageClass = KindDescription(
        "storage.k8s.io", "StorageClass",
        strategy: Strategy(answersWithDeleted: true),
        immutable: ["volumeBindingMode"],
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
            let object = inspection.object
            inspection.requireText(object["provisioner"], "provisioner") {
                Names.qualifiedNameProblems($0.lowercased())
            }
            ParameterRules.inspect(&inspection, object["parameters"], at: "parameters")
            inspection.oneOf(object["reclaimPolicy"], "reclaimPolicy", ["Delete", "Retain"])
            inspection.oneOf(
                object["volumeBindingMode"], "volumeBindingMode", ["Immediate", "WaitForFirstConsumer"],
                missing: .required)
            topologies(&inspection, object["allowedTopologies"])
            for field in ["parameters", "provisioner", "reclaimPolicy"] {
                inspection.unchanged(field, "updates to \(field) are forbidden.")
            }
        })

    private static func topologies(_ inspection: inout Inspection, _ terms: JSON?) {
        inspection.each(terms, "allowedTopologies") { inspection, term, path in
            var keys = Set<String>()
            inspection.each(term["matchLabelExpressions"], "\(path).matchLabelExpressions") {
                inspection, requirement, place in
                if (requirement["values"].array ?? []).isEmpty { inspection.report(.required("\(place).values")) }
                var values = Set<String>()
                inspection.each(requirement["values"], "\(place).values") { $0.unique($1, $2, &values) }
                let key = requirement["key"].string ?? ""
                inspection.invalid("\(place).key", JSON(key), Names.qualifiedNameProblems(key))
                inspection.unique(requirement["key"], "\(place).key", &keys)
            }
        }
    }

    static let volumeAttributesClass = KindDescription(
        "storage.k8s.io", "VolumeAttributesClass", strategy: Strategy(answersWithDeleted: true),
        columns: [.objectName, .text("DriverName", "driverName"), .age],
        rules: { inspection in
            VolumeSourceRules.driverName(&inspection, inspection.object["driverName"], at: "driverName")
            if (inspection.object["parameters"].object ?? [:]).isEmpty {
                inspection.report(.required("parameters", "must contain at least one key/value pair"))
            }
            ParameterRules.inspect(&inspection, inspection.object["parameters"], at: "parameters")
            for field in ["driverName", "parameters"] {
                inspection.unchanged(field, "updates to \(field) are forbidden.")
            }
        })
}

/// What must hold for what a class hands to the driver of its volumes.
private enum ParameterRules {
    private static let mostParameters = 512
    private static let mostBytes = 256 * 1024

    static func inspect(_ inspection: inout Inspection, _ parameters: JSON?, at path: String) {
        let members = parameters.object ?? [:]
        if members.count > mostParameters {
            inspection.report(FieldError(.tooLong, path, detail: "may not be more than \(mostParameters) bytes"))
            return
        }
        var size = 0
        for (key, value) in members {
            if key.isEmpty { inspection.report(.invalid(path, "", "field can not be empty.")) }
            size += key.utf8.count + (value.string?.utf8.count ?? 0)
        }
        if size > mostBytes {
            inspection.report(FieldError(.tooLong, path, detail: "may not be more than \(mostBytes) bytes"))
        }
    }
}
