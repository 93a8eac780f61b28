// SPDX-License-Identifier: Apache-2.0

import KubeObjects
import PKI
import Values

extension GroupVersionResource {
    static let certificateSigningRequests = GroupVersionResource(
        "certificates.k8s.io", "v1", "certificatesigningrequests")
}

/// Who may have a signer do something: approve requests for it, or sign in its name.
struct SignerAuthorization: Sendable {
    let authorizer: RBACAuthorizer

    /// The right to one signer, or to all signers of its domain.
    func allows(_ user: UserInfo, _ verb: String, _ signer: String) -> Bool {
        let domain = signer.split(separator: "/", maxSplits: 1).first.map { "\($0)/*" } ?? ""
        return [signer, domain].contains { name in
            authorizer.decide(
                user,
                AccessAttributes(
                    verb: verb, group: "certificates.k8s.io", version: "*", resource: "signers", name: name)
            ).isAllowed
        }
    }
}

/// Only who may `approve` for a signer approves and denies the requests to it.
struct CertificateApproval: AdmissionPlugin {
    let signers: SignerAuthorization

    func validate(_ review: inout AdmissionReview) async throws {
        guard review.type.storage == .certificateSigningRequests, review.subresource == "approval",
            let signer = review.old?["spec"]["signerName"].string, !signers.allows(review.user, "approve", signer)
        else { return }
        throw review.forbidden("user not permitted to approve requests with signerName \"\(signer)\"")
    }
}

/// Only who may `sign` for a signer brings certificates, and says that there will be none.
struct CertificateSigning: AdmissionPlugin {
    let signers: SignerAuthorization

    func validate(_ review: inout AdmissionReview) async throws {
        guard review.type.storage == .certificateSigningRequests, review.subresource == "status", let old = review.old,
            ["certificate", "conditions"].contains(where: { review.object["status"][$0] != old["status"][$0] }),
            let signer = old["spec"]["signerName"].string, !signers.allows(review.user, "sign", signer)
        else { return }
        throw review.forbidden("user not permitted to sign requests with signerName \"\(signer)\"")
    }
}

/// Nobody asks for a certificate that may do everything.
struct CertificateSubjectRestriction: AdmissionPlugin {
    static let clientSigner = "kubernetes.io/kube-apiserver-client"

    func validate(_ review: inout AdmissionReview) async throws {
        guard review.creates(.certificateSigningRequests),
            review.object["spec"]["signerName"].string == Self.clientSigner
        else { return }
        let request: CertificateRequest
        do {
            request = try CertificateRequests.request(of: review.object)
        } catch {
            throw review.forbidden("failed to parse CSR: \(error)")
        }
        guard request.organizations.contains(UserInfo.Group.masters) else { return }
        throw review.forbidden(
            "use of \(Self.clientSigner) signer with \(UserInfo.Group.masters) group is not allowed")
    }
}

/// What of a CertificateSigningRequest only a reader of certificates can judge.
enum CertificateRequests {
    static func request(of object: KubeObject) throws(PKIError) -> CertificateRequest {
        try CertificateRequest(pem: text(object["spec"]["request"]))
    }

    private static func text(_ value: JSON?) -> String {
        String(decoding: Base64.bytes(value.string ?? "") ?? [], as: UTF8.self)
    }

    static func problems(_ type: GroupVersionResource, _ object: KubeObject, old: KubeObject?) -> [FieldError] {
        guard type == .certificateSigningRequests else { return [] }
        var errors: [FieldError] = []
        if old == nil {
            var problem: String?
            do {
                if try !request(of: object).isSignedByItsKey {
                    problem = "the signature was not made with the private key of the request's public key"
                }
            } catch {
                problem = error.message
            }
            if let problem {
                errors.append(.invalid("spec.request", object["spec"]["request"] ?? "", problem))
            }
        }
        let certificate = object["status"]["certificate"]
        if let certificate, certificate != old?["status"]["certificate"], certificate.string?.isEmpty == false {
            do {
                _ = try CertificateSummary.all(pem: text(certificate))
            } catch {
                errors.append(.invalid("status.certificate", "<certificate data>", error.message))
            }
        }
        return errors
    }
}
