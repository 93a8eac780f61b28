// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    static let runtimeClass = KindDescription(
        "node.k8s.io", "RuntimeClass", strategy: Strategy(allowsUnconditionalUpdate: false), immutable: ["handler"],
        columns: [.objectName, .text("Handler", "handler", missing: ""), .age],
        rules: { inspection in
            let handler = inspection.object["handler"].string ?? ""
            inspection.invalid("handler", JSON(handler), Names.labelProblems(handler))
            ResourceRules.list(
                &inspection, inspection.object["overhead"]["podFixed"], at: "overhead.podFixed.limits", .container)
            let scheduling = inspection.object["scheduling"]
            MetadataRules.labels(&inspection, scheduling["nodeSelector"], "scheduling.nodeSelector")
            SchedulingRules.tolerations(&inspection, scheduling["tolerations"], at: "scheduling.tolerations")
            var seen = Set<JSON>()
            inspection.each(scheduling["tolerations"], "scheduling.tolerations") { inspection, toleration, path in
                if !seen.insert(toleration).inserted { inspection.report(.duplicate(path, toleration)) }
            }
        })
}
