// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Values

/// A write that is looked at, and may be changed, before it is done.
struct AdmissionReview: Sendable {
    enum Operation: String, Sendable { case create = "CREATE", update = "UPDATE", delete = "DELETE" }

    let operation: Operation
    let type: ResourceType
    let subresource: String
    var object: KubeObject
    let old: KubeObject?
    let user: UserInfo
    let dryRun: Bool

    /// The subject of a refusal.
    func forbidden(_ why: String) -> StatusError { .forbidden(type.resource, name: object.name, why) }
}

/// A step of admission.
protocol AdmissionPlugin: Sendable {
    /// Changes the object or throws the reason why it cannot be.
    func admit(_ review: inout AdmissionReview) async throws
}

/// The steps in Kubernetes' order.
struct AdmissionChain: Sendable {
    let plugins: [any AdmissionPlugin]

    init(mirror: Mirror) {
        plugins = [
            NamespaceLifecycle(mirror: mirror), ServiceAccountAdmission(mirror: mirror),
            PriorityAdmission(mirror: mirror), DefaultTolerations(),
        ]
    }

    func admit(_ review: inout AdmissionReview) async throws {
        for plugin in plugins { try await plugin.admit(&review) }
    }
}
