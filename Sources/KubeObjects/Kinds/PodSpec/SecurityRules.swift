// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for who a pod's processes are, and what they are allowed.
enum SecurityRules {
    private static let identities = 0...Int(Int32.max)
    private static let sysctlSegment = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"

    static func pod(_ inspection: inout Inspection, _ spec: JSON, at path: String) {
        let context = spec["securityContext"]
        let place = "\(path).securityContext"
        for field in ["fsGroup", "runAsUser", "runAsGroup"] {
            inspection.within(identities, context[field], "\(place).\(field)")
        }
        inspection.each(context["supplementalGroups"], "\(place).supplementalGroups") {
            $0.within(identities, $1, $2)
        }
        if spec["shareProcessNamespace"].bool == true, spec["hostPID"].bool == true {
            inspection.report(
                .invalid(
                    "\(place).shareProcessNamespace", true,
                    "ShareProcessNamespace and HostPID cannot both be enabled"))
        }
        sysctls(&inspection, spec, at: "\(place).sysctls")
        inspection.oneOf(
            context["fsGroupChangePolicy"], "\(place).fsGroupChangePolicy", ["Always", "OnRootMismatch"])
        inspection.oneOf(
            context["supplementalGroupsPolicy"], "\(place).supplementalGroupsPolicy", ["Merge", "Strict"])
        inspection.oneOf(
            context["seLinuxChangePolicy"], "\(place).seLinuxChangePolicy", ["MountOption", "Recursive"])
        profiles(&inspection, context, at: place)
        WindowsRules.options(&inspection, context["windowsOptions"], at: "\(place).windowsOptions")
        if spec["hostUsers"].bool == false {
            for (field, name) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")]
            where spec[field].bool == true {
                inspection.report(.forbidden("\(path).\(name)", "when `pod.Spec.HostUsers` is false"))
            }
        }
    }

    static func container(_ inspection: inout Inspection, _ context: JSON?, at path: String, usesHostUsers: Bool) {
        guard let context else { return }
        for field in ["runAsUser", "runAsGroup"] {
            inspection.within(identities, context[field], "\(path).\(field)")
        }
        inspection.oneOf(context["procMount"], "\(path).procMount", ["Default", "Unmasked"])
        if context["procMount"].string == "Unmasked", usesHostUsers {
            inspection.report(
                .invalid("\(path).procMount", "Unmasked", "`hostUsers` must be false to use `Unmasked`"))
        }
        profiles(&inspection, context, at: path)
        WindowsRules.options(&inspection, context["windowsOptions"], at: "\(path).windowsOptions")
        guard context["allowPrivilegeEscalation"].bool == false else { return }
        if context["privileged"].bool == true {
            inspection.report(
                .invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
        }
        if (context["capabilities"]["add"].array ?? []).contains("CAP_SYS_ADMIN") {
            inspection.report(
                .invalid(
                    path, context,
                    "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"))
        }
    }

    /// The profiles of seccomp and AppArmor: a file of the node, or one of those that have names.
    private static func profiles(_ inspection: inout Inspection, _ context: JSON?, at path: String) {
        for (field, word) in [("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")] {
            guard let profile = context[field] else { continue }
            let place = "\(path).\(field)"
            if inspection.requireText(profile["type"], "\(place).type", "type is required when \(field) is set") != nil
            {
                inspection.oneOf(profile["type"], "\(place).type", ["Localhost", "RuntimeDefault", "Unconfined"])
            }
            let file = profile["localhostProfile"]
            guard profile["type"].string == "Localhost" else {
                if let file {
                    inspection.report(
                        .invalid(
                            "\(place).localhostProfile", file, "can only be set when \(word) type is Localhost"))
                }
                continue
            }
            guard let text = file.string, word == "seccomp" || !text.isEmpty else {
                inspection.report(
                    .required("\(place).localhostProfile", "must be set when \(word) type is Localhost"))
                continue
            }
            if word == "seccomp" {
                PathRules.descending(&inspection, file, at: "\(place).localhostProfile")
                continue
            }
            if text.first?.isWhitespace == true || text.last?.isWhitespace == true {
                inspection.report(
                    .invalid("\(place).localhostProfile", JSON(text), "must not be padded with whitespace"))
            }
            inspection.atMost(4095, file, "\(place).localhostProfile")
        }
    }

    private static func sysctls(_ inspection: inout Inspection, _ spec: JSON, at path: String) {
        var seen = Set<String>()
        inspection.each(spec["securityContext"]["sysctls"], path) { inspection, sysctl, place in
            guard let name = inspection.requireText(sysctl["name"], "\(place).name") else { return }
            let field = "\(place).name"
            if !isSysctl(name) {
                inspection.report(
                    .invalid(
                        field, JSON(name),
                        "must have at most 253 characters and match regex ^(\(sysctlSegment)[\\./])*\(sysctlSegment)$"))
            } else if !seen.insert(name).inserted {
                inspection.report(.duplicate(field, JSON(name)))
            }
            let dotted = String(name.map { $0 == "/" ? "." : $0 })
            if spec["hostNetwork"].bool == true, dotted.hasPrefix("net.") {
                inspection.report(.invalid(field, JSON(name), "may not be specified when 'hostNetwork' is true"))
            }
            let isShared =
                ["kernel.shm", "kernel.msg", "fs.mqueue."].contains { dotted.hasPrefix($0) } || dotted == "kernel.sem"
            if spec["hostIPC"].bool == true, isShared {
                inspection.report(.invalid(field, JSON(name), "may not be specified when 'hostIPC' is true"))
            }
        }
    }

    /// Segments of small letters, digits, dashes and underscores, with points or slashes between.
    private static func isSysctl(_ name: String) -> Bool {
        guard name.utf8.count <= 253 else { return false }
        let segments = name.utf8.split(omittingEmptySubsequences: false) {
            $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "/")
        }
        func isInner(_ byte: UInt8) -> Bool { Names.isLower(byte) || Names.isDigit(byte) }
        return segments.allSatisfy { segment in
            guard let first = segment.first, let last = segment.last, isInner(first), isInner(last) else {
                return false
            }
            return segment.allSatisfy { isInner($0) || "-_".utf8.contains($0) }
        }
    }
}
