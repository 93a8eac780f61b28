// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Synchronization
import Testing
import Values

/// A registry on the loopback, as small as one can be: one answer a connection.
final class TinyRegistry: Sendable {
    struct Request: Sendable { var method = ""; var target = ""; var headers: [String: String] = [:]; var body = "" }
    struct Answer: Sendable {
        var status: String
        var headers: [(String, String)] = []
        var body: [UInt8] = []
        /// Closes the connection after so many bytes of the body.
        var cutAfter: Int?
        /// A byte now and then, until the other side goes.
        var drips = false
        /// Nothing after the head, until the other side goes.
        var stalls = false
    }

    let port: UInt16
    var host: String { "127.0.0.1:\(port)" }
    private let listening: Int32
    private let handler = Mutex<@Sendable (Request) -> Answer?>({ _ in nil })
    private let content = Mutex<[String: (type: String, bytes: [UInt8])]>([:])
    let requests = Mutex<[Request]>([])

    static func loopback(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        address.sin_port = port.bigEndian
        return address
    }

    /// A listening socket of the loopback, and its port.
    static func listen() throws -> (Int32, UInt16) {
        let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | 0o2000000, 0)
        var address = loopback(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(fd, $0, length) == 0 && Glibc.listen(fd, 64) == 0 && getsockname(fd, $0, &length) == 0
            }
        }
        guard bound else { throw Errno("bind") }
        return (fd, UInt16(bigEndian: address.sin_port))
    }

    init() throws {
        let (fd, port) = try Self.listen()
        (listening, self.port) = (fd, port)
        Task { [weak self] in
            defer { close(fd) }
            while let connection = try? await OwnThread.run(awaiting: { () throws -> Int32 in
                let client = accept(fd, nil, nil)
                guard client >= 0 else { throw Errno("accept") }
                return client
            }) {
                guard let self else {
                    close(connection)
                    return
                }
                Task { try? await OwnThread.run(awaiting: { self.serve(connection) }) }
            }
        }
    }

    /// Who accepts is woken, and closes.
    deinit { shutdown(listening, Int32(SHUT_RDWR)) }

    /// Asked first; nil falls back to what was put in.
    func handle(_ body: @escaping @Sendable (Request) -> Answer?) { handler.withLock { $0 = body } }

    func put(_ target: String, _ bytes: [UInt8], type: String = "application/octet-stream") {
        content.withLock { $0[target] = (type, bytes) }
    }

    /// Puts an image in under a tag; returns its manifest's digest and the layers' digests.
    @discardableResult
    func push(_ image: TestImage, _ name: String, tag: String? = nil) async throws -> (
        manifest: String, layers: [String]
    ) {
        var layers: [JSON] = []
        var digests: [String] = []
        for layer in image.layers {
            let bytes = try await gzip(layer)
            let digest = try await sha256(bytes)
            digests.append(digest)
            put("/v2/\(name)/blobs/\(digest)", bytes)
            layers.append([
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": JSON(digest),
                "size": JSON(bytes.count),
            ])
        }
        let config = try await sha256(image.config)
        put("/v2/\(name)/blobs/\(config)", image.config)
        let manifest = JSON.object([
            "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": ["digest": JSON(config), "size": JSON(image.config.count)], "layers": .array(layers),
        ]).serialized()
        let digest = try await sha256(manifest)
        let type = "application/vnd.docker.distribution.manifest.v2+json"
        put("/v2/\(name)/manifests/\(digest)", manifest, type: type)
        if let tag { put("/v2/\(name)/manifests/\(tag)", manifest, type: type) }
        return (digest, digests)
    }

    func content(_ target: String) -> [UInt8]? { content.withLock { $0[target]?.bytes } }

    private func serve(_ connection: Int32) {
        defer { close(connection) }
        var bytes: [UInt8] = []
        let end = Array("\r\n\r\n".utf8)
        while bytes.firstRange(of: end) == nil {
            guard let part = try? FileDescriptor.read(connection, upTo: 65536), !part.isEmpty else { return }
            bytes += part
            // TLS: answered as servers of HTTP do.
            if bytes.first == 0x16 {
                try? FileDescriptor.write(
                    connection, Array("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".utf8))
                return
            }
        }
        guard let range = bytes.firstRange(of: end) else { return }
        let lines = String(decoding: bytes[..<range.lowerBound], as: UTF8.self).split(separator: "\r\n").map(
            String.init)
        let first = lines[0].split(separator: " ").map(String.init)
        var request = Request(method: first[0], target: first[1])
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 {
                request.headers[parts[0].lowercased()] = String(parts[1].drop { $0 == " " })
            }
        }
        var body = Array(bytes[range.upperBound...])
        while body.count < Int(request.headers["content-length"] ?? "0") ?? 0 {
            guard let part = try? FileDescriptor.read(connection, upTo: 65536), !part.isEmpty else { return }
            body += part
        }
        request.body = String(decoding: body, as: UTF8.self)
        let known = request
        requests.withLock { $0.append(known) }
        let answer =
            handler.withLock(\.self)(request) ?? content.withLock { $0[known.target] }.map {
                Answer(status: "200 OK", headers: [("Content-Type", $0.type)], body: $0.bytes)
            }
            ?? Answer(
                status: "404 Not Found", body: Array(#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no"}]}"#.utf8))
        if answer.stalls {
            try? FileDescriptor.write(connection, Array("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".utf8))
            _ = try? FileDescriptor.read(connection, upTo: 1)
            return
        }
        if answer.drips {
            try? FileDescriptor.write(
                connection, Array("HTTP/1.1 \(answer.status)\r\nContent-Length: 1000000\r\n\r\n".utf8))
            // Waits for the other side's end, a little for each byte.
            while !FileDescriptor.hasInput(connection, until: .now + .milliseconds(20)) {
                guard (try? FileDescriptor.write(connection, [32])) != nil else { return }
            }
            return
        }
        var head = "HTTP/1.1 \(answer.status)\r\nContent-Length: \(answer.body.count)\r\nConnection: close\r\n"
        for (name, value) in answer.headers { head += "\(name): \(value)\r\n" }
        try? FileDescriptor.write(connection, Array((head + "\r\n").utf8) + answer.body.prefix(answer.cutAfter ?? .max))
    }
}
