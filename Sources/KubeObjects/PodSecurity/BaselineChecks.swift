// SPDX-License-Identifier: Apache-2.0

import Values

private typealias Text = PodSecurityText

/// What no pod may do that is not trusted with the node. In the order of their names, as messages list them.
extension PodSecurityCheck {
    static let baseline: [PodSecurityCheck] = [
        PodSecurityCheck(id: "appArmorProfile", level: .baseline, revisions: [(0, appArmor)]),
        PodSecurityCheck(id: "capabilities_baseline", level: .baseline, revisions: [(0, capabilities)]),
        PodSecurityCheck(id: "hostNamespaces", level: .baseline, revisions: [(0, hostNamespaces)]),
        PodSecurityCheck(id: "hostPathVolumes", level: .baseline, revisions: [(0, hostPaths)]),
        PodSecurityCheck(id: "hostPorts", level: .baseline, revisions: [(0, hostPorts)]),
        PodSecurityCheck(id: "hostProbesAndHostLifecycle", level: .baseline, revisions: [(34, hostProbes)]),
        PodSecurityCheck(id: "privileged", level: .baseline, revisions: [(0, privileged)]),
        PodSecurityCheck(
            id: "procMount", level: .baseline,
            revisions: [(0, procMount), (35, { $0.hasOwnUsers ? nil : procMount($0) })]
        ),
        PodSecurityCheck(
            id: "seLinuxOptions", level: .baseline,
            revisions: [
                (0, { seLinux($0, types: seLinuxTypes) }),
                (31, { seLinux($0, types: seLinuxTypes + ["container_engine_t"]) }),
            ]),
        PodSecurityCheck(
            id: "seccompProfile_baseline", level: .baseline, revisions: [(0, seccompAnnotations), (19, seccomp)]),
        PodSecurityCheck(
            id: "sysctls", level: .baseline,
            revisions: [
                (0, { sysctls($0, minor: 0) }), (27, { sysctls($0, minor: 27) }), (29, { sysctls($0, minor: 29) }),
                (32, { sysctls($0, minor: 32) }),
            ]),
        PodSecurityCheck(id: "windowsHostProcess", level: .baseline, revisions: [(0, hostProcess)]),
    ]

    // MARK: Profiles

    @Sendable private static func appArmor(_ pod: PodSecuritySubject) -> PodSecurityViolation? {
        func isBad(_ context: JSON?) -> Bool {
            guard let type = context["appArmorProfile"]["type"].string else { return false }
            return type != "RuntimeDefault" && type != "Localhost"
        }
        var values = Set<String>()
        for context in [pod.spec["securityContext"]] + pod.containers.map({ $0["securityContext"] })
        where isBad(context) { values.insert(context["appArmorProfile"]["type"].string ?? "") }
        var setters = pod.setters(where: isBad)
        var list = values.sorted()
        let annotations = pod.annotations.filter { key, value in
            key.hasPrefix("container.apparmor.security.beta.kubernetes.io/")
                && !(value.isEmpty || value == "runtime/default" || value.hasPrefix("localhost/"))
        }.map { "\($0.key)=\(JSON($0.value).text())" }.sorted()
        if !annotations.isEmpty {
            list += annotations
            setters.append(Text.plural("annotation", "annotations", annotations.count))
        }
        guard !setters.isEmpty else { return nil }
        return PodSecurityViolation(
            reason: Text.plural("forbidden AppArmor profile", "forbidden AppArmor profiles", list.count),
            detail: "\(setters.joined(separator: " and ")) must not set AppArmor profile type to \(Text.quoted(list))")
    }

    private static let seLinuxTypes = ["", "container_t", "container_init_t", "container_kvm_t"]

