// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Synchronization

/// A proxy on the loopback that takes CONNECT to any name and leads all to one port of the loopback.
final class TinyProxy: Sendable {
    let port: UInt16
    /// First lines and credentials of what was asked.
    let asked = Mutex<[(line: String, authorization: String)]>([])
    private let listening: Int32
    private let refusal: String?

    /// - Parameter refusal: what is answered instead of a connection.
    init(to target: UInt16, refusal: String? = nil) throws {
        self.refusal = refusal
        let (fd, port) = try TinyRegistry.listen()
        (listening, self.port) = (fd, port)
        Task { [weak self] in
            defer { close(fd) }
            while let client = try? await OwnThread.run(awaiting: { () throws -> Int32 in
                let client = accept(fd, nil, nil)
                guard client >= 0 else { throw Errno("accept") }
                return client
            }) {
                guard let self else {
                    close(client)
                    return
                }
                Task { try? await OwnThread.run(awaiting: { self.serve(client, target) }) }
            }
        }
    }

    deinit { shutdown(listening, Int32(SHUT_RDWR)) }

    private func serve(_ client: Int32, _ target: UInt16) {
        defer { close(client) }
        var head: [UInt8] = []
        while head.firstRange(of: Array("\r\n\r\n".utf8)) == nil {
            guard let part = try? FileDescriptor.read(client, upTo: 4096), !part.isEmpty else { return }
            head += part
        }
        let lines = String(decoding: head, as: UTF8.self).split(separator: "\r\n").map(String.init)
        let authorization = lines.first { $0.lowercased().hasPrefix("proxy-authorization:") } ?? ""
        asked.withLock { $0.append((lines.first ?? "", authorization)) }
        if let refusal {
            try? FileDescriptor.write(client, Array("HTTP/1.1 \(refusal)\r\nContent-Length: 0\r\n\r\n".utf8))
            return
        }
        let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | 0o2000000, 0)
        defer { close(server) }
        var address = TinyRegistry.loopback(target)
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { return }
        try? FileDescriptor.write(client, Array("HTTP/1.1 200 Connected\r\n\r\n".utf8))
        var entries = [
            pollfd(fd: client, events: Int16(POLLIN), revents: 0),
            pollfd(fd: server, events: Int16(POLLIN), revents: 0),
        ]
        while poll(&entries, 2, -1) > 0 {
            for (index, other) in [(0, server), (1, client)] where entries[index].revents != 0 {
                guard let part = try? FileDescriptor.read(entries[index].fd, upTo: 65536), !part.isEmpty,
                    (try? FileDescriptor.write(other, part)) != nil
                else { return }
            }
        }
    }
}
