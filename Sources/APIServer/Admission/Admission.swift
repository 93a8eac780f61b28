// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import Storage
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
    /// What the client should hear although the write is admitted.
    var warnings: [String] = []
    /// What quotas were charged for it: given back should the write fail.
    var charge: QuotaCharge?

    /// The subject of a refusal.
    func forbidden(_ why: String) -> StatusError { .forbidden(type.resource, name: object.name, why) }

    /// Whether a new object of a resource is made.
    func creates(_ resource: GroupVersionResource) -> Bool {
        operation == .create && subresource.isEmpty && type.storage == resource
    }
}

/// A step of admission: changes the object before it is validated, or judges it afterwards.
protocol AdmissionPlugin: Sendable {
    /// Changes the object or throws the reason why it cannot be.
    func admit(_ review: inout AdmissionReview) async throws
    /// Looks at the object as it would be stored, and throws the reason why it cannot be.
    func validate(_ review: inout AdmissionReview) async throws
}

extension AdmissionPlugin {
    func admit(_ review: inout AdmissionReview) async throws {}
    func validate(_ review: inout AdmissionReview) async throws {}
}

/// The steps in Kubernetes' order.
struct AdmissionChain: Sendable {
    let plugins: [any AdmissionPlugin]
    let quotas: QuotaLedger
    let nodes: NodeRestriction

    init(
        mirror: Mirror, storage: any Backend, authorizer: RBACAuthorizer, configuration: APIServerConfiguration
    ) {
        let objects = AdmissionObjects(mirror: mirror)
        quotas = QuotaLedger(objects: objects, storage: storage)
        let signers = SignerAuthorization(authorizer: authorizer)
        nodes = NodeRestriction(graph: NodeGraph(objects: objects))
        plugins = [
            NamespaceLifecycle(objects: objects), LimitRanger(objects: objects),
            ServiceAccountAdmission(mirror: mirror), nodes, PodSecurityAdmission(objects: objects),
            PriorityAdmission(objects: objects), DefaultTolerations(), DefaultStorageClass(objects: objects),
            StorageProtection(), ClaimResize(objects: objects), RuntimeClassAdmission(objects: objects),
            CertificateApproval(signers: signers), CertificateSigning(signers: signers),
            CertificateSubjectRestriction(), DefaultIngressClass(objects: objects),
            ServiceExternalAddresses(
                objects: objects, apiServer: configuration.advertiseAddress, serviceCIDR: configuration.serviceCIDR),
            ResourceQuotaAdmission(ledger: quotas),
        ]
    }

    func admit(_ review: inout AdmissionReview) async throws {
        for plugin in plugins { try await plugin.admit(&review) }
    }

    /// The second round. What it charges is the caller's to settle or to give back.
    func validate(_ review: inout AdmissionReview) async throws {
        for plugin in plugins { try await plugin.validate(&review) }
    }
}
