// SPDX-License-Identifier: Apache-2.0

import PKI
import Testing
import Values

@Suite struct CertificateAuthorityTests {
    @Test func issuedCertificatesNameTheirOwnerAndItsAddresses() throws {
        let authority = try CertificateAuthority.create(commonName: "catbird-ca")
        let issued = try authority.issue(
            commonName: "system:node:lab", organizations: ["system:nodes", "second"], dnsNames: ["lab", "localhost"],
            ipAddresses: [IPAddress(192, 168, 49, 2), #require(IPAddress("fd00::2"))])
        let summary = try CertificateSummary(pem: issued.certificatePEM)
        #expect(summary.commonName == "system:node:lab")
        #expect(summary.organizations == ["system:nodes", "second"])
        #expect(summary.dnsNames == ["lab", "localhost"])
        #expect(summary.ipAddresses.map(\.description) == ["192.168.49.2", "fd00::2"])
        #expect(summary.notBefore < .now)
        #expect(summary.notAfter.seconds(since: .now) > 364 * 86400)
        #expect(issued.privateKeyPEM.hasPrefix("-----BEGIN PRIVATE KEY-----\n"))
        #expect(issued.certificatePEM.hasSuffix("-----END CERTIFICATE-----\n"))
    }

    @Test func anAuthorityIsReadBackAndStillIssues() throws {
        let saved = try CertificateAuthority.create(commonName: "catbird-ca")
        let read = try CertificateAuthority(certificatePEM: saved.certificatePEM, privateKeyPEM: saved.privateKeyPEM)
        let issued = try read.issue(commonName: "admin", usages: [.client], validity: 1)
        let summary = try CertificateSummary(pem: issued.certificatePEM)
        #expect(summary.notAfter.seconds(since: .now) < 86400 + 1)
        #expect(try CertificateSummary(pem: saved.certificatePEM).commonName == "catbird-ca")
    }

    @Test func aCertificateNeverOutlivesItsAuthority() throws {
        let authority = try CertificateAuthority.create(commonName: "ca")
        let issued = try authority.issue(commonName: "x", validity: 10_000)
        let end = try CertificateSummary(pem: authority.certificatePEM).notAfter
        #expect(try CertificateSummary(pem: issued.certificatePEM).notAfter <= end)
    }

    @Test func whatIsAskedForIsSigned() throws {
        let authority = try CertificateAuthority.create(commonName: "ca")
        let made = try CertificateRequest.create(
            commonName: "system:node:a", organizations: ["system:nodes"], dnsNames: ["a"],
            ipAddresses: [IPAddress(192, 0, 2, 1)])
        // Text before the block is no part of it.
        let request = try CertificateRequest(pem: "made by hand\n" + made.requestPEM)
        #expect(request.isSignedByItsKey)
        #expect(request.commonName == "system:node:a" && request.organizations == ["system:nodes"])
        #expect(request.dnsNames == ["a"] && request.ipAddresses == [IPAddress(192, 0, 2, 1)])
        #expect(request.emailAddresses.isEmpty && request.uris.isEmpty)
        let pem = try authority.sign(request, usages: ["digital signature", "server auth"], seconds: 600)
        let summary = try #require(try CertificateSummary.all(pem: pem + pem).first)
        #expect(summary.commonName == "system:node:a" && summary.dnsNames == ["a"])
        #expect(summary.ipAddresses == [IPAddress(192, 0, 2, 1)])
        #expect(summary.notAfter.seconds(since: summary.notBefore) >= 600 && summary.notBefore < .now)
        #expect(throws: PKIError("unrecognized key usage values: [\"telepathy\"]")) {
            try authority.sign(request, usages: ["telepathy"], seconds: 600)
        }
    }

    @Test func whatIsNoRequestIsRefused() throws {
        let authority = try CertificateAuthority.create(commonName: "ca")
        let garbage = "-----BEGIN CERTIFICATE REQUEST-----\nMAMBAf8=\n-----END CERTIFICATE REQUEST-----\n"
        for pem in ["", "nonsense", authority.certificatePEM, garbage] {
            #expect(throws: PKIError.self) { try CertificateRequest(pem: pem) }
        }
        for pem in ["", "nonsense", authority.privateKeyPEM] {
            #expect(throws: PKIError.self) { try CertificateSummary.all(pem: pem) }
        }
    }

    @Test func aKeyOfAnotherAuthorityIsRefused() throws {
        let one = try CertificateAuthority.create(commonName: "one")
        let two = try CertificateAuthority.create(commonName: "two")
        #expect(throws: PKIError.self) {
            try CertificateAuthority(certificatePEM: one.certificatePEM, privateKeyPEM: two.privateKeyPEM)
        }
        #expect(throws: PKIError.self) {
            try CertificateAuthority(certificatePEM: "nonsense", privateKeyPEM: two.privateKeyPEM)
        }
        #expect(throws: PKIError.self) { try CertificateSummary(der: [0x30, 0x03, 0x01]) }
    }

    @Test func digestsAreThoseOfFIPS180() {
        #expect(
            SHA256Hex.digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    }
}
