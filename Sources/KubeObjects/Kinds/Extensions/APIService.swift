// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let apiService = KindDescription(
        "apiregistration.k8s.io", "APIService", name: .pathSegment,
        strategy: Strategy(allowsUnconditionalUpdate: false),
        columns: [
            .objectName,
            TableColumn("Service") { service in
                guard let reference = service["spec"]["service"], reference.object != nil else { return "Local" }
                return JSON("\(reference["namespace"].string ?? "")/\(reference["name"].string ?? "")")
            },
            TableColumn("Available") { service in
                let condition = (service["status"]["conditions"].array ?? []).first { $0["type"].string == "Available" }
                let status = condition?["status"].string ?? "Unknown"
                guard status != "True", let reason = condition?["reason"].string else { return JSON(status) }
                return JSON("\(status) (\(reason))")
            },
            .age,
        ],
        initialStatus: { service in
            // What this server serves itself is there at once.
            guard service["spec"]["service"] == nil else { return .object([:]) }
            return [
                "conditions": [
                    [
                        "type": "Available", "status": "True", "reason": "Local",
                        "message": "Local APIServices are always available",
                        "lastTransitionTime": service["metadata"]["creationTimestamp"] ?? .null,
                    ]
                ]
            ]
        },
        defaults: { object in
            object.change("spec") { $0.change("service") { $0.fillNumber("port", 443) } }
        },
        rules: APIServiceRules.inspect)
}

private enum APIServiceRules {
    static func inspect(_ inspection: inout Inspection) {
        let spec = inspection.object["spec"]
        let group = spec["group"].string ?? ""
        let version = spec["version"].string ?? ""
        let name = inspection.object["metadata"]["name"].string ?? ""
        if !name.isEmpty, name != "\(version).\(group)" {
            inspection.report(
                .invalid("metadata.name", JSON(name), "must be `spec.version+\".\"+spec.group`"))
        }
        inspection.text(spec["group"], "spec.group", Names.subdomainProblems)
        if group.isEmpty, version != "v1" {
            inspection.report(
                .required("spec.group", "only v1 may have an empty group and it better be legacy kube"))
        }
        inspection.requireText(spec["version"], "spec.version", Names.label1035Problems)
        for (field, most) in [("groupPriorityMinimum", 20000), ("versionPriority", 1000)] {
            let value = spec[field].int ?? 0
            if !(1...most).contains(value) {
                inspection.report(
                    .invalid("spec.\(field)", JSON(value), "must be positive and less than \(most)"))
            }
        }
        let isBlind = spec["insecureSkipTLSVerify"].bool ?? false
        let bundle = spec["caBundle"].string ?? ""
        guard let service = spec["service"] else {
            if !bundle.isEmpty {
                inspection.report(
                    .invalid(
                        "spec.caBundle", JSON("\(Base64.bytes(bundle)?.count ?? 0) bytes"),
                        "local APIServices may not have a caBundle"))
            }
            if isBlind {
                inspection.report(
                    .invalid(
                        "spec.insecureSkipTLSVerify", true,
                        "local APIServices may not have insecureSkipTLSVerify"))
            }
            return
        }
        inspection.requireText(service["namespace"], "spec.service.namespace")
        inspection.requireText(service["name"], "spec.service.name")
        if let port = service["port"], let number = port.int, !(1...65535).contains(number) {
            inspection.report(
                .invalid(
                    "spec.service.port", port, "port is not valid: must be between 1 and 65535, inclusive"))
        }
        if isBlind, !bundle.isEmpty {
            inspection.report(
                .invalid("spec.insecureSkipTLSVerify", true, "may not be true if caBundle is present"))
        }
    }
}
