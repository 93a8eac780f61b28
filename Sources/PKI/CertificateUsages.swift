// SPDX-License-Identifier: Apache-2.0

import SwiftASN1
import X509

/// The words of Kubernetes for what a key may be used for, and the extensions of a certificate that say it (RFC 5280
/// sections 4.2.1.3 and 4.2.1.12).
enum CertificateUsages {
    private static let bits: [String: any (WritableKeyPath<KeyUsage, Bool> & Sendable)] = [
        "signing": \.digitalSignature, "digital signature": \.digitalSignature,
        "content commitment": \.nonRepudiation, "key encipherment": \.keyEncipherment,
        "key agreement": \.keyAgreement, "data encipherment": \.dataEncipherment, "cert sign": \.keyCertSign,
        "crl sign": \.cRLSign, "encipher only": \.encipherOnly, "decipher only": \.decipherOnly,
    ]

    private static let purposes: [String: ExtendedKeyUsage.Usage] = [
        "any": .any, "server auth": .serverAuth, "client auth": .clientAuth, "code signing": .codeSigning,
        "email protection": .emailProtection, "s/mime": .emailProtection,
        "ipsec end system": .init(oid: [1, 3, 6, 1, 5, 5, 7, 3, 5]),
        "ipsec tunnel": .init(oid: [1, 3, 6, 1, 5, 5, 7, 3, 6]),
        "ipsec user": .init(oid: [1, 3, 6, 1, 5, 5, 7, 3, 7]),
        "timestamping": .timeStamping, "ocsp signing": .ocspSigning,
        "microsoft sgc": .init(oid: [1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
        "netscape sgc": .init(oid: [2, 16, 840, 1, 113730, 4, 1]),
    ]

    static func extensions(_ usages: [String]) throws(PKIError) -> (KeyUsage, [ExtendedKeyUsage.Usage]) {
        var keyUsage = KeyUsage()
        var extended: [ExtendedKeyUsage.Usage] = []
        for usage in usages {
            if let bit = bits[usage] {
                keyUsage[keyPath: bit] = true
            } else if let purpose = purposes[usage] {
                if !extended.contains(purpose) { extended.append(purpose) }
            } else {
                throw PKIError("unrecognized key usage values: [\"\(usage)\"]")
            }
        }
        return (keyUsage, extended)
    }
}
