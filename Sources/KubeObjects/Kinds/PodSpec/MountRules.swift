// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for where a container finds the pod's volumes: as folders and as devices.
enum MountRules {
    static func inspect(_ inspection: inout Inspection, _ container: JSON, at path: String, _ whole: PodContext) {
        let mounts = container["volumeMounts"].array ?? []
        let devices = container["volumeDevices"].array ?? []
        let isPrivileged = container["securityContext"]["privileged"].bool ?? false
        func texts(_ list: [JSON], _ member: String) -> Set<String> { Set(list.compactMap { $0[member].string }) }
        let deviceNames = texts(devices, "name")
        let devicePaths = texts(devices, "devicePath")
        var paths = Set<String>()
        inspection.each(container["volumeMounts"], "\(path).volumeMounts") { inspection, mount, place in
            let name = mount["name"].string ?? ""
            if name.isEmpty { inspection.report(.required("\(place).name")) }
            if whole.volumes[name] == nil { inspection.report(.notFound("\(place).name", JSON(name))) }
            let target = mount["mountPath"].string ?? ""
            if target.isEmpty { inspection.report(.required("\(place).mountPath")) }
            if !paths.insert(target).inserted {
                inspection.report(.invalid("\(place).mountPath", JSON(target), "must be unique"))
            }
            if deviceNames.contains(name) {
                inspection.report(.invalid("\(place).name", JSON(name), "must not already exist in volumeDevices"))
            }
            if devicePaths.contains(target) {
                inspection.report(
                    .invalid("\(place).mountPath", JSON(target), "must not already exist as a path in volumeDevices"))
            }
            subPaths(&inspection, mount, at: place)
            // Upstream names the list, and not the mount, for what follows.
            propagation(
                &inspection, mount["mountPropagation"], at: "\(path).volumeMounts.mountPropagation",
                isPrivileged: isPrivileged)
            recursion(&inspection, mount, at: "\(path).volumeMounts.recursiveReadOnly")
        }
        let mountNames = texts(mounts, "name")
        let mountPaths = texts(mounts, "mountPath")
        var seenNames = Set<String>()
        var seenPaths = Set<String>()
        inspection.each(container["volumeDevices"], "\(path).volumeDevices") { inspection, device, place in
            let name = device["name"].string ?? ""
            let target = device["devicePath"].string ?? ""
            if name.isEmpty { inspection.report(.required("\(place).name")) }
            if !seenNames.insert(name).inserted {
                inspection.report(.invalid("\(place).name", JSON(name), "must be unique"))
            }
            if let volume = whole.volumes[name] {
                if volume["persistentVolumeClaim"] == nil, volume["ephemeral"] == nil {
                    inspection.report(
                        .invalid(
                            "\(place).name", JSON(name),
                            "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"))
                }
            } else {
                inspection.report(.notFound("\(place).name", JSON(name)))
            }
            if target.isEmpty { inspection.report(.required("\(place).devicePath")) }
            if !seenPaths.insert(target).inserted {
                inspection.report(.invalid("\(place).devicePath", JSON(target), "must be unique"))
            }
            if PathRules.goesBack(target) {
                inspection.report(
                    .invalid("\(place).devicePath", JSON(target), "can not contain backsteps ('..')"))
            }
            if mountNames.contains(name) {
                inspection.report(.invalid("\(place).name", JSON(name), "must not already exist in volumeMounts"))
            }
            if mountPaths.contains(target) {
                inspection.report(
                    .invalid("\(place).devicePath", JSON(target), "must not already exist as a path in volumeMounts"))
            }
        }
    }

    private static func subPaths(_ inspection: inout Inspection, _ mount: JSON, at place: String) {
        PathRules.descending(&inspection, mount["subPath"], at: "\(place).subPath")
        PathRules.descending(&inspection, mount["subPathExpr"], at: "\(place).subPathExpr")
        if let text = mount["subPathExpr"].string, !text.isEmpty, !(mount["subPath"].string ?? "").isEmpty {
            inspection.report(
                .invalid("\(place).subPathExpr", JSON(text), "subPathExpr and subPath are mutually exclusive"))
        }
    }

    private static func propagation(
        _ inspection: inout Inspection, _ value: JSON?, at path: String, isPrivileged: Bool
    ) {
        inspection.oneOf(value, path, ["Bidirectional", "HostToContainer", "None"])
        if value.string == "Bidirectional", !isPrivileged {
            inspection.report(
                .forbidden(path, "Bidirectional mount propagation is available only to privileged containers"))
        }
    }

    private static func recursion(_ inspection: inout Inspection, _ mount: JSON, at path: String) {
        inspection.oneOf(mount["recursiveReadOnly"], path, ["Disabled", "Enabled", "IfPossible"])
        guard ["Enabled", "IfPossible"].contains(mount["recursiveReadOnly"].string) else { return }
        if mount["readOnly"].bool != true {
            inspection.report(.forbidden(path, "may only be specified when readOnly is true"))
        }
        if let propagation = mount["mountPropagation"].string, propagation != "None" {
            inspection.report(
                .forbidden(path, "may only be specified when mountPropagation is None or not specified"))
        }
    }
}

/// What must hold for paths that are looked up below a folder.
enum PathRules {
    static func goesBack(_ path: String) -> Bool { path.split(separator: "/").contains("..") }

    /// Stays where it is, however it gets there.
    static func noBacksteps(_ inspection: inout Inspection, _ value: JSON?, at field: String) {
        guard let path = value.string, goesBack(path) else { return }
        inspection.report(.invalid(field, JSON(path), "must not contain '..'"))
    }

    /// Relative, and does not leave the folder.
    static func descending(_ inspection: inout Inspection, _ value: JSON?, at field: String) {
        if let path = value.string, path.hasPrefix("/") {
            inspection.report(.invalid(field, JSON(path), "must be a relative path"))
        }
        noBacksteps(&inspection, value, at: field)
    }

    /// The same, and with no name that volumes keep for themselves.
    static func local(_ inspection: inout Inspection, _ value: JSON?, at field: String) {
        descending(&inspection, value, at: field)
        guard let path = value.string, path.hasPrefix(".."), !goesBack(path) else { return }
        inspection.report(.invalid(field, JSON(path), "must not start with '..'"))
    }
}
