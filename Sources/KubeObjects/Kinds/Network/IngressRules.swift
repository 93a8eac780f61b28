// SPDX-License-Identifier: Apache-2.0

import Values

/// What must hold for an Ingress.
enum IngressRules {
    private static let annotation = "kubernetes.io/ingress.class"
    private static let forbiddenParts = ["//", "/./", "/../", "%2f", "%2F"]
    private static let forbiddenEnds = ["/..", "/."]

    static func inspect(_ inspection: inout Inspection) {
        let spec = inspection.object["spec"]
        let rules = spec["rules"].array ?? []
        if spec["defaultBackend"] == nil, rules.isEmpty {
            inspection.report(
                .invalid("spec", .array(rules), "either `defaultBackend` or `rules` must be specified"))
        }
        if let backend = spec["defaultBackend"] { self.backend(&inspection, backend, at: "spec.defaultBackend") }
        inspection.each(spec["rules"], "spec.rules") { inspection, rule, path in
            if let host = rule["host"].string, !host.isEmpty {
                if IPAddress(host) != nil {
                    inspection.report(
                        .invalid("\(path).host", JSON(host), "must be a DNS name, not an IP address"))
                }
                inspection.invalid("\(path).host", JSON(host), hostProblems(host))
            }
            guard let http = rule["http"] else { return }
            if (http["paths"].array ?? []).isEmpty { inspection.report(.required("\(path).http.paths")) }
            inspection.each(http["paths"], "\(path).http.paths") { self.path(&$0, $1, at: $2) }
        }
        inspection.each(spec["tls"], "spec.tls") { inspection, entry, path in
            inspection.eachText(entry["hosts"], "\(path).hosts") { inspection, host, place in
                inspection.invalid(place, JSON(host), hostProblems(host))
            }
            inspection.text(entry["secretName"], "\(path).secretName", Names.subdomainProblems)
        }
        inspection.text(spec["ingressClassName"], "spec.ingressClassName", Names.subdomainProblems)
        let older = inspection.object["metadata"]["annotations"][annotation].string
        if inspection.old == nil, let older, let name = spec["ingressClassName"].string, older != name {
            inspection.report(
                .invalid(
                    "annotations.\(annotation)", JSON(older),
                    "must match `ingressClassName` when both are specified"))
        }
    }

    private static func hostProblems(_ host: String) -> [String] {
        host.contains("*") ? Names.wildcardProblems(host) : Names.subdomainProblems(host)
    }

    private static func path(_ inspection: inout Inspection, _ entry: JSON, at place: String) {
        guard inspection.requireText(entry["pathType"], "\(place).pathType", "pathType must be specified") != nil
        else { return }
        let type = entry["pathType"].string ?? ""
        let text = entry["path"].string ?? ""
        let field = "\(place).path"
        switch type {
        case "Exact", "Prefix":
            if !text.hasPrefix("/") { inspection.report(.invalid(field, JSON(text), "must be an absolute path")) }
            for part in forbiddenParts where text.contains(part) {
                inspection.report(.invalid(field, JSON(text), "must not contain '\(part)'"))
            }
            for end in forbiddenEnds where text.hasSuffix(end) {
                inspection.report(.invalid(field, JSON(text), "cannot end with '\(end)'"))
            }
        case "ImplementationSpecific":
            if !text.isEmpty, !text.hasPrefix("/") {
                inspection.report(.invalid(field, JSON(text), "must be an absolute path"))
            }
        default:
            inspection.oneOf(
                entry["pathType"], "\(place).pathType", ["Exact", "ImplementationSpecific", "Prefix"])
        }
        backend(&inspection, entry["backend"] ?? .object([:]), at: "\(place).backend")
    }

