// SPDX-License-Identifier: Apache-2.0

import KubeObjects
package import Values

/// How many of a budget's pods may go at once (policy/v1).
package struct DisruptionCount: Sendable, Equatable {
    /// Those that should be there.
    package var expected = 0
    /// Those of them that have to stay healthy.
    package var desired = 0
    package var healthy = 0

    package var allowed: Int { expected > 0 ? max(0, healthy - desired) : 0 }

    /// `scale` is what the pods' controllers want together: percentages, and what may be unavailable, are parts of it.
    package init(spec: JSON?, pods: Int, scale: Int, healthy: Int) {
        self.healthy = healthy
        if let limit = spec["maxUnavailable"], !limit.isNull {
            expected = scale
            desired = max(0, scale - IntOrPercent(limit).scaled(to: scale, roundingUp: true))
        } else if let limit = spec["minAvailable"], !limit.isNull {
            expected = Self.needsScale(spec) ? scale : pods
            desired = IntOrPercent(limit).scaled(to: scale, roundingUp: true)
        }
    }

    /// Whether the controllers of the pods count, and not the pods that are there alone.
    package static func needsScale(_ spec: JSON?) -> Bool {
        if let limit = spec["maxUnavailable"], !limit.isNull { return true }
        return spec["minAvailable"].string != nil
    }
}
