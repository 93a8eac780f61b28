// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let customResourceDefinition = KindDescription(
        "apiextensions.k8s.io", "CustomResourceDefinition",
        strategy: Strategy(allowsUnconditionalUpdate: false, countsGenerations: true),
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
}
