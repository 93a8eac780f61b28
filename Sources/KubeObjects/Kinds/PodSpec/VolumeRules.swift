// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for the volumes of a pod.
enum VolumeRules {
    /// In the order in which a second kind of source is refused.
    private static let kinds =
        [
            "emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi",
            "glusterfs", "flocker", "persistentVolumeClaim", "rbd", "cinder", "cephfs", "quobyte", "downwardAPI", "fc",
            "flexVolume", "configMap", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume",
        ] + ["azureDisk", "storageos", "projected", "scaleIO", "csi", "ephemeral", "image"]
    private static let modeDetail = "must be a number between 0 and 0777 (octal), both inclusive"
    private static let shortestToken = 600
    private static let longestToken = 1 << 32

    /// `pod` is the name of the pod; nil for a template.
    static func inspect(_ inspection: inout Inspection, _ volumes: JSON?, at path: String, pod: String?) {
        var names = Set<String>()
        inspection.each(volumes, path) { inspection, volume, place in
            if let name = inspection.requireText(volume["name"], "\(place).name") {
                let problems = Names.labelProblems(name)
                inspection.invalid("\(place).name", JSON(name), problems)
                if problems.isEmpty { inspection.unique(volume["name"], "\(place).name", &names) }
            }
            let present = inspection.exactlyOne(
                of: kinds, in: volume, at: place, missing: "must specify a volume type",
                more: "may not specify more than 1 volume type")
            guard let kind = present.first, let source = volume[kind] else { return }
            self.source(&inspection, source, kind, of: volume, at: "\(place).\(kind)", pod: pod)
        }
    }

    private static func source(
        _ inspection: inout Inspection, _ source: JSON, _ kind: String, of volume: JSON, at path: String, pod: String?
    ) {
        switch kind {
        case "emptyDir":
            if let limit = PodResources.quantity(source["sizeLimit"]), limit < .zero {
                inspection.report(
                    .forbidden("\(path).sizeLimit", "SizeLimit field must be a valid resource quantity"))
            }
        case "secret", "configMap":
            inspection.requireText(
                source[kind == "secret" ? "secretName" : "name"], "\(path).\(kind == "secret" ? "secretName" : "name")")
            mode(&inspection, source["defaultMode"], at: "\(path).defaultMode")
            inspection.each(source["items"], "\(path).items") { keyToPath(&$0, $1, at: $2) }
        case "downwardAPI":
            mode(&inspection, source["defaultMode"], at: "\(path).defaultMode")
            // Upstream does not say which of the files it means.
            for file in source["items"].array ?? [] { self.file(&inspection, file, at: path) }
        case "projected":
            mode(&inspection, source["defaultMode"], at: "\(path).defaultMode")
            ProjectionRules.inspect(&inspection, source, at: path, isPod: pod != nil)
        case "persistentVolumeClaim": inspection.requireText(source["claimName"], "\(path).claimName")
        case "ephemeral": ephemeral(&inspection, source, of: volume, at: path, pod: pod)
        case "image":
            if pod != nil { inspection.requireText(source["reference"], "\(path).reference") }
            inspection.oneOf(
                source["pullPolicy"], "\(path).pullPolicy", ["Always", "IfNotPresent", "Never"], missing: .required)
        case "csi":
            VolumeSourceRules.driverName(&inspection, source["driver"], at: "\(path).driver")
            if let secret = source["nodePublishSecretRef"] {
                inspection.requireText(
                    secret["name"], "\(path).nodePublishSecretRef.name", Names.subdomainProblems)
            }
        default:
            VolumeSourceRules.inspect(
                &inspection, source, kind, at: path, volume: volume["name"].string ?? "", isPersistent: false)
        }
    }

    /// A claim that lives as long as the pod.
    private static func ephemeral(
        _ inspection: inout Inspection, _ source: JSON, of volume: JSON, at path: String, pod: String?
    ) {
        guard let template = source["volumeClaimTemplate"] else {
            inspection.report(.required("\(path).volumeClaimTemplate"))
            return
        }
        let place = "\(path).volumeClaimTemplate"
        MetadataRules.annotations(&inspection, template["metadata"]["annotations"], "\(place).metadata.annotations")
        MetadataRules.labels(&inspection, template["metadata"]["labels"], "\(place).metadata.labels")
        for key in template["metadata"].object?.keys ?? [] where key != "labels" && key != "annotations" {
            inspection.report(.forbidden("\(place).metadata.\(key)", "cannot be set"))
        }
        ClaimRules.spec(&inspection, template["spec"] ?? .object([:]), at: "\(place).spec")
        guard let pod, !pod.isEmpty, let name = volume["name"].string, !name.isEmpty else { return }
        for problem in Names.subdomainProblems("\(pod)-\(name)") {
            inspection.report(
                .invalid(
                    "\(path.dropLast(".ephemeral".count)).name", JSON(name),
                    "PVC name \(JSON("\(pod)-\(name)").text()): \(problem)"))
        }
    }

