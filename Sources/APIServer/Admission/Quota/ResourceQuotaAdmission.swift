// SPDX-License-Identifier: Apache-2.0

import KubeObjects

extension GroupVersionResource {
    static let resourceQuotas = GroupVersionResource("", "v1", "resourcequotas")
    static let persistentVolumeClaims = GroupVersionResource("", "v1", "persistentvolumeclaims")
}

/// Nothing is made that would exceed a quota of its namespace. The last step: what is charged here is about to be
/// written.
struct ResourceQuotaAdmission: AdmissionPlugin {
    let ledger: QuotaLedger

    func validate(_ review: inout AdmissionReview) async throws {
        guard review.type.isNamespaced, let namespace = review.object.namespace, Self.counts(review) else { return }
        guard ledger.hasQuotas(namespace) else { return }
        review.charge = try await ledger.charge(
            QuotaLedger.Order(
                namespace: namespace, groupResource: review.type.resource.groupResource, new: review.object,
                old: review.operation == .update ? review.old : nil, isDryRun: review.dryRun)
        ) { review.forbidden($0) }
    }

    /// Whether the write can change what its namespace uses: besides new objects, the few that can grow.
    private static func counts(_ review: AdmissionReview) -> Bool {
        switch review.operation {
        case .create: review.subresource.isEmpty
        case .update:
            switch review.type.storage {
            case .services, .persistentVolumeClaims: review.subresource.isEmpty
            case .pods: review.subresource == "resize"
            default: false
            }
        case .delete: false
        }
    }
}
