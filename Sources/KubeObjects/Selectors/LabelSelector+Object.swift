// SPDX-License-Identifier: Apache-2.0

import Values

extension KubeObject {
    /// `spec.selector` in its object form; nil when it cannot be read or, for safety, when it is missing. That of a
    /// ReplicationController is a map of labels, and an empty one counts as missing.
    public var labelSelector: LabelSelector? {
        guard let selector = json["spec"]["selector"] else { return nil }
        guard kind == "ReplicationController" else { return try? LabelSelector(object: selector) }
        let labels = selector.object?.strings ?? [:]
        return labels.isEmpty ? nil : LabelSelector(matchLabels: labels)
    }
}
