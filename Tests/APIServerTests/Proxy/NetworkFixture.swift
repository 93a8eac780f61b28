// SPDX-License-Identifier: Apache-2.0

import APIServer
import APIServerTesting
import HTTPServing
import KubeClient
import KubeObjects
import NIOCore
import NIOHTTP1
import PKI
import Storage
import Testing
import Values

/// Runs an HTTP server on a port of loopback for the length of `body`.
func withListener(
    security: HTTPServerConfiguration.Security = .plain,
    _ handler: @escaping @Sendable (HTTPRequest) async -> HTTPResponse,
    _ body: @escaping @Sendable (Int) async throws -> Void
) async throws {
    var configuration = HTTPServerConfiguration(.address(host: "127.0.0.1", port: 0), security: security)
    configuration.maximumBodySize = .max
    let server = HTTPServer(configuration, handler: handler)
    let (ports, found) = AsyncStream<Int>.makeStream()
    try await withThrowingTaskGroup(of: Bool.self) { group in
        group.addTask {
            defer { found.finish() }
            try await server.run { found.yield($0.port ?? 0) }
            return false
        }
        group.addTask {
            for await port in ports {
                try await body(port)
                break
            }
            return true
        }
        while let isDone = try await group.next() { if isDone { break } }
        group.cancelAll()
    }
}

/// An API server behind a port, whose clients may do everything, and for which all pods and nodes are on loopback.
struct NetworkFixture: Sendable {
    let server: APIServer
    /// Reaches the server in this process.
    let client: KubeClient
    /// Reaches it over the network.
    let port: Int

    static func with(
        adjust: (inout APIServerConfiguration) -> Void = { _ in },
        user: ClientCertificate = ClientCertificate(commonName: "admin", organizations: ["system:masters"]),
        _ body: @escaping @Sendable (NetworkFixture) async throws -> Void
    ) async throws {
        var configuration = APIServerConfiguration(tokenSigner: .create(), compactionInterval: nil)
        // The test's servers stand in for pods and nodes of any address.
        configuration.route = { _ in IPAddress(127, 0, 0, 1) }
        adjust(&configuration)
        let server = APIServer(storage: try await BootstrappedStorage.copy(), configuration: configuration)
        try await server.bootstrap()
        defer { server.stop() }
        let client = KubeClient(server.inProcessTransport(user: "admin", groups: ["system:masters"]))
        _ = try await client.create(
            .serviceAccounts,
            KubeObject(.serviceAccounts, kind: "ServiceAccount", name: "default", namespace: "default"))
        try await withListener { request in
            var request = request
            // What a client's certificate would say.
            request.client = user
            return await server.respond(to: request)
        } _: { port in
            try await body(NetworkFixture(server: server, client: client, port: port))
        }
    }

    /// A pod that runs, with a port by name.
    func makePod(_ name: String, port: Int, ip: String = "10.244.0.5", labels: [String: String] = [:]) async throws {
        var object = pod(name)
        object.metadata["labels"] = JSON(labels)
        object["spec"] = [
            "containers": [
                ["name": "main", "image": "busybox", "ports": [["name": "web", "containerPort": JSON(port)]]]
            ]
        ]
        _ = try await client.create(.pods, object)
        _ = try await client.patch(
            .pods, name, in: "default", type: .merge,
            ["status": ["podIP": JSON(ip), "podIPs": [["ip": JSON(ip)]], "phase": "Running"]], subresource: "status")
    }

    /// A Service with a named port 80, and a slice that leads to pods, ready or not.
    func makeService(_ name: String, port: Int, pods: [(name: String, isReady: Bool)]) async throws {
        var service = KubeObject(.services, kind: "Service", name: name, namespace: "default")
        service["spec"] = ["ports": [["name": "http", "port": 80, "targetPort": "web"]]]
        _ = try await client.create(.services, service)
        var slice = KubeObject(
            .endpointSlices, kind: "EndpointSlice", name: "\(name)-1", namespace: "default",
            labels: ["kubernetes.io/service-name": name])
        slice["addressType"] = "IPv4"
        slice["ports"] = [["name": "http", "port": JSON(port), "protocol": "TCP"]]
        slice["endpoints"] = .array(
            pods.map {
                [
                    "addresses": ["10.244.0.5"], "conditions": ["ready": JSON($0.isReady)],
                    "targetRef": ["kind": "Pod", "namespace": "default", "name": JSON($0.name)],
                ]
            })
        _ = try await client.create(.endpointSlices, slice)
    }