    private static func seLinux(_ pod: PodSecuritySubject, types: [String]) -> PodSecurityViolation? {
        func isBad(_ context: JSON?) -> Bool {
            let options = context["seLinuxOptions"]
            return !types.contains(options["type"].string ?? "") || !(options["user"].string ?? "").isEmpty
                || !(options["role"].string ?? "").isEmpty
        }
        let setters = pod.setters(where: isBad)
        guard !setters.isEmpty else { return nil }
        let options = ([pod.spec["securityContext"]] + pod.containers.map { $0["securityContext"] }).map {
            $0["seLinuxOptions"]
        }
        let bad = Set(options.compactMap { $0["type"].string }.filter { !types.contains($0) }).sorted()
        var parts: [String] = []
        if !bad.isEmpty { parts.append("\(Text.plural("type", "types", bad.count)) \(Text.quoted(bad))") }
        for field in ["user", "role"] where options.contains(where: { !($0[field].string ?? "").isEmpty }) {
            parts.append("\(field) may not be set")
        }
        return PodSecurityViolation(
            reason: "seLinuxOptions",
            detail: "\(setters.joined(separator: " and ")) set forbidden securityContext.seLinuxOptions: "
                + parts.joined(separator: "; "))
    }

    @Sendable private static func seccompAnnotations(_ pod: PodSecuritySubject) -> PodSecurityViolation? {
        let keys =
            ["seccomp.security.alpha.kubernetes.io/pod"]
            + pod.names { _ in true }.map { "container.seccomp.security.alpha.kubernetes.io/\($0)" }
        let bad = Set(
            keys.compactMap { key -> String? in
                guard let value = pod.annotations[key], value != "runtime/default", value != "docker/default",
                    !value.hasPrefix("localhost/")
                else { return nil }
                return "\(key)=\(JSON(value).text())"
            }
        ).sorted()
        guard !bad.isEmpty else { return nil }
        return PodSecurityViolation(
            reason: "seccompProfile",
            detail: "forbidden \(Text.plural("annotation", "annotations", bad.count)) \(bad.joined(separator: ", "))")
    }

    /// Profiles that are set and not allowed.
    @Sendable static func seccomp(_ pod: PodSecuritySubject) -> PodSecurityViolation? {
        func isBad(_ context: JSON?) -> Bool {
            guard context["seccompProfile"].object != nil else { return false }
            return !["RuntimeDefault", "Localhost"].contains(context["seccompProfile"]["type"].string)
        }
        let setters = pod.setters(where: isBad)
        guard !setters.isEmpty else { return nil }
        let contexts = [pod.spec["securityContext"]] + pod.containers.map { $0["securityContext"] }
        let bad = Set(contexts.filter(isBad).map { $0["seccompProfile"]["type"].string ?? "" }).sorted()
        return PodSecurityViolation(
            reason: "seccompProfile",
            detail: "\(setters.joined(separator: " and ")) must not set securityContext.seccompProfile.type to "
                + Text.quoted(bad))
    }

    // MARK: Rights

    private static let defaultCapabilities: Set<String> = [
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    ]

    @Sendable private static func capabilities(_ pod: PodSecuritySubject) -> PodSecurityViolation? {
        addedCapabilities(pod, allowed: defaultCapabilities).map {
            PodSecurityViolation(reason: "non-default capabilities", detail: $0)
        }
    }

    static func addedCapabilities(_ pod: PodSecuritySubject, allowed: Set<String>) -> String? {
        func bad(_ container: JSON) -> [String] {
            (container["securityContext"]["capabilities"]["add"].array ?? []).compactMap(\.string)
                .filter { !allowed.contains($0) }
        }
        let names = pod.names { !bad($0).isEmpty }
        guard !names.isEmpty else { return nil }
        return
            "\(Text.containers(names)) must not include \(Text.quoted(Set(pod.containers.flatMap(bad)).sorted())) in "
            + "securityContext.capabilities.add"
    }

    @Sendable private static func privileged(_ pod: PodSecuritySubject) -> PodSecurityViolation? {
        let names = pod.names { $0["securityContext"]["privileged"].bool == true }
        guard !names.isEmpty else { return nil }
        return PodSecurityViolation(
            reason: "privileged", detail: "\(Text.containers(names)) must not set securityContext.privileged=true")
    }

    @Sendable private static func procMount(_ pod: PodSecuritySubject) -> PodSecurityViolation? {
        func bad(_ container: JSON) -> String? {
            container["securityContext"]["procMount"].string.flatMap { $0 == "Default" ? nil : $0 }
        }
        let names = pod.names { bad($0) != nil }
        guard !names.isEmpty else { return nil }
        return PodSecurityViolation(
            reason: "procMount",
            detail: "\(Text.containers(names)) must not set securityContext.procMount to "
                + Text.quoted(Set(pod.containers.compactMap(bad)).sorted()))
    }

