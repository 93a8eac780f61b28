// SPDX-License-Identifier: Apache-2.0

import KubeObjects
package import PKI
package import Values

/// Certificates that the cluster or its Ingresses show, and when they end.
package enum CertificateJudgement {
    /// From a month before their end on.
    static let soon = 30 * 86400.0

    /// What is wrong with the time of a certificate; nil when nothing is.
    package static func time(_ certificate: CertificateSummary, now: Timestamp) -> (reason: String, problem: String)? {
        let left = certificate.notAfter.seconds(since: now)
        if left <= 0 { return ("CertificateExpired", "has expired") }
        if certificate.notBefore.seconds(since: now) > 0 { return ("CertificateNotYetValid", "is not valid yet") }
        guard left < soon else { return nil }
        return ("CertificateEndsSoon", "ends in \(Int(left / 86400)) days")
    }

    /// Those of Secrets that Ingresses name.
    static func ofIngresses(_ cluster: ClusterSnapshot) -> [Finding] {
        let used = Set(
            cluster[.ingresses].flatMap { ingress in
                (ingress["spec"]["tls"].array ?? []).compactMap { entry in
                    entry["secretName"].string.map { ObjectKey(ingress.namespace, $0) }
                }
            })
        guard !used.isEmpty else { return [] }
        return cluster[.secrets].filter { used.contains($0.key) }.compactMap { secret in
            guard let text = secret["data"]["tls.crt"].string, let bytes = Base64.bytes(text),
                let certificate = try? CertificateSummary(pem: String(decoding: bytes, as: UTF8.self)),
                let (reason, problem) = time(certificate, now: cluster.now)
            else { return nil }
            return Finding(
                reason, object: "secret \(secret.key)", problem: "holds a certificate that \(problem)",
                cause: "\(certificate.commonName) is good until \(certificate.notAfter), and an Ingress shows it",
                nextStep: "kubectl create secret tls \(secret.name)\(secret.inNamespace) --cert=FILE --key=FILE "
                    + "--dry-run=client -o yaml | kubectl apply -f -")
        }
    }
}
