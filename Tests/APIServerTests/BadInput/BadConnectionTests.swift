// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import KubeClient
import KubeObjects
import NIOCore
import Testing
import Values

/// Clients that are slow, silent, too many or in a hurry.
@Suite struct BadConnectionTests {
    private static let maps = "/api/v1/namespaces/default/configmaps"

    /// 16 MiB in all: more than the kernel takes on its own.
    private static func fill(_ server: SocketFixture) async throws {
        let text = String(repeating: "x", count: 500_000)
        for number in 0..<32 {
            _ = try await server.fixture.client.create(.configMaps, configMap("big-\(number)", ["a": text]))
        }
    }

    @Test func clientsThatStopReadingAListOrAWatchAreSentAway() async throws {
        try await SocketFixture.with(
            adjust: {
                $0.sendTimeout = .milliseconds(300)
                $0.streamTimeout = .milliseconds(300)
            },
            { server in
                try await Self.fill(server)
                var stuck: [RawSocket] = []
                for path in [Self.maps, Self.maps + "?watch=1"] {
                    for _ in 0..<4 {
                        let socket = try RawSocket(port: server.port, receiveBuffer: 4096)
                        try await socket.send(server.head("GET", path))
                        stuck.append(socket)
                    }
                }
                // Nobody else is held up by them.
                try await server.requireHealth()
                for socket in stuck { try await socket.tornDown() }
                try await server.requireHealth()
            })
    }

    @Test func aWatcherThatReadsSlowlyMissesNothing() async throws {
        try await SocketFixture.with { server in
            try await Self.fill(server)
            let socket = try RawSocket(port: server.port, receiveBuffer: 4096)
            try await socket.send(server.head("GET", Self.maps + "?watch=1&timeoutSeconds=2", "Connection: close"))
            let text = try await socket.receiveAll()
            #expect(text.ranges(of: #"{"type":"ADDED""#).count == 32)
        }
    }

