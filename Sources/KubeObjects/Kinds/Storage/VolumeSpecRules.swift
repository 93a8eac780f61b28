// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for a PersistentVolume, and for one that stands inside of a VolumeAttachment.
enum VolumeSpecRules {
    /// In the order in which a second source is refused.
    static let kinds =
        [
            "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "flocker", "nfs", "rbd", "quobyte",
            "cephfs", "iscsi", "cinder", "fc", "flexVolume", "azureFile", "vsphereVolume", "photonPersistentDisk",
        ] + ["portworxVolume", "azureDisk", "scaleIO", "local", "storageos", "csi"]

    /// `volume` is the name of the volume; nil for one that has none.
    static func inspect(_ inspection: inout Inspection, _ spec: JSON, at path: String, volume: String?) {
        if (spec["accessModes"].array ?? []).isEmpty { inspection.report(.required("\(path).accessModes")) }
        AccessModeRules.inspect(&inspection, spec["accessModes"], at: "\(path).accessModes")
        if let volume {
            capacity(&inspection, spec["capacity"], at: "\(path).capacity")
            inspection.oneOf(
                spec["persistentVolumeReclaimPolicy"], "\(path).persistentVolumeReclaimPolicy",
                ["Delete", "Recycle", "Retain"])
            inspection.oneOf(spec["volumeMode"], "\(path).volumeMode", ["Block", "Filesystem"])
            inspection.text(spec["storageClassName"], "\(path).storageClassName", Names.subdomainProblems)
            if let affinity = spec["nodeAffinity"] {
                if let required = affinity["required"] {
                    NodeSelectorRules.inspect(&inspection, required, at: "\(path).nodeAffinity.required")
                } else {
                    inspection.report(
                        .required("\(path).nodeAffinity.required", "must specify required node constraints"))
                }
            }
            source(&inspection, spec, at: path, volume: volume)
        } else {
            inline(&inspection, spec, at: path)
        }
        if let name = spec["volumeAttributesClassName"] {
            if name == "" {
                inspection.report(
                    .required("\(path).volumeAttributesClassName", "an empty string is disallowed"))
            }
            inspection.text(name, "\(path).volumeAttributesClassName", Names.subdomainProblems)
            if spec["csi"] == nil {
                inspection.report(
                    .required("\(path).csi", "has to be specified when using volumeAttributesClassName"))
            }
        }
    }

    private static func capacity(_ inspection: inout Inspection, _ capacity: JSON?, at path: String) {
        let members = capacity.object ?? [:]
        if members.isEmpty { inspection.report(.required(path)) }
        if members["storage"] == nil || members.count > 1 {
            inspection.report(.notSupported(path, capacity ?? .object([:]), ["storage"]))
        }
        inspection.eachMember(capacity, path) { inspection, _, value, place in
            guard let amount = PodResources.quantity(value), amount <= .zero else { return }
            inspection.report(.invalid(place, value, "must be greater than zero"))
        }
    }

    private static func source(_ inspection: inout Inspection, _ spec: JSON, at path: String, volume: String) {
        let present = inspection.exactlyOne(
            of: kinds, in: spec, at: path, missing: "must specify a volume type",
            more: "may not specify more than 1 volume type")
        if let kind = present.first, let source = spec[kind] {
            if kind == "csi" {
                csi(&inspection, source, at: "\(path).csi")
            } else {
                VolumeSourceRules.inspect(
                    &inspection, source, kind, at: "\(path).\(kind)", volume: volume, isPersistent: true)
            }
            if kind == "local", spec["nodeAffinity"] == nil {
                inspection.report(.required("\(path).nodeAffinity", "Local volume requires node affinity"))
            }
        }
        let folder = spec["hostPath"]["path"].string ?? ""
        let isRoot = folder.hasPrefix("/") && folder.split(separator: "/").allSatisfy { $0 == "." }
        if isRoot, spec["persistentVolumeReclaimPolicy"].string == "Recycle" {
            inspection.report(
                .forbidden(
                    "\(path).persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'"))
        }
    }

