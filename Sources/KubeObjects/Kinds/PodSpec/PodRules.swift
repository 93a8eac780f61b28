// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for the spec of a pod or of a template.
enum PodRules {
    /// Longer lists than what resolvers read.
    private static let mostNameServers = 3
    private static let mostSearchPaths = 32
    private static let mostSearchCharacters = 2048

    /// `pod` is the name of the pod itself; nil for a template, whose pods have other names.
    static func spec(_ inspection: inout Inspection, _ spec: JSON, at path: String, pod: String? = nil) {
        let whole = PodContext(spec, isPod: pod != nil)
        VolumeRules.inspect(&inspection, spec["volumes"], at: "\(path).volumes", pod: pod)
        claims(&inspection, spec["resourceClaims"], at: "\(path).resourceClaims")
        ContainerRules.inspect(&inspection, spec, at: path, whole)
        ResourceRules.pod(&inspection, spec, at: path)
        if whole.usesHostNetwork { hostPorts(&inspection, spec, at: path, isPod: whole.isPod) }
        inspection.oneOf(
            spec["restartPolicy"], "\(path).restartPolicy", ["Always", "OnFailure", "Never"], missing: .required)
        inspection.oneOf(
            spec["dnsPolicy"], "\(path).dnsPolicy", ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
            missing: .required)
        MetadataRules.labels(&inspection, spec["nodeSelector"], "\(path).nodeSelector")
        SecurityRules.pod(&inspection, spec, at: path)
        AffinityRules.inspect(&inspection, spec["affinity"], at: "\(path).affinity")
        names(&inspection, spec, at: path)
        gates(&inspection, spec, at: path)
        SchedulingRules.spread(
            &inspection, spec["topologySpreadConstraints"], at: "\(path).topologySpreadConstraints")
        SchedulingRules.tolerations(&inspection, spec["tolerations"], at: "\(path).tolerations")
        references(&inspection, spec, at: path)
        OperatingSystemRules.inspect(&inspection, spec, at: path)
        if spec["terminationGracePeriodSeconds"] == nil {
            inspection.report(.required("\(path).terminationGracePeriodSeconds"))
        }
        inspection.within(1...Int(Int32.max), spec["activeDeadlineSeconds"], "\(path).activeDeadlineSeconds")
        inspection.oneOf(
            spec["preemptionPolicy"], "\(path).preemptionPolicy", ["PreemptLowerPriority", "Never"])
        if spec["overhead"] != nil {
            ResourceRules.list(&inspection, spec["overhead"], at: "\(path).overhead", .container)
        }
    }

