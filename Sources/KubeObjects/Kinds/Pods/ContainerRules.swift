// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for a container.
enum ContainerRules {
    static func inspect(
        _ inspection: inout Inspection, _ container: JSON, at path: String, volumes: Set<String>,
        usesHostNetwork: Bool, hostPorts: inout Set<String>
    ) {
        if let name = inspection.requireText(container["name"], "\(path).name") {
            inspection.invalid("\(path).name", JSON(name), Names.labelProblems(name))
        }
        if let image = inspection.requireText(container["image"], "\(path).image") {
            if image.first?.isWhitespace == true || image.last?.isWhitespace == true {
                inspection.report(
                    .invalid("\(path).image", JSON(image), "must not have leading or trailing whitespace"))
            }
        }
        inspection.oneOf(container["imagePullPolicy"], "\(path).imagePullPolicy", ["Always", "IfNotPresent", "Never"])
        inspection.oneOf(
            container["terminationMessagePolicy"], "\(path).terminationMessagePolicy",
            ["File", "FallbackToLogsOnError"])
        ports(&inspection, container, at: path, usesHostNetwork, &hostPorts)
        environment(&inspection, container, at: path)
        mounts(&inspection, container, at: path, volumes)
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            if let value = container[probe], value.object != nil {
                ProbeRules.inspect(&inspection, value, at: "\(path).\(probe)", isReadiness: probe == "readinessProbe")
            }
        }
        ResourceRules.inspect(&inspection, container["resources"], at: "\(path).resources")
        PodRules.identity(&inspection, container["securityContext"], at: "\(path).securityContext")
    }

    private static func ports(
        _ inspection: inout Inspection, _ container: JSON, at path: String, _ usesHostNetwork: Bool,
        _ hostPorts: inout Set<String>
    ) {
        var names = Set<String>()
        for (index, port) in (container["ports"].array ?? []).enumerated() {
            let place = "\(path).ports[\(index)]"
            if let name = port["name"].string, !name.isEmpty {
                inspection.invalid("\(place).name", JSON(name), Names.portNameProblems(name))
                if !names.insert(name).inserted { inspection.report(.duplicate("\(place).name", JSON(name))) }
            }
            let number = port["containerPort"].int ?? 0
            if number == 0 {
                inspection.report(.required("\(place).containerPort"))
            } else {
                inspection.invalid("\(place).containerPort", JSON(number), Names.portProblems(number))
            }
            inspection.oneOf(port["protocol"], "\(place).protocol", ["TCP", "UDP", "SCTP"])
            guard let hostPort = port["hostPort"].int, hostPort != 0 else { continue }
            inspection.invalid("\(place).hostPort", JSON(hostPort), Names.portProblems(hostPort))
            if usesHostNetwork, hostPort != number {
                inspection.report(
                    .invalid(
                        "\(place).hostPort", JSON(hostPort), "must match `containerPort` when `hostNetwork` is true"))
            }
            let key = "\(port["protocol"].string ?? "TCP")/\(port["hostIP"].string ?? "")/\(hostPort)"
            if !hostPorts.insert(key).inserted { inspection.report(.duplicate("\(place).hostPort", JSON(hostPort))) }
        }
    }

    private static func environment(_ inspection: inout Inspection, _ container: JSON, at path: String) {
        for (index, variable) in (container["env"].array ?? []).enumerated() {
            let place = "\(path).env[\(index)]"
            if let name = inspection.requireText(variable["name"], "\(place).name") {
                inspection.invalid("\(place).name", JSON(name), Names.environmentNameProblems(name))
            }
            guard let source = variable["valueFrom"].object else { continue }
            if source.isEmpty {
                inspection.report(
                    .invalid(
                        "\(place).valueFrom", "",
                        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
                    ))
            } else if !(variable["value"].string ?? "").isEmpty {
                inspection.report(
                    .invalid("\(place).valueFrom", "", "may not be specified when `value` is not empty"))
            } else if source.count > 1 {
                inspection.report(
                    .invalid("\(place).valueFrom", "", "may not have more than one field specified at a time"))
            }
        }
        for (index, source) in (container["envFrom"].array ?? []).enumerated() {
            let place = "\(path).envFrom[\(index)]"
            let kinds = ["configMapRef", "secretRef"].filter { source[$0].object != nil }
            if kinds.count != 1 {
                inspection.report(
                    .invalid(
                        place, "",
                        kinds.isEmpty
                            ? "must specify one of: `configMapRef` or `secretRef`"
                            : "may not have more than one field specified at a time"))
            }
            for kind in kinds { inspection.requireText(source[kind]["name"], "\(place).\(kind).name") }
        }
    }

    private static func mounts(
        _ inspection: inout Inspection, _ container: JSON, at path: String, _ volumes: Set<String>
    ) {
        var paths = Set<String>()
        for (index, mount) in (container["volumeMounts"].array ?? []).enumerated() {
            let place = "\(path).volumeMounts[\(index)]"
            if let name = inspection.requireText(mount["name"], "\(place).name"), !volumes.contains(name) {
                inspection.report(.notFound("\(place).name", JSON(name)))
            }
            if let target = inspection.requireText(mount["mountPath"], "\(place).mountPath"),
                !paths.insert(target).inserted
            {
                inspection.report(.invalid("\(place).mountPath", JSON(target), "must be unique"))
            }
            for field in ["subPath", "subPathExpr"] {
                guard let text = mount[field].string, !text.isEmpty else { continue }
                if text.hasPrefix("/") {
                    inspection.report(.invalid("\(place).\(field)", JSON(text), "must be a relative path"))
                }
                if text.split(separator: "/").contains("..") {
                    inspection.report(.invalid("\(place).\(field)", JSON(text), "must not contain '..'"))
                }
            }
        }
    }
}

