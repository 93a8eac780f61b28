// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// Says of a write which of the cluster's own rules would have judged it and are only stored so far: webhooks, admission
/// policies and the expressions of custom resources.
struct UnjudgedWarnings: Sendable {
    let mirror: Mirror

    private static let group = "admissionregistration.k8s.io"

    /// The kinds of configurations, with where their rules stand.
    private static let configurations: [(resource: StorageKey, kind: String, isWebhook: Bool)] = [
        ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", true),
        ("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", true),
        ("validatingadmissionpolicies", "ValidatingAdmissionPolicy", false),
        ("mutatingadmissionpolicies", "MutatingAdmissionPolicy", false),
    ].map { (StorageKey(GroupVersionResource(group, "v1", $0.0)), $0.1, $0.2) }

    func warnings(_ operation: AdmissionReview.Operation, _ type: ResourceType) -> [String] {
        var warnings: [String] = []
        if let custom = type.custom, custom.hasExpressionRules, operation != .delete {
            warnings.append(
                "x-kubernetes-validations of \(custom.definition) are not evaluated yet: the object was not judged by them"
            )
        }
        // Upstream lets no webhook judge what configures webhooks.
        guard type.group != Self.group else { return warnings }
        for configuration in Self.configurations {
            for stored in mirror.list(configuration.resource).objects {
                let object = stored.object()
                if configuration.isWebhook {
                    for webhook in object["webhooks"].array ?? [] where Self.matches(webhook["rules"], operation, type)
                    {
                        warnings.append(
                            "admission webhook \"\(webhook["name"].string ?? "")\" of \(configuration.kind) "
                                + "\(object.name) is not called yet: the object was not judged by it")
                    }
                } else if Self.matches(object["spec"]["matchConstraints"]["resourceRules"], operation, type) {
                    warnings.append(
                        "\(configuration.kind) \(object.name) is not evaluated yet: the object was not judged by it")
                }
            }
        }
        return warnings
    }

    private static func matches(
        _ rules: JSON?, _ operation: AdmissionReview.Operation, _ type: ResourceType
    ) -> Bool {
        (rules.array ?? []).contains { rule in
            func has(_ list: String, _ value: String) -> Bool {
                (rule[list].array ?? []).contains { $0.string == "*" || $0.string == value }
            }
            let scope = rule["scope"].string ?? "*"
            let resources = rule["resources"].array ?? []
            return has("operations", operation.rawValue) && has("apiGroups", type.group)
                && has("apiVersions", type.version)
                && (has("resources", type.resource.resource) || resources.contains("*/*"))
                && (scope == "*" || (scope == "Namespaced") == type.isNamespaced)
        }
    }
}