    struct Answer: Sendable {
        var status: Int
        var headers: HTTPHeaders
        var bytes: [UInt8]
        var text: String { String(decoding: bytes, as: UTF8.self) }
        var json: JSON { (try? JSON(parsing: bytes)) ?? .null }
    }

    func start(
        _ method: String, _ target: String, headers: HTTPHeaders = [:], body: [UInt8]? = nil
    ) async throws -> HTTPExchange {
        var headers = headers
        if let body { headers.add(name: "Content-Length", value: String(body.count)) }
        return try await HTTPExchange.start(
            HTTPExchange.Request(
                host: "127.0.0.1", port: port, method: method, target: target, headers: headers,
                body: body.map { HTTPRequestBody($0) }))
    }

    func send(
        _ method: String, _ target: String, headers: HTTPHeaders = [:], body: [UInt8]? = nil
    ) async throws -> Answer {
        let exchange = try await start(method, target, headers: headers, body: body)
        let bytes = try await exchange.collect(upTo: .max)
        await exchange.close()
        return Answer(status: exchange.status, headers: exchange.headers, bytes: bytes)
    }
}

/// A WebSocket client.
final class WebSocketClient {
    struct Message: Equatable {
        var opcode: UInt8
        var payload: [UInt8]
        var text: String { String(decoding: payload, as: UTF8.self) }
    }

    let status: Int
    let headers: HTTPHeaders
    let refusal: JSON
    private let connection: UpgradedConnection?
    private var iterator: UpgradedConnection.Inbound.Iterator?
    private var pending: [UInt8] = []

    init(port: Int, _ target: String, protocols: String? = nil) async throws {
        var headers: HTTPHeaders = [
            "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        ]
        if let protocols { headers.add(name: "Sec-WebSocket-Protocol", value: protocols) }
        let result = try await HTTPUpgrade.connect(
            host: "127.0.0.1", port: port, tls: nil, method: "GET", target: target, headers: headers)
        status = result.status
        self.headers = result.headers
        refusal = (try? JSON(parsing: result.bodyIfRefused)) ?? .null
        connection = result.connection
        iterator = connection?.inbound.makeAsyncIterator()
    }

    /// Sends a frame, masked as a client's must be (RFC 6455, section 5.3).
    func send(_ opcode: UInt8, _ payload: [UInt8]) async throws {
        let mask: [UInt8] = [1, 2, 3, 4]
        var frame: [UInt8] = [0x80 | opcode, 0x80 | UInt8(payload.count)] + mask
        for (index, byte) in payload.enumerated() { frame.append(byte ^ mask[index & 3]) }
        try await connection?.write(ByteBuffer(bytes: frame))
    }

    /// The next frame; nil when the server has ended the connection.
    func next() async throws -> Message? {
        while true {
            if let message = take() { return message }
            guard let buffer = try await iterator?.next() else { return nil }
            pending += buffer.readableBytesView
        }
    }

    private func take() -> Message? {
        guard pending.count >= 2 else { return nil }
        var header = 2
        var length = Int(pending[1] & 0x7F)
        if length >= 126 {
            let width = length == 126 ? 2 : 8
            guard pending.count >= 2 + width else { return nil }
            length = pending[2..<2 + width].reduce(0) { $0 << 8 | Int($1) }
            header += width
        }
        guard pending.count >= header + length else { return nil }
        let message = Message(opcode: pending[0] & 0x0F, payload: Array(pending[header..<header + length]))
        pending.removeFirst(header + length)
        return message
    }

    func close() async { await connection?.close() }
}
