// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let admissionPolicies = [
        ("ValidatingAdmissionPolicy", "Validations", "validations"),
        ("MutatingAdmissionPolicy", "Mutations", "mutations"),
    ].map { kind, title, list in
        KindDescription(
            "admissionregistration.k8s.io", kind,
            strategy: Strategy(allowsUnconditionalUpdate: false, countsGenerations: true),
            columns: [
                .objectName, TableColumn(title, type: "integer") { JSON($0["spec"][list].array?.count ?? 0) },
                TableColumn("ParamKind") { policy in
                    guard let kind = policy["spec"]["paramKind"] else { return "<unset>" }
                    return JSON("\(kind["apiVersion"].string ?? "")/\(kind["kind"].string ?? "")")
                },
                .age,
            ],
            defaults: { policy in
                policy.change("spec") { spec in
                    spec.fillText("failurePolicy", "Fail")
                    if kind.hasPrefix("Mutating") { spec.fillText("reinvocationPolicy", "Never") }
                    spec.change("matchConstraints", AdmissionDefaults.match)
                }
            },
            rules: { AdmissionPolicyRules.policy(&$0, isMutating: kind.hasPrefix("Mutating")) })
    }

    static let admissionPolicyBindings = ["ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding"].map {
        kind in
        KindDescription(
            "admissionregistration.k8s.io", kind,
            strategy: Strategy(allowsUnconditionalUpdate: false, countsGenerations: true),
            columns: [
                .objectName, .text("PolicyName", "spec.policyName", missing: ""),
                TableColumn("ParamRef") { binding in
                    guard let reference = binding["spec"]["paramRef"] else { return "<unset>" }
                    let namespace = reference["namespace"].string.map { "\($0)/" } ?? ""
                    return JSON(namespace + (reference["name"].string ?? ""))
                },
                .age,
            ],
            defaults: { binding in
                binding.change("spec") { $0.change("matchResources", AdmissionDefaults.match) }
            },
            rules: { AdmissionPolicyRules.binding(&$0, isMutating: kind.hasPrefix("Mutating")) })
    }
}

enum AdmissionDefaults {
    static func match(_ resources: inout JSON) {
        resources.fillText("matchPolicy", "Equivalent")
        resources.fill("namespaceSelector", .object([:]))
        resources.fill("objectSelector", .object([:]))
        for list in ["resourceRules", "excludeResourceRules"] { resources.each(list) { $0.fillText("scope", "*") } }
    }
}