    /// Events go past the watcher's task while it has nothing to do, wait for it while its client takes nothing, and go
    /// past it again: in their order, each once.
    @Test func aWatcherThatPausesSeesEachChangeOnce() async throws {
        try await SocketFixture.with { server in
            let client = server.fixture.client
            let text = String(repeating: "x", count: 60_000)
            var map = try await client.create(.configMaps, configMap("paused", ["a": text]))
            let reader = try RawSocket(port: server.port, receiveBuffer: 4096)
            let path = "\(Self.maps)?watch=1&resourceVersion=\(map.resourceVersion)&allowWatchBookmarks=true"
            try await reader.send(server.head("GET", path))
            var received: [UInt8] = []
            while !received.contains(UInt8(ascii: "\r")) { received += try #require(try await reader.receive()) }
            for round in 0..<3 {
                // 7 MB: more than the kernel takes and the server hands it unasked.
                for step in 0..<120 {
                    map["data"]["step"] = JSON("\(round)-\(step)")
                    map = try await client.update(.configMaps, map)
                }
                while received.count < (round + 1) * 120 * text.utf8.count
                    || String(decoding: received.suffix(80_000), as: UTF8.self).ranges(
                        of: "\"\(round)-119\""
                    ).isEmpty
                {
                    received += try #require(try await reader.receive())
                }
            }
            let seen = String(decoding: received, as: UTF8.self).ranges(of: #"{"type":"MODIFIED""#).count
            #expect(seen == 360)
            let steps = String(decoding: received, as: UTF8.self).split(separator: #""step":""#).dropFirst()
                .map { String($0.prefix { $0 != "\"" }) }
            #expect(steps == (0..<3).flatMap { round in (0..<120).map { "\(round)-\($0)" } })
        }
    }

    @Test func requestsThatAreNeverFinishedEnd() async throws {
        try await SocketFixture.with(
            adjust: {
                $0.firstRequestTimeout = .milliseconds(200)
                $0.keepAliveTimeout = .milliseconds(200)
                $0.bodyTimeout = .milliseconds(200)
            },
            { server in
                let post = server.head("POST", Self.maps, "Content-Length: 1000", "Content-Type: application/json")
                for beginning in ["", "G", "GET /api HTTP/1.1\r\nHost: x\r\n", post + "{\"a\":", post] {
                    let socket = try RawSocket(port: server.port)
                    try await socket.send(beginning)
                    let answer = try await socket.receiveAll()
                    #expect(
                        answer.isEmpty || answer.hasPrefix("HTTP/1.1 4") || answer.hasPrefix("HTTP/1.1 5"), "\(answer)")
                }
                // A client that says that it is done, in the middle.
                let socket = try RawSocket(port: server.port)
                try await socket.send(post + "{")
                socket.finish()
                _ = try await socket.receiveAll()
                try await server.requireHealth()
            })
    }

    @Test func thousandsOfIdleConnectionsHoldNobodyUp() async throws {
        try await SocketFixture.with { server in
            let idle = try (0..<1000).map { _ in try RawSocket(port: server.port) }
            try await server.requireHealth()
            for socket in idle.prefix(20) {
                try await socket.send(server.head("GET", "/version"))
                var kept: [UInt8] = []
                #expect(try await socket.response(&kept).status == 200)
            }
            #expect(idle.count == 1000)
        }
    }

    @Test func longTargetsAndHeadersAreRefused() async throws {
        try await SocketFixture.with { server in
            let long = String(repeating: "x", count: 1 << 20)
            for request in [
                server.head("GET", "/api/" + long), server.head("GET", "/api", "X-Long: \(long)"),
                server.head("GET", "/api?labelSelector=\(long)"),
                "GET /api HTTP/1.1\r\n" + String(repeating: "X-Many: 1\r\n", count: 100_000) + "\r\n", long,
            ] {
                let socket = try RawSocket(port: server.port)
                async let answer = socket.receiveAll()
                try await socket.send(request)
                let status = try await answer.prefix(12)
                #expect(
                    status.isEmpty || ["HTTP/1.1 431", "HTTP/1.1 400", "HTTP/1.1 414"].contains(status), "\(status)")
            }
            // What is long but not too long is served.
            let selector = "a+notin+%28" + (0..<5000).map { "v\($0)" }.joined(separator: ",") + "%29"
            #expect(try await server.exchange("GET", "\(Self.maps)?labelSelector=\(selector)").status == 200)
        }
    }

    @Test func whatIsNotHTTPIsRefused() async throws {
        try await SocketFixture.with { server in
            for text in [
                "\u{16}\u{3}\u{1}\u{2}\0", "HELO there\r\n\r\n", "GET  /api HTTP/1.1\r\n\r\n",
                "GET /api HTTP/9.9\r\n\r\n",
                "GET /api HTTP/1.1\r\nBad Header: x\r\n\r\n", "GET /api HTTP/1.1\r\n: x\r\n\r\n",
                "GET /api HTTP/1.1\r\n\r\n",
                "POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                "POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                "POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
                "POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                "POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
                "POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
                "GET /api HTTP/1.1\r\nHost: x\r\nX: \u{1}\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            ] {
                let socket = try RawSocket(port: server.port)
                try await socket.send(text)
                socket.finish()
                let answer = try await socket.receiveAll()
                let code = answer.dropFirst(9).prefix(3)
                #expect(answer.isEmpty || code.hasPrefix("4"), "\(text.debugDescription): \(answer.prefix(200))")
            }
            try await server.requireHealth()
        }
    }

    @Test func olderClientsAndThoseInAHurryAreServed() async throws {
        try await SocketFixture.with { server in
            let old = try RawSocket(port: server.port)
            try await old.send(
                "GET /api/v1/namespaces/default HTTP/1.0\r\nAuthorization: Bearer \(server.token)\r\n\r\n")
            let answer = try await old.receiveAll()
            #expect(answer.hasPrefix("HTTP/1.0 200") && answer.contains("\"name\":\"default\""))
            // A stream to a client that knows no chunks ends with the connection.
            let watching = try RawSocket(port: server.port)
            try await watching.send(
                "GET /api/v1/namespaces?watch=1&timeoutSeconds=1 HTTP/1.0\r\nAuthorization: Bearer \(server.token)\r\n\r\n"
            )
            let lines = try await watching.receiveAll()
            #expect(lines.contains("\r\n\r\n{\"type\":\"ADDED\"") && !lines.lowercased().contains("chunked"))

            let hasty = try RawSocket(port: server.port)
            let map = #"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"}}"#
            try await hasty.send(
                server.head("POST", Self.maps, "Content-Type: application/json", "Content-Length: \(map.utf8.count)")
                    + map
                    + server.head("GET", Self.maps + "/m") + server.head("GET", Self.maps + "/none")
                    + server.head("DELETE", Self.maps + "/m") + server.head("HEAD", "/version")
                    + server.head("GET", "/version"))
            var kept: [UInt8] = []
            for code in [201, 200, 404, 200] { #expect(try await hasty.response(&kept).status == code) }
            // The answer to a HEAD announces a body that does not come.
            let rest = try await Self.text(of: hasty, kept, until: "gitVersion")
            #expect(rest.ranges(of: "HTTP/1.1 200 OK").count == 2)
        }
    }

    private static func text(of socket: RawSocket, _ kept: [UInt8], until mark: String) async throws -> String {
        var all = kept
        while !String(decoding: all, as: UTF8.self).contains(mark), let piece = try await socket.receive() {
            all += piece
        }
        return String(decoding: all, as: UTF8.self)
    }

    @Test func clientsThatAskBeforeTheySendAreAnswered() async throws {
        try await SocketFixture.with { server in
            let map = #"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"}}"#
            let socket = try RawSocket(port: server.port)
            var kept: [UInt8] = []
            try await socket.send(
                server.head(
                    "POST", Self.maps, "Content-Type: application/json", "Content-Length: \(map.utf8.count)",
                    "Expect: 100-continue"))
            #expect(try await socket.response(&kept).status == 100)
            try await socket.send(map)
            #expect(try await socket.response(&kept).status == 201)
            // Refused without having been asked for.
            try await socket.send(
                server.head("POST", Self.maps, "Content-Type: text/plain", "Content-Length: 5", "Expect: 100-continue"))
            #expect(try await socket.response(&kept).status == 415)
        }
    }
}
