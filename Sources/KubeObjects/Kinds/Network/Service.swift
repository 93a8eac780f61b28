// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let service = KindDescription(
        "", "Service", name: .label1035, strategy: Strategy(answersWithDeleted: true),
        selectable: [
            "spec.clusterIP": SelectableField(path: "spec.clusterIP"), "spec.type": SelectableField(path: "spec.type"),
        ],
        columns: [
            .objectName, .text("Type", "spec.type"), .text("Cluster-IP", "spec.clusterIP"),
            TableColumn("External-IP") { JSON(ServiceTable.externalAddresses($0.json)) },
            TableColumn("Port(s)") { JSON(ServiceTable.ports($0.json)) },
            .age,
            TableColumn("Selector", wide: true) { JSON(TemplateTable.labels($0["spec"]["selector"])) },
        ],
        initialStatus: { _ in ["loadBalancer": [:]] },
        defaults: { service in
            service.make("spec") { spec in
                spec.fillText("type", "ClusterIP")
                spec.fillText("sessionAffinity", "None")
                let type = spec["type"].string ?? ""
                if spec["sessionAffinity"].string == "ClientIP" {
                    spec.make("sessionAffinityConfig") { config in
                        config.make("clientIP") { $0.fillNumber("timeoutSeconds", 10800) }
                    }
                }
                spec.each("ports") { port in
                    port.fillText("protocol", "TCP")
                    let target = port["targetPort"]
                    if target == nil || target == .int(0) || target == .string("") { port["targetPort"] = port["port"] }
                }
                if type != "ExternalName" { spec.fillText("internalTrafficPolicy", "Cluster") }
                if type == "NodePort" || type == "LoadBalancer" { spec.fillText("externalTrafficPolicy", "Cluster") }
                if type == "LoadBalancer" { spec.fill("allocateLoadBalancerNodePorts", true) }
            }
        },
        rules: ServiceRules.inspect)
}

private enum ServiceRules {
    static func inspect(_ inspection: inout Inspection) {
        let spec = inspection.object["spec"] ?? .object([:])
        let type = spec["type"].string ?? ""
        inspection.oneOf(spec["type"], "spec.type", ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"])
        inspection.oneOf(spec["sessionAffinity"], "spec.sessionAffinity", ["ClientIP", "None"])
        inspection.oneOf(spec["externalTrafficPolicy"], "spec.externalTrafficPolicy", ["Cluster", "Local"])
        inspection.oneOf(spec["internalTrafficPolicy"], "spec.internalTrafficPolicy", ["Cluster", "Local"])
        inspection.oneOf(
            spec["ipFamilyPolicy"], "spec.ipFamilyPolicy", ["PreferDualStack", "RequireDualStack", "SingleStack"])
        MetadataRules.labels(&inspection, spec["selector"], "spec.selector")
        addresses(&inspection, spec, type)
        ports(&inspection, spec, type)
        if type == "ExternalName" {
            if let name = inspection.requireText(spec["externalName"], "spec.externalName") {
                let name = name.hasSuffix(".") ? String(name.dropLast()) : name
                inspection.invalid("spec.externalName", JSON(name), Names.subdomainProblems(name))
            }
        }
        if let seconds = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].int, !(1...86400).contains(seconds)
        {
            inspection.report(
                .invalid(
                    "spec.sessionAffinityConfig.clientIP.timeoutSeconds", JSON(seconds),
                    "must be greater than 0 and less than 86400"))
        }
        update(&inspection, spec, type)
    }

    private static func addresses(_ inspection: inout Inspection, _ spec: JSON, _ type: String) {
        let problem = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        for (index, value) in (spec["clusterIPs"].array ?? []).enumerated() {
            guard let text = value.string, text != "None", IPAddress(text) == nil else { continue }
            inspection.report(.invalid("spec.clusterIPs[\(index)]", value, problem))
        }
        if spec["clusterIPs"] == nil, let text = spec["clusterIP"].string, !text.isEmpty, text != "None",
            IPAddress(text) == nil
        {
            inspection.report(.invalid("spec.clusterIPs[0]", JSON(text), problem))
        }
        if spec["clusterIP"].string == "None", type == "NodePort" || type == "LoadBalancer" {
            inspection.report(
                .invalid("spec.clusterIPs[0]", "None", "may not be set to 'None' for \(type) services"))
        }
        for (index, value) in (spec["externalIPs"].array ?? []).enumerated() {
            guard let text = value.string, IPAddress(text) == nil else { continue }
            inspection.report(.invalid("spec.externalIPs[\(index)]", value, problem))
        }
        for (index, value) in (spec["loadBalancerSourceRanges"].array ?? []).enumerated() {
            guard let text = value.string, CIDR(text) == nil else { continue }
            inspection.report(
                .invalid(
                    "spec.loadBalancerSourceRanges[\(index)]", value,
                    "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"))
        }
    }

