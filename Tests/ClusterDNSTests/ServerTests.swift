// SPDX-License-Identifier: Apache-2.0

import ClusterDNS
import Glibc
import KubeClient
import KubeClientTesting
import KubeObjects
import Linux
import Logging
import NIOCore
import Testing
import Values

/// A server on the loopback over an API in memory.
private struct Stage {
    let api = MemoryAPI()
    let folder = "/tmp/catbird-dns-\(getpid())-\(UInt32.random(in: 0 ... .max))"

    init(_ services: [(name: String, spec: JSON)]) async throws {
        try Files.makeDirectories(folder)
        try await api.client.create(.namespaces, KubeObject(.namespaces, kind: "Namespace", name: "default"))
        for (name, spec) in services {
            var service = KubeObject(.services, kind: "Service", name: name, namespace: "default")
            service["spec"] = spec
            try await api.client.create(.services, service)
        }
    }

    /// Runs `body` with the server's port while the server runs.
    func serve<Result: Sendable>(
        _ corefile: String, port: Int = 0, _ body: @escaping @Sendable (UInt16) async throws -> Result
    ) async throws -> Result {
        let path = "\(folder)/Corefile-\(UInt32.random(in: 0 ... .max))"
        try Files.replace(path, with: corefile.utf8)
        let server = DNSServer(
            client: api.client, corefile: path, log: Logger(label: "dns-test"), host: "127.0.0.1", port: port)
        let (ports, continuation) = AsyncStream.makeStream(of: UInt16.self)
        return try await withThrowingTaskGroup(of: Result?.self) { group in
            group.addTask {
                try await server.run { continuation.yield(UInt16($0.port ?? 0)) }
                return nil
            }
            group.addTask {
                for await port in ports { return try await body(port) }
                throw CancellationError()
            }
            defer { group.cancelAll() }
            while let result = try await group.next() {
                if let result { return result }
            }
            throw CancellationError()
        }
    }

    func end() { try? Files.removeTree(folder) }
}

/// Plain sockets.
private enum Wire {
    static func connect(_ port: UInt16, _ kind: __socket_type) throws -> Int32 {
        let fd = socket(AF_INET, Int32(kind.rawValue), 0)
        var patience = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Errno("connect", "127.0.0.1:\(port)") }
        return fd
    }

    static func question(_ name: String, _ type: UInt16 = RecordType.a) -> [UInt8] {
        var bytes: [UInt8] = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        for label in name.split(separator: ".") {
            bytes.append(UInt8(label.utf8.count))
            bytes += Array(label.utf8)
        }
        return bytes + [0, UInt8(type >> 8), UInt8(type & 255), 0, 1]
    }

    /// The code of the answer, and its addresses.
    static func ask(_ port: UInt16, _ name: String, _ type: UInt16 = RecordType.a) async throws -> (UInt8, [String]) {
        let question = question(name, type)
        let bytes = try await OwnThread.run(awaiting: {
            let fd = try connect(port, SOCK_DGRAM)
            defer { close(fd) }
            _ = send(fd, question, question.count, 0)
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = recv(fd, &buffer, buffer.count, 0)
            guard count > 0 else { throw Errno("recv", name) }
            return Array(buffer[..<count])
        })
        // Answers are found by their fixed part: type, class, time to live, length.
        var found: [String] = []
        var offset = question.count
        while offset + 10 <= bytes.count {
            while offset < bytes.count, bytes[offset] != 0, bytes[offset] & 0xC0 == 0 {
                offset += Int(bytes[offset]) + 1
            }
            offset += offset < bytes.count && bytes[offset] & 0xC0 != 0 ? 2 : 1
            guard offset + 10 <= bytes.count else { break }
            let length = Int(bytes[offset + 8]) << 8 | Int(bytes[offset + 9])
            if length == 4, offset + 14 <= bytes.count,
                let address = IPAddress(bytes: Array(bytes[offset + 10..<offset + 14]))
            {
                found.append("\(address)")
            }
            offset += 10 + length
        }
        return (bytes[3] & 15, found)
    }

    static func freePort() throws -> Int {
        let fd = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(fd) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(fd, pointer, length) == 0 ? getsockname(fd, pointer, &length) : -1
            }
        }
        guard result == 0 else { throw Errno("bind") }
        return Int(UInt16(bigEndian: address.sin_port))
    }
}

