// SPDX-License-Identifier: Apache-2.0

import APIServer
import HTTPServing
import KubeClient
import KubeObjects
import NIOCore
import NIOHTTP1
import NIOPosix
import PKI
import Testing
import Values

/// The `proxy` subresources, with a server of the test as what runs in the pod.
@Suite struct ProxyTests {
    static let pods = "/api/v1/namespaces/default/pods"
    static let services = "/api/v1/namespaces/default/services"

    /// Tells what it was asked.
    @Sendable static func echo(_ request: HTTPRequest) async -> HTTPResponse {
        let body = (try? await request.body.collect(upTo: 64 << 20)) ?? []
        let answer: JSON = [
            "method": JSON(request.method), "target": JSON(request.target), "length": JSON(body.count),
            "body": JSON(String(decoding: body.prefix(100), as: UTF8.self)),
            "headers": .array(request.headers.map { JSON("\($0.name.lowercased()): \($0.value)") }),
        ]
        return HTTPResponse(contentType: "application/json", bytes: answer.serialized())
    }

    static func with(
        _ handler: @escaping @Sendable (HTTPRequest) async -> HTTPResponse = echo,
        _ body: @escaping @Sendable (NetworkFixture, Int) async throws -> Void
    ) async throws {
        try await withListener(handler) { backend in
            try await NetworkFixture.with { fixture in
                try await fixture.makePod("web", port: backend)
                try await body(fixture, backend)
            }
        }
    }

    @Test(
        "every method, with and without a path",
        arguments: ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
    func methods(method: String) async throws {
        try await Self.with { fixture, backend in
            try await fixture.makeService("svc", port: backend, pods: [("web", true)])
            for place in ["\(Self.pods)/web:\(backend)", "\(Self.services)/svc:http"] {
                for path in ["/", "/some/path/", "/a%20b/c?x=1&y=%2F+"] {
                    let body = ["POST", "PUT", "PATCH"].contains(method) ? Array("hello".utf8) : nil
                    let answer = try await fixture.send(method, "\(place)/proxy\(path)", body: body)
                    #expect(answer.status == 200, "\(answer.text)")
                    if method == "HEAD" {
                        #expect(answer.bytes.isEmpty)
                        #expect(answer.headers.first(name: "content-length").flatMap { Int($0) } ?? 0 > 0)
                        continue
                    }
                    #expect(answer.json["method"].string == method)
                    #expect(answer.json["target"].string == path)
                    #expect(answer.json["body"].string == (body == nil ? "" : "hello"))
                }
                // Without a slash at its end relative links on a page would lead astray: browsers are sent there first.
                let bare = try await fixture.send(method, "\(place)/proxy?x=1")
                if ["GET", "HEAD"].contains(method) {
                    #expect(bare.status == 301)
                    #expect(bare.headers.first(name: "location") == "\(place)/proxy/?x=1")
                } else {
                    #expect(bare.json["target"].string == "/?x=1")
                }
            }
        }
    }

    @Test func namesSaySchemeAndPort() async throws {
        try await Self.with { fixture, backend in
            try await fixture.makeService("svc", port: backend, pods: [("web", true)])
            for name in ["web", "web:", "web:\(backend)", "web:web", "http:web:", "http:web:web", ":web:\(backend)"] {
                #expect(try await fixture.send("GET", "\(Self.pods)/\(name)/proxy/").status == 200, "\(name)")
            }
            for name in ["svc:http", "svc:80", "http:svc:http", "http:svc:80"] {
                #expect(try await fixture.send("GET", "\(Self.services)/\(name)/proxy/").status == 200, "\(name)")
            }
            for name in [":80", "ftp:web:80", "http:web:80:1", "http::80"] {
                let answer = try await fixture.send("GET", "\(Self.pods)/\(name)/proxy/")
                #expect(answer.status == 400)
                #expect(answer.json["message"].string == "invalid pod request \"\(name)\"")
            }
            let unnamed = try await fixture.send("GET", "\(Self.services)/svc/proxy/")
            #expect(unnamed.status == 503)
            #expect(unnamed.json["message"].string == "no endpoints available for service \"svc\"")
            let unknown = try await fixture.send("GET", "\(Self.services)/svc:81/proxy/")
            #expect(unknown.json["message"].string == "no service port 81 found for service \"svc\"")
            #expect(try await fixture.send("GET", "\(Self.pods)/none/proxy/").status == 404)
            #expect(try await fixture.send("GET", "\(Self.services)/none/proxy/").status == 404)
        }
    }

    @Test func onlyReadyEndpointsOfPodsAreAsked() async throws {
        try await Self.with { fixture, backend in
            try await fixture.makeService("waits", port: backend, pods: [("web", false)])
            let waits = try await fixture.send("GET", "\(Self.services)/waits:http/proxy/")
            #expect(waits.status == 503)
            #expect(waits.json["reason"].string == "ServiceUnavailable")
            #expect(waits.json["message"].string == "no endpoints available for service \"waits:http\"")
            try await fixture.makeService("stray", port: backend, pods: [("nobody", true)])
            #expect(try await fixture.send("GET", "\(Self.services)/stray:http/proxy/").status == 503)
            try await fixture.makeService(
                "some", port: backend, pods: [("nobody", true), ("web", true), ("web", false)])
            for _ in 0..<8 {
                #expect(try await fixture.send("GET", "\(Self.services)/some:http/proxy/").status == 200)
            }
        }
    }

    @Test func headersOfOneConnectionAndOfOursStayHere() async throws {
        try await Self.with { fixture, _ in
            let answer = try await fixture.send(
                "GET", "\(Self.pods)/web/proxy/x",
                headers: [
                    "Host": "cluster.example:8443", "Authorization": "Basic c2VjcmV0", "Connection": "close, X-Hop",
                    "X-Hop": "1", "TE": "trailers", "X-Kept": "2", "X-Forwarded-For": "10.9.8.7",
                ])
            let headers = answer.json["headers"].array?.compactMap(\.string) ?? []
            #expect(headers.contains("x-kept: 2"))
            #expect(headers.contains("host: cluster.example:8443"))
            #expect(headers.contains("x-forwarded-for: 10.9.8.7, 127.0.0.1"))
            #expect(headers.contains("x-forwarded-uri: \(Self.pods)/web/proxy/x"))
            for name in ["authorization", "x-hop", "te", "connection"] {
                #expect(!headers.contains { $0.hasPrefix("\(name):") }, "\(name)")
            }
        }
    }

    @Test func largeBodiesGoThroughInBothDirections() async throws {
        let size = 9 << 20
        try await Self.with { request in
            guard request.method == "GET" else { return await Self.echo(request) }
            return HTTPResponse(
                headers: ["Content-Length": String(size)],
                body: .stream { writer in
                    for _ in 0..<9 { try await writer.write([UInt8](repeating: 0x61, count: 1 << 20)) }
                })
        } _: { fixture, _ in
            // Larger than any body that the server reads itself.
            let body = [UInt8](repeating: 0x62, count: size)
            let sent = try await fixture.send("PUT", "\(Self.pods)/web/proxy/", body: body)
            #expect(sent.json["length"].int == size)
            let received = try await fixture.send("GET", "\(Self.pods)/web/proxy/")
            #expect(received.headers.first(name: "content-length") == String(size))
            #expect(received.bytes.count == size)
        }
    }

    @Test func answersComePieceByPieceWhileTheRequestIsStillSent() async throws {
        try await Self.with { request in
            // Here as in the API server: the body is read on while the answer is sent.
            request.body.keep()
            return HTTPResponse(
                body: .stream { writer in
                    for try await piece in request.body { try await writer.write("<\(String(buffer: piece))>") }
                    try await writer.write("end")
                })
        } _: { fixture, _ in
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connect(host: "127.0.0.1", port: fixture.port) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                    }
                }
            try await channel.executeThenClose { inbound, outbound in
                var seen = ""
                var iterator = inbound.makeAsyncIterator()
                for (piece, answer) in [
                    (
                        "POST \(Self.pods)/web/proxy/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                            + "1\r\na\r\n", "<a>"
                    ), ("1\r\nb\r\n", "<b>"), ("0\r\n\r\n", "end"),
                ] {
                    try await outbound.write(ByteBuffer(string: piece))
                    while !seen.contains(answer) {
                        seen += String(buffer: try #require(try await iterator.next(), "there was \(seen)"))
                    }
                }
            }
        }
    }

