// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for the containers of a pod: those that work, those that go before, and those that look on.
enum ContainerRules {
    private static let probes = ["livenessProbe", "readinessProbe", "startupProbe"]
    /// What a container that only looks on cannot have.
    private static let notEphemeral = ["ports", "resources", "lifecycle", "resizePolicy", "restartPolicy"] + probes

    static func inspect(_ inspection: inout Inspection, _ spec: JSON, at path: String, _ whole: PodContext) {
        if (spec["containers"].array ?? []).isEmpty { inspection.report(.required("\(path).containers")) }
        var names = Set<String>()
        var hostPorts = Set<String>()
        inspection.each(spec["containers"], "\(path).containers") { inspection, container, place in
            common(&inspection, container, at: place, whole)
            inspection.unique(container["name"], "\(place).name", &names)
            handlers(&inspection, container, at: place, whole)
            restarts(&inspection, container, at: place, supported: ["Always", "OnFailure", "Never"])
            self.hostPorts(&inspection, container, at: place, &hostPorts)
        }
        inspection.each(spec["initContainers"], "\(path).initContainers") { inspection, container, place in
            initial(&inspection, container, at: place, whole, &names)
        }
        let others = names
        inspection.each(spec["ephemeralContainers"], "\(path).ephemeralContainers") { inspection, container, place in
            ephemeral(&inspection, container, at: place, whole, &names, others: others)
        }
    }

    private static func common(
        _ inspection: inout Inspection, _ container: JSON, at path: String, _ whole: PodContext
    ) {
        inspection.requireText(container["name"], "\(path).name", Names.labelProblems)
        // A blank image stands in templates that something else completes.
        if let image = inspection.requireText(container["image"], "\(path).image"), whole.isPod,
            image.first?.isWhitespace == true || image.last?.isWhitespace == true
        {
            inspection.report(.invalid("\(path).image", JSON(image), "must not have leading or trailing whitespace"))
        }
        inspection.oneOf(
            container["terminationMessagePolicy"], "\(path).terminationMessagePolicy",
            ["File", "FallbackToLogsOnError"], missing: .required)
        ports(&inspection, container["ports"], at: "\(path).ports")
        EnvironmentRules.inspect(&inspection, container, at: path)
        MountRules.inspect(&inspection, container, at: path, whole)
        inspection.oneOf(
            container["imagePullPolicy"], "\(path).imagePullPolicy", ["Always", "IfNotPresent", "Never"],
            missing: .required)
        ResourceRules.container(&inspection, container["resources"], at: "\(path).resources", claims: whole.claims)
        ResourceRules.resizePolicy(
            &inspection, container["resizePolicy"], at: "\(path).resizePolicy", restartPolicy: whole.restartPolicy)
        SecurityRules.container(
            &inspection, container["securityContext"], at: "\(path).securityContext",
            usesHostUsers: whole.usesHostUsers)
    }

    private static func handlers(
        _ inspection: inout Inspection, _ container: JSON, at path: String, _ whole: PodContext
    ) {
        HandlerRules.lifecycle(
            &inspection, container["lifecycle"], at: "\(path).lifecycle", gracePeriod: whole.gracePeriod)
        for probe in probes { HandlerRules.probe(&inspection, container[probe], at: path, named: probe) }
    }

    /// Init containers run one by one, except those that keep running beside the others.
    private static func initial(
        _ inspection: inout Inspection, _ container: JSON, at path: String, _ whole: PodContext,
        _ names: inout Set<String>
    ) {
        common(&inspection, container, at: path, whole)
        restarts(&inspection, container, at: path, supported: ["Always", "OnFailure", "Never"])
        inspection.unique(container["name"], "\(path).name", &names)
        var ownPorts = Set<String>()
        hostPorts(&inspection, container, at: path, &ownPorts)
        if container["restartPolicy"].string == "Always" {
            handlers(&inspection, container, at: path, whole)
        } else {
            for field in ["lifecycle"] + probes {
                inspection.forbid(
                    container[field], "\(path).\(field)",
                    "may not be set for init containers without restartPolicy=Always")
            }
        }
    }