    private static func csi(_ inspection: inout Inspection, _ source: JSON, at path: String) {
        VolumeSourceRules.driverName(&inspection, source["driver"], at: "\(path).driver")
        inspection.requireText(source["volumeHandle"], "\(path).volumeHandle")
        for member in [
            "controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef",
        ] { VolumeSourceRules.secretReference(&inspection, source[member], at: "\(path).\(member)") }
    }

    /// A volume without a name belongs to a driver, and has nothing that claims are about.
    private static func inline(_ inspection: inout Inspection, _ spec: JSON, at path: String) {
        let context = "in the context of inline volumes"
        for field in ["claimRef", "capacity", "nodeAffinity", "storageClassName"] {
            inspection.forbid(spec[field], "\(path).\(field)", "may not be specified \(context)")
        }
        if let source = spec["csi"] {
            csi(&inspection, source, at: "\(path).csi")
        } else {
            inspection.report(.required("\(path).csi", "has to be specified \(context)"))
        }
        if let policy = spec["persistentVolumeReclaimPolicy"].string, policy != "Retain" {
            inspection.report(
                .forbidden("\(path).persistentVolumeReclaimPolicy", "may only be Retain \(context)"))
        }
        if let mode = spec["volumeMode"].string, mode != "Filesystem" {
            inspection.report(
                .forbidden("\(path).volumeMode", "may not specify volumeMode other than Filesystem \(context)"))
        }
    }

    static func update(_ inspection: inout Inspection) {
        guard let old = inspection.old else { return }
        var before = old["spec"]
        var after = inspection.object["spec"]
        // A driver may be told later how to grow the volume.
        if before["csi"] != nil, before["csi"]["controllerExpandSecretRef"] == nil {
            after["csi"]["controllerExpandSecretRef"] = nil
            before["csi"]["controllerExpandSecretRef"] = nil
        }
        if kinds.contains(where: { before[$0] != after[$0] }) {
            inspection.report(
                .forbidden(
                    "spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation"))
        }
        for field in ["volumeMode", "nodeAffinity"]
        where before[field] != nil && before[field] != after[field] {
            inspection.report(.invalid(field, after[field] ?? .null, "field is immutable"))
        }
        if before["volumeAttributesClassName"] != nil, after["volumeAttributesClassName"] == nil {
            inspection.report(
                .forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden"))
        }
    }
}

/// What sources of volumes have when nobody says otherwise, in pods and in PersistentVolumes.
enum VolumeSourceDefaults {
    static func fill(_ volume: inout JSON) {
        volume.change("hostPath") { $0.fill("type", "") }
        volume.change("iscsi") { $0.fillText("iscsiInterface", "default") }
        volume.change("rbd") { source in
            source.fillText("pool", "rbd")
            source.fillText("user", "admin")
            source.fillText("keyring", "/etc/ceph/keyring")
        }
        volume.change("azureDisk") { source in
            source.fillText("cachingMode", "ReadWrite")
            source.fillText("kind", "Shared")
            source.fillText("fsType", "ext4")
            source.fill("readOnly", false)
        }
        volume.change("scaleIO") { source in
            source.fillText("storageMode", "ThinProvisioned")
            source.fillText("fsType", "xfs")
        }
    }
}

enum AccessModeRules {
    private static let modes = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"]

    static func inspect(_ inspection: inout Inspection, _ value: JSON?, at path: String) {
        let given = value.array?.compactMap(\.string) ?? []
        for mode in given { inspection.oneOf(JSON(mode), path, modes, missing: .notSupported) }
        // What one pod has for itself it shares with none.
        if given.contains("ReadWriteOncePod"), given.contains(where: { modes.contains($0) && $0 != "ReadWriteOncePod" })
        {
            inspection.report(.forbidden(path, "may not use ReadWriteOncePod with other access modes"))
        }
    }
}
