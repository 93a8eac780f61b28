// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let ingress = KindDescription(
        "networking.k8s.io", "Ingress",
        strategy: Strategy(countsGenerations: true),
        columns: [
            .objectName, .text("Class", "spec.ingressClassName"),
            TableColumn("Hosts") { ingress in
                let hosts = (ingress["spec"]["rules"].array ?? []).compactMap { $0["host"].string }.filter {
                    !$0.isEmpty
                }
                let more = hosts.count > 3 ? " + \(hosts.count - 3) more..." : ""
                return JSON(hosts.isEmpty ? "*" : hosts.prefix(3).joined(separator: ",") + more)
            },
            TableColumn("Address") { ingress in
                let given = (ingress["status"]["loadBalancer"]["ingress"].array ?? []).compactMap {
                    $0["ip"].string ?? $0["hostname"].string
                }
                return JSON(given.joined(separator: ","))
            },
            TableColumn("Ports") { JSON(($0["spec"]["tls"].array ?? []).isEmpty ? "80" : "80, 443") },
            .age,
        ],
        initialStatus: { _ in ["loadBalancer": [:]] },
        rules: IngressRules.inspect)

    static let ingressClass = KindDescription(
        "networking.k8s.io", "IngressClass",
        strategy: Strategy(countsGenerations: true),
        immutable: ["spec.controller"],
        columns: [
            TableColumn("Name", format: "name") { object, _ in
                let isDefault = object.annotations["ingressclass.kubernetes.io/is-default-class"] == "true"
                return JSON(object.name + (isDefault ? " (default)" : ""))
            },
            .text("Controller", "spec.controller"),
            TableColumn("Parameters") { object in
                guard let parameters = object["spec"]["parameters"], let kind = parameters["kind"].string else {
                    return "<none>"
                }
                let group = parameters["apiGroup"].string.map { ".\($0)" } ?? ""
                return JSON("\(kind)\(group)/\(parameters["name"].string ?? "")")
            },
            .age,
        ],
        defaults: { object in
            object.change("spec") { $0.change("parameters") { $0.fillText("scope", "Cluster") } }
        },
        rules: { inspection in inspection.requireText(inspection.object["spec"]["controller"], "spec.controller") })

    static let networkPolicy = KindDescription(
        "networking.k8s.io", "NetworkPolicy",
        strategy: Strategy(countsGenerations: true),
        columns: [
            .objectName,
            TableColumn("Pod-Selector") { JSON(TemplateTable.selector($0["spec"]["podSelector"])) },
            .age,
        ],
        defaults: { policy in
            policy.make("spec") { spec in
                spec.fill("podSelector", .object([:]))
                let hasEgress = !(spec["egress"].array ?? []).isEmpty
                if (spec["policyTypes"].array ?? []).isEmpty {
                    spec["policyTypes"] = JSON(hasEgress ? ["Ingress", "Egress"] : ["Ingress"])
                }
                for direction in ["ingress", "egress"] {
                    spec.each(direction) { rule in rule.each("ports") { $0.fillText("protocol", "TCP") } }
                }
            }
        },
        rules: NetworkPolicyRules.inspect)

    static let ipAddress = KindDescription(
        "networking.k8s.io", "IPAddress",
        columns: [
            .objectName,
            TableColumn("ParentRef") { object in
                let parent = object["spec"]["parentRef"]
                let parts = ["group", "resource", "namespace", "name"].compactMap { parent[$0].string }.filter {
                    !$0.isEmpty
                }
                return JSON(parts.joined(separator: "/"))
            },
        ])

    static let serviceCIDR = KindDescription(
        "networking.k8s.io", "ServiceCIDR",
        columns: [
            .objectName,
            TableColumn("CIDRs") {
                JSON(($0["spec"]["cidrs"].array?.compactMap(\.string) ?? []).joined(separator: ","))
            },
            .age,
        ],
        initialStatus: { _ in .object([:]) },
        rules: { inspection in
            for (index, value) in (inspection.object["spec"]["cidrs"].array ?? []).enumerated() {
                guard CIDR(value.string ?? "") == nil else { continue }
                inspection.report(
                    .invalid(
                        "spec.cidrs[\(index)]", value, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
                    ))
            }
        })
}

