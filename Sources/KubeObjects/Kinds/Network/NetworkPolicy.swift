// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
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
}

private enum NetworkPolicyRules {
    static func inspect(_ inspection: inout Inspection) {
        let spec = inspection.object["spec"]
        LabelSelectorRules.inspect(&inspection, spec["podSelector"], at: "spec.podSelector")
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            inspection.each(spec[direction], "spec.\(direction)") { inspection, rule, path in
                inspection.each(rule["ports"], "\(path).ports") { port(&$0, $1, at: $2) }
                inspection.each(rule[peers], "\(path).\(peers)") { peer(&$0, $1, at: $2) }
            }
        }
        let types = spec["policyTypes"].array ?? []
        if types.count > 2 {
            inspection.report(
                .invalid("spec.policyTypes", .array(types), "may not specify more than two policyTypes"))
        } else {
            inspection.each(spec["policyTypes"], "spec.policyTypes") {
                $0.oneOf($1, $2, ["Ingress", "Egress"], missing: .notSupported)
            }
        }
    }

    private static func port(_ inspection: inout Inspection, _ port: JSON, at path: String) {
        inspection.oneOf(port["protocol"], "\(path).protocol", ["TCP", "UDP", "SCTP"])
        let end = port["endPort"]
        guard let first = port["port"] else {
            if let end {
                inspection.report(
                    .invalid("\(path).endPort", end, "may not be specified when `port` is not specified"))
            }
            return
        }
        if first.string != nil, let end {
            inspection.report(
                .invalid("\(path).endPort", end, "may not be specified when `port` is non-numeric"))
        }
        inspection.portOrName(first, "\(path).port")
        guard let number = first.int, let end, let last = end.int else { return }
        if last < number {
            inspection.report(.invalid("\(path).endPort", end, "must be greater than or equal to `port`"))
        }
        inspection.port(end, "\(path).endPort")
    }

    private static func peer(_ inspection: inout Inspection, _ peer: JSON, at path: String) {
        for selector in ["podSelector", "namespaceSelector"] {
            LabelSelectorRules.inspect(&inspection, peer[selector], at: "\(path).\(selector)")
        }
        let present = ["podSelector", "namespaceSelector", "ipBlock"].filter { peer[$0] != nil }
        if present.isEmpty { inspection.report(.required(path, "must specify a peer")) }
        guard let block = peer["ipBlock"] else { return }
        if present.count > 1 {
            inspection.report(.forbidden(path, "may not specify both ipBlock and another peer"))
        }
        guard let text = inspection.requireText(block["cidr"], "\(path).ipBlock.cidr") else { return }
        inspection.network(block["cidr"], "\(path).ipBlock.cidr")
        guard let network = CIDR(text) else { return }
        inspection.each(block["except"], "\(path).ipBlock.except") { inspection, except, place in
            inspection.network(except, place)
            guard let inner = except.string.flatMap({ CIDR($0) }) else { return }
            if !network.contains(inner) || inner.prefixLength <= network.prefixLength {
                inspection.report(.invalid(place, except, "must be a strict subset of `cidr`"))
            }
        }
    }
}