    private static func ephemeral(
        _ inspection: inout Inspection, _ container: JSON, at path: String, _ whole: PodContext,
        _ names: inout Set<String>, others: Set<String>
    ) {
        common(&inspection, container, at: path, whole)
        inspection.unique(container["name"], "\(path).name", &names)
        if let target = container["targetContainerName"].string, !target.isEmpty, !others.contains(target) {
            inspection.report(.notFound("\(path).targetContainerName", JSON(target)))
        }
        let detail = "cannot be set for an Ephemeral Container"
        for field in notEphemeral where isSet(container[field]) {
            inspection.report(.forbidden("\(path).\(field)", detail))
        }
        inspection.each(container["volumeMounts"], "\(path).volumeMounts") { inspection, mount, place in
            for field in ["subPath", "subPathExpr"] where !(mount[field].string ?? "").isEmpty {
                inspection.report(.forbidden("\(place).\(field)", detail))
            }
        }
    }

    /// Empty lists and objects say as little as missing ones.
    private static func isSet(_ value: JSON?) -> Bool {
        switch value {
        case nil, .null?: false
        case .object(let members)?: !members.isEmpty
        case .array(let elements)?: !elements.isEmpty
        default: true
        }
    }

    /// What happens when the container ends, where that is said for it alone.
    private static func restarts(
        _ inspection: inout Inspection, _ container: JSON, at path: String, supported: [String]
    ) {
        inspection.oneOf(container["restartPolicy"], "\(path).restartPolicy", supported)
        let rules = container["restartPolicyRules"].array ?? []
        guard !rules.isEmpty else { return }
        let place = "\(path).restartPolicyRules"
        if container["restartPolicy"] == nil {
            inspection.report(
                .required("\(path).restartPolicy", "must specify restartPolicy when restart rules are used"))
        }
        if rules.count > 20 {
            inspection.report(FieldError(.tooLong, place, detail: "may not be more than 20 items"))
        }
        inspection.each(container["restartPolicyRules"], place) { inspection, rule, place in
            inspection.oneOf(
                rule["action"], "\(place).action", ["Restart", "RestartAllContainers"], missing: .required)
            guard let codes = rule["exitCodes"] else {
                inspection.report(.required("\(place).exitCodes", "must be specified"))
                return
            }
            inspection.oneOf(codes["operator"], "\(place).exitCodes.operator", ["In", "NotIn"], missing: .required)
            if (codes["values"].array ?? []).isEmpty {
                inspection.report(.required("\(place).exitCodes.values", "must specify at least one value"))
            }
        }
    }

    private static func ports(_ inspection: inout Inspection, _ ports: JSON?, at path: String) {
        var names = Set<String>()
        inspection.each(ports, path) { inspection, port, place in
            if let name = port["name"].string, !name.isEmpty {
                let problems = Names.portNameProblems(name)
                inspection.invalid("\(place).name", JSON(name), problems)
                if problems.isEmpty { inspection.unique(port["name"], "\(place).name", &names) }
            }
            if (port["containerPort"].int ?? 0) == 0 {
                inspection.report(.required("\(place).containerPort"))
            } else {
                inspection.port(port["containerPort"], "\(place).containerPort")
            }
            if (port["hostPort"].int ?? 0) != 0 { inspection.port(port["hostPort"], "\(place).hostPort") }
            inspection.oneOf(port["protocol"], "\(place).protocol", ["SCTP", "TCP", "UDP"], missing: .required)
        }
    }

    /// Two containers cannot have the same port of the node.
    private static func hostPorts(
        _ inspection: inout Inspection, _ container: JSON, at path: String, _ seen: inout Set<String>
    ) {
        for (index, port) in (container["ports"].array ?? []).enumerated() {
            guard let number = port["hostPort"].int, number != 0 else { continue }
            let key = "\(port["protocol"].string ?? "")/\(port["hostIP"].string ?? "")/\(number)"
            inspection.unique(JSON(key), "\(path).ports[\(index)].hostPort", &seen)
        }
    }
}
