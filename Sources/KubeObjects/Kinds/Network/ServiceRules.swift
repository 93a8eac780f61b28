// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for a Service.
enum ServiceRules {
    private static let onlyLoadBalancers = "may only be used when `type` is 'LoadBalancer'"
    private static let longestAffinity = 86400

    static func inspect(_ inspection: inout Inspection) {
        let spec = inspection.object["spec"] ?? .object([:])
        let type = spec["type"].string ?? ""
        inspection.oneOf(
            spec["type"], "spec.type", ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], missing: .required)
        MetadataRules.labels(&inspection, spec["selector"], "spec.selector")
        ports(&inspection, spec, type)
        affinity(&inspection, spec)
        if type == "ExternalName" {
            externalName(&inspection, spec)
        } else {
            ServiceAddressRules.inspect(&inspection, spec, type)
        }
        inspection.each(spec["externalIPs"], "spec.externalIPs") { inspection, address, path in
            inspection.address(address, path)
            inspection.text(address, path, AddressRules.specialProblems)
        }
        traffic(&inspection, spec, type)
        loadBalancer(&inspection, spec, type)
        ServiceAddressRules.update(&inspection, spec)
    }

    private static func externalName(_ inspection: inout Inspection, _ spec: JSON) {
        for field in ["clusterIPs", "ipFamilies"] where !(spec[field].array ?? []).isEmpty {
            inspection.report(.forbidden("spec.\(field)", "may not be set for ExternalName services"))
        }
        inspection.forbid(spec["ipFamilyPolicy"], "spec.ipFamilyPolicy", "may not be set for ExternalName services")
        inspection.requireText(spec["externalName"], "spec.externalName") { name in
            Names.subdomainProblems(name.hasSuffix(".") ? String(name.dropLast()) : name)
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
        inspection.each(spec["ports"], "spec.ports") { inspection, port, place in
            if (port["name"].string ?? "").isEmpty {
                if ports.count > 1 { inspection.report(.required("\(place).name")) }
            } else {
                inspection.text(port["name"], "\(place).name", Names.labelProblems)
                inspection.unique(port["name"], "\(place).name", &names)
            }
            inspection.port(port["port"], "\(place).port")
            inspection.oneOf(port["protocol"], "\(place).protocol", ["SCTP", "TCP", "UDP"], missing: .required)
            inspection.portOrName(port["targetPort"], "\(place).targetPort")
            inspection.text(port["appProtocol"], "\(place).appProtocol", Names.qualifiedNameProblems)
            let transport = port["protocol"].string ?? ""
            let number = port["port"].int ?? 0
            if !pairs.insert("\(transport)/\(number)").inserted {
                inspection.report(.duplicate(place, ["protocol": JSON(transport), "port": JSON(number)]))
            }
            guard let nodePort = port["nodePort"].int, nodePort != 0 else { return }
            if type == "ClusterIP" {
                inspection.report(.forbidden("\(place).nodePort", "may not be used when `type` is 'ClusterIP'"))
            }
            if !nodePorts.insert("\(transport)/\(nodePort)").inserted {
                inspection.report(.duplicate("\(place).nodePort", JSON(nodePort)))
            }
        }
    }

    private static func affinity(_ inspection: inout Inspection, _ spec: JSON) {
        inspection.oneOf(
            spec["sessionAffinity"], "spec.sessionAffinity", ["ClientIP", "None"], missing: .required)
        let path = "spec.sessionAffinityConfig"
        switch spec["sessionAffinity"].string {
        case "ClientIP":
            let field = "\(path).clientIP.timeoutSeconds"
            guard let value = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"] else {
                inspection.report(.required(field, "when session affinity type is ClientIP"))
                return
            }
            if let seconds = value.int, !(1...longestAffinity).contains(seconds) {
                inspection.report(
                    .invalid(field, value, "must be greater than 0 and less than \(longestAffinity)"))
            }
        case "None":
            inspection.forbid(
                spec["sessionAffinityConfig"], path, "must not be set when session affinity is None")
        default: break
        }
    }

    private static func traffic(_ inspection: inout Inspection, _ spec: JSON, _ type: String) {
        let outer = spec["externalTrafficPolicy"]
        if ServiceTypes.isReachedFromOutside(spec) {
            inspection.oneOf(outer, "spec.externalTrafficPolicy", ["Cluster", "Local"], missing: .required)
        } else if let outer, outer != "" {
            inspection.report(
                .invalid("spec.externalTrafficPolicy", outer, "may only be set for externally-accessible services"))
        }
        if let port = spec["healthCheckNodePort"].int, port != 0 {
            if ServiceTypes.needsHealthCheck(spec) {
                inspection.port(spec["healthCheckNodePort"], "spec.healthCheckNodePort")
            } else {
                inspection.report(
                    .invalid(
                        "spec.healthCheckNodePort", JSON(port),
                        "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"))
            }
        }
        let isJudged = ["ClusterIP", "NodePort", "LoadBalancer"].contains(type)
        inspection.oneOf(
            spec["internalTrafficPolicy"], "spec.internalTrafficPolicy", ["Cluster", "Local"],
            missing: isJudged ? .required : .passes)
        inspection.oneOf(
            spec["trafficDistribution"], "spec.trafficDistribution",
            ["PreferClose", "PreferSameNode", "PreferSameZone"])
    }

    private static func loadBalancer(_ inspection: inout Inspection, _ spec: JSON, _ type: String) {
        let isBalanced = type == "LoadBalancer"
        // Upstream writes this field's name with a capital in its paths.
        let ranges = "spec.LoadBalancerSourceRanges"
        if !(spec["loadBalancerSourceRanges"].array ?? []).isEmpty {
            if !isBalanced { inspection.report(.forbidden(ranges, onlyLoadBalancers)) }
            inspection.eachText(spec["loadBalancerSourceRanges"], ranges) { inspection, text, path in
                inspection.network(JSON(text.split { $0.isWhitespace }.joined(separator: " ")), path)
            }
        }
        if !isBalanced {
            for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
                inspection.forbid(spec[field], "spec.\(field)", onlyLoadBalancers)
            }
            return
        }
        inspection.text(spec["loadBalancerClass"], "spec.loadBalancerClass", Names.qualifiedNameProblems)
        guard let old = inspection.old?["spec"], old["type"].string == "LoadBalancer" else { return }
        if old["loadBalancerClass"] != spec["loadBalancerClass"] {
            inspection.report(
                .invalid("spec.loadBalancerClass", spec["loadBalancerClass"] ?? .null, "may not change once set"))
        }
        if ServiceTypes.needsHealthCheck(old), ServiceTypes.needsHealthCheck(spec),
            let before = old["healthCheckNodePort"], before != spec["healthCheckNodePort"]
        {
            inspection.report(.forbidden("spec.healthCheckNodePort", "field is immutable"))
        }
    }
}

