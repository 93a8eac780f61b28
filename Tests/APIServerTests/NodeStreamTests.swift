// SPDX-License-Identifier: Apache-2.0

import APIServer
import HTTPServing
import KubeClient
import KubeObjects
import NIOCore
import NIOHTTP1
import PKI
import Storage
import Testing
import Values

/// What is passed on to a node, with a server in place of its kubelet.
@Suite struct NodeStreamTests {
    private func withCluster(
        _ body: (KubeClient, APIServer) async throws -> Void
    ) async throws {
        let authority = try CertificateAuthority.create(commonName: "ca")
        let node = try authority.issue(
            commonName: "system:node:n1", organizations: ["system:nodes"], ipAddresses: [IPAddress(127, 0, 0, 1)])
        let admin = try authority.issue(commonName: "kubelet-client", organizations: ["system:masters"])
        var configuration = HTTPServerConfiguration(
            .address(host: "127.0.0.1", port: 0),
            security: .tls(
                certificatePEM: node.certificatePEM, privateKeyPEM: node.privateKeyPEM,
                clientCAPEM: authority.certificatePEM))
        configuration.keepAliveTimeout = .seconds(5)
        let kubelet = HTTPServer(configuration) { request in
            guard request.client?.commonName == "kubelet-client" else { return HTTPResponse(status: 401) }
            if request.path.hasPrefix("/containerLogs/") {
                return HTTPResponse(text: "\(request.target)\n")
            }
            guard request.path.hasPrefix("/exec/") else {
                return HTTPResponse(
                    status: 400, contentType: "application/json",
                    bytes: StatusError.badRequest("no such stream").json.serialized())
            }
            return HTTPResponse(
                status: 101, headers: ["Upgrade": "SPDY/3.1", "X-Target": request.target],
                body: .upgrade { connection in
                    for try await buffer in connection.inbound { try await connection.write(buffer) }
                    await connection.finish()
                })
        }
        let (ports, found) = AsyncStream<Int>.makeStream()
        let task = Task { try await kubelet.run { found.yield($0.port ?? 0) } }
        var iterator = ports.makeAsyncIterator()
        let port = await iterator.next() ?? 0
        let server = APIServer(
            storage: MemoryBackend(),
            configuration: APIServerConfiguration(
                tokenSigner: .create(), clientCAPEM: authority.certificatePEM,
                kubeletClientCertificatePEM: admin.certificatePEM, kubeletClientKeyPEM: admin.privateKeyPEM,
                compactionInterval: nil))
        let client = KubeClient(server.inProcessTransport(user: "admin", groups: ["system:masters"]))
        try await server.bootstrap()
        _ = try await client.create(
            .serviceAccounts,
            KubeObject(.serviceAccounts, kind: "ServiceAccount", name: "default", namespace: "default"))
        var n1 = KubeObject(.nodes, kind: "Node", name: "n1")
        n1["status"] = [
            "addresses": [["type": "InternalIP", "address": "127.0.0.1"]],
            "daemonEndpoints": ["kubeletEndpoint": ["Port": JSON(port)]],
        ]
        _ = try await client.create(.nodes, n1)
        _ = try await client.create(.pods, pod("web"))
        _ = try await client.create(
            .pods, name: "web", in: "default", subresource: "binding",
            ["metadata": ["name": "web"], "target": ["kind": "Node", "name": "n1"]])
        defer { task.cancel() }
        try await body(client, server)
    }

    private static let path = "/api/v1/namespaces/default/pods/web"

    private func request(_ target: String, method: String = "POST", headers: HTTPHeaders = [:]) throws -> HTTPRequest {
        try #require(
            HTTPRequest(
                method: method, target: target, headers: headers,
                client: ClientCertificate(commonName: "admin", organizations: ["system:masters"])))
    }

    @Test func logsArePassedOn() async throws {
        try await withCluster { client, _ in
            let text = try await client.text(
                Self.path + "/log", query: [("tailLines", "5"), ("timestamps", "true"), ("container", "main")])
            #expect(text == "/containerLogs/default/web/main?tailLines=5&timestamps=true\n")
            let response = try await client.transport.send(
                APIRequest(method: "GET", path: Self.path + "/log", query: [("container", "other")]))
            #expect(response.status == 400)
        }
    }

    @Test func execIsUpgradedAndRefusalsAreStatuses() async throws {
        try await withCluster { _, server in
            let target = Self.path + "/exec?command=sh&command=-c&command=a%20b&stdin=true&stdout=true&tty=false"
            let answer = await server.respond(to: try request(target, headers: ["Upgrade": "SPDY/3.1"]))
            #expect(answer.status == 101)
            #expect(
                answer.headers.first(name: "X-Target")
                    == "/exec/default/web/main?command=sh&command=-c&command=a%20b&input=1&output=1")
            // Flags are read as everywhere: what does not say no means yes.
            for (query, passed) in [
                ("stdin=True&stdout=t&stderr=TRUE&tty=T", "input=1&output=1&error=1&tty=1"),
                ("stdin=1&stdout=&tty=yes", "input=1&output=1&tty=1"),
                ("stdin=0&stdout=1&stderr=False&tty=F", "output=1"),
            ] {
                let answer = await server.respond(
                    to: try request("\(Self.path)/exec?command=sh&\(query)", headers: ["Upgrade": "SPDY/3.1"]))
                #expect(
                    answer.headers.first(name: "X-Target") == "/exec/default/web/main?command=sh&\(passed)", "\(query)")
            }
            let plain = await server.respond(to: try request(target))
            #expect(plain.status == 400)
            let refused = await server.respond(
                to: try request(Self.path + "/portforward", headers: ["Upgrade": "SPDY/3.1"]))
            #expect(refused.status == 400)
            guard case .bytes(let bytes) = refused.body else {
                Issue.record("a refusal carries a Status")
                return
            }
            #expect(try JSON(parsing: bytes)["message"].string == "no such stream")
        }
    }
}