    @Sendable private static func hostProcess(_ pod: PodSecuritySubject) -> PodSecurityViolation? {
        let setters = pod.setters { $0["windowsOptions"]["hostProcess"].bool == true }
        guard !setters.isEmpty else { return nil }
        return PodSecurityViolation(
            reason: "hostProcess",
            detail: "\(setters.joined(separator: " and ")) must not set securityContext.windowsOptions.hostProcess=true"
        )
    }

    // MARK: The node

    @Sendable private static func hostNamespaces(_ pod: PodSecuritySubject) -> PodSecurityViolation? {
        let shared = ["hostNetwork", "hostPID", "hostIPC"].filter { pod.spec[$0].bool == true }
        guard !shared.isEmpty else { return nil }
        return PodSecurityViolation(
            reason: "host namespaces", detail: shared.map { "\($0)=true" }.joined(separator: ", "))
    }

    @Sendable private static func hostPaths(_ pod: PodSecuritySubject) -> PodSecurityViolation? {
        let names = (pod.spec["volumes"].array ?? []).filter { $0["hostPath"].object != nil }
            .map { $0["name"].string ?? "" }
        guard !names.isEmpty else { return nil }
        return PodSecurityViolation(
            reason: "hostPath volumes",
            detail: "\(Text.plural("volume", "volumes", names.count)) \(Text.quoted(names))")
    }

    @Sendable private static func hostPorts(_ pod: PodSecuritySubject) -> PodSecurityViolation? {
        func ports(_ container: JSON) -> [Int] {
            (container["ports"].array ?? []).compactMap { $0["hostPort"].int }.filter { $0 != 0 }
        }
        let names = pod.names { !ports($0).isEmpty }
        guard !names.isEmpty else { return nil }
        let used = Set(pod.containers.flatMap(ports).map { String($0) }).sorted()
        return PodSecurityViolation(
            reason: "hostPort",
            detail: "\(Text.containers(names)) \(Text.plural("uses", "use", names.count)) "
                + "\(Text.plural("hostPort", "hostPorts", used.count)) \(used.joined(separator: ", "))")
    }

    @Sendable private static func hostProbes(_ pod: PodSecuritySubject) -> PodSecurityViolation? {
        func hosts(_ container: JSON) -> [String] {
            let handlers =
                ["livenessProbe", "readinessProbe", "startupProbe"].map { container[$0] }
                + ["postStart", "preStop"].map { container["lifecycle"][$0] }
            return handlers.flatMap { handler in
                ["httpGet", "tcpSocket"].compactMap { handler[$0]["host"].string }.filter { !$0.isEmpty }
            }
        }
        let names = Set(pod.names { !hosts($0).isEmpty }).sorted()
        guard !names.isEmpty else { return nil }
        let used = Set(pod.containers.flatMap(hosts)).sorted()
        return PodSecurityViolation(
            reason: "probe or lifecycle host",
            detail: "\(Text.containers(names)) \(Text.plural("uses", "use", names.count)) "
                + "\(Text.plural("probe or lifecycle host", "probe or lifecycle hosts", used.count)) "
                + Text.quoted(used))
    }

    private static let safeSysctls: [(since: Int, names: [String])] = [
        (
            0,
            [
                "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies",
                "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start",
            ]
        ),
        (27, ["net.ipv4.ip_local_reserved_ports"]),
        (
            29,
            [
                "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
                "net.ipv4.tcp_keepalive_probes",
            ]
        ),
        (32, ["net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"]),
    ]

    private static func sysctls(_ pod: PodSecuritySubject, minor: Int) -> PodSecurityViolation? {
        let safe = safeSysctls.filter { $0.since <= minor }.flatMap(\.names)
        let bad = (pod.spec["securityContext"]["sysctls"].array ?? []).compactMap { $0["name"].string }
            .filter { !safe.contains($0) }
        guard !bad.isEmpty else { return nil }
        return PodSecurityViolation(reason: "forbidden sysctls", detail: bad.joined(separator: ", "))
    }
}