    static func mode(_ inspection: inout Inspection, _ value: JSON?, at path: String) {
        guard let mode = value.int, !(0...0o777).contains(mode) else { return }
        inspection.report(.invalid(path, JSON(mode), modeDetail))
    }

    /// A key of a ConfigMap or Secret as a file.
    static func keyToPath(_ inspection: inout Inspection, _ item: JSON, at path: String) {
        inspection.requireText(item["key"], "\(path).key")
        inspection.requireText(item["path"], "\(path).path")
        PathRules.local(&inspection, item["path"], at: "\(path).path")
        mode(&inspection, item["mode"], at: "\(path).mode")
    }

    /// A field of the pod, or an amount of one of its containers, as a file.
    static func file(_ inspection: inout Inspection, _ file: JSON, at path: String) {
        inspection.requireText(file["path"], "\(path).path")
        PathRules.local(&inspection, file["path"], at: "\(path).path")
        if let reference = file["fieldRef"] {
            EnvironmentRules.field(
                &inspection, reference, at: "\(path).fieldRef", supported: EnvironmentRules.volumeFields)
            if file["resourceFieldRef"] != nil {
                inspection.report(
                    .invalid(
                        path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
            }
        } else if let reference = file["resourceFieldRef"] {
            EnvironmentRules.resource(&inspection, reference, at: "\(path).resourceFieldRef", needsContainer: true)
        } else {
            inspection.report(.required(path, "one of fieldRef and resourceFieldRef is required"))
        }
        mode(&inspection, file["mode"], at: "\(path).mode")
    }

    /// How long a token of a service account is good.
    static func tokenLife(_ inspection: inout Inspection, _ value: JSON?, at path: String) {
        guard let seconds = value.int else { return }
        if seconds < shortestToken {
            inspection.report(.invalid(path, JSON(seconds), "may not specify a duration less than 10 minutes"))
        }
        if seconds > longestToken {
            inspection.report(.invalid(path, JSON(seconds), "may not specify a duration larger than 2^32 seconds"))
        }
    }
}

/// What must hold for a volume that is put together of several sources.
enum ProjectionRules {
    private static let kinds = [
        "secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate",
    ]

    static func inspect(_ inspection: inout Inspection, _ volume: JSON, at path: String, isPod: Bool) {
        var paths = Set<String>()
        /// Two sources cannot make one file. Upstream shows who asks second.
        func claim(_ inspection: inout Inspection, _ value: JSON?, _ shown: JSON?) {
            guard let text = value.string, !text.isEmpty, !paths.insert(text).inserted else { return }
            inspection.report(.invalid(path, shown ?? JSON(text), "conflicting duplicate paths"))
        }
        inspection.each(volume["sources"], "\(path).sources") { inspection, source, place in
            for kind in ["secret", "configMap"] {
                guard let part = source[kind] else { continue }
                inspection.requireText(part["name"], "\(place).\(kind).name")
                inspection.each(part["items"], "\(place).\(kind).items") { inspection, item, itemPath in
                    VolumeRules.keyToPath(&inspection, item, at: itemPath)
                    claim(&inspection, item["path"], part["name"])
                }
            }
            for file in source["downwardAPI"]["items"].array ?? [] {
                VolumeRules.file(&inspection, file, at: "\(place).downwardAPI")
                claim(&inspection, file["path"], nil)
            }
            if let token = source["serviceAccountToken"] {
                VolumeRules.tokenLife(
                    &inspection, token["expirationSeconds"], at: "\(place).serviceAccountToken.expirationSeconds")
                inspection.requireText(token["path"], "\(path).path")
                PathRules.local(&inspection, token["path"], at: "\(path).path")
            }
            if let bundle = source["clusterTrustBundle"] {
                trust(&inspection, bundle, at: "\(place).clusterTrustBundle")
                claim(&inspection, bundle["path"], nil)
            }
            if kinds.filter({ source[$0] != nil }).count > 1 {
                inspection.report(.forbidden(place, "may not specify more than 1 volume type per source"))
            }
        }
    }

    private static func trust(_ inspection: inout Inspection, _ bundle: JSON, at path: String) {
        switch (bundle["name"].string, bundle["signerName"].string) {
        case (_?, _?):
            inspection.report(.invalid(path, bundle, "only one of name and signerName may be used"))
        case (let name?, nil):
            if name.isEmpty { inspection.report(.required("\(path).name", "must be a valid object name")) }
            if let selector = bundle["labelSelector"] {
                inspection.report(
                    .invalid("\(path).labelSelector", selector, "labelSelector must be unset if name is specified"))
            }
        case (nil, let signer?):
            if signer.isEmpty { inspection.report(.required("\(path).signerName", "must be a valid signer name")) }
            LabelSelectorRules.inspect(&inspection, bundle["labelSelector"], at: "\(path).labelSelector")
        case (nil, nil): inspection.report(.required(path, "either name or signerName must be specified"))
        }
        inspection.requireText(bundle["path"], "\(path).path")
        PathRules.local(&inspection, bundle["path"], at: "\(path).path")
    }
}
