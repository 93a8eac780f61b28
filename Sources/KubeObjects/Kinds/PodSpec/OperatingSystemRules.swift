// SPDX-License-Identifier: Apache-2.0

import Values

/// What only pods of one operating system can have.
enum OperatingSystemRules {
    private static let ofPods = [
        "securityContext.appArmorProfile", "securityContext.seLinuxOptions", "hostUsers", "hostPID", "hostIPC",
        "securityContext.seccompProfile", "securityContext.fsGroup", "securityContext.fsGroupChangePolicy",
        "securityContext.sysctls", "shareProcessNamespace", "securityContext.runAsUser", "securityContext.runAsGroup",
        "securityContext.supplementalGroups", "securityContext.supplementalGroupsPolicy",
        "securityContext.seLinuxChangePolicy",
    ]
    private static let ofContainers = [
        "appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged",
        "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup",
    ]

    static func inspect(_ inspection: inout Inspection, _ spec: JSON, at path: String) {
        WindowsRules.hostProcess(&inspection, spec, at: path)
        guard let system = spec["os"] else { return }
        guard inspection.requireText(system["name"], "\(path).os.name", "cannot be empty") != nil else { return }
        inspection.oneOf(system["name"], "\(path).os", ["linux", "windows"])
        switch system["name"].string {
        case "linux":
            let detail = "windows options cannot be set for a linux pod"
            inspection.forbid(
                spec["securityContext"]["windowsOptions"], "\(path).securityContext.windowsOptions", detail)
            WindowsRules.eachContainer(of: spec, at: path, &inspection) { inspection, container, place in
                inspection.forbid(
                    container["securityContext"]["windowsOptions"], "\(place).securityContext.windowsOptions", detail)
            }
        case "windows":
            let detail = "cannot be set for a windows pod"
            for field in ofPods {
                let value = JSON.member(field, of: spec)
                // A flag that is off says nothing.
                if value != .null, value != .bool(false) || !["hostPID", "hostIPC"].contains(field) {
                    inspection.report(.forbidden("\(path).\(field)", detail))
                }
            }
            WindowsRules.eachContainer(of: spec, at: path, &inspection) { inspection, container, place in
                for field in ofContainers {
                    inspection.forbid(container["securityContext"][field], "\(place).securityContext.\(field)", detail)
                }
            }
        default: break
        }
    }
}

/// What must hold for options of pods that run on Windows: stored for whoever joins such a node.
enum WindowsRules {
    private static let mostCredentialBytes = 64 * 1024

    static func eachContainer(
        of spec: JSON, at path: String, _ inspection: inout Inspection,
        _ body: (inout Inspection, JSON, String) -> Void
    ) {
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            inspection.each(spec[list], "\(path).\(list)", body)
        }
    }

    static func options(_ inspection: inout Inspection, _ options: JSON?, at path: String) {
        guard let options else { return }
        if let name = options["gmsaCredentialSpecName"].string {
            inspection.invalid("\(path).gmsaCredentialSpecName", JSON(name), Names.subdomainProblems(name))
        }
        if let text = options["gmsaCredentialSpec"].string {
            if text.isEmpty {
                inspection.report(
                    .invalid("\(path).gmsaCredentialSpec", "", "gmsaCredentialSpec cannot be an empty string"))
            } else if text.utf8.count > mostCredentialBytes {
                inspection.report(
                    .invalid(
                        "\(path).gmsaCredentialSpec", JSON(text), "gmsaCredentialSpec size must be under 64 KiB"))
            }
        }
        if let name = options["runAsUserName"].string {
            inspection.invalid("\(path).runAsUserName", JSON(name), userProblems(name))
        }
    }

    /// `DOMAIN\user`, where the domain may be missing.
    private static func userProblems(_ name: String) -> [String] {
        if name.isEmpty { return ["runAsUserName cannot be an empty string"] }
        if name.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F }) {
            return ["runAsUserName cannot contain control characters"]
        }
        let parts = name.split(separator: "\\", omittingEmptySubsequences: false)
        if parts.count > 2 { return ["runAsUserName cannot contain more than one backslash"] }
        let user = parts.last ?? ""
        var problems: [String] = []
        if parts.count == 2, let domain = parts.first {
            if domain.utf8.count >= 256 {
                problems.append("runAsUserName's Domain length must be under 256 characters")
            }
            if !isDomain(domain) {
                problems.append("runAsUserName's Domain doesn't match the NetBios nor the DNS format")
            }
        }
        if user.isEmpty {
            problems.append("runAsUserName's User cannot be empty")
        } else if user.utf8.count > 104 {
            problems.append("runAsUserName's User length must not be longer than 104 characters")
        }
        if !user.isEmpty, user.allSatisfy({ $0 == "." || $0 == " " }) {
            problems.append("runAsUserName's User cannot contain only periods or spaces")
        }
        if user.contains(where: { "\"/\\:;|=,+*?<>@[]".contains($0) }) {
            problems.append(
                "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]")
        }
        return problems
    }

    private static func isDomain(_ domain: Substring) -> Bool {
        let isNetBIOS =
            (1...15).contains(domain.count) && domain.first != "."
            && !domain.contains { "\\/:*?\"<>|".contains($0) }
        return isNetBIOS || Names.subdomainProblems(domain.lowercased()).isEmpty
    }

    /// Containers that are processes of the node: all of them or none.
    static func hostProcess(_ inspection: inout Inspection, _ spec: JSON, at path: String) {
        let whole = spec["securityContext"]["windowsOptions"]["hostProcess"].bool
        var all = 0
        var ofHost = 0
        eachContainer(of: spec, at: path, &inspection) { inspection, container, place in
            let own = container["securityContext"]["windowsOptions"]["hostProcess"].bool
            all += 1
            if own ?? whole ?? false { ofHost += 1 }
            guard let own, let whole, own != whole else { return }
            inspection.report(
                .invalid(
                    "\(place).securityContext.windowsOptions.hostProcess", JSON(own),
                    "pod hostProcess value must be identical if both are specified, was \(whole)"))
        }
        guard ofHost > 0 else { return }
        if ofHost != all {
            inspection.report(
                .invalid(
                    path, "",
                    "If pod contains any hostProcess containers then all containers must be HostProcess containers"))
        }
        if spec["hostNetwork"].bool != true {
            inspection.report(
                .invalid(
                    "\(path).hostNetwork", false,
                    "hostNetwork must be true if pod contains any hostProcess containers"))
        }
    }
}