@Suite struct DNSServerTests {
    private static let services: [(name: String, spec: JSON)] = [
        ("web", ["clusterIP": "10.96.1.1", "ports": [["port": 80]]]),
        ("alias", ["type": "ExternalName", "externalName": "web.default.svc.cluster.local"]),
        ("out", ["type": "ExternalName", "externalName": "web.default.svc.corp.test"]),
        ("gone", ["type": "ExternalName", "externalName": "missing.default.svc.corp.test"]),
    ]

    private func waitUntilReady(_ port: UInt16) async throws {
        // Before the watches have come in a name is missing; the server is asked again, as a probe would.
        while try await Wire.ask(port, "web.default.svc.cluster.local").1.isEmpty { await Task.yield() }
    }

    @Test func aliasesLeadToAddressesHereAndUpstream() async throws {
        let stage = try await Stage(Self.services)
        defer { stage.end() }
        let far = try await Stage([("web", ["clusterIP": "192.0.2.80", "ports": [["port": 80]]])])
        defer { far.end() }
        try await far.serve(". {\n kubernetes corp.test\n}") { upstream in
            while try await Wire.ask(upstream, "web.default.svc.corp.test").1.isEmpty { await Task.yield() }
            try await stage.serve(". {\n kubernetes cluster.local\n forward . 127.0.0.1:\(upstream)\n cache 30\n}") {
                port in
                try await waitUntilReady(port)
                for _ in 0..<2 {
                    for (name, addresses) in [
                        ("alias", ["10.96.1.1"]), ("out", ["192.0.2.80"]), ("gone", []), ("web", ["10.96.1.1"]),
                    ] {
                        let (code, found) = try await Wire.ask(port, "\(name).default.svc.cluster.local")
                        #expect(code == 0 && found == addresses, "\(name): \(code) \(found)")
                    }
                }
            }
        }
        // Nobody upstream who answers: said at once as a failure, not as a name without addresses.
        let silent = try Wire.freePort()
        try await stage.serve(". {\n kubernetes cluster.local\n forward . 127.0.0.1:\(silent)\n}") { port in
            try await waitUntilReady(port)
            #expect(try await Wire.ask(port, "out.default.svc.cluster.local").0 == 2)
        }
    }