    @Test func whoAnswersEarlyNeedNotReadTheRest() async throws {
        try await Self.with { _ in
            HTTPResponse(status: 403, text: "no\n")
        } _: { fixture, _ in
            let body = [UInt8](repeating: 0x62, count: 9 << 20)
            let answer = try await fixture.send("PUT", "\(Self.pods)/web/proxy/", body: body)
            #expect(answer.status == 403)
            #expect(answer.text == "no\n")
        }
    }

    @Test func anAnswerThatBreaksOffIsNotTakenForAWhole() async throws {
        struct Broken: Error {}
        try await Self.with { _ in
            HTTPResponse(
                body: .stream { writer in
                    try await writer.write("half")
                    throw Broken()
                })
        } _: { fixture, _ in
            let exchange = try await fixture.start("GET", "\(Self.pods)/web/proxy/")
            #expect(exchange.status == 200)
            await #expect(throws: (any Error).self) { try await exchange.collect(upTo: .max) }
        }
    }

    @Test func upgradesArePassedOnByteByByte() async throws {
        try await Self.with { request in
            guard request.path == "/ws" else { return HTTPResponse(status: 403, text: "not here\n") }
            return HTTPResponse(
                status: 101, headers: ["Upgrade": "chat", "X-Seen": request.target],
                body: .upgrade { connection in
                    for try await buffer in connection.inbound { try await connection.write(buffer) }
                    try await connection.write(ByteBuffer(string: "<end>"))
                    await connection.finish()
                })
        } _: { fixture, _ in
            let path = "\(Self.pods)/web/proxy"
            let result = try await HTTPUpgrade.connect(
                host: "127.0.0.1", port: fixture.port, tls: nil, method: "GET", target: "\(path)/ws?room=1",
                headers: ["Upgrade": "chat"])
            #expect(result.status == 101)
            #expect(result.headers.first(name: "upgrade") == "chat")
            #expect(result.headers.first(name: "x-seen") == "/ws?room=1")
            let connection = try #require(result.connection)
            let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            try await connection.write(ByteBuffer(bytes: bytes))
            await connection.finish()
            var echoed: [UInt8] = []
            for try await buffer in connection.inbound { echoed += buffer.readableBytesView }
            #expect(echoed == bytes + Array("<end>".utf8))
            await connection.close()
            let refused = try await HTTPUpgrade.connect(
                host: "127.0.0.1", port: fixture.port, tls: nil, method: "GET", target: "\(path)/other",
                headers: ["Upgrade": "chat"])
            #expect(refused.status == 403)
            #expect(String(decoding: refused.bodyIfRefused, as: UTF8.self) == "not here\n")
        }
    }

