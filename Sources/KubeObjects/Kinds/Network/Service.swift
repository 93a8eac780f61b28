// SPDX-License-Identifier: Apache-2.0

public import Values

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
        keep: ServiceTypes.keep,
        keepInStatus: { service, _ in ServiceTypes.modes(&service) },
        defaults: { service in
            service.make("spec") { spec in
                spec.fillText("type", "ClusterIP")
                spec.fillText("sessionAffinity", "None")
                let type = spec["type"].string ?? ""
                // Who switches affinity off need not take away how it was set.
                if spec["sessionAffinity"].string == "None" { spec["sessionAffinityConfig"] = nil }
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
                if ServiceTypes.isReachedFromOutside(spec) { spec.fillText("externalTrafficPolicy", "Cluster") }
                if type == "LoadBalancer" { spec.fill("allocateLoadBalancerNodePorts", true) }
                // The first address stands in two fields, an older and a newer.
                if let address = spec["clusterIP"].string, !address.isEmpty, (spec["clusterIPs"].array ?? []).isEmpty {
                    spec["clusterIPs"] = [JSON(address)]
                }
            }
        },
        rules: ServiceRules.inspect, statusRules: { LoadBalancerRules.addresses(&$0, usesModes: true) })
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

/// What only Services of some types have.
public enum ServiceTypes {
    static func isReachedFromOutside(_ spec: JSON?) -> Bool {
        switch spec["type"].string {
        case "NodePort", "LoadBalancer": true
        case "ClusterIP": !(spec["externalIPs"].array ?? []).isEmpty
        default: false
        }
    }

    /// A port of the node tells the load balancer whether the node has pods of the Service.
    public static func needsHealthCheck(_ spec: JSON?) -> Bool {
        spec["type"].string == "LoadBalancer" && spec["externalTrafficPolicy"].string == "Local"
    }

    private static let dependent: [(field: String, isNeeded: @Sendable (JSON?) -> Bool)] = [
        ("externalTrafficPolicy", isReachedFromOutside),
        ("healthCheckNodePort", needsHealthCheck),
        ("allocateLoadBalancerNodePorts", { $0["type"].string == "LoadBalancer" }),
        ("loadBalancerClass", { $0["type"].string == "LoadBalancer" }),
    ]

    /// Who changes the type need not take away what the new type does not have.
    static func keep(_ service: inout JSON, _ old: JSON) {
        service.change("spec") { spec in
            let before = old["spec"]
            for (field, isNeeded) in dependent
            where isNeeded(before) && !isNeeded(spec) && spec[field] == before[field] { spec[field] = nil }
        }
    }

    /// Addresses of load balancers are the Service's own unless somebody says that they are a proxy's.
    static func modes(_ service: inout JSON) {
        guard service["spec"]["type"].string == "LoadBalancer" else { return }
        service.change("status") { status in
            status.change("loadBalancer") { balancer in
                balancer.each("ingress") { entry in
                    if !(entry["ip"].string ?? "").isEmpty { entry.fillText("ipMode", "VIP") }
                }
            }
        }
    }
}
