// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let customResourceDefinition = KindDescription(
        "apiextensions.k8s.io", "CustomResourceDefinition",
        strategy: Strategy(countsGenerations: true),
        columns: [.objectName, .createdAt],
        initialStatus: { _ in ["acceptedNames": ["kind": "", "plural": ""], "conditions": [], "storedVersions": []] },
        defaults: { definition in
            definition.change("spec") { spec in
                spec.make("conversion") { $0.fillText("strategy", "None") }
                spec.change("names") { names in
                    let kind = names["kind"].string ?? ""
                    names.fillText("singular", kind.lowercased())
                    names.fillText("listKind", kind + "List")
                }
            }
        },
        rules: { DefinitionRules.inspect(&$0) })

    static let apiService = KindDescription(
        "apiregistration.k8s.io", "APIService",
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
        initialStatus: { _ in .object([:]) },
        defaults: { object in
            object.change("spec") { $0.change("service") { $0.fillNumber("port", 443) } }
        })

    static let webhookConfigurations = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"].map { kind in
        KindDescription(
            "admissionregistration.k8s.io", kind,
            strategy: Strategy(countsGenerations: true),
            columns: [
                .objectName, TableColumn("Webhooks", type: "integer") { JSON($0["webhooks"].array?.count ?? 0) }, .age,
            ],
            defaults: { configuration in
                configuration.each("webhooks") { webhook in
                    webhook.fillText("failurePolicy", "Fail")
                    webhook.fillText("matchPolicy", "Equivalent")
                    webhook.fill("namespaceSelector", .object([:]))
                    webhook.fill("objectSelector", .object([:]))
                    webhook.fill("timeoutSeconds", 10)
                    if kind.hasPrefix("Mutating") { webhook.fillText("reinvocationPolicy", "Never") }
                    webhook.each("rules") { $0.fillText("scope", "*") }
                    webhook.change("clientConfig") { $0.change("service") { $0.fillNumber("port", 443) } }
                }
            },
            rules: { inspection in
                for (index, webhook) in (inspection.object["webhooks"].array ?? []).enumerated() {
                    let path = "webhooks[\(index)]"
                    inspection.oneOf(webhook["sideEffects"], "\(path).sideEffects", ["None", "NoneOnDryRun"])
                    inspection.oneOf(webhook["failurePolicy"], "\(path).failurePolicy", ["Fail", "Ignore"])
                }
            })
    }

    static let admissionPolicies = [
        ("ValidatingAdmissionPolicy", "Validations", "validations"),
        ("MutatingAdmissionPolicy", "Mutations", "mutations"),
    ].map { kind, title, list in
        KindDescription(
            "admissionregistration.k8s.io", kind,
            strategy: Strategy(countsGenerations: true),
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
                    spec.change("matchConstraints", AdmissionDefaults.match)
                }
            })
    }

    static let admissionPolicyBindings = ["ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding"].map {
        kind in
        KindDescription(
            "admissionregistration.k8s.io", kind,
            strategy: Strategy(countsGenerations: true),
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
            })
    }

    static let flowSchema = KindDescription(
        "flowcontrol.apiserver.k8s.io", "FlowSchema",
        strategy: Strategy(countsGenerations: true),
        columns: [
            .objectName, .text("PriorityLevel", "spec.priorityLevelConfiguration.name"),
            .number("MatchingPrecedence", "spec.matchingPrecedence"),
            .text("DistinguisherMethod", "spec.distinguisherMethod.type"), .age,
            TableColumn("MissingPL") { schema in
                let dangling = (schema["status"]["conditions"].array ?? []).first { $0["type"].string == "Dangling" }
                return JSON(dangling?["status"].string ?? "?")
            },
        ],
        initialStatus: { _ in .object([:]) },
        defaults: { schema in schema.change("spec") { $0.fillNumber("matchingPrecedence", 1000) } })
}

private enum AdmissionDefaults {
    static func match(_ resources: inout JSON) {
        resources.fillText("matchPolicy", "Equivalent")
        resources.fill("namespaceSelector", .object([:]))
        resources.fill("objectSelector", .object([:]))
        for list in ["resourceRules", "excludeResourceRules"] { resources.each(list) { $0.fillText("scope", "*") } }
    }
}
