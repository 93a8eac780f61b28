// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

extension KubeObject {
    /// `spec.selector` in its object form; nil when it cannot be read or, for safety, when it is missing.
    var labelSelector: LabelSelector? {
        guard let selector = json["spec"]["selector"] else { return nil }
        return try? LabelSelector(object: selector)
    }
}
