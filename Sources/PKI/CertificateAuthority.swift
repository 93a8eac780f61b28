// SPDX-License-Identifier: Apache-2.0

import Crypto
import FoundationEssentials
import SwiftASN1
public import Values
import X509

/// Keys, certificates or tokens that cannot be made or read.
public struct PKIError: Error, Sendable, Hashable, CustomStringConvertible {
    public let message: String
    public init(_ message: String) { self.message = message }
    public var description: String { message }
}

/// A certificate with its key, as PEM text.
public struct IssuedCertificate: Sendable {
    public let certificatePEM: String
    public let privateKeyPEM: String

    public init(certificatePEM: String, privateKeyPEM: String) {
        self.certificatePEM = certificatePEM
        self.privateKeyPEM = privateKeyPEM
    }
}

/// What a certificate may be used for.
public enum CertificateUsage: Sendable, Hashable, CaseIterable {
    case server, client
}

/// A certificate authority of a cluster: a self-signed P-256 certificate with its key.
public struct CertificateAuthority: Sendable {
    public let certificatePEM: String
    public let privateKeyPEM: String
    private let certificate: Certificate
    private let privateKey: Certificate.PrivateKey

    /// Reads an authority that was saved. Throws when the texts are no PEM, or the key is not the certificate's.
    public init(certificatePEM: String, privateKeyPEM: String) throws {
        do {
            certificate = try Certificate(pemEncoded: certificatePEM)
        } catch {
            throw PKIError("the authority's certificate cannot be read: \(error)")
        }
        do {
            privateKey = try Certificate.PrivateKey(pemEncoded: privateKeyPEM)
        } catch {
            throw PKIError("the authority's private key cannot be read: \(error)")
        }
        guard privateKey.publicKey == certificate.publicKey else {
            throw PKIError("the authority's private key is not the one of its certificate '\(certificate.subject)'")
        }
        self.certificatePEM = certificatePEM
        self.privateKeyPEM = privateKeyPEM
    }

    /// A new authority, good for ten years.
    public static func create(commonName: String) throws -> CertificateAuthority {
        let key = P256.Signing.PrivateKey()
        let privateKey = Certificate.PrivateKey(key)
        let name = try CertificateName.make(commonName: commonName, organizations: [])
        let certificate = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: privateKey.publicKey,
            notValidBefore: CertificateName.start, notValidAfter: CertificateName.end(seconds: 3650 * 86400),
            issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                Critical(KeyUsage(digitalSignature: true, keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(hash: privateKey.publicKey)
            }, issuerPrivateKey: privateKey)
        return try CertificateAuthority(
            certificatePEM: certificate.serializeAsPEM().pemString + "\n", privateKeyPEM: key.pemRepresentation + "\n")
    }

    /// A new key with a certificate for it, good from a few minutes ago, so that clocks may differ a little.
    public func issue(
        commonName: String, organizations: [String] = [], dnsNames: [String] = [], ipAddresses: [IPAddress] = [],
        usages: [CertificateUsage] = [.server, .client], validity days: Int = 365
    ) throws -> IssuedCertificate {
        let key = P256.Signing.PrivateKey()
        let names = CertificateName.alternatives(dnsNames, ipAddresses)
        let certificate = try issue(
            subject: try CertificateName.make(commonName: commonName, organizations: organizations),
            publicKey: Certificate.PrivateKey(key).publicKey, names: names,
            keyUsage: KeyUsage(digitalSignature: true, keyEncipherment: true),
            extended: usages.map { $0 == .server ? .serverAuth : .clientAuth }, seconds: Int64(days) * 86400)
        return IssuedCertificate(certificatePEM: certificate, privateKeyPEM: key.pemRepresentation + "\n")
    }

    /// A certificate for a key, as PEM text.
    func issue(
        subject: DistinguishedName, publicKey: Certificate.PublicKey, names: [GeneralName], keyUsage: KeyUsage,
        extended: [ExtendedKeyUsage.Usage], seconds: Int64
    ) throws -> String {
        let purposes = try ExtendedKeyUsage(extended)
        let issued = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: publicKey,
            notValidBefore: CertificateName.start,
            notValidAfter: min(CertificateName.end(seconds: seconds), certificate.notValidAfter),
            issuer: certificate.subject, subject: subject, signatureAlgorithm: try signatureAlgorithm(),
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                if keyUsage != KeyUsage() { Critical(keyUsage) }
                if !extended.isEmpty { purposes }
                SubjectKeyIdentifier(hash: publicKey)
                AuthorityKeyIdentifier(
                    keyIdentifier: (try certificate.extensions.subjectKeyIdentifier)?.keyIdentifier)
                if !names.isEmpty { SubjectAlternativeNames(names) }
            }, issuerPrivateKey: privateKey)
        return try issued.serializeAsPEM().pemString + "\n"
    }

    /// Why a pair must not be used: nil when it is of this authority, its key is its certificate's, and it is good now
    /// and until `end`.
    public func objection(to pair: IssuedCertificate, now: Timestamp, until end: Timestamp) -> String? {
        guard let issued = try? Certificate(pemEncoded: pair.certificatePEM) else { return "it cannot be read" }
        guard let key = try? Certificate.PrivateKey(pemEncoded: pair.privateKeyPEM) else {
            return "its key is missing or cannot be read"
        }
        guard key.publicKey == issued.publicKey else { return "its key is another's" }
        guard issued.issuer == certificate.subject,
            certificate.publicKey.isValidSignature(issued.signature, for: issued)
        else { return "it is of another authority" }
        guard let summary = try? CertificateSummary(pem: pair.certificatePEM) else { return "it cannot be read" }
        if summary.notBefore > now { return "it is good from \(summary.notBefore) on only" }
        if summary.notAfter < end { return "it is good until \(summary.notAfter)" }
        return nil
    }

    /// An authority brought by the user may have a key of another kind.
    private func signatureAlgorithm() throws -> Certificate.SignatureAlgorithm {
        let own = certificate.signatureAlgorithm
        guard own == .ecdsaWithSHA256 || own == .ecdsaWithSHA384 || own == .sha256WithRSAEncryption || own == .ed25519
        else { throw PKIError("the authority's signature algorithm \(own) is not supported; use P-256 or RSA") }
        return own
    }
}

enum CertificateName {
    static func make(commonName: String, organizations: [String]) throws -> DistinguishedName {
        var parts: [RelativeDistinguishedName] = organizations.map {
            RelativeDistinguishedName(.init(type: .RDNAttributeType.organizationName, utf8String: $0))
        }
        parts.append(RelativeDistinguishedName(.init(type: .RDNAttributeType.commonName, utf8String: commonName)))
        return DistinguishedName(parts)
    }

    static func alternatives(_ dnsNames: [String], _ ipAddresses: [IPAddress]) -> [GeneralName] {
        dnsNames.map { GeneralName.dnsName($0) }
            + ipAddresses.map { GeneralName.ipAddress(ASN1OctetString(contentBytes: $0.bytes[...])) }
    }

    static var start: Date { Date(timeIntervalSinceNow: -300) }
    static func end(seconds: Int64) -> Date { Date(timeIntervalSinceNow: Double(seconds)) }

    /// The last common name, and all organizations.
    static func parts(of name: DistinguishedName) -> (commonName: String, organizations: [String]) {
        var commonName = ""
        var organizations: [String] = []
        for attribute in name.flatMap({ $0 }) {
            guard let text = String(attribute.value) else { continue }
            if attribute.type == .RDNAttributeType.commonName { commonName = text }
            if attribute.type == .RDNAttributeType.organizationName { organizations.append(text) }
        }
        return (commonName, organizations)
    }
}