    private static func claims(_ inspection: inout Inspection, _ claims: JSON?, at path: String) {
        var seen = Set<String>()
        inspection.each(claims, path) { inspection, claim, place in
            if let name = inspection.requireText(claim["name"], "\(place).name") {
                if seen.insert(name).inserted {
                    inspection.invalid("\(place).name", JSON(name), Names.labelProblems(name))
                } else {
                    inspection.report(.duplicate("\(place).name", JSON(name)))
                }
            }
            let sources = ["resourceClaimName", "resourceClaimTemplateName"].filter { claim[$0] != nil }
            if sources.count > 1 {
                inspection.report(
                    .invalid(
                        place, claim,
                        "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"))
            } else if sources.isEmpty {
                inspection.report(
                    .invalid(
                        place, claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"))
            }
            for source in sources { inspection.text(claim[source], "\(place).\(source)", Names.subdomainProblems) }
        }
    }

    /// A pod on its node's network has the ports that its containers have. Templates get them with their pods.
    private static func hostPorts(_ inspection: inout Inspection, _ spec: JSON, at path: String, isPod: Bool) {
        inspection.each(spec["containers"], "\(path).containers") { inspection, container, place in
            inspection.each(container["ports"], "\(place).ports") { inspection, port, place in
                let hostPort = port["hostPort"].int ?? 0
                guard isPod || hostPort != 0, hostPort != port["containerPort"].int ?? 0 else { return }
                inspection.report(
                    .invalid(
                        "\(place).hostPort", JSON(hostPort), "must match `containerPort` when `hostNetwork` is true"))
            }
        }
    }

    /// How the pod is called and what its resolver asks.
    private static func names(_ inspection: inout Inspection, _ spec: JSON, at path: String) {
        for field in ["hostname", "subdomain"] {
            inspection.text(spec[field], "\(path).\(field)", Names.labelProblems)
        }
        inspection.each(spec["hostAliases"], "\(path).hostAliases") { inspection, alias, place in
            inspection.address(alias["ip"], "\(place).ip")
            inspection.eachText(alias["hostnames"], "\(place).hostnames") { inspection, name, place in
                inspection.invalid(place, JSON(name), Names.subdomainProblems(name))
            }
        }
        let config = spec["dnsConfig"]
        let place = "\(path).dnsConfig"
        if spec["dnsPolicy"].string == "None" {
            guard config != nil else {
                inspection.report(.required(place, "must provide `dnsConfig` when `dnsPolicy` is None"))
                return
            }
            if (config["nameservers"].array ?? []).isEmpty {
                inspection.report(
                    .required(
                        "\(place).nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None"))
                return
            }
        }
        let servers = config["nameservers"].array ?? []
        if servers.count > mostNameServers {
            inspection.report(
                .invalid(
                    "\(place).nameservers", .array(servers), "must not have more than \(mostNameServers) nameservers"))
        }
        inspection.each(config["nameservers"], "\(place).nameservers") { $0.address($1, $2) }
        searches(&inspection, config["searches"], at: "\(place).searches")
        inspection.each(config["options"], "\(place).options") { inspection, option, place in
            if (option["name"].string ?? "").isEmpty { inspection.report(.required(place, "must not be empty")) }
        }
    }

    private static func searches(_ inspection: inout Inspection, _ searches: JSON?, at path: String) {
        let texts = searches.array?.compactMap(\.string) ?? []
        if texts.count > mostSearchPaths {
            inspection.report(
                .invalid(path, JSON(texts), "must not have more than \(mostSearchPaths) search paths"))
        }
        if texts.reduce(max(0, texts.count - 1), { $0 + $1.utf8.count }) > mostSearchCharacters {
            inspection.report(
                .invalid(
                    path, JSON(texts),
                    "must not have more than \(mostSearchCharacters) characters (including spaces) in the search list"))
        }
        inspection.eachText(searches, path) { inspection, search, place in
            guard search != "." else { return }
            let name = search.hasSuffix(".") ? String(search.dropLast()) : search
            inspection.invalid(place, JSON(name), Names.underscoreSubdomainProblems(name))
        }
    }

    private static func gates(_ inspection: inout Inspection, _ spec: JSON, at path: String) {
        inspection.each(spec["readinessGates"], "\(path).readinessGates") { inspection, gate, place in
            let type = gate["conditionType"].string ?? ""
            inspection.invalid("\(place).conditionType", JSON(type), Names.qualifiedNameProblems(type))
        }
        var seen = Set<String>()
        inspection.each(spec["schedulingGates"], "\(path).schedulingGates") { inspection, gate, place in
            let name = gate["name"].string ?? ""
            inspection.invalid(place, JSON(name), Names.qualifiedNameProblems(name))
            inspection.unique(gate["name"], place, &seen)
        }
    }

    private static func references(_ inspection: inout Inspection, _ spec: JSON, at path: String) {
        for field in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
            inspection.text(spec[field], "\(path).\(field)", Names.subdomainProblems)
        }
    }

    /// The template of a controller: its labels, annotations and spec.
    static func template(_ inspection: inout Inspection, _ template: JSON?, at path: String) {
        MetadataRules.labels(&inspection, template["metadata"]["labels"], "\(path).labels")
        MetadataRules.annotations(&inspection, template["metadata"]["annotations"], "\(path).annotations")
        let spec = template["spec"] ?? .object([:])
        self.spec(&inspection, spec, at: "\(path).spec")
        if !(spec["ephemeralContainers"].array ?? []).isEmpty {
            inspection.report(
                .forbidden("\(path).spec.ephemeralContainers", "ephemeral containers not allowed in pod template"))
        }
    }
}

/// What the rules of a pod's parts need to know of the whole.
struct PodContext {
    /// A pod itself, and not the template of one.
    let isPod: Bool
    let usesHostNetwork: Bool
    /// Users of the pod are users of the node.
    let usesHostUsers: Bool
    let restartPolicy: String
    let gracePeriod: Int?
    /// The volumes by their names.
    let volumes: [String: JSON]
    /// The names of what `resourceClaims` lists.
    let claims: Set<String>

    init(_ spec: JSON, isPod: Bool) {
        self.isPod = isPod
        usesHostNetwork = spec["hostNetwork"].bool ?? false
        usesHostUsers = spec["hostUsers"].bool ?? true
        restartPolicy = spec["restartPolicy"].string ?? ""
        gracePeriod = spec["terminationGracePeriodSeconds"].int
        var volumes: [String: JSON] = [:]
        for volume in spec["volumes"].array ?? [] { volumes[volume["name"].string ?? ""] = volume }
        self.volumes = volumes
        claims = Set((spec["resourceClaims"].array ?? []).compactMap { $0["name"].string }.filter { !$0.isEmpty })
    }
}
