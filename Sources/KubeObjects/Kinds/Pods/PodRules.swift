// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for the spec of a pod or of a template.
enum PodRules {
    static func spec(_ inspection: inout Inspection, _ spec: JSON, at path: String, restartPolicies: [String]? = nil) {
        let volumes = VolumeRules.names(&inspection, spec["volumes"].array ?? [], at: "\(path).volumes")
        let containers = spec["containers"].array ?? []
        if containers.isEmpty { inspection.report(.required("\(path).containers")) }
        var names = Set<String>()
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            var hostPorts = Set<String>()
            for (index, container) in (spec[list].array ?? []).enumerated() {
                let place = "\(path).\(list)[\(index)]"
                if let name = container["name"].string, !name.isEmpty, !names.insert(name).inserted {
                    inspection.report(.duplicate("\(place).name", JSON(name)))
                }
                ContainerRules.inspect(
                    &inspection, container, at: place, volumes: volumes,
                    usesHostNetwork: spec["hostNetwork"].bool ?? false, hostPorts: &hostPorts)
            }
        }
        inspection.oneOf(
            spec["restartPolicy"], "\(path).restartPolicy", restartPolicies ?? ["Always", "OnFailure", "Never"])
        inspection.oneOf(
            spec["dnsPolicy"], "\(path).dnsPolicy", ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"])
        if spec["dnsPolicy"].string == "None", (spec["dnsConfig"]["nameservers"].array ?? []).isEmpty {
            inspection.report(
                .required(
                    "\(path).dnsConfig.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None"
                ))
        }
        inspection.notNegative(spec["terminationGracePeriodSeconds"], "\(path).terminationGracePeriodSeconds")
        if let seconds = spec["activeDeadlineSeconds"].int, seconds < 1 {
            inspection.report(
                .invalid(
                    "\(path).activeDeadlineSeconds", JSON(seconds), "must be between 1 and 2147483647, inclusive"))
        }
        for field in ["hostname", "subdomain"] {
            if let text = spec[field].string, !text.isEmpty {
                inspection.invalid("\(path).\(field)", JSON(text), Names.labelProblems(text))
            }
        }
        for field in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
            if let text = spec[field].string, !text.isEmpty {
                inspection.invalid("\(path).\(field)", JSON(text), Names.subdomainProblems(text))
            }
        }
        MetadataRules.labels(&inspection, spec["nodeSelector"], "\(path).nodeSelector")
        for (index, toleration) in (spec["tolerations"].array ?? []).enumerated() {
            self.toleration(&inspection, toleration, at: "\(path).tolerations[\(index)]")
        }
        for (index, alias) in (spec["hostAliases"].array ?? []).enumerated() {
            if let text = alias["ip"].string, IPAddress(text) == nil {
                inspection.report(
                    .invalid(
                        "\(path).hostAliases[\(index)].ip", JSON(text),
                        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"))
            }
        }
        spread(&inspection, spec, at: path)
        identity(&inspection, spec["securityContext"], at: "\(path).securityContext")
    }

    /// The template of a controller, with the rule that ties it to the controller's selector.
    static func template(
        _ inspection: inout Inspection, kind: String, restartPolicies: [String] = ["Always"],
        matchesSelector: Bool = true
    ) {
        let spec = inspection.object["spec"]
        let template = spec["template"] ?? .object([:])
        let labels = template["metadata"]["labels"]
        MetadataRules.labels(&inspection, labels, "spec.template.metadata.labels")
        if matchesSelector { selector(&inspection, kind: kind, labels: labels) }
        self.spec(
            &inspection, template["spec"] ?? .object([:]), at: "spec.template.spec", restartPolicies: restartPolicies)
    }

    private static func selector(_ inspection: inout Inspection, kind: String, labels: JSON?) {
        guard let value = inspection.object["spec"]["selector"], let object = value.object else {
            inspection.report(.required("spec.selector"))
            return
        }
        let hasTerms =
            !(object["matchLabels"].object ?? [:]).isEmpty || !(object["matchExpressions"].array ?? []).isEmpty
        guard hasTerms else {
            inspection.report(.invalid("spec.selector", value, "empty selector is invalid for \(kind)"))
            return
        }
        LabelSelectorRules.inspect(&inspection, value, at: "spec.selector")
        guard let selector = try? LabelSelector(object: value) else { return }
        if !selector.matches(labels.object?.strings ?? [:]) {
            inspection.report(
                .invalid(
                    "spec.template.metadata.labels", labels ?? .object([:]),
                    "`selector` does not match template `labels`"))
        }
    }

    private static func toleration(_ inspection: inout Inspection, _ toleration: JSON, at path: String) {
        let key = toleration["key"].string ?? ""
        let comparison = toleration["operator"].string ?? ""
        if !key.isEmpty { inspection.invalid("\(path).key", JSON(key), Names.qualifiedNameProblems(key)) }
        if key.isEmpty, comparison != "Exists" {
            inspection.report(
                .invalid(
                    "\(path).operator", JSON(comparison),
                    "operator must be Exists when `key` is empty, which means \"match all values and all keys\""))
        }
        if !comparison.isEmpty {
            inspection.oneOf(toleration["operator"], "\(path).operator", ["Equal", "Exists"])
        }
        if comparison == "Exists", !(toleration["value"].string ?? "").isEmpty {
            inspection.report(
                .invalid("\(path).operator", toleration, "value must be empty when `operator` is 'Exists'"))
        }
        if let effect = toleration["effect"].string, !effect.isEmpty {
            inspection.oneOf(toleration["effect"], "\(path).effect", ["NoSchedule", "PreferNoSchedule", "NoExecute"])
        }
        if toleration["tolerationSeconds"] != nil, toleration["effect"].string != "NoExecute" {
            inspection.report(
                .invalid(
                    "\(path).effect", toleration["effect"] ?? "",
                    "effect must be 'NoExecute' when `tolerationSeconds` is set"))
        }
    }

    private static func spread(_ inspection: inout Inspection, _ spec: JSON, at path: String) {
        for (index, constraint) in (spec["topologySpreadConstraints"].array ?? []).enumerated() {
            let place = "\(path).topologySpreadConstraints[\(index)]"
            if (constraint["maxSkew"].int ?? 0) <= 0 {
                inspection.report(.invalid("\(place).maxSkew", constraint["maxSkew"] ?? 0, "must be greater than zero"))
            }
            inspection.requireText(constraint["topologyKey"], "\(place).topologyKey", "can not be empty")
            inspection.oneOf(
                constraint["whenUnsatisfiable"], "\(place).whenUnsatisfiable", ["DoNotSchedule", "ScheduleAnyway"])
        }
    }

    static func identity(_ inspection: inout Inspection, _ context: JSON?, at path: String) {
        for field in ["runAsUser", "runAsGroup", "fsGroup"] {
            guard let value = context[field], let number = value.int, !(0...2_147_483_647).contains(number) else {
                continue
            }
            inspection.report(.invalid("\(path).\(field)", value, "must be between 0 and 2147483647, inclusive"))
        }
    }
}

/// What must hold for the object form of a label selector.
enum LabelSelectorRules {
    static func inspect(_ inspection: inout Inspection, _ selector: JSON?, at path: String) {
        MetadataRules.labels(&inspection, selector["matchLabels"], "\(path).matchLabels")
        for (index, expression) in (selector["matchExpressions"].array ?? []).enumerated() {
            let place = "\(path).matchExpressions[\(index)]"
            let values = expression["values"].array ?? []
            if let key = inspection.requireText(expression["key"], "\(place).key") {
                inspection.invalid("\(place).key", JSON(key), Names.qualifiedNameProblems(key))
            }
            switch expression["operator"].string {
            case "In", "NotIn":
                if values.isEmpty {
                    inspection.report(
                        .required("\(place).values", "must be specified when `operator` is 'In' or 'NotIn'"))
                }
            case "Exists", "DoesNotExist":
                if !values.isEmpty {
                    inspection.report(
                        .forbidden(
                            "\(place).values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
                }
            case let other:
                inspection.report(.invalid("\(place).operator", JSON(other ?? ""), "not a valid selector operator"))
            }
        }
    }
}
