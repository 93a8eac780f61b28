// SPDX-License-Identifier: Apache-2.0

import Values

extension KindDescription {
    /// A pool is one object in two groups, and special in the same way in both.
    static let ipPools = ["crd.projectcalico.org", "projectcalico.org"].map { group in
        KindDescription(
            group, "IPPool",
            strategy: Strategy(allowsUnconditionalUpdate: false, countsGenerations: true),
            defaults: { pool in
                pool.change("spec") { spec in
                    let family = spec["cidr"].string.flatMap { CIDR($0) }?.family ?? .v4
                    spec.fillNumber("blockSize", family == .v4 ? 26 : 122)
                    spec.fillText("ipipMode", "Never")
                    spec.fillText("vxlanMode", "Never")
                    spec.fillText("nodeSelector", "all()")
                    if (spec["allowedUses"].array ?? []).isEmpty { spec["allowedUses"] = ["Workload", "Tunnel"] }
                }
            })
    }
}
