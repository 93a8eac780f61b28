// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let controllerRevision = KindDescription(
        "apps", "ControllerRevision",
        immutable: ["data"],
        columns: [
            .objectName,
            TableColumn("Controller") { object in
                guard let owner = object.controller else { return "<none>" }
                let group = GroupVersionKind(apiVersion: owner.apiVersion, kind: owner.kind).group
                return JSON("\(owner.kind.lowercased())\(group.isEmpty ? "" : ".\(group)")/\(owner.name)")
            },
            .number("Revision", "revision"), .age,
        ],
        rules: { inspection in
            if inspection.object["data"] == nil { inspection.report(.required("data", "data is mandatory")) }
            inspection.notNegative(inspection.object["revision"], "revision")
        })
}
