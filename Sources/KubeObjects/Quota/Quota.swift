// SPDX-License-Identifier: Apache-2.0

public import Values

/// A ResourceQuota as a rule: what it counts, and how much of it there may be.
public struct Quota: Sendable {
    public let name: String
    /// `spec.hard`.
    public let hard: ResourceAmounts
    /// `status.used`, as far as it is known.
    public let used: ResourceAmounts
    let scopes: [QuotaScope]

    public init(_ quota: KubeObject) {
        name = quota.name
        let hard = PodResources.amounts(quota["spec"]["hard"])
        self.hard = hard
        used = PodResources.amounts(quota["status"]["used"]).filter { hard[$0.key] != nil }
        scopes = QuotaScope.all(quota["spec"])
    }

    /// Of hard amounts, those that count objects of the resource.
    public func names(counting groupResource: String) -> Set<String> {
        Set(hard.keys.filter { QuotaUsage.counted(by: $0) == groupResource })
    }

    /// The resources whose objects it counts.
    public var counted: Set<String> { Set(hard.keys.compactMap { QuotaUsage.counted(by: $0) }) }

    /// Whether it is about an object of the resource at all.
    public func covers(_ object: KubeObject, _ groupResource: String) -> Bool {
        guard !names(counting: groupResource).isEmpty else { return false }
        // Scopes are about pods: a quota that has some counts nothing else.
        if scopes.isEmpty { return true }
        return groupResource == "pods" && scopes.allSatisfy { $0.matches(object) }
    }

    /// What an object uses of it.
    public func usage(of object: KubeObject, _ groupResource: String, now: Timestamp) -> ResourceAmounts {
        guard covers(object, groupResource) else { return [:] }
        return QuotaUsage.of(object, groupResource, now: now).filter { hard[$0.key] != nil }
    }

    /// What all objects of a resource use of it: an amount, if only zero, for each name that counts them.
    public func usage(
        of objects: some Sequence<KubeObject>, _ groupResource: String, now: Timestamp
    ) -> ResourceAmounts {
        var sum: ResourceAmounts = [:]
        for name in names(counting: groupResource) {
            sum[name] = Quantity(nano: 0, format: hard[name]?.format ?? .decimal)
        }
        for object in objects { sum.add(usage(of: object, groupResource, now: now)) }
        return sum
    }

    /// What the containers of a pod must say because it is counted, and do not: `must specify cpu for: a,b`.
    public func missing(in pod: KubeObject) -> String? {
        // What is said of the pod as a whole speaks for its containers.
        let whole = pod["spec"]["resources"]
        if ["requests", "limits"].contains(where: { whole[$0].object?.isEmpty == false }) { return nil }
        let names = Set(hard.keys)
        let required = names.intersection([
            "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory",
        ])
        guard !required.isEmpty else { return nil }
        var missing: [String: Set<String>] = [:]
        for list in ["containers", "initContainers"] {
            for container in pod["spec"][list].array ?? [] {
                let said = QuotaUsage.compute(
                    PodResources.amounts(container["resources"]["requests"]),
                    PodResources.amounts(container["resources"]["limits"]))
                for name in required where said[name] == nil {
                    missing[name, default: []].insert(container["name"].string ?? "")
                }
            }
        }
        guard !missing.isEmpty else { return nil }
        let texts = missing.sorted { $0.key < $1.key }.map { name, containers in
            "\(name) for: \(containers.sorted().joined(separator: ","))"
        }
        return "must specify \(texts.joined(separator: "; "))"
    }

    /// Why more cannot be used, given what is used already; nil when it fits.
    public func refusal(of more: ResourceAmounts, used: ResourceAmounts) -> String? {
        let exceeded = more.filter { name, amount in
            guard let limit = hard[name] else { return false }
            return amount > .zero && (used[name] ?? .zero) + amount > limit
        }
        guard !exceeded.isEmpty else { return nil }
        func list(_ amounts: ResourceAmounts) -> String {
            exceeded.keys.sorted().map { "\($0)=\(amounts[$0] ?? .zero)" }.joined(separator: ",")
        }
        return "exceeded quota: \(name), requested: \(list(more)), used: \(list(used)), limited: \(list(hard))"
    }
}

/// One condition on the pods that a quota counts.
public struct QuotaScope: Sendable {
    public static let names = [
        "BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating",
    ]

    let name: String
    let operation: String
    let values: [String]

    static func all(_ spec: JSON?) -> [QuotaScope] {
        let plain = (spec["scopes"].array ?? []).compactMap(\.string).map {
            QuotaScope(name: $0, operation: "Exists", values: [])
        }
        let selected = (spec["scopeSelector"]["matchExpressions"].array ?? []).map {
            QuotaScope(
                name: $0["scopeName"].string ?? "", operation: $0["operator"].string ?? "Exists",
                values: ($0["values"].array ?? []).compactMap(\.string))
        }
        return plain + selected
    }

    func matches(_ pod: KubeObject) -> Bool {
        let spec = pod["spec"]
        switch name {
        case "Terminating": return spec["activeDeadlineSeconds"].int != nil
        case "NotTerminating": return spec["activeDeadlineSeconds"].int == nil
        case "BestEffort": return QualityOfService.of(podSpec: spec) == "BestEffort"
        case "NotBestEffort": return QualityOfService.of(podSpec: spec) != "BestEffort"
        case "CrossNamespacePodAffinity": return Self.looksIntoOtherNamespaces(spec["affinity"])
        case "PriorityClass":
            let own = spec["priorityClassName"].string ?? ""
            switch operation {
            case "In": return values.contains(own)
            case "NotIn": return !values.contains(own)
            case "DoesNotExist": return own.isEmpty
            default: return !own.isEmpty
            }
        default: return false
        }
    }

    private static func looksIntoOtherNamespaces(_ affinity: JSON?) -> Bool {
        for kind in ["podAffinity", "podAntiAffinity"] {
            let required = affinity[kind]["requiredDuringSchedulingIgnoredDuringExecution"].array ?? []
            let preferred = (affinity[kind]["preferredDuringSchedulingIgnoredDuringExecution"].array ?? [])
                .compactMap { $0["podAffinityTerm"] }
            for term in required + preferred
            where !(term["namespaces"].array ?? []).isEmpty || term["namespaceSelector"].object != nil {
                return true
            }
        }
        return false
    }
}
