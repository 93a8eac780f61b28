// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import SwiftASN1
public import Values
import X509

/// What Catbird needs to know of a certificate: who it names and how long it is good.
public struct CertificateSummary: Sendable, Hashable {
    public let commonName: String
    public let organizations: [String]
    public let dnsNames: [String]
    public let ipAddresses: [IPAddress]
    public let notBefore: Timestamp
    public let notAfter: Timestamp

    /// Reads one certificate in DER, as TLS peers present it.
    public init(der: [UInt8]) throws(PKIError) {
        do {
            try self.init(Certificate(derEncoded: der))
        } catch {
            throw PKIError("the certificate cannot be read: \(error)")
        }
    }

    /// Reads the first certificate of a PEM text.
    public init(pem: String) throws(PKIError) {
        do {
            try self.init(Certificate(pemEncoded: pem))
        } catch {
            throw PKIError("the certificate cannot be read: \(error)")
        }
    }

    /// Reads all certificates of a PEM text, as an issued one comes with those between it and its authority. Throws when
    /// there is none, and when a block is anything else.
    public static func all(pem: String) throws(PKIError) -> [CertificateSummary] {
        let blocks = (try? PEMDocument.parseMultiple(pemString: pem)) ?? []
        guard !blocks.isEmpty else { throw PKIError("must contain at least one CERTIFICATE PEM block") }
        var summaries: [CertificateSummary] = []
        for block in blocks {
            guard block.discriminator == Certificate.defaultPEMDiscriminator else {
                throw PKIError("only CERTIFICATE PEM blocks are allowed, found \"\(block.discriminator)\"")
            }
            summaries.append(try CertificateSummary(der: block.derBytes))
        }
        return summaries
    }

    /// Whether the first certificate of `pem` was signed with the key of the authority's.
    public static func isSigned(pem: String, byAuthority authority: String) -> Bool {
        guard let certificate = try? Certificate(pemEncoded: pem),
            let authority = try? Certificate(pemEncoded: authority)
        else { return false }
        return authority.publicKey.isValidSignature(certificate.signature, for: certificate)
    }

    private init(_ certificate: Certificate) throws {
        (commonName, organizations) = CertificateName.parts(of: certificate.subject)
        var dnsNames: [String] = []
        var addresses: [IPAddress] = []
        for name in try certificate.extensions.subjectAlternativeNames ?? SubjectAlternativeNames() {
            switch name {
            case .dnsName(let name): dnsNames.append(name)
            case .ipAddress(let octets): if let address = IPAddress(bytes: octets.bytes) { addresses.append(address) }
            default: break
            }
        }
        self.dnsNames = dnsNames
        ipAddresses = addresses
        notBefore = Self.timestamp(certificate.notValidBefore)
        notAfter = Self.timestamp(certificate.notValidAfter)
    }

    private static func timestamp(_ date: Date) -> Timestamp {
        Timestamp(seconds: Int64(exactly: date.timeIntervalSince1970.rounded(.down)) ?? 0)
    }
}
