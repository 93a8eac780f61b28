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
        rules: IngressRules.inspect, statusRules: { LoadBalancerRules.addresses(&$0, usesModes: false) })

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
        rules: IngressClassRules.inspect)

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
