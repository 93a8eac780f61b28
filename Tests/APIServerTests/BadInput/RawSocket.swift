// SPDX-License-Identifier: Apache-2.0

import APIServer
import Dispatch
import Glibc
import HTTPServing
import NIOCore
import Values

/// A connection to loopback on which a test says what no client would. Blocking, each call on a thread of its own.
final class RawSocket: Sendable {
    struct Failure: Error { let what: String }

    private let descriptor: CInt

    /// - Parameter receiveBuffer: bytes that the kernel takes for a client that does not read; nil for its own measure.
    init(port: Int, receiveBuffer: CInt? = nil) throws {
        descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw Failure(what: "socket: \(errno)") }
        if var size = receiveBuffer {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<CInt>.size))
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Failure(what: "connect: \(errno)") }
    }

    deinit { close(descriptor) }

    private func onThread<Value: Sendable>(
        _ body: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async { continuation.resume(with: Result { try body() }) }
        }
    }

    /// False when the server took no more.
    @discardableResult
    func send(_ bytes: [UInt8]) async throws -> Bool {
        try await onThread { [descriptor] in
            var offset = 0
            while offset < bytes.count {
                let sent = bytes[offset...].withUnsafeBytes {
                    Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
                }
                guard sent > 0 else { return false }
                offset += sent
            }
            return true
        }
    }

    @discardableResult
    func send(_ text: String) async throws -> Bool { try await send(Array(text.utf8)) }

    /// Says that nothing more will be sent.
    func finish() { shutdown(descriptor, CInt(SHUT_WR)) }

    /// What has come; nil at the end, in order or not.
    func receive() async throws -> [UInt8]? {
        try await onThread { [descriptor] in
            let bytes = [UInt8](unsafeUninitializedCapacity: 64 << 10) { buffer, count in
                count = max(0, recv(descriptor, buffer.baseAddress, buffer.count, 0))
            }
            return bytes.isEmpty ? nil : bytes
        }
    }

    func receiveAll() async throws -> String {
        var all: [UInt8] = []
        while let piece = try await receive() { all += piece }
        return String(decoding: all, as: UTF8.self)
    }

    /// Returns when the server has torn the connection down, without reading a byte.
    func tornDown() async throws {
        try await onThread { [descriptor] in
            var entry = pollfd(fd: descriptor, events: 0, revents: 0)
            guard poll(&entry, 1, -1) == 1 else { throw Failure(what: "poll: \(errno)") }
        }
    }

    struct Response {
        var status: Int
        var headers: String
        var body: [UInt8]
        var json: JSON { (try? JSON(parsing: body)) ?? .null }
    }

    /// The next answer: its head, and as much of a body as it announces.
    func response(_ kept: inout [UInt8]) async throws -> Response {
        let end = Array("\r\n\r\n".utf8)
        while kept.firstRange(of: end) == nil {
            guard let piece = try await receive() else { throw Failure(what: "the connection ended without an answer") }
            kept += piece
        }
        let range = kept.firstRange(of: end) ?? 0..<0
        let headers = String(decoding: kept[..<range.lowerBound], as: UTF8.self)
        kept.removeFirst(range.upperBound)
        let lines = headers.lowercased().split(separator: "\r\n")
        let status = lines.first?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        let length = lines.first { $0.hasPrefix("content-length:") }
            .flatMap { Int($0.dropFirst("content-length:".count).filter { $0 != " " }) }
        let wanted = status == 100 ? 0 : length ?? Int.max
        while kept.count < wanted, let piece = try await receive() { kept += piece }
        let body = Array(kept.prefix(wanted))
        kept.removeFirst(body.count)
        return Response(status: status, headers: headers, body: body)
    }
}

/// A server on a port of loopback without TLS, so that a test may send it anything.
struct SocketFixture: Sendable {
    let fixture: Fixture
    let port: Int
    /// Of an account that may do everything.
    let token: String

    static func with(
        adjust: (inout HTTPServerConfiguration) -> Void = { _ in },
        _ body: @escaping @Sendable (SocketFixture) async throws -> Void
    ) async throws {
        let fixture = try await Fixture()
        let binding: JSON = [
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": ["name": "tests"],
            "roleRef": ["apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"],
            "subjects": [["kind": "ServiceAccount", "name": "default", "namespace": "default"]],
        ]
        _ = try await fixture.send("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
        let token = try await fixture.send(
            "POST", "/api/v1/namespaces/default/serviceaccounts/default/token",
            ["apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": [:]]
        ).json["status"]["token"].string
        var configuration = HTTPServerConfiguration(.address(host: "127.0.0.1", port: 0))
        adjust(&configuration)
        let api = fixture.server
        let server = HTTPServer(configuration) { await api.respond(to: $0) }
        let (bound, continuation) = AsyncStream<Int>.makeStream()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run { continuation.yield($0.port ?? 0) } }
            for await port in bound {
                defer { group.cancelAll() }
                return try await body(SocketFixture(fixture: fixture, port: port, token: token ?? ""))
            }
        }
    }

    func head(_ method: String, _ path: String, _ headers: String...) -> String {
        ([
            "\(method) \(path) HTTP/1.1", "Host: localhost", "Authorization: Bearer \(token)",
        ] + headers).joined(separator: "\r\n") + "\r\n\r\n"
    }

    /// One request on a connection of its own.
    func exchange(
        _ method: String, _ path: String, _ body: [UInt8] = [], type: String = "application/json",
        accept: String = "application/json"
    ) async throws -> RawSocket.Response {
        let socket = try RawSocket(port: port)
        let head = head(
            method, path, "Content-Type: \(type)", "Accept: \(accept)", "Content-Length: \(body.count)",
            "Connection: close")
        try await socket.send(Array(head.utf8) + body)
        var kept: [UInt8] = []
        return try await socket.response(&kept)
    }

    func exchange(
        _ method: String, _ path: String, _ body: String, type: String = "application/json"
    ) async throws -> RawSocket.Response {
        try await exchange(method, path, Array(body.utf8), type: type)
    }

    /// That the server still does its work.
    func requireHealth() async throws {
        let answer = try await exchange("GET", "/api/v1/namespaces/default")
        guard answer.status == 200 else { throw RawSocket.Failure(what: "the server answers \(answer.status)") }
    }
}