/// What must hold for the addresses of a Service within the cluster.
enum ServiceAddressRules {
    private static func texts(_ value: JSON?) -> [String] { value.array?.compactMap(\.string) ?? [] }

    static func inspect(_ inspection: inout Inspection, _ spec: JSON, _ type: String) {
        let field = "spec.clusterIPs"
        let addresses = texts(spec["clusterIPs"])
        let list = JSON(addresses)
        if let first = spec["clusterIP"].string, !first.isEmpty {
            if addresses.isEmpty { inspection.report(.required(field)) }
            if let other = addresses.first, other != first {
                inspection.report(.invalid(field, list, "first value must match `clusterIP`"))
            }
        } else if !addresses.isEmpty {
            inspection.report(.invalid(field, list, "must be empty when `clusterIP` is not specified"))
        }
        if addresses == ["None"], type == "NodePort" || type == "LoadBalancer" {
            inspection.report(
                .invalid("\(field)[0]", "None", "may not be set to 'None' for \(type) services"))
        }
        families(&inspection, spec)
        var isBroken = false
        for (index, address) in addresses.enumerated() {
            if index == 0, address == "None" {
                if addresses.count > 1 {
                    isBroken = true
                    inspection.report(.invalid(field, list, "'None' must be the first and only value"))
                }
            } else if IPAddress(address) == nil {
                isBroken = true
                inspection.address(JSON(address), "\(field)[\(index)]")
            }
        }
        if addresses.count > 2 { inspection.report(.invalid(field, list, "may only hold up to 2 values")) }
        if isBroken { return }
        if addresses.count > 1, !AddressRules.isDualStack(addresses) {
            inspection.report(.invalid(field, list, "may specify no more than one IP for each IP family"))
        }
        for (index, pair) in zip(addresses, texts(spec["ipFamilies"])).enumerated() {
            guard let family = IPAddress(pair.0)?.family else { continue }
            let wanted: IPFamily = pair.1 == "IPv6" ? .v6 : .v4
            if family != wanted, ["IPv4", "IPv6"].contains(pair.1) {
                inspection.report(
                    .invalid(
                        "\(field)[\(index)]", JSON(pair.0),
                        "expected an \(pair.1) value as indicated by `ipFamilies[\(index)]`"))
            }
        }
    }

    private static func families(_ inspection: inout Inspection, _ spec: JSON) {
        var seen = Set<String>()
        inspection.each(spec["ipFamilies"], "spec.ipFamilies") { inspection, family, path in
            inspection.oneOf(family, path, ["IPv4", "IPv6"], missing: .notSupported)
            inspection.unique(family, path, &seen)
        }
        inspection.oneOf(
            spec["ipFamilyPolicy"], "spec.ipFamilyPolicy", ["PreferDualStack", "RequireDualStack", "SingleStack"])
    }

    /// The first address and family of a Service stay what they are; a second one comes and goes.
    static func update(_ inspection: inout Inspection, _ spec: JSON) {
        guard let old = inspection.old?["spec"], spec["type"].string != "ExternalName",
            old["type"].string != "ExternalName"
        else { return }
        let wasHeadless = texts(old["clusterIPs"]) == ["None"]
        let isHeadless = texts(spec["clusterIPs"]) == ["None"]
        if !(wasHeadless && isHeadless) {
            change(&inspection, old, spec, "clusterIPs", "clusterIP")
        }
        if !wasHeadless, !isHeadless { change(&inspection, old, spec, "ipFamilies", "ipFamily") }
    }

    private static func change(
        _ inspection: inout Inspection, _ old: JSON, _ spec: JSON, _ field: String, _ one: String
    ) {
        let before = texts(old[field])
        let after = texts(spec[field])
        let value = JSON(after)
        if before.count == after.count {
            for (index, pair) in zip(before, after).enumerated() where pair.0 != pair.1 {
                inspection.report(.invalid("spec.\(field)[\(index)]", value, "may not change once set"))
            }
            return
        }
        guard let first = before.first else { return }
        if after.isEmpty {
            inspection.report(.invalid("spec.\(field)[0]", value, "primary \(one) can not be unset"))
        } else if after.first != first {
            inspection.report(.invalid("spec.\(field)[0]", value, "may not change once set"))
        }
        if after.count == 1, before.count > 1, spec["ipFamilyPolicy"].string != "SingleStack" {
            inspection.report(
                .invalid(
                    "spec.ipFamilyPolicy", spec["ipFamilyPolicy"] ?? .null,
                    "must be set to 'SingleStack' when releasing the secondary \(one)"))
        }
    }
}