private enum IngressRules {
    static func inspect(_ inspection: inout Inspection) {
        let spec = inspection.object["spec"]
        if spec["defaultBackend"] == nil, (spec["rules"].array ?? []).isEmpty {
            inspection.report(
                .invalid("spec", spec?["rules"] ?? .array([]), "either `defaultBackend` or `rules` must be specified"))
        }
        for (index, rule) in (spec["rules"].array ?? []).enumerated() {
            let path = "spec.rules[\(index)]"
            if let host = rule["host"].string, !host.isEmpty {
                inspection.invalid(
                    "\(path).host", JSON(host),
                    host.contains("*") ? Names.wildcardProblems(host) : Names.subdomainProblems(host))
            }
            for (number, entry) in (rule["http"]["paths"].array ?? []).enumerated() {
                let place = "\(path).http.paths[\(number)]"
                if inspection.requireText(entry["pathType"], "\(place).pathType", "pathType must be specified") != nil {
                    inspection.oneOf(
                        entry["pathType"], "\(place).pathType", ["Exact", "ImplementationSpecific", "Prefix"])
                }
                let text = entry["path"].string ?? ""
                if entry["pathType"].string != "ImplementationSpecific", !text.hasPrefix("/") {
                    inspection.report(.invalid("\(place).path", JSON(text), "must be an absolute path"))
                }
                backend(&inspection, entry["backend"], at: "\(place).backend")
            }
        }
        if spec["defaultBackend"] != nil { backend(&inspection, spec["defaultBackend"], at: "spec.defaultBackend") }
    }

    private static func backend(_ inspection: inout Inspection, _ backend: JSON?, at path: String) {
        guard let service = backend["service"] else {
            if backend["resource"] == nil { inspection.report(.required(path, "port name or number is required")) }
            return
        }
        inspection.requireText(service["name"], "\(path).service.name")
        if service["port"]["number"] == nil, (service["port"]["name"].string ?? "").isEmpty {
            inspection.report(.required("\(path).service", "port name or number is required"))
        }
    }
}

private enum NetworkPolicyRules {
    static func inspect(_ inspection: inout Inspection) {
        let spec = inspection.object["spec"]
        LabelSelectorRules.inspect(&inspection, spec["podSelector"], at: "spec.podSelector")
        for (index, type) in (spec["policyTypes"].array ?? []).enumerated() {
            inspection.oneOf(type, "spec.policyTypes[\(index)]", ["Egress", "Ingress"])
        }
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            for (index, rule) in (spec[direction].array ?? []).enumerated() {
                for (number, peer) in (rule[peers].array ?? []).enumerated() {
                    self.peer(&inspection, peer, at: "spec.\(direction)[\(index)].\(peers)[\(number)]")
                }
            }
        }
    }

    private static func peer(_ inspection: inout Inspection, _ peer: JSON, at path: String) {
        if let block = peer["ipBlock"] {
            if peer.object?.count ?? 0 > 1 {
                inspection.report(.forbidden(path, "may not specify both ipBlock and another peer"))
            }
            guard let text = inspection.requireText(block["cidr"], "\(path).ipBlock.cidr") else { return }
            guard let network = CIDR(text) else {
                inspection.report(
                    .invalid(
                        "\(path).ipBlock.cidr", JSON(text),
                        "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"))
                return
            }
            for (index, except) in (block["except"].array ?? []).enumerated() {
                if let inner = except.string.flatMap({ CIDR($0) }), network.contains(inner),
                    inner.prefixLength > network.prefixLength
                {
                    continue
                }
                inspection.report(
                    .invalid("\(path).ipBlock.except[\(index)]", except, "must be a strict subset of `cidr`"))
            }
        } else if peer["podSelector"] == nil, peer["namespaceSelector"] == nil {
            inspection.report(.required(path, "must specify a peer"))
        }
    }
}
