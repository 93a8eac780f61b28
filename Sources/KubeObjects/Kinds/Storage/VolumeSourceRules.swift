// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for where a volume comes from, both of pods and of PersistentVolumes.
enum VolumeSourceRules {
    /// Members that are texts and must be there.
    private static let required: [String: [String]] = [
        "awsElasticBlockStore": ["volumeID"], "azureDisk": ["diskName", "diskURI"],
        "azureFile": ["secretName", "shareName"], "cinder": ["volumeID"], "flexVolume": ["driver"],
        "gcePersistentDisk": ["pdName"], "gitRepo": ["repository"], "glusterfs": ["endpoints", "path"],
        "hostPath": ["path"], "iscsi": ["targetPortal", "iqn"], "local": ["path"], "nfs": ["server", "path"],
        "photonPersistentDisk": ["pdID"], "portworxVolume": ["volumeID"], "quobyte": ["volume"], "rbd": ["image"],
        "scaleIO": ["gateway", "system", "volumeName"], "storageos": ["volumeName"], "vsphereVolume": ["volumePath"],
    ]
    private static let hostPathTypes = [
        "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
    ]

    /// `volume` is the name of the volume.
    static func inspect(
        _ inspection: inout Inspection, _ source: JSON, _ kind: String, at path: String, volume: String,
        isPersistent: Bool
    ) {
        for member in required[kind] ?? [] { inspection.requireText(source[member], "\(path).\(member)") }
        switch kind {
        case "hostPath":
            guard source["path"].string?.isEmpty == false else { return }
            PathRules.noBacksteps(&inspection, source["path"], at: "\(path).path")
            inspection.oneOf(source["type"], "\(path).type", hostPathTypes)
        case "local": PathRules.noBacksteps(&inspection, source["path"], at: "\(path).path")
        case "gitRepo": PathRules.descending(&inspection, source["directory"], at: "\(path).directory")
        case "nfs":
            let folder = source["path"].string ?? ""
            if !folder.hasPrefix("/") {
                inspection.report(.invalid("\(path).path", JSON(folder), "must be an absolute path"))
            }
        case "gcePersistentDisk", "awsElasticBlockStore":
            if let number = source["partition"].int, !(0...255).contains(number) {
                inspection.report(
                    .invalid("\(path).partition", JSON(number), "must be between 1 and 255, inclusive"))
            }
        case "rbd", "cephfs":
            if (source["monitors"].array ?? []).isEmpty { inspection.report(.required("\(path).monitors")) }
        case "iscsi": iscsi(&inspection, source, at: path, volume: volume, isPersistent: isPersistent)
        case "fc": fibre(&inspection, source, at: path)
        case "flexVolume":
            inspection.eachMember(source["options"], "\(path).options") { inspection, key, _, place in
                let domain = ".\(key.split(separator: "/", maxSplits: 1).first ?? "")".lowercased()
                guard domain.hasSuffix(".kubernetes.io") || domain.hasSuffix(".k8s.io") else { return }
                inspection.report(
                    .invalid(place, JSON(key), "kubernetes.io and k8s.io namespaces are reserved"))
            }
        case "azureDisk":
            inspection.oneOf(source["cachingMode"], "\(path).cachingMode", ["None", "ReadOnly", "ReadWrite"])
            inspection.oneOf(source["kind"], "\(path).kind", ["Dedicated", "Managed", "Shared"])
        case "cinder", "storageos":
            secret(&inspection, source["secretRef"], at: "\(path).secretRef", isPersistent: isPersistent)
            if kind == "storageos" {
                for member in ["volumeName", "volumeNamespace"] {
                    inspection.text(source[member], "\(path).\(member)", Names.labelProblems)
                }
            }
        case "quobyte": quobyte(&inspection, source, at: path)
        case "flocker":
            let named = ["datasetName", "datasetUUID"].filter { !(source[$0].string ?? "").isEmpty }
            if named.isEmpty {
                inspection.report(.required(path, "one of datasetName and datasetUUID is required"))
            } else if named.count > 1 {
                inspection.report(
                    .invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously"))
            }
        case "glusterfs":
            inspection.text(source["endpointsNamespace"], "\(path).endpointsNamespace", Names.labelProblems)
        default: break
        }
    }

    private static func secret(_ inspection: inout Inspection, _ secret: JSON?, at path: String, isPersistent: Bool) {
        guard let secret else { return }
        inspection.requireText(secret["name"], "\(path).name")
        if isPersistent { inspection.requireText(secret["namespace"], "\(path).namespace") }
    }

    private static func iscsi(
        _ inspection: inout Inspection, _ source: JSON, at path: String, volume: String, isPersistent: Bool
    ) {
        for (member, field) in [("iqn", "iqn"), ("initiatorName", "initiatorname")] {
            guard let name = source[member].string, !name.isEmpty else { continue }
            if !["iqn", "eui", "naa"].contains(String(name.prefix(3))) {
                inspection.report(
                    .invalid("\(path).\(field)", JSON(name), "must be valid format starting with iqn, eui, or naa"))
            } else if !isQualified(name) {
                inspection.report(.invalid("\(path).\(field)", JSON(name), "must be valid format"))
            }
        }
        inspection.within(0...255, source["lun"], "\(path).lun")
        let usesCHAP = source["chapAuthDiscovery"].bool == true || source["chapAuthSession"].bool == true
        if usesCHAP, source["secretRef"] == nil { inspection.report(.required("\(path).secretRef")) }
        let portal = source["targetPortal"].string ?? ""
        if source["initiatorName"] != nil, "\(volume):\(portal)".utf8.count > 64 {
            inspection.report(
                .invalid(
                    isPersistent ? "\(path).targetportal" : "\(path.dropLast(".iscsi".count)).name",
                    JSON(isPersistent ? portal : volume),
                    "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if "
                        + "iscsi.initiatorName is specified."))
        }
    }

    /// The three forms of names in RFC 3720 section 3.2.6.3.
    private static func isQualified(_ name: String) -> Bool {
        let rest = name.dropFirst(4)
        switch name.prefix(3) {
        case "eui": return rest.count == 16 && rest.allSatisfy { $0.isLetter || $0.isNumber }
        case "naa": return rest.count == 32 && rest.allSatisfy { $0.isLetter || $0.isNumber }
        default:
            // iqn.2016-04.com.example:storage
            let date = rest.prefix(7)
            let digits = date.enumerated().allSatisfy { $0.offset == 4 ? $0.element == "-" : $0.element.isNumber }
            return date.count == 7 && digits && rest.dropFirst(7).first == "." && rest.contains(":")
                && rest.last != ":"
        }
    }

    private static func fibre(_ inspection: inout Inspection, _ source: JSON, at path: String) {
        let targets = source["targetWWNs"].array ?? []
        let identifiers = source["wwids"].array ?? []
        if targets.isEmpty, identifiers.isEmpty {
            inspection.report(
                .required("\(path).targetWWNs", "must specify either targetWWNs or wwids, but not both"))
        }
        if !targets.isEmpty, !identifiers.isEmpty {
            inspection.report(
                .invalid(
                    "\(path).targetWWNs", .array(targets),
                    "targetWWNs and wwids can not be specified simultaneously"))
        }
        guard !targets.isEmpty else { return }
        if source["lun"] == nil {
            inspection.report(.required("\(path).lun", "lun is required if targetWWNs is specified"))
        }
        inspection.within(0...255, source["lun"], "\(path).lun")
    }

    private static func quobyte(_ inspection: inout Inspection, _ source: JSON, at path: String) {
        let detail = "must be a host:port pair or multiple pairs separated by commas"
        guard let registry = inspection.requireText(source["registry"], "\(path).registry", detail) else { return }
        if (source["tenant"].string ?? "").utf8.count > 64 {
            inspection.report(
                .required("\(path).tenant", "must be a UUID and may not exceed a length of 64 characters"))
            return
        }
        for pair in registry.split(separator: ",", omittingEmptySubsequences: false) where !pair.contains(":") {
            inspection.report(.invalid("\(path).registry", JSON(registry), detail))
        }
    }

    /// The name of a driver: a subdomain in any case, of at most 63 bytes.
    static func driverName(_ inspection: inout Inspection, _ value: JSON?, at path: String) {
        let name = value.string ?? ""
        if name.isEmpty { inspection.report(.required(path)) }
        inspection.atMost(63, value, path)
        inspection.invalid(path, JSON(name), Names.subdomainProblems(name.lowercased()))
    }

    /// A Secret in a namespace.
    static func secretReference(_ inspection: inout Inspection, _ reference: JSON?, at path: String) {
        guard let reference else { return }
        inspection.requireText(reference["name"], "\(path).name", Names.subdomainProblems)
        inspection.requireText(reference["namespace"], "\(path).namespace", Names.labelProblems)
    }
}
