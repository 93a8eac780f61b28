// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import PKI
import Values

/// Approves what kubelets ask for, when who asks may have it: the right to create the subresource `nodeclient`, or
/// `selfnodeclient` for one's own certificate, is what a SubjectAccessReview is asked about.
struct CertificateApprover: Controller {
    private struct Recognized {
        var subresource: String
        var message: String
    }

    let context: ControllerContext
    private let queue = WorkQueue<String>("certificate_approver")

    init(_ context: ControllerContext) { self.context = context }

    func register() {
        let queue = queue
        context.caches.certificateRequests.onChange { change in
            if let request = change.new, !request.isDecided { queue.add(request.name) }
        }
    }

    func run() async { await queue.run(workers: 2) { name in try await reconcile(name) } }

    private func reconcile(_ name: String) async throws {
        let requests = context.caches.certificateRequests
        guard var request = requests[ObjectKey(nil, name)], !request.isDecided, request.certificate.isEmpty else {
            return
        }
        for recognized in Self.recognized(request) where try await isAllowed(request, recognized.subresource) {
            var conditions = request["status"]["conditions"].array ?? []
            conditions.append([
                "type": "Approved", "status": "True", "reason": "AutoApproved", "message": JSON(recognized.message),
            ])
            request["status"]["conditions"] = .array(conditions)
            do {
                try await requests.update(request, subresource: "approval")
            } catch let error as APIError where error.isNotFound {
                // Withdrawn.
            }
            return
        }
    }

    private static func recognized(_ object: KubeObject) -> [Recognized] {
        guard object["spec"]["signerName"].string == CertificateSigner.Kind.kubeletClient.rawValue,
            let request = try? object.certificateRequest(),
            CertificateSigner.Kind.kubeletClient.refusal(request, usages: object.certificateUsages) == nil
        else { return [] }
        let any = Recognized(
            subresource: "nodeclient",
            message: "Auto approving kubelet client certificate after SubjectAccessReview.")
        guard object["spec"]["username"].string == request.commonName else { return [any] }
        let own = Recognized(
            subresource: "selfnodeclient",
            message: "Auto approving self kubelet client certificate after SubjectAccessReview.")
        return [own, any]
    }

    private func isAllowed(_ request: KubeObject, _ subresource: String) async throws -> Bool {
        let spec = request["spec"]
        var review: JSON = ["apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": [:]]
        review["spec"] = [
            "user": spec["username"] ?? "",
            "resourceAttributes": [
                "group": "certificates.k8s.io", "version": "*", "resource": "certificatesigningrequests",
                "subresource": JSON(subresource), "verb": "create",
            ],
        ]
        for member in ["uid", "groups", "extra"] where spec[member] != nil { review["spec"][member] = spec[member] }
        let answer = try await context.client.create(.subjectAccessReviews, KubeObject(review))
        return answer["status"]["allowed"].bool ?? false
    }
}

extension GroupVersionResource {
    fileprivate static let subjectAccessReviews = GroupVersionResource(
        "authorization.k8s.io", "v1", "subjectaccessreviews")
}

/// Views over a CertificateSigningRequest.
extension KubeObject {
    private func hasCondition(_ type: String) -> Bool { condition(type)["status"].string == "True" }

    var isApproved: Bool { hasCondition("Approved") && !hasCondition("Denied") }
    var isDecided: Bool { condition("Approved") != nil || condition("Denied") != nil }
    var hasFailed: Bool { hasCondition("Failed") }
    /// In Base 64; empty until it is there.
    var certificate: String { json["status"]["certificate"].string ?? "" }
    var certificateUsages: [String] { json["spec"]["usages"].array?.compactMap(\.string) ?? [] }

    func certificateRequest() throws(PKIError) -> CertificateRequest {
        let bytes = Base64.bytes(json["spec"]["request"].string ?? "") ?? []
        return try CertificateRequest(pem: String(decoding: bytes, as: UTF8.self))
    }
}
