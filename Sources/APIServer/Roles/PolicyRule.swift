// SPDX-License-Identifier: Apache-2.0

import Values

/// A rule of a Role or ClusterRole.
struct PolicyRule: Sendable, Hashable {
    var verbs: [String]
    var groups: [String] = []
    var resources: [String] = []
    var resourceNames: [String] = []
    var nonResourceURLs: [String] = []

    init(
        _ verbs: [String], groups: [String] = [], resources: [String] = [], names: [String] = [], urls: [String] = []
    ) {
        self.verbs = verbs
        self.groups = groups
        self.resources = resources
        resourceNames = names
        nonResourceURLs = urls
    }

    /// All that there is to hold.
    static let everything = [PolicyRule(["*"], groups: ["*"], resources: ["*"]), PolicyRule(["*"], urls: ["*"])]

    init(_ json: JSON) {
        func strings(_ key: String) -> [String] { json[key].array?.compactMap(\.string) ?? [] }
        verbs = strings("verbs")
        groups = strings("apiGroups")
        resources = strings("resources")
        resourceNames = strings("resourceNames")
        nonResourceURLs = strings("nonResourceURLs")
    }

    var json: JSON {
        var json: JSON = ["verbs": JSON(verbs)]
        if !groups.isEmpty || !resources.isEmpty {
            json["apiGroups"] = JSON(groups)
            json["resources"] = JSON(resources)
        }
        if !resourceNames.isEmpty { json["resourceNames"] = JSON(resourceNames) }
        if !nonResourceURLs.isEmpty { json["nonResourceURLs"] = JSON(nonResourceURLs) }
        return json
    }

    func allows(_ access: AccessAttributes) -> Bool {
        guard verbs.contains("*") || verbs.contains(access.verb) else { return false }
        if let path = access.path { return nonResourceURLs.contains { Self.matches($0, path) } }
        guard groups.contains("*") || groups.contains(access.group) else { return false }
        let path = access.resourcePath
        guard
            resources.contains(where: {
                $0 == "*" || $0 == path || (!access.subresource.isEmpty && $0 == "*/\(access.subresource)")
            })
        else { return false }
        return resourceNames.isEmpty || resourceNames.contains(access.name)
    }

    private static func matches(_ pattern: String, _ path: String) -> Bool {
        if pattern == "*" || pattern == path { return true }
        guard pattern.hasSuffix("*") else { return false }
        return path.hasPrefix(pattern.dropLast())
    }

    /// The single permissions that the rule gives, for comparing what one role gives with what somebody holds.
    var atoms: [PolicyRule] {
        var atoms: [PolicyRule] = []
        for verb in verbs {
            for url in nonResourceURLs { atoms.append(PolicyRule([verb], urls: [url])) }
            for group in groups {
                for resource in resources {
                    for name in resourceNames.isEmpty ? [nil] : resourceNames.map(Optional.some) {
                        atoms.append(
                            PolicyRule([verb], groups: [group], resources: [resource], names: name.map { [$0] } ?? []))
                    }
                }
            }
        }
        return atoms
    }

    /// Whether the rule gives everything that a single permission does.
    func covers(_ atom: PolicyRule) -> Bool {
        func holds(_ mine: [String], _ theirs: [String]) -> Bool {
            mine.contains("*") || theirs.allSatisfy(mine.contains)
        }
        guard holds(verbs, atom.verbs) else { return false }
        if let url = atom.nonResourceURLs.first { return nonResourceURLs.contains { Self.matches($0, url) } }
        guard holds(groups, atom.groups) else { return false }
        let resourcesHeld =
            holds(resources, atom.resources)
            || atom.resources.allSatisfy { wanted in
                guard let slash = wanted.firstIndex(of: "/") else { return false }
                return resources.contains("*" + wanted[slash...])
            }
        guard resourcesHeld else { return false }
        return resourceNames.isEmpty
            || (!atom.resourceNames.isEmpty && atom.resourceNames.allSatisfy(resourceNames.contains))
    }
}
