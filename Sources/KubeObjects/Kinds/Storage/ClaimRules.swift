// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for a claim of storage, also in the templates that pods and StatefulSets make them from.
enum ClaimRules {
    static func spec(_ inspection: inout Inspection, _ spec: JSON, at path: String) {
        if (spec["accessModes"].array ?? []).isEmpty {
            inspection.report(.required("\(path).accessModes", "at least 1 access mode is required"))
        }
        LabelSelectorRules.inspect(&inspection, spec["selector"], at: "\(path).selector")
        AccessModeRules.inspect(&inspection, spec["accessModes"], at: "\(path).accessModes")
        if let size = spec["resources"]["requests"]["storage"] {
            if let amount = PodResources.quantity(size), amount <= .zero {
                inspection.report(.invalid("\(path).resources[storage]", size, "must be greater than zero"))
            }
        } else {
            inspection.report(.required("\(path).resources[storage]"))
        }
        inspection.text(spec["storageClassName"], "\(path).storageClassName", Names.subdomainProblems)
        inspection.text(
            spec["volumeAttributesClassName"], "\(path).volumeAttributesClassName", Names.subdomainProblems)
        inspection.oneOf(spec["volumeMode"], "\(path).volumeMode", ["Block", "Filesystem"])
        for field in ["dataSource", "dataSourceRef"] { source(&inspection, spec[field], at: "\(path).\(field)") }
        guard let older = spec["dataSource"], let newer = spec["dataSourceRef"] else { return }
        if !(newer["namespace"].string ?? "").isEmpty {
            inspection.report(
                .invalid(
                    path, JSON("\(path).dataSource"), "may not be specified when dataSourceRef.namespace is specified"))
        } else if ["apiGroup", "kind", "name"].contains(where: { older[$0] != newer[$0] }) {
            inspection.report(.invalid(path, JSON("\(path).dataSource"), "must match dataSourceRef"))
        }
    }

    /// What a volume begins with.
    private static func source(_ inspection: inout Inspection, _ source: JSON?, at path: String) {
        guard let source else { return }
        inspection.requireText(source["name"], "\(path).name")
        inspection.requireText(source["kind"], "\(path).kind")
        let group = source["apiGroup"].string ?? ""
        if group.isEmpty, let kind = source["kind"].string, kind != "PersistentVolumeClaim" {
            inspection.report(
                .invalid(path, JSON(kind), "must be 'PersistentVolumeClaim' when referencing the default apiGroup"))
        }
        inspection.text(source["apiGroup"], "\(path).apiGroup", Names.subdomainProblems)
        inspection.text(source["namespace"], "\(path).namespace", Names.labelProblems)
    }
}

/// A claim that exists can only be bound and grow.
enum ClaimUpdate {
    private static let annotation = "volume.beta.kubernetes.io/storage-class"

    static func inspect(_ inspection: inout Inspection) {
        guard let old = inspection.old, inspection.subresource == nil else { return }
        let isBound = old["status"]["phase"].string == "Bound"
        let before = old["spec"]
        let after = inspection.object["spec"]
        let oldClass = old["metadata"]["annotations"][annotation]
        let newClass = inspection.object["metadata"]["annotations"][annotation]
        if oldClass != newClass, oldClass != after["storageClassName"] || before["storageClassName"] != nil {
            inspection.report(
                .invalid("metadata.annotations.\(annotation)", newClass ?? "", "field is immutable"))
        }
        if fixed(inspection.object, old, isBound) != fixed(old, old, isBound) {
            inspection.report(
                .forbidden(
                    "spec",
                    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
                        + "claims"))
        }
        size(&inspection, before, after, given: old["status"]["capacity"]["storage"])
        if before["volumeMode"] != after["volumeMode"] {
            inspection.report(.invalid("volumeMode", after["volumeMode"] ?? .null, "field is immutable"))
        }
        let attributes = "volumeAttributesClassName"
        guard before[attributes] != nil, before[attributes] != after[attributes] else { return }
        if after[attributes] == nil {
            inspection.report(.forbidden("spec.\(attributes)", "update from non-nil value to nil is forbidden"))
        } else if after[attributes] == "" {
            inspection.report(
                .forbidden("spec.\(attributes)", "update from non-nil value to an empty string is forbidden"))
        }
    }

    /// A claim that asked for too much can ask for less again, as long as that is more than it has.
    private static func size(_ inspection: inout Inspection, _ before: JSON?, _ after: JSON?, given: JSON?) {
        guard let wanted = PodResources.quantity(after["resources"]["requests"]["storage"]),
            let asked = PodResources.quantity(before["resources"]["requests"]["storage"]), wanted < asked,
            wanted <= PodResources.quantity(given) ?? .zero
        else { return }
        inspection.report(
            .forbidden("spec.resources.requests.storage", "field can not be less than status.capacity"))
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