    private static func backend(_ inspection: inout Inspection, _ backend: JSON, at path: String) {
        switch (backend["service"], backend["resource"]) {
        case (_?, _?): inspection.report(.invalid(path, "", "cannot set both resource and service backends"))
        case (nil, nil): inspection.report(.invalid(path, "", "resource or service backend is required"))
        case (nil, let resource?): TypedReferenceRules.inspect(&inspection, resource, at: "\(path).resource")
        case (let service?, nil):
            inspection.requireText(service["name"], "\(path).service.name", Names.label1035Problems)
            let name = service["port"]["name"].string ?? ""
            let number = service["port"]["number"].int ?? 0
            switch (name.isEmpty, number == 0) {
            case (false, false): inspection.report(.invalid(path, "", "cannot set both port name & port number"))
            case (false, true):
                inspection.invalid("\(path).service.port.name", JSON(name), Names.portNameProblems(name))
            case (true, false): inspection.port(service["port"]["number"], "\(path).service.port.number")
            case (true, true): inspection.report(.required(path, "port name or number is required"))
            }
        }
    }
}

/// What must hold for an IngressClass.
enum IngressClassRules {
    static func inspect(_ inspection: inout Inspection) {
        let spec = inspection.object["spec"]
        if let controller = inspection.requireText(spec["controller"], "spec.controller") {
            inspection.atMost(250, spec["controller"], "spec.controller")
            inspection.invalid("spec.controller", JSON(controller), Names.domainPathProblems(controller))
        }
        guard let parameters = spec["parameters"] else { return }
        let path = "spec.parameters"
        TypedReferenceRules.inspect(&inspection, parameters, at: path)
        inspection.oneOf(parameters["scope"], "\(path).scope", ["Cluster", "Namespace"], missing: .required)
        switch (parameters["scope"].string, parameters["namespace"]) {
        case ("Namespace", nil):
            inspection.report(
                .required("\(path).namespace", "`parameters.scope` is set to 'Namespace'"))
        case ("Namespace", let namespace?): inspection.text(namespace, "\(path).namespace", Names.labelProblems)
        case ("Cluster", _?):
            inspection.report(.forbidden("\(path).namespace", "`parameters.scope` is set to 'Cluster'"))
        default: break
        }
    }
}

/// What must hold for a reference that names group, kind and name.
enum TypedReferenceRules {
    static func inspect(_ inspection: inout Inspection, _ reference: JSON, at path: String) {
        if let group = reference["apiGroup"].string {
            inspection.invalid("\(path).apiGroup", JSON(group), Names.subdomainProblems(group))
        }
        for field in ["kind", "name"] {
            inspection.requireText(reference[field], "\(path).\(field)", Names.pathSegmentProblems)
        }
    }
}

/// What must hold for the addresses that a load balancer has given.
enum LoadBalancerRules {
    /// `usesModes`: how the address is reached is said beside it, as Services do.
    static func addresses(_ inspection: inout Inspection, usesModes: Bool) {
        let path = "status.loadBalancer.ingress"
        inspection.each(inspection.object["status"]["loadBalancer"]["ingress"], path) { inspection, entry, place in
            let hasAddress = !(entry["ip"].string ?? "").isEmpty
            if hasAddress { inspection.address(entry["ip"], "\(place).ip") }
            if usesModes { mode(&inspection, entry["ipMode"], at: "\(place).ipMode", hasAddress) }
            guard let host = entry["hostname"].string, !host.isEmpty else { return }
            inspection.invalid("\(place).hostname", JSON(host), Names.subdomainProblems(host))
            if IPAddress(host) != nil {
                inspection.report(
                    .invalid("\(place).hostname", JSON(host), "must be a DNS name, not an IP address"))
            }
        }
    }

    private static func mode(_ inspection: inout Inspection, _ mode: JSON?, at path: String, _ hasAddress: Bool) {
        if !hasAddress {
            inspection.forbid(mode, path, "may not be specified when `ip` is not set")
        } else if mode == nil {
            inspection.report(.required(path, "must be specified when `ip` is set"))
        } else {
            inspection.oneOf(mode, path, ["Proxy", "VIP"])
        }
    }
}
