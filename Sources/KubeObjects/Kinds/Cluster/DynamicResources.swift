// SPDX-License-Identifier: Apache-2.0

/// Devices that pods claim (`resource.k8s.io`): stored and shown; nothing allocates them yet.
extension KindDescription {
    static let dynamicResources = ["DeviceClass", "ResourceClaim", "ResourceClaimTemplate", "ResourceSlice"].map {
        kind in
        KindDescription(
            "resource.k8s.io", kind,
            strategy: Strategy(countsGenerations: kind != "ResourceClaim", answersWithDeleted: true),
            immutable: kind == "ResourceClaim" || kind == "ResourceClaimTemplate" ? ["spec"] : [])
    }
}
