// SPDX-License-Identifier: Apache-2.0

import Crypto
import SwiftASN1
public import Values
import X509

/// A request for a certificate (PKCS #10, RFC 2986), as `spec.request` of a CertificateSigningRequest holds it.
public struct CertificateRequest: Sendable {
    public let commonName: String
    public let organizations: [String]
    public let dnsNames: [String]
    public let ipAddresses: [IPAddress]
    public let emailAddresses: [String]
    public let uris: [String]
    let request: CertificateSigningRequest
    /// What it is asked for besides its subject, as it was asked.
    let names: [GeneralName]

    /// Reads the first block of a PEM text. Throws when that is not labelled `CERTIFICATE REQUEST`, or cannot be read.
    public init(pem: String) throws(PKIError) {
        guard let block = (try? PEMDocument.parseMultiple(pemString: pem))?.first,
            block.discriminator == CertificateSigningRequest.defaultPEMDiscriminator
        else { throw PKIError("PEM block type must be CERTIFICATE REQUEST") }
        do {
            request = try CertificateSigningRequest(derEncoded: block.derBytes)
            names = Array(
                try request.attributes.extensionRequest?.extensions.subjectAlternativeNames
                    ?? SubjectAlternativeNames())
        } catch {
            throw PKIError("the certificate request cannot be read: \(error)")
        }
        (commonName, organizations) = CertificateName.parts(of: request.subject)
        var dnsNames: [String] = []
        var addresses: [IPAddress] = []
        var mails: [String] = []
        var uris: [String] = []
        for name in names {
            switch name {
            case .dnsName(let name): dnsNames.append(name)
            case .ipAddress(let octets):
                guard let address = IPAddress(bytes: octets.bytes) else {
                    throw PKIError("the certificate request names an IP address of \(octets.bytes.count) bytes")
                }
                addresses.append(address)
            case .rfc822Name(let mail): mails.append(mail)
            case .uniformResourceIdentifier(let uri): uris.append(uri)
            default: break
            }
        }
        self.dnsNames = dnsNames
        ipAddresses = addresses
        emailAddresses = mails
        self.uris = uris
    }

    /// A new key, and a request for a certificate for it.
    public static func create(
        commonName: String, organizations: [String] = [], dnsNames: [String] = [], ipAddresses: [IPAddress] = []
    ) throws -> (requestPEM: String, privateKeyPEM: String) {
        let key = P256.Signing.PrivateKey()
        let names = CertificateName.alternatives(dnsNames, ipAddresses)
        let extensions = try Certificate.Extensions { if !names.isEmpty { SubjectAlternativeNames(names) } }
        let request = try CertificateSigningRequest(
            version: .v1, subject: try CertificateName.make(commonName: commonName, organizations: organizations),
            privateKey: Certificate.PrivateKey(key),
            attributes: CertificateSigningRequest.Attributes([.init(ExtensionRequest(extensions: extensions))]),
            signatureAlgorithm: .ecdsaWithSHA256)
        return (try request.serializeAsPEM().pemString + "\n", key.pemRepresentation + "\n")
    }

    /// Whether whoever made the request has the key that it names.
    public var isSignedByItsKey: Bool { request.publicKey.isValidSignature(request.signature, for: request) }
}

extension CertificateAuthority {
    /// A certificate for what somebody asks: the subject, the names and the key of the request, as PEM text.
    ///
    /// - Parameters:
    ///   - usages: words of `spec.usages` of a CertificateSigningRequest; throws when one is not known.
    ///   - seconds: how long it is good from now on; never longer than the authority itself.
    public func sign(_ request: CertificateRequest, usages: [String], seconds: Int64) throws(PKIError) -> String {
        let (keyUsage, extended) = try CertificateUsages.extensions(usages)
        // Addresses, names, mail and URIs only, as upstream's signer: whatever else was asked for is left out.
        let names = request.names.filter { name in
            switch name {
            case .dnsName, .ipAddress, .rfc822Name, .uniformResourceIdentifier: true
            default: false
            }
        }
        do {
            return try issue(
                subject: request.request.subject, publicKey: request.request.publicKey, names: names,
                keyUsage: keyUsage, extended: extended, seconds: seconds)
        } catch {
            throw PKIError("the certificate cannot be made: \(error)")
        }
    }
}