    @Test func whoCannotBeReachedIsUnavailable() async throws {
        try await Self.with { fixture, _ in
            let refused = try await fixture.send("GET", "\(Self.pods)/web:1/proxy/")
            #expect(refused.status == 503)
            #expect(refused.json["reason"].string == "ServiceUnavailable")
            #expect(
                refused.json["message"].string
                    == "error trying to reach service: dial tcp 127.0.0.1:1: connect: connection refused")
            let upgrade = try await HTTPUpgrade.connect(
                host: "127.0.0.1", port: fixture.port, tls: nil, method: "GET", target: "\(Self.pods)/web:1/proxy/",
                headers: ["Upgrade": "chat"])
            #expect(upgrade.status == 500)
        }
    }

    @Test(
        "loopback and other addresses of the server's own are never asked",
        arguments: ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::1", "fe80::1"])
    func ownAddresses(address: String) async throws {
        try await NetworkFixture.with(adjust: { $0.route = { $0.isGlobalUnicast ? $0 : nil } }) { fixture in
            try await fixture.makePod("web", port: 80, ip: address)
            let answer = try await fixture.send("GET", "\(Self.pods)/web/proxy/")
            #expect(answer.status == 400)
            #expect(answer.json["message"].string == "address not allowed")
        }
    }

    @Test func certificatesOfPodsAreTheirOwn() async throws {
        let authority = try CertificateAuthority.create(commonName: "nobody knows it")
        let leaf = try authority.issue(commonName: "self", dnsNames: ["self"])
        try await withListener(
            security: .tls(certificatePEM: leaf.certificatePEM, privateKeyPEM: leaf.privateKeyPEM), Self.echo
        ) { backend in
            try await NetworkFixture.with { fixture in
                try await fixture.makePod("web", port: backend)
                let answer = try await fixture.send("GET", "\(Self.pods)/https:web:web/proxy/secure")
                #expect(answer.json["target"].string == "/secure")
                // Without the scheme the server speaks plainly, and is not understood.
                #expect(try await fixture.send("GET", "\(Self.pods)/web:web/proxy/secure").status == 503)
            }
        }
    }

    @Test func verbsAreThoseOfTheMethods() async throws {
        try await withListener(Self.echo) { backend in
            try await NetworkFixture.with(user: ClientCertificate(commonName: "bob", organizations: [])) { fixture in
                try await fixture.makePod("web", port: backend)
                var role = KubeObject(.roles, kind: "Role", name: "r", namespace: "default")
                role["rules"] = [["apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get", "update"]]]
                _ = try await fixture.client.create(.roles, role)
                var binding = KubeObject(.roleBindings, kind: "RoleBinding", name: "r", namespace: "default")
                binding["roleRef"] = ["apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"]
                binding["subjects"] = [["kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"]]
                _ = try await fixture.client.create(.roleBindings, binding)
                let path = "\(Self.pods)/web/proxy/"
                for (method, status) in [
                    ("GET", 200), ("PUT", 200), ("POST", 403), ("PATCH", 403), ("DELETE", 403), ("OPTIONS", 403),
                ] {
                    #expect(try await fixture.send(method, path).status == status, "\(method)")
                }
                let refused = try await fixture.send("POST", path)
                #expect(
                    refused.json["message"].string == "pods \"web\" is forbidden: User \"bob\" cannot create resource "
                        + "\"pods/proxy\" in API group \"\" in the namespace \"default\"")
                #expect(try await fixture.send("GET", "/api/v1/nodes/n1/proxy/").status == 403)
                // Nor do kubelets ask each other, or pods, through the server.
                let kubelet = fixture.server.inProcessTransport(user: "system:node:n1", groups: ["system:nodes"])
                for path in [path, "/api/v1/nodes/n1/proxy/pods"] {
                    let answer = try await kubelet.send(APIRequest(method: "GET", path: path))
                    #expect(answer.status == 403)
                }
            }
        }
    }
}