    @Test func anUpstreamThatLeadsBackEndsTheServer() async throws {
        let stage = try await Stage(Self.services)
        defer { stage.end() }
        let port = try Wire.freePort()
        let error = await #expect(throws: ForwardingLoop.self) {
            try await stage.serve(". {\n kubernetes cluster.local\n forward . 127.0.0.1:\(port)\n loop\n}", port: port)
            { _ in
                // Only the server's own end ends this.
                for await _ in AsyncStream<Void>(unfolding: { try? await Task.sleep(for: .seconds(3600)) }) {}
            }
        }
        #expect(error.map { "\($0)".contains("127.0.0.1:\(port)") } == true)
    }

    @Test func addressesChangePlaces() async throws {
        let stage = try await Stage([("pods", ["clusterIP": "None", "ports": [["port": 80]]])])
        defer { stage.end() }
        var slice = KubeObject(
            .endpointSlices, kind: "EndpointSlice", name: "pods-1", namespace: "default",
            labels: ["kubernetes.io/service-name": "pods"])
        slice["addressType"] = "IPv4"
        slice["endpoints"] = [["addresses": ["10.0.0.1"]], ["addresses": ["10.0.0.2"]], ["addresses": ["10.0.0.3"]]]
        try await stage.api.client.create(.endpointSlices, slice)
        let name = "pods.default.svc.cluster.local"
        let seen = try await stage.serve(". {\n kubernetes cluster.local\n loadbalance\n}") { upstream in
            while try await Wire.ask(upstream, name).1.count < 3 { await Task.yield() }
            // Also those that came from another server, and from the cache.
            let other = try await Stage([])
            defer { other.end() }
            return try await other.serve(
                ". {\n kubernetes other.test\n forward . 127.0.0.1:\(upstream)\n cache 30\n loadbalance\n}"
            ) { port in
                var seen: [Set<String>] = [[], []]
                for _ in 0..<80 {
                    for (index, port) in [upstream, port].enumerated() {
                        seen[index].insert(try await Wire.ask(port, name).1.joined(separator: " "))
                    }
                }
                return seen
            }
        }
        for orders in seen {
            #expect(orders.count == 6)
            #expect(orders.allSatisfy { Set($0.split(separator: " ")) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"] })
        }
    }

    /// What a client does not read stays with it: the server stops reading from it, and serves the others.
    @Test func aClientThatNeverReadsIsNotReadFrom() async throws {
        let stage = try await Stage(Self.services)
        defer { stage.end() }
        try await stage.serve(". {\n kubernetes cluster.local\n}") { port in
            try await waitUntilReady(port)
            let question = Wire.question("web.default.svc.cluster.local")
            let framed = [UInt8(question.count >> 8), UInt8(question.count & 255)] + question
            let many = Array(repeatElement(framed, count: 1000).joined())
            let most = 64 << 20
            let sent = try await OwnThread.run(awaiting: {
                let fd = try Wire.connect(port, SOCK_STREAM)
                defer { close(fd) }
                var sent = 0
                while sent < most {
                    var waiting = pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)
                    // Nothing is taken any more.
                    if poll(&waiting, 1, 2000) == 0 { return sent }
                    let count = send(fd, many, many.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
                    if count < 0, errno != EAGAIN { throw Errno("send") }
                    sent += max(0, count)
                }
                return sent
            })
            #expect(sent < most, "the server took \(sent) bytes of questions whose answers nobody read")
            #expect(try await Wire.ask(port, "web.default.svc.cluster.local").1 == ["10.96.1.1"])
        }
    }

    @Test func aClientHasSoManyConnectionsAndNoMore() async throws {
        let stage = try await Stage(Self.services)
        defer { stage.end() }
        try await stage.serve(". {\n kubernetes cluster.local\n}") { port in
            try await OwnThread.run(awaiting: {
                var held: [Int32] = []
                defer { for fd in held { close(fd) } }
                let question = Wire.question("web.default.svc.cluster.local")
                let framed = [UInt8(question.count >> 8), UInt8(question.count & 255)] + question
                func answers(_ fd: Int32) -> Bool {
                    _ = send(fd, framed, framed.count, Int32(MSG_NOSIGNAL))
                    var byte: UInt8 = 0
                    return recv(fd, &byte, 1, 0) == 1
                }
                for number in 0..<128 {
                    held.append(try Wire.connect(port, SOCK_STREAM))
                    #expect(answers(held[number]), "connection \(number)")
                }
                let surplus = try Wire.connect(port, SOCK_STREAM)
                defer { close(surplus) }
                #expect(!answers(surplus))
            })
            #expect(try await Wire.ask(port, "web.default.svc.cluster.local").0 == 0)
        }
    }

    /// The series that the usual dashboards ask for.
    @Test func figuresHaveCoreDNSNames() async throws {
        let stage = try await Stage(Self.services)
        defer { stage.end() }
        let metrics = try Wire.freePort()
        try await stage.serve(". {\n kubernetes cluster.local\n cache 30\n prometheus :\(metrics)\n}") { port in
            try await waitUntilReady(port)
            _ = try await Wire.ask(port, "nobody.default.svc.cluster.local")
            let text = try await OwnThread.run(awaiting: {
                // The server of figures binds beside the other; a refusal is no answer yet.
                while true {
                    guard let fd = try? Wire.connect(UInt16(metrics), SOCK_STREAM) else { continue }
                    defer { close(fd) }
                    let request = Array("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".utf8)
                    _ = send(fd, request, request.count, 0)
                    var all: [UInt8] = []
                    while let piece = try? FileDescriptor.read(fd, upTo: 65536), !piece.isEmpty { all += piece }
                    return String(decoding: all, as: UTF8.self)
                }
            })
            for series in [
                "coredns_build_info{",
                "coredns_plugin_enabled{server=\"dns://:53\",zone=\".\",view=\"\",name=\"cache\"} 1",
                "coredns_dns_requests_total{server=\"dns://:53\",zone=\".\",view=\"\",proto=\"udp\",family=\"1\",type=\"A\"}",
                "coredns_dns_responses_total{server=\"dns://:53\",zone=\".\",view=\"\",rcode=\"NXDOMAIN\",plugin=\"\"} ",
                "coredns_dns_request_duration_seconds_bucket{", "coredns_dns_request_size_bytes_bucket{",
                "coredns_dns_response_size_bytes_sum{", "coredns_cache_entries{", "coredns_cache_hits_total{",
                "coredns_cache_misses_total{", "coredns_panics_total 0", "process_resident_memory_bytes ",
                "process_cpu_seconds_total ",
            ] { #expect(text.contains(series), "\(series) in \(text)") }
        }
    }
}
