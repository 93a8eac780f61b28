// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let webhookConfigurations = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"].map { kind in
        KindDescription(
            "admissionregistration.k8s.io", kind,
            strategy: Strategy(allowsUnconditionalUpdate: false, countsGenerations: true),
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
            rules: { WebhookRules.inspect(&$0, isMutating: kind.hasPrefix("Mutating")) })
    }
}
