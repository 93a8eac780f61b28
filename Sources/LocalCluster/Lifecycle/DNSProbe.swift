// SPDX-License-Identifier: Apache-2.0

import Glibc
import Linux
import Values

/// Asks a name server one question from inside a network namespace.
struct DNSProbe: Sendable {
    let server: IPAddress
    let namespace: NamespaceRef
    /// How long a lost datagram is waited for before the question is sent again.
    let patience: Duration = .milliseconds(100)

    /// Returns when the server has answered with at least one record.
    func waitForAnswer(_ name: String) async throws {
        while !Task.isCancelled {
            // Blocking, on a thread of its own: a socket belongs to the namespace of the thread that made it.
            let answered = try await Namespaces.enter(Namespaces.Target(net: namespace)) { self.ask(name) }
            if answered { return }
        }
        throw CancellationError()
    }

    /// Whether the server answers now: asked up to ten times, a second in all.
    func answers(_ name: String) async throws -> Bool {
        try await Namespaces.enter(Namespaces.Target(net: namespace)) {
            // On a thread of its own that ends with it, as above.
            (0..<10).contains { _ in self.ask(name) }
        }
    }

    /// Whether an answer with a record came within the patience.
    private func ask(_ name: String) -> Bool {
        let fd = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        guard fd >= 0 else { return false }
        defer { close(fd) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(53).bigEndian
        address.sin_addr.s_addr = server.v4Bits.bigEndian
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { return false }
        var query: [UInt8] = [0x43, 0x42, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        for label in name.split(separator: ".") {
            query.append(UInt8(truncatingIfNeeded: label.utf8.count))
            query += label.utf8
        }
        query += [0, 0, 1, 0, 1]
        guard send(fd, query, query.count, 0) == query.count else { return pause(false) }
        var waiting = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
        guard poll(&waiting, 1, 100) > 0 else { return false }
        var answer = [UInt8](repeating: 0, count: 1500)
        let count = recv(fd, &answer, answer.count, 0)
        // An ICMP refusal comes at once while no server listens: then the patience is spent waiting.
        guard count >= 12, answer[0] == 0x43, answer[1] == 0x42 else { return pause(false) }
        return answer[3] & 15 == 0 && (answer[6] > 0 || answer[7] > 0) ? true : pause(false)
    }

    private func pause(_ result: Bool) -> Bool {
        poll(nil, 0, 20)
        return result
    }
}
