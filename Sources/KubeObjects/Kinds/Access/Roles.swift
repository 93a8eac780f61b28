// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    private static let group = "rbac.authorization.k8s.io"

    static let roles = ["Role", "ClusterRole"].map { kind in
        KindDescription(
            group, kind, name: .pathSegment, columns: [.objectName, .createdAt],
            rules: { inspection in
                for (index, rule) in (inspection.object["rules"].array ?? []).enumerated() {
                    let path = "rules[\(index)]"
                    if (rule["verbs"].array ?? []).isEmpty {
                        inspection.report(.required("\(path).verbs", "verbs must contain at least one value"))
                    }
                    if !(rule["nonResourceURLs"].array ?? []).isEmpty {
                        if kind == "Role" {
                            inspection.report(
                                .invalid(
                                    "\(path).nonResourceURLs", rule["nonResourceURLs"] ?? .array([]),
                                    "namespaced rules cannot apply to non-resource URLs"))
                        }
                        continue
                    }
                    if (rule["apiGroups"].array ?? []).isEmpty {
                        inspection.report(
                            .required("\(path).apiGroups", "resource rules must supply at least one api group"))
                    }
                    if (rule["resources"].array ?? []).isEmpty {
                        inspection.report(
                            .required("\(path).resources", "resource rules must supply at least one resource"))
                    }
                }
            })
    }

    static let roleBindings = ["RoleBinding", "ClusterRoleBinding"].map { kind in
        KindDescription(
            group, kind, name: .pathSegment,
            columns: [
                .objectName,
                TableColumn("Role") {
                    JSON("\($0["roleRef"]["kind"].string ?? "")/\($0["roleRef"]["name"].string ?? "")")
                },
                .age,
                TableColumn("Users", wide: true) { JSON(subjects($0.json, "User")) },
                TableColumn("Groups", wide: true) { JSON(subjects($0.json, "Group")) },
                TableColumn("ServiceAccounts", wide: true) { JSON(subjects($0.json, "ServiceAccount")) },
            ],
            defaults: { binding in
                binding.change("roleRef") { $0.fillText("apiGroup", group) }
                binding.each("subjects") { subject in
                    switch subject["kind"].string {
                    case "User", "Group": subject.fillText("apiGroup", group)
                    default: break
                    }
                }
            },
            rules: { inspection in
                let reference = inspection.object["roleRef"]
                inspection.oneOf(reference["apiGroup"], "roleRef.apiGroup", [group])
                inspection.oneOf(
                    reference["kind"], "roleRef.kind",
                    kind == "RoleBinding" ? ["ClusterRole", "Role"] : ["ClusterRole"])
                inspection.requireText(reference["name"], "roleRef.name")
                for (index, subject) in (inspection.object["subjects"].array ?? []).enumerated() {
                    let path = "subjects[\(index)]"
                    inspection.requireText(subject["name"], "\(path).name")
                    inspection.oneOf(subject["kind"], "\(path).kind", ["Group", "ServiceAccount", "User"])
                    if subject["kind"].string == "ServiceAccount" {
                        inspection.requireText(subject["namespace"], "\(path).namespace")
                    }
                }
                inspection.immutable("roleRef", detail: "cannot change roleRef")
            })
    }

    private static func subjects(_ binding: JSON, _ kind: String) -> String {
        (binding["subjects"].array ?? []).filter { $0["kind"].string == kind }.map { subject in
            let name = subject["name"].string ?? ""
            return kind == "ServiceAccount" ? "\(subject["namespace"].string ?? "")/\(name)" : name
        }.joined(separator: ", ")
    }
}
