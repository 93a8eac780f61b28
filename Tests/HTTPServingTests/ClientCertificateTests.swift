// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import NIOHTTP1
import PKI
import Testing
import Values

@Suite(.timeLimit(.minutes(1))) struct ClientCertificateTests {
    private static func who(
        _ authority: CertificateAuthority, _ client: IssuedCertificate?, trust: String? = nil, name: String? = nil,
        address: IPAddress = IPAddress(127, 0, 0, 1)
    ) async throws -> String {
        let server = try authority.issue(
            commonName: "server", dnsNames: ["kubernetes"], ipAddresses: [address])
        return try await withServer(
            security: .tls(
                certificatePEM: server.certificatePEM, privateKeyPEM: server.privateKeyPEM,
                clientCAPEM: authority.certificatePEM)
        ) { request in
            HTTPResponse(
                status: 200,
                text: request.client.map { "\($0.commonName) \($0.organizations) \($0.der.isEmpty)" } ?? "nobody")
        } _: { port in
            let result = try await HTTPUpgrade.connect(
                host: "127.0.0.1", port: port,
                tls: HTTPClientTLS(
                    caPEM: trust ?? authority.certificatePEM, certificatePEM: client?.certificatePEM,
                    privateKeyPEM: client?.privateKeyPEM, serverName: name),
                method: "GET", target: "/", headers: [:])
            return String(decoding: result.bodyIfRefused, as: UTF8.self)
        }
    }

    @Test func aGoodCertificateNamesItsOwner() async throws {
        let authority = try CertificateAuthority.create(commonName: "ca")
        let client = try authority.issue(
            commonName: "system:node:lab", organizations: ["system:nodes", "x"], usages: [.client])
        #expect(try await Self.who(authority, client) == #"system:node:lab ["system:nodes", "x"] false"#)
        #expect(try await Self.who(authority, client, name: "kubernetes").hasPrefix("system:node:lab"))
    }

    @Test func noCertificateIsNobody() async throws {
        #expect(try await Self.who(try .create(commonName: "ca"), nil) == "nobody")
    }

    @Test func aForeignCertificateIsRefused() async throws {
        let foreign = try CertificateAuthority.create(commonName: "foreign").issue(commonName: "admin")
        await #expect(throws: (any Error).self) { try await Self.who(try .create(commonName: "ca"), foreign) }
    }

    @Test func aServerOfAnotherAuthorityOrNameIsRefused() async throws {
        let authority = try CertificateAuthority.create(commonName: "ca")
        let other = try CertificateAuthority.create(commonName: "other").certificatePEM
        await #expect(throws: (any Error).self) { try await Self.who(authority, nil, trust: other) }
        let elsewhere = IPAddress(192, 0, 2, 1)
        await #expect(throws: (any Error).self) { try await Self.who(authority, nil, address: elsewhere) }
        await #expect(throws: (any Error).self) {
            try await Self.who(authority, nil, name: "elsewhere", address: elsewhere)
        }
        #expect(try await Self.who(authority, nil, name: "kubernetes", address: elsewhere) == "nobody")
    }
}
