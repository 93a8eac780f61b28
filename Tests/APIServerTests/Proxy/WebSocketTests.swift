// SPDX-License-Identifier: Apache-2.0

import APIServer
import HTTPServing
import KubeClient
import KubeObjects
import NIOCore
import NIOHTTP1
import PKI
import Synchronization
import Testing
import Values

/// Watches and logs over WebSockets (RFC 6455).
@Suite struct WebSocketTests {
    private static let maps = "/api/v1/namespaces/default/configmaps"

    @Test(
        "each event is a text of its own",
        arguments: ["\(maps)?watch=true", "/api/v1/watch/namespaces/default/configmaps"])
    func watch(target: String) async throws {
        try await NetworkFixture.with { fixture in
            _ = try await fixture.client.create(.configMaps, configMap("a"))
            _ = try await fixture.client.create(.configMaps, configMap("b"))
            let socket = try await WebSocketClient(port: fixture.port, target)
            #expect(socket.status == 101)
            var names: [String] = []
            func event() async throws -> (String, String) {
                let message = try #require(try await socket.next())
                #expect(message.opcode == 1)
                #expect(message.payload.last == UInt8(ascii: "\n"))
                let json = try JSON(parsing: message.payload)
                return (json["type"].string ?? "", json["object"]["metadata"]["name"].string ?? "")
            }
            for _ in 0..<2 { names.append(try await event().1) }
            #expect(names == ["a", "b"])
            try await fixture.client.delete(.configMaps, "b", in: "default")
            #expect(try await event() == ("DELETED", "b"))
            // Pings are answered, other messages ignored, and a goodbye is returned.
            try await socket.send(9, Array("are you there".utf8))
            #expect(try await socket.next() == .init(opcode: 10, payload: Array("are you there".utf8)))
            try await socket.send(1, Array("noise".utf8))
            try await socket.send(8, [0x03, 0xE8])
            #expect(try await socket.next() == .init(opcode: 8, payload: [0x03, 0xE8]))
            #expect(try await socket.next() == nil)
            await socket.close()
        }
    }

    @Test func aWatchThatIsOverSaysGoodbye() async throws {
        try await NetworkFixture.with { fixture in
            let socket = try await WebSocketClient(
                port: fixture.port, "\(Self.maps)?watch=true&timeoutSeconds=1", protocols: "my.protocol")
            #expect(socket.headers.first(name: "sec-websocket-protocol") == "my.protocol")
            #expect(try await socket.next() == .init(opcode: 8, payload: [0x03, 0xE8]))
            await socket.close()
            let refused = try await WebSocketClient(port: fixture.port, "\(Self.maps)?watch=true&resourceVersion=no")
            #expect(refused.status == 400)
            #expect(refused.refusal["kind"].string == "Status")
        }
    }

    /// As browsers show who they are: nothing but the subprotocols can they set.
    private static func offer(_ token: String) -> String {
        "base64url.bearer.authorization.k8s.io.\(Base64.text(Array(token.utf8), url: true))"
    }

