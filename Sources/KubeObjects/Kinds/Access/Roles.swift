// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    private static let group = RoleRules.group

    static let roles = ["Role", "ClusterRole"].map { kind in
        KindDescription(
            group, kind, name: .pathSegment, strategy: Strategy(allowsCreateOnUpdate: true),
            columns: [.objectName, .createdAt],
            rules: { inspection in
                inspection.each(inspection.object["rules"], "rules") {
                    RoleRules.rule(&$0, $1, at: $2, isNamespaced: kind == "Role")
                }
                if let aggregation = inspection.object["aggregationRule"] {
                    RoleRules.aggregation(&inspection, aggregation)
                }
            })
    }

    static let roleBindings = ["RoleBinding", "ClusterRoleBinding"].map { kind in
        KindDescription(
            group, kind, name: .pathSegment, strategy: Strategy(allowsCreateOnUpdate: true),
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
                RoleRules.reference(
                    &inspection, kinds: kind == "RoleBinding" ? ["Role", "ClusterRole"] : ["ClusterRole"])
                inspection.each(inspection.object["subjects"], "subjects") {
                    RoleRules.subject(&$0, $1, at: $2, isNamespaced: kind == "RoleBinding")
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
