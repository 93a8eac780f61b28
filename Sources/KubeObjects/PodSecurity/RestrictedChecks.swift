// SPDX-License-Identifier: Apache-2.0

import Values

private typealias Text = PodSecurityText

/// What pods must do besides when they are hardened. In the order of their names, as messages list them.
extension PodSecurityCheck {
    static let restricted: [PodSecurityCheck] = [
        PodSecurityCheck(
            id: "allowPrivilegeEscalation", level: .restricted,
            revisions: [(8, escalation), (25, unlessWindows(escalation))]),
        PodSecurityCheck(
            id: "capabilities_restricted", level: .restricted,
            revisions: [(22, dropped), (25, unlessWindows(dropped))], replaces: ["capabilities_baseline"]),
        PodSecurityCheck(
            id: "restrictedVolumes", level: .restricted, revisions: [(0, volumes)], replaces: ["hostPathVolumes"]),
        PodSecurityCheck(
            id: "runAsNonRoot", level: .restricted, revisions: [(0, nonRoot), (35, unlessOwnUsers(nonRoot))]),
        PodSecurityCheck(
            id: "runAsUser", level: .restricted, revisions: [(23, rootUser), (35, unlessOwnUsers(rootUser))]),
        PodSecurityCheck(
            id: "seccompProfile_restricted", level: .restricted,
            revisions: [(19, requiredSeccomp), (25, unlessWindows(requiredSeccomp))],
            replaces: ["seccompProfile_baseline"]),
    ]

    /// Windows has none of what is asked for.
    private static func unlessWindows(_ judge: @escaping Judge) -> Judge { { $0.isWindows ? nil : judge($0) } }
    private static func unlessOwnUsers(_ judge: @escaping Judge) -> Judge { { $0.hasOwnUsers ? nil : judge($0) } }

    @Sendable private static func escalation(_ pod: PodSecuritySubject) -> PodSecurityViolation? {
        let names = pod.names { $0["securityContext"]["allowPrivilegeEscalation"].bool != false }
        guard !names.isEmpty else { return nil }
        return PodSecurityViolation(
            reason: "allowPrivilegeEscalation != false",
            detail: "\(Text.containers(names)) must set securityContext.allowPrivilegeEscalation=false")
    }

    @Sendable private static func dropped(_ pod: PodSecuritySubject) -> PodSecurityViolation? {
        var details: [String] = []
        let missing = pod.names {
            !($0["securityContext"]["capabilities"]["drop"].array ?? []).contains { $0.string == "ALL" }
        }
        if !missing.isEmpty {
            details.append("\(Text.containers(missing)) must set securityContext.capabilities.drop=[\"ALL\"]")
        }
        if let added = addedCapabilities(pod, allowed: ["NET_BIND_SERVICE"]) { details.append(added) }
        guard !details.isEmpty else { return nil }
        return PodSecurityViolation(reason: "unrestricted capabilities", detail: details.joined(separator: "; "))
    }

    private static let allowedVolumes = [
        "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected",
        "secret",
    ]

    @Sendable private static func volumes(_ pod: PodSecuritySubject) -> PodSecurityViolation? {
        func source(_ volume: JSON) -> String { volume.object?.keys.first { $0 != "name" } ?? "unknown" }
        let bad = (pod.spec["volumes"].array ?? []).filter { volume in
            !allowedVolumes.contains { volume[$0].object != nil }
        }
        guard !bad.isEmpty else { return nil }
        let types = Set(bad.map(source)).sorted()
        return PodSecurityViolation(
            reason: "restricted volume types",
            detail:
                "\(Text.plural("volume", "volumes", bad.count)) \(Text.quoted(bad.map { $0["name"].string ?? "" })) "
                + "\(Text.plural("uses", "use", bad.count)) "
                + "\(Text.plural("restricted volume type", "restricted volume types", types.count)) \(Text.quoted(types))"
        )
    }

    @Sendable private static func nonRoot(_ pod: PodSecuritySubject) -> PodSecurityViolation? {
        let setters = pod.setters { $0["runAsNonRoot"].bool == false }
        let reason = "runAsNonRoot != true"
        if !setters.isEmpty {
            return PodSecurityViolation(
                reason: reason,
                detail: "\(setters.joined(separator: " and ")) must not set securityContext.runAsNonRoot=false")
        }
        guard pod.spec["securityContext"]["runAsNonRoot"].bool != true else { return nil }
        let silent = pod.names { $0["securityContext"]["runAsNonRoot"].bool == nil }
        guard !silent.isEmpty else { return nil }
        return PodSecurityViolation(
            reason: reason, detail: "pod or \(Text.containers(silent)) must set securityContext.runAsNonRoot=true")
    }

    @Sendable private static func rootUser(_ pod: PodSecuritySubject) -> PodSecurityViolation? {
        let setters = pod.setters { $0["runAsUser"].int == 0 }
        guard !setters.isEmpty else { return nil }
        return PodSecurityViolation(
            reason: "runAsUser=0", detail: "\(setters.joined(separator: " and ")) must not set runAsUser=0")
    }

    @Sendable private static func requiredSeccomp(_ pod: PodSecuritySubject) -> PodSecurityViolation? {
        if let bad = seccomp(pod) { return bad }
        guard pod.spec["securityContext"]["seccompProfile"].object == nil else { return nil }
        let silent = pod.names { $0["securityContext"]["seccompProfile"].object == nil }
        guard !silent.isEmpty else { return nil }
        return PodSecurityViolation(
            reason: "seccompProfile",
            detail: "pod or \(Text.containers(silent)) must set securityContext.seccompProfile.type to "
                + "\"RuntimeDefault\" or \"Localhost\"")
    }
}