    /// A token of an account that may read ConfigMaps and what pods show.
    private func token(_ fixture: NetworkFixture) async throws -> String {
        var role = KubeObject(.roles, kind: "Role", name: "viewer", namespace: "default")
        role["rules"] = [
            ["apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]],
            ["apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get"]],
        ]
        _ = try await fixture.client.create(.roles, role)
        var binding = KubeObject(.roleBindings, kind: "RoleBinding", name: "viewer", namespace: "default")
        binding["roleRef"] = ["apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "viewer"]
        binding["subjects"] = [["kind": "ServiceAccount", "name": "default", "namespace": "default"]]
        _ = try await fixture.client.create(.roleBindings, binding)
        let answer = try await fixture.client.json(
            "POST", "/api/v1/namespaces/default/serviceaccounts/default/token",
            body: ["apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": [:]])
        return try #require(answer["status"]["token"].string)
    }

    private static let nobody = ClientCertificate(commonName: "", organizations: [])

    @Test func aTokenAmongTheSubprotocolsAuthenticates() async throws {
        try await NetworkFixture.with(user: Self.nobody) { fixture in
            let token = try await token(fixture)
            let target = "\(Self.maps)?watch=true&timeoutSeconds=1"
            let socket = try await WebSocketClient(
                port: fixture.port, target, protocols: "\(Self.offer(token)), my.protocol")
            #expect(socket.status == 101)
            #expect(socket.headers["sec-websocket-protocol"] == ["my.protocol"])
            #expect(try await socket.next() == .init(opcode: 8, payload: [0x03, 0xE8]))
            await socket.close()
            for (protocols, status) in [
                // Nothing is left to answer with.
                (Self.offer(token), 401),
                ("\(Self.offer(token)), \(Self.offer(token)), my.protocol", 401),
                ("\(Self.offer("not a token")), my.protocol", 401),
                ("\(Self.offer(token))=, my.protocol", 401),
                ("base64url.bearer.authorization.k8s.io._w, my.protocol", 401),
                // An empty one is none: the caller is anonymous.
                ("\(Self.offer("")), my.protocol", 403),
                ("my.protocol", 403),
            ] {
                let refused = try await WebSocketClient(port: fixture.port, target, protocols: protocols)
                #expect(refused.status == status && refused.refusal["code"].int == status, "\(protocols)")
            }
            // It is looked for nowhere else.
            let plain = try await fixture.send(
                "GET", Self.maps, headers: ["Sec-WebSocket-Protocol": "\(Self.offer(token)), my.protocol"])
            #expect(plain.status == 403)
        }
    }

    @Test func aTokenAmongTheSubprotocolsStaysHere() async throws {
        let offers = Offers()
        try await withListener { request in
            offers.add(request.headers["sec-websocket-protocol"])
            return HTTPResponse(status: 400, text: "seen\n")
        } _: { port in
            // With a certificate the token is not needed, and is no business of the backend's either.
            for user in [Self.nobody, ClientCertificate(commonName: "admin", organizations: ["system:masters"])] {
                try await NetworkFixture.with(user: user) { fixture in
                    let token = try await token(fixture)
                    try await fixture.makePod("web", port: port)
                    let socket = try await WebSocketClient(
                        port: fixture.port, "/api/v1/namespaces/default/pods/web:\(port)/proxy/",
                        protocols: "\(Self.offer(token)), my.protocol")
                    #expect(socket.status == 400)
                }
            }
        }
        #expect(offers.all == [["my.protocol"], ["my.protocol"]])
    }

    /// What a backend was offered.
    final class Offers: Sendable {
        private let list = Mutex<[[String]]>([])
        func add(_ offers: [String]) { list.withLock { $0.append(offers) } }
        var all: [[String]] { list.withLock { $0 } }
    }

    /// A kubelet that sends a line, waits to be told, and sends another.
    private func withKubelet(_ body: @escaping @Sendable (NetworkFixture, Signal) async throws -> Void) async throws {
        let authority = try CertificateAuthority.create(commonName: "ca")
        let node = try authority.issue(commonName: "n1", ipAddresses: [IPAddress(127, 0, 0, 1)])
        let own = try authority.issue(commonName: "server", organizations: ["system:masters"])
        let signal = Signal()
        try await withListener(
            security: .tls(
                certificatePEM: node.certificatePEM, privateKeyPEM: node.privateKeyPEM,
                clientCAPEM: authority.certificatePEM)
        ) { request in
            guard request.client?.commonName == "server", request.path == "/containerLogs/default/web/main" else {
                return HTTPResponse(status: 404, text: "not here\n")
            }
            return HTTPResponse(
                headers: ["Content-Type": "text/plain"],
                body: .stream { writer in
                    try await writer.write("one\n")
                    guard request.query["follow"] == "true" else { return }
                    await signal.wait()
                    try await writer.write("two \u{e9}\n")
                })
        } _: { port in
            try await NetworkFixture.with(
                adjust: {
                    $0.clientCAPEM = authority.certificatePEM
                    $0.kubeletClientCertificatePEM = own.certificatePEM
                    $0.kubeletClientKeyPEM = own.privateKeyPEM
                }
            ) { fixture in
                var n1 = KubeObject(.nodes, kind: "Node", name: "n1")
                n1["status"] = [
                    "addresses": [["type": "InternalIP", "address": "127.0.0.1"]],
                    "daemonEndpoints": ["kubeletEndpoint": ["Port": JSON(port)]],
                ]
                _ = try await fixture.client.create(.nodes, n1)
                var web = pod("web")
                web["spec"]["nodeName"] = "n1"
                _ = try await fixture.client.create(.pods, web)
                try await body(fixture, signal)
            }
        }
    }

    /// Opened once.
    final class Signal: Sendable {
        private let stream: AsyncStream<Void>
        private let continuation: AsyncStream<Void>.Continuation
        init() { (stream, continuation) = AsyncStream.makeStream() }
        func open() { continuation.finish() }
        func wait() async { for await _ in stream {} }
    }

    @Test("logs, followed", arguments: [nil, "binary.k8s.io", "base64.binary.k8s.io"])
    func logs(name: String?) async throws {
        try await withKubelet { fixture, signal in
            let socket = try await WebSocketClient(
                port: fixture.port, "/api/v1/namespaces/default/pods/web/log?follow=true",
                protocols: name.map { "unknown.example, \($0)" })
            #expect(socket.status == 101)
            #expect(socket.headers.first(name: "sec-websocket-protocol") == name)
            let opcode: UInt8 = name == "base64.binary.k8s.io" ? 1 : 2
            func text() async throws -> String {
                let message = try #require(try await socket.next())
                #expect(message.opcode == opcode)
                guard opcode == 1 else { return message.text }
                return String(decoding: try #require(Base64.bytes(message.text)), as: UTF8.self)
            }
            #expect(try await text() == "")
            #expect(try await text() == "one\n")
            signal.open()
            #expect(try await text() == "two \u{e9}\n")
            #expect(try await socket.next() == .init(opcode: 8, payload: [0x03, 0xE8]))
            await socket.close()
        }
    }

    @Test func logsInOtherProtocolsAreRefused() async throws {
        try await withKubelet { fixture, _ in
            let socket = try await WebSocketClient(
                port: fixture.port, "/api/v1/namespaces/default/pods/web/log", protocols: "v4.channel.k8s.io")
            #expect(socket.status == 403)
        }
    }

    @Test func manyLogsCanBeFollowedAtOnce() async throws {
        try await withKubelet { fixture, signal in
            var exchanges: [HTTPExchange] = []
            for _ in 0..<20 {
                let exchange = try await fixture.start(
                    "GET", "/api/v1/namespaces/default/pods/web/log?follow=true")
                #expect(try await exchange.next().map { String(buffer: $0) } == "one\n")
                exchanges.append(exchange)
            }
            signal.open()
            for exchange in exchanges {
                #expect(String(decoding: try await exchange.collect(upTo: .max), as: UTF8.self) == "two \u{e9}\n")
                await exchange.close()
            }
        }
    }

    @Test func nodesAreReachedAtTheirKubelets() async throws {
        try await withKubelet { fixture, _ in
            let answer = try await fixture.send("GET", "/api/v1/nodes/n1/proxy/containerLogs/default/web/main")
            #expect(answer.text == "one\n")
            #expect(try await fixture.send("GET", "/api/v1/nodes/n1/proxy/else").status == 404)
            #expect(try await fixture.send("GET", "/api/v1/nodes/n1:1/proxy/").status == 503)
            #expect(try await fixture.send("GET", "/api/v1/nodes/n1:http/proxy/").status == 400)
            #expect(try await fixture.send("GET", "/api/v1/nodes/n2/proxy/").status == 404)
        }
    }
}
