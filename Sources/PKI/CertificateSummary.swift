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

    private init(_ certificate: Certificate) throws {
        var commonName = ""
        var organizations: [String] = []
        for attribute in certificate.subject.flatMap({ $0 }) {
            guard let text = String(attribute.value) else { continue }
            if attribute.type == .RDNAttributeType.commonName { commonName = text }
            if attribute.type == .RDNAttributeType.organizationName { organizations.append(text) }
        }
        self.commonName = commonName
        self.organizations = organizations
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