    private static func ports(_ inspection: inout Inspection, _ spec: JSON, _ type: String) {
        let ports = spec["ports"].array ?? []
        if ports.isEmpty, type != "ExternalName", spec["clusterIP"].string != "None" {
            inspection.report(.required("spec.ports"))
        }
        var names = Set<String>()
        var pairs = Set<String>()
        var nodePorts = Set<String>()
        for (index, port) in ports.enumerated() {
            let place = "spec.ports[\(index)]"
            let name = port["name"].string ?? ""
            if name.isEmpty {
                if ports.count > 1 { inspection.report(.required("\(place).name")) }
            } else {
                inspection.invalid("\(place).name", JSON(name), Names.labelProblems(name))
                if !names.insert(name).inserted { inspection.report(.duplicate("\(place).name", JSON(name))) }
            }
            let number = port["port"].int ?? 0
            inspection.invalid("\(place).port", JSON(number), Names.portProblems(number))
            inspection.oneOf(port["protocol"], "\(place).protocol", ["SCTP", "TCP", "UDP"])
            if let target = port["targetPort"] { ProbeRules.port(&inspection, target, at: "\(place).targetPort") }
            let protocolName = port["protocol"].string ?? "TCP"
            if !pairs.insert("\(protocolName)/\(number)").inserted {
                inspection.report(.duplicate(place, ["protocol": JSON(protocolName), "port": JSON(number)]))
            }
            guard let nodePort = port["nodePort"].int, nodePort != 0 else { continue }
            if type == "ClusterIP" || type == "ExternalName" {
                inspection.report(
                    .forbidden("\(place).nodePort", "may not be used when `type` is '\(type)'"))
            } else if !nodePorts.insert("\(protocolName)/\(nodePort)").inserted {
                inspection.report(.duplicate("\(place).nodePort", JSON(nodePort)))
            }
        }
    }

    /// The address of a Service stays what it is for as long as it has one.
    private static func update(_ inspection: inout Inspection, _ spec: JSON, _ type: String) {
        guard let old = inspection.old?["spec"], type != "ExternalName", old["type"].string != "ExternalName",
            let before = old["clusterIP"].string, !before.isEmpty
        else { return }
        let after = spec["clusterIP"].string ?? ""
        if after != before {
            inspection.report(
                .invalid("spec.clusterIPs[0]", spec["clusterIPs"] ?? [JSON(after)], "may not change once set"))
        }
    }
}

private enum ServiceTable {
    static func externalAddresses(_ service: JSON) -> String {
        let spec = service["spec"]
        let external = spec["externalIPs"].array?.compactMap(\.string) ?? []
        switch spec["type"].string {
        case "ExternalName": return spec["externalName"].string ?? "<none>"
        case "LoadBalancer":
            let given = (service["status"]["loadBalancer"]["ingress"].array ?? []).compactMap {
                $0["ip"].string ?? $0["hostname"].string
            }
            let all = given + external
            return all.isEmpty ? "<pending>" : all.joined(separator: ",")
        default: return external.isEmpty ? "<none>" : external.joined(separator: ",")
        }
    }

    static func ports(_ service: JSON) -> String {
        let ports = (service["spec"]["ports"].array ?? []).map { port in
            let number = String(port["port"].int ?? 0)
            let node = port["nodePort"].int ?? 0
            return "\(number)\(node > 0 ? ":\(node)" : "")/\(port["protocol"].string ?? "TCP")"
        }
        return ports.isEmpty ? "<none>" : ports.joined(separator: ",")
    }
}
