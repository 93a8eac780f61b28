// SPDX-License-Identifier: Apache-2.0

import KubeClient
import KubeObjects
import PKI
import Values

/// Signs what was approved, in the name of Kubernetes' own signers, with the authority of the cluster.
struct CertificateSigner: Controller {
    /// The signers, each with what it asks of a request.
    enum Kind: String, CaseIterable {
        case client = "kubernetes.io/kube-apiserver-client"
        case kubeletClient = "kubernetes.io/kube-apiserver-client-kubelet"
        case kubeletServing = "kubernetes.io/kubelet-serving"
        /// What older versions of the API made: anything goes.
        case legacy = "kubernetes.io/legacy-unknown"

        /// Why the signer does not sign; nil when it does.
        func refusal(_ request: CertificateRequest, usages: [String]) -> String? {
            switch self {
            case .client: Self.clientRefusal(usages)
            case .kubeletClient: Self.nodeRefusal(request) ?? Self.refusal(usages, purpose: "client auth")
            case .kubeletServing: Self.servingRefusal(request) ?? Self.refusal(usages, purpose: "server auth")
            case .legacy: nil
            }
        }

        private static func clientRefusal(_ usages: [String]) -> String? {
            let allowed = ["digital signature", "key encipherment", "client auth"]
            if let other = usages.first(where: { !allowed.contains($0) }) {
                return "invalid usage for client certificate: \(other)"
            }
            return usages.contains("client auth")
                ? nil : "missing required usage for client certificate: client auth"
        }

        private static func refusal(_ usages: [String], purpose: String) -> String? {
            let wanted: Set = ["digital signature", "key encipherment", purpose]
            // Keys that are not RSA encipher nothing.
            let given = Set(usages)
            if given == wanted || given == wanted.subtracting(["key encipherment"]) { return nil }
            return "usages did not match [\(wanted.sorted().joined(separator: " "))]"
        }

        private static func subjectRefusal(_ request: CertificateRequest) -> String? {
            request.organizations == ["system:nodes"] ? nil : "subject organization is not system:nodes"
        }

        private static func nameRefusal(_ request: CertificateRequest) -> String? {
            request.commonName.hasPrefix("system:node:")
                ? nil : "subject common name does not begin with system:node:"
        }

        private static func nodeRefusal(_ request: CertificateRequest) -> String? {
            if let refusal = subjectRefusal(request) { return refusal }
            if !request.dnsNames.isEmpty { return "DNS subjectAltNames are not allowed" }
            if !request.emailAddresses.isEmpty { return "Email subjectAltNames are not allowed" }
            if !request.ipAddresses.isEmpty { return "IP subjectAltNames are not allowed" }
            if !request.uris.isEmpty { return "URI subjectAltNames are not allowed" }
            return nameRefusal(request)
        }

        private static func servingRefusal(_ request: CertificateRequest) -> String? {
            if let refusal = subjectRefusal(request) { return refusal }
            if request.dnsNames.isEmpty, request.ipAddresses.isEmpty {
                return "DNS or IP subjectAltName is required"
            }
            if !request.emailAddresses.isEmpty { return "Email subjectAltNames are not allowed" }
            if !request.uris.isEmpty { return "URI subjectAltNames are not allowed" }
            return nameRefusal(request)
        }
    }

    let context: ControllerContext
    private let authority: CertificateAuthority
    private let queue = WorkQueue<String>("certificate_signer")

    /// Nil without an authority: requests then wait for a signer from outside.
    init?(_ context: ControllerContext) {
        guard let authority = context.configuration.certificateAuthority else { return nil }
        self.context = context
        self.authority = authority
    }

    func register() {
        let queue = queue
        context.caches.certificateRequests.onChange { change in
            if let request = change.new, Self.isDue(request) { queue.add(request.name) }
        }
    }

    func run() async { await queue.run(workers: 2) { name in try await reconcile(name) } }

    private static func isDue(_ request: KubeObject) -> Bool {
        request.isApproved && !request.hasFailed && request.certificate.isEmpty && kind(request) != nil
    }

    private static func kind(_ request: KubeObject) -> Kind? {
        Kind(rawValue: request["spec"]["signerName"].string ?? "")
    }

    private func reconcile(_ name: String) async throws {
        let requests = context.caches.certificateRequests
        guard var object = requests[ObjectKey(nil, name)], Self.isDue(object), let kind = Self.kind(object) else {
            return
        }
        do {
            let request = try object.certificateRequest()
            if let refusal = kind.refusal(request, usages: object.certificateUsages) { throw PKIError(refusal) }
            let pem = try authority.sign(
                request, usages: object.certificateUsages, seconds: seconds(object["spec"]["expirationSeconds"].int))
            object["status"]["certificate"] = JSON(Base64.text(Array(pem.utf8)))
        } catch let error as PKIError {
            var conditions = object["status"]["conditions"].array ?? []
            conditions.append([
                "type": "Failed", "status": "True", "reason": "SignerValidationFailure",
                "message": JSON(error.message),
            ])
            object["status"]["conditions"] = .array(conditions)
        }
        do {
            try await requests.update(object, subresource: "status")
        } catch let error as APIError where error.isNotFound {
            // Withdrawn.
        }
    }

    /// What is asked for, within ten minutes and what certificates are given at most.
    private func seconds(_ asked: Int?) -> Int64 {
        let most = context.configuration.certificateDuration.components.seconds
        guard let asked else { return most }
        return min(max(Int64(asked), 600), most)
    }
}
