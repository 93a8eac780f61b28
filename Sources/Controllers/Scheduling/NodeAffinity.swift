// SPDX-License-Identifier: Apache-2.0

import KubeObjects
package import Values

/// One requirement on the labels or fields of a node. Unlike those of label selectors it also compares numbers.
package struct NodeRequirement: Sendable, Hashable {
    package var key: String
    package var `operator`: String
    package var values: [String]

    package init(_ json: JSON) {
        key = json["key"].string ?? ""
        `operator` = json["operator"].string ?? ""
        values = (json["values"].array ?? []).compactMap(\.string)
    }

    package func holds(for value: String?) -> Bool {
        switch `operator` {
        case "In": return value.map(values.contains) ?? false
        case "NotIn": return value.map { !values.contains($0) } ?? true
        case "Exists": return value != nil
        case "DoesNotExist": return value == nil
        case "Gt", "Lt":
            guard let number = value.flatMap({ Int64($0) }), let limit = values.first.flatMap({ Int64($0) }) else {
                return false
            }
            return `operator` == "Gt" ? number > limit : number < limit
        default: return false
        }
    }
}

/// A term of a node selector: all its requirements hold. A term without any selects nothing.
package struct NodeSelectorTerm: Sendable, Hashable {
    package var labels: [NodeRequirement]
    package var fields: [NodeRequirement]

    package init(_ json: JSON?) {
        labels = (json["matchExpressions"].array ?? []).map(NodeRequirement.init)
        fields = (json["matchFields"].array ?? []).map(NodeRequirement.init)
    }

    package func matches(name: String, labels nodeLabels: [String: String]) -> Bool {
        if labels.isEmpty, fields.isEmpty { return false }
        return labels.allSatisfy { $0.holds(for: nodeLabels[$0.key]) }
            && fields.allSatisfy { $0.key == "metadata.name" && $0.holds(for: name) }
    }
}

/// Where a pod may run by `nodeSelector` and node affinity, and where it would like to.
package struct NodeAffinity: Sendable, Hashable {
    package var nodeSelector: [String: String]
    /// One of them must match; nil: no requirement.
    package var required: [NodeSelectorTerm]?
    package var preferred: [(weight: Int, term: NodeSelectorTerm)]

    package init(_ spec: JSON?) {
        nodeSelector = spec["nodeSelector"].object?.strings ?? [:]
        let affinity = spec["affinity"]["nodeAffinity"]
        required = affinity["requiredDuringSchedulingIgnoredDuringExecution"].map {
            ($0["nodeSelectorTerms"].array ?? []).map { NodeSelectorTerm($0) }
        }
        preferred = (affinity["preferredDuringSchedulingIgnoredDuringExecution"].array ?? []).map {
            ($0["weight"].int ?? 0, NodeSelectorTerm($0["preference"]))
        }
    }

    package func allows(name: String, labels: [String: String]) -> Bool {
        guard nodeSelector.allSatisfy({ labels[$0.key] == $0.value }) else { return false }
        return required.map { $0.contains { $0.matches(name: name, labels: labels) } } ?? true
    }

    package func preference(name: String, labels: [String: String]) -> Int {
        preferred.reduce(0) { $1.term.matches(name: name, labels: labels) ? $0 + $1.weight : $0 }
    }

    package static func == (left: NodeAffinity, right: NodeAffinity) -> Bool {
        left.nodeSelector == right.nodeSelector && left.required == right.required
            && left.preferred.elementsEqual(right.preferred) { $0.weight == $1.weight && $0.term == $1.term }
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(nodeSelector)
        hasher.combine(required)
    }
}