/// What must hold for a probe.
enum ProbeRules {
    static func inspect(_ inspection: inout Inspection, _ probe: JSON, at path: String, isReadiness: Bool) {
        let handlers = ["exec", "httpGet", "tcpSocket", "grpc"].filter { probe[$0].object != nil }
        if handlers.isEmpty { inspection.report(.required(path, "must specify a handler type")) }
        for extra in handlers.dropFirst() {
            inspection.report(.forbidden("\(path).\(extra)", "may not specify more than 1 handler type"))
        }
        for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
        {
            inspection.notNegative(probe[field], "\(path).\(field)")
        }
        if !isReadiness, let threshold = probe["successThreshold"].int, threshold > 1 {
            inspection.report(.invalid("\(path).successThreshold", JSON(threshold), "must be 1"))
        }
        if probe["exec"].object != nil, (probe["exec"]["command"].array ?? []).isEmpty {
            inspection.report(.required("\(path).exec.command"))
        }
        for handler in ["httpGet", "tcpSocket", "grpc"] where probe[handler].object != nil {
            self.port(&inspection, probe[handler]["port"], at: "\(path).\(handler).port")
        }
        if probe["httpGet"].object != nil {
            inspection.oneOf(probe["httpGet"]["scheme"], "\(path).httpGet.scheme", ["HTTP", "HTTPS"])
        }
    }

    /// A number or the name of a container's port.
    static func port(_ inspection: inout Inspection, _ port: JSON?, at path: String) {
        switch port {
        case .string(let name)?: inspection.invalid(path, JSON(name), Names.portNameProblems(name))
        case let value: inspection.invalid(path, value ?? 0, Names.portProblems(value.int ?? 0))
        }
    }
}

/// What must hold for requests and limits.
enum ResourceRules {
    static func inspect(_ inspection: inout Inspection, _ resources: JSON?, at path: String) {
        for list in ["limits", "requests"] {
            for (name, value) in resources[list].object ?? [:] {
                let place = "\(path).\(list)[\(name)]"
                inspection.invalid(place, JSON(name), Names.qualifiedNameProblems(name))
                guard let amount = value.string.flatMap({ Quantity($0) }), amount < .zero else { continue }
                inspection.report(.invalid(place, value, "must be greater than or equal to 0"))
            }
        }
        for (name, value) in resources["requests"].object ?? [:] {
            guard let limit = resources["limits"][name].string.flatMap({ Quantity($0) }),
                let request = value.string.flatMap({ Quantity($0) }), limit < request
            else { continue }
            inspection.report(
                .invalid(
                    "\(path).requests", value, "must be less than or equal to \(name) limit of \(limit)"))
        }
    }
}

/// What must hold for volumes.
enum VolumeRules {
    /// The names of the volumes, for mounts to refer to.
    static func names(_ inspection: inout Inspection, _ volumes: [JSON], at path: String) -> Set<String> {
        var names = Set<String>()
        for (index, volume) in volumes.enumerated() {
            let place = "\(path)[\(index)]"
            if let name = inspection.requireText(volume["name"], "\(place).name") {
                inspection.invalid("\(place).name", JSON(name), Names.labelProblems(name))
                if !names.insert(name).inserted { inspection.report(.duplicate("\(place).name", JSON(name))) }
            }
            let sources = (volume.object?.keys ?? []).filter { $0 != "name" }
            if sources.isEmpty { inspection.report(.required(place, "must specify a volume type")) }
            for extra in sources.dropFirst() {
                inspection.report(.forbidden("\(place).\(extra)", "may not specify more than 1 volume type"))
            }
            for (source, field) in [
                ("secret", "secretName"), ("configMap", "name"), ("hostPath", "path"),
                ("persistentVolumeClaim", "claimName"), ("nfs", "server"), ("csi", "driver"),
            ] where volume[source].object != nil {
                inspection.requireText(volume[source][field], "\(place).\(source).\(field)")
            }
        }
        return names
    }
}
