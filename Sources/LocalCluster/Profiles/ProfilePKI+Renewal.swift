// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import PKI
import Values

extension ProfilePKI {
    /// A key or certificate that only its user can bring back.
    struct Damage: Error, Sendable, Hashable, CustomStringConvertible {
        let path: String
        let reason: String
        var description: String { "\(path) \(reason)" }
    }

    /// How long before its end a certificate is made anew.
    static let renewalSeconds: Int64 = 30 * 86400

    /// Reads the authority's key and certificate, and looks at their dates.
    static func readAuthority(_ folder: String, now: Timestamp = .now) throws -> (CertificateAuthority, TokenSigner) {
        func text(_ name: String) throws -> String {
            do { return try Files.text("\(folder)/\(name)") } catch {
                throw Damage(
                    path: "\(folder)/\(name)",
                    reason: error.code == ENOENT ? "is missing: it is a key of the cluster" : "cannot be read: \(error)"
                )
            }
        }
        let (certificate, key, tokens) = (try text("ca.crt"), try text("ca.key"), try text("sa.key"))
        let summary: CertificateSummary
        do { summary = try CertificateSummary(pem: certificate) } catch {
            throw Damage(path: "\(folder)/ca.crt", reason: "is damaged: \(error)")
        }
        let authority: CertificateAuthority
        do { authority = try CertificateAuthority(certificatePEM: certificate, privateKeyPEM: key) } catch {
            throw Damage(path: "\(folder)/ca.key", reason: "is damaged, or another's: \(error)")
        }
        let signer: TokenSigner
        do { signer = try TokenSigner(privateKeyPEM: tokens) } catch {
            throw Damage(path: "\(folder)/sa.key", reason: "is damaged: \(error)")
        }
        if summary.notAfter < now {
            throw Damage(path: "\(folder)/ca.crt", reason: "was good until \(summary.notAfter), and it is \(now)")
        }
        if summary.notBefore > now {
            throw Damage(
                path: "\(folder)/ca.crt",
                reason: "is good from \(summary.notBefore) on, and it is \(now): is the machine's clock right?")
        }
        return (authority, signer)
    }

    /// Removes every pair that is not of this authority, whose key is another's, or that ends soon: each is made anew
    /// when it is asked for. For a cluster that does not run.
    ///
    /// - Returns: what was removed, and why, in words for its user.
    func renew(_ profile: Profile, now: Timestamp = .now) throws -> [String] {
        var remarks: [String] = []
        for entry in try Files.list(folder) where entry.name.hasSuffix(".crt") && entry.name != "ca.crt" {
            let name = String(entry.name.dropLast(4))
            guard let certificate = try? Files.text("\(folder)/\(entry.name)") else { continue }
            let key = (try? Files.text("\(folder)/\(name).key")) ?? ""
            let pair = IssuedCertificate(certificatePEM: certificate, privateKeyPEM: key)
            let soon = Timestamp(seconds: now.seconds + Self.renewalSeconds)
            guard let reason = authority.objection(to: pair, now: now, until: soon) else { continue }
            unlink("\(folder)/\(entry.name)")
            unlink("\(folder)/\(name).key")
            remarks.append("The certificate \(folder)/\(entry.name) is made anew: \(reason).")
        }
        if let end = try? CertificateSummary(pem: authority.certificatePEM).notAfter,
            end.seconds < now.seconds + Self.renewalSeconds
        {
            remarks.append(
                "The cluster's authority \(folder)/ca.crt ends on \(end): make the cluster anew before that.")
        }
        return remarks
    }
}
