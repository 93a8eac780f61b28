// SPDX-License-Identifier: Apache-2.0

import Glibc
import HTTPServing
import KubeClient
import KubeObjects
import NIOCore
import NIOHTTP1
import PKI
import Testing
import Values

@Suite(.timeLimit(.minutes(1))) struct HTTPTransportTests {
    private let authority: CertificateAuthority
    private let server: IssuedCertificate

    init() throws {
        authority = try CertificateAuthority.create(commonName: "ca")
        server = try authority.issue(
            commonName: "kube-apiserver", dnsNames: ["kubernetes"], ipAddresses: [IPAddress(127, 0, 0, 1)])
    }

    /// Runs a TLS server with the handler for the length of `body`.
    private func withServer(
        _ handler: @escaping @Sendable (HTTPRequest) async -> HTTPResponse,
        _ body: @escaping @Sendable (ClientConfiguration) async throws -> Void
    ) async throws {
        let server = HTTPServer(
            HTTPServerConfiguration(
                .address(host: "127.0.0.1", port: 0),
                security: .tls(
                    certificatePEM: server.certificatePEM, privateKeyPEM: server.privateKeyPEM,
                    clientCAPEM: authority.certificatePEM)), handler: handler)
        let (bound, continuation) = AsyncStream<Int>.makeStream()
        let ca = authority.certificatePEM
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run { continuation.yield($0.port ?? 0) } }
            for await port in bound {
                try await body(ClientConfiguration(server: "https://127.0.0.1:\(port)", caPEM: ca))
                break
            }
            group.cancelAll()
        }
    }

    @Test func certificatesNamesAndBytesArriveAsTheyWere() async throws {
        let admin = try authority.issue(commonName: "admin", organizations: ["system:masters"])
        try await withServer { request in
            let body = (try? await request.body.collect(upTo: 1 << 20)) ?? []
            let answer: JSON = [
                "path": JSON(request.path), "selector": JSON(request.query["labelSelector"] ?? ""),
                "who": JSON(request.client?.commonName ?? ""), "agent": JSON(request.headers["user-agent"].joined()),
                "body": JSON(String(decoding: body, as: UTF8.self)),
            ]
            return HTTPResponse(contentType: "application/json", bytes: answer.serialized())
        } _: { configuration in
            var configuration = configuration
            configuration.certificatePEM = admin.certificatePEM
            configuration.privateKeyPEM = admin.privateKeyPEM
            configuration.server += "/prefix/"
            let client = KubeClient(try HTTPTransport(configuration), userAgent: "catbird-test")
            let answer = try await client.json(
                "POST", "/apis/x y/system:node%2F", query: [("labelSelector", "a in (b,c)&é")], body: ["k": "ü"])
            #expect(
                answer == [
                    "path": "/prefix/apis/x y/system:node%2F", "selector": "a in (b,c)&é", "who": "admin",
                    "agent": "catbird-test", "body": #"{"k":"ü"}"#,
                ])
        }
    }

    @Test func aServerNameStandsInForTheAddress() async throws {
        try await withServer { request in
            HTTPResponse(contentType: "application/json", bytes: JSON(request.headers["host"].joined()).serialized())
        } _: { configuration in
            var configuration = configuration
            configuration.tlsServerName = "kubernetes"
            let host = try await KubeClient(HTTPTransport(configuration)).json("GET", "/")
            #expect(host.string?.hasPrefix("kubernetes:") == true)
        }
    }

    @Test func aForeignServerIsRefused() async throws {
        let other = try CertificateAuthority.create(commonName: "other").certificatePEM
        try await withServer { _ in
            HTTPResponse()
        } _: { configuration in
            var configuration = configuration
            configuration.caPEM = other
            let client = KubeClient(try HTTPTransport(configuration))
            await #expect(throws: (any Error).self) { try await client.json("GET", "/") }
            configuration.insecureSkipTLSVerify = true
            let careless = KubeClient(try HTTPTransport(configuration))
            await #expect(throws: MalformedAnswer.self) { try await careless.json("GET", "/") }
        }
    }

    @Test func aTokenIsReadAgainWhenItIsRefused() async throws {
        let path = "/tmp/catbird-token-\(UInt64.random(in: 0 ... .max))"
        defer { unlink(path) }
        try write("old\n", to: path)
        try await withServer { request in
            request.headers["authorization"] == ["Bearer new"]
                ? HTTPResponse(text: "{}")
                : HTTPResponse(status: 401, text: #"{"kind":"Status","code":401,"reason":"Unauthorized"}"#)
        } _: { configuration in
            var configuration = configuration
            configuration.tokenFile = path
            let client = KubeClient(try HTTPTransport(configuration))
            let error = await #expect(throws: APIError.self) { try await client.json("GET", "/") }
            #expect(error?.isUnauthorized == true)
            try write("new\n", to: path)
            #expect(try await client.json("GET", "/") == [:])
        }
    }

    @Test func manyWatchesDoNotLockOutOtherRequests() async throws {
        try await withServer { request in
            guard request.query["watch"] == "true" else { return HTTPResponse(text: #"{"kind":"Pod"}"#) }
            return HTTPResponse(
                body: .stream { writer in
                    try await writer.write(#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"1"}}}"# + "\n")
                    for await _ in AsyncStream<Void>.makeStream().stream {}
                })
        } _: { configuration in
            let client = KubeClient(try HTTPTransport(configuration))
            try await withThrowingTaskGroup(of: Void.self) { group in
                let (opened, continuation) = AsyncStream<Void>.makeStream()
                for _ in 0..<40 {
                    group.addTask {
                        for try await _ in try await client.watch(.pods) { continuation.yield() }
                    }
                }
                var count = 0
                for await _ in opened {
                    count += 1
                    if count == 40 { break }
                }
                let pod = try await client.get(.pods, "web", in: "default")
                #expect(pod.kind == "Pod")
                group.cancelAll()
            }
        }
    }

    @Test func aWatchIsClosedOnTheServerWhenItsReaderIsDone() async throws {
        let (ended, continuation) = AsyncStream<Void>.makeStream()
        try await withServer { _ in
            HTTPResponse(
                body: .stream { writer in
                    defer { continuation.yield() }
                    try await writer.write(#"{"type":"BOOKMARK","object":{}}"# + "\n")
                    for await _ in AsyncStream<Void>.makeStream().stream {}
                })
        } _: { configuration in
            let client = KubeClient(try HTTPTransport(configuration))
            // Once by letting go of the stream, once by cancelling its reader.
            for try await _ in try await client.watch(.pods) { break }
            for await _ in ended { break }
            let reader = Task { for try await _ in try await client.watch(.pods) {} }
            reader.cancel()
            _ = await reader.result
        }
    }

    @Test func nobodyThereFailsAtOnce() async throws {
        let client = KubeClient(try HTTPTransport(ClientConfiguration(server: "http://127.0.0.1:1")))
        await #expect(throws: (any Error).self) { try await client.get(.pods, "web") }
    }

    @Test(arguments: [
        "", "https://", "https://a b", "https://x:0", "https://x:70000", "https://[::1", "https://u@h", "https://h?q",
    ])
    func whatIsNoAddressIsRefused(server: String) {
        #expect(throws: ClientConfigurationError.self) { try HTTPTransport(ClientConfiguration(server: server)) }
    }
}

private struct CannotWrite: Error {}

private func write(_ text: String, to path: String) throws {
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    guard file >= 0 else { throw CannotWrite() }
    defer { close(file) }
    guard Glibc.write(file, text, text.utf8.count) == text.utf8.count else { throw CannotWrite() }
}
