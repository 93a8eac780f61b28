// SPDX-License-Identifier: Apache-2.0

import Foundation
import HTTPServing
import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix
import NIOSSL
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(1))) struct HTTP2ConnectionTests {
    // MARK: - Which protocol it is

    @Test(arguments: [["http/1.1"], []]) func clientsThatOfferNoHTTP2HaveTheOldOne(protocols: [String]) async throws {
        let tls = try TestTLS()
        try await withServer(security: tls.security) { _ in
            HTTPResponse(text: "old\n")
        } _: { port in
            try await RawHTTP2Client.with(port: port, tls, protocols: protocols) { client in
                try await client.send(Array("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".utf8))
                let answer = String(decoding: try await client.readToEnd(), as: UTF8.self)
                #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n") && answer.hasSuffix("old\n"))
            }
        }
    }

    @Test func aServerMayBeWithoutHTTP2() async throws {
        let tls = try TestTLS()
        try await withServer(security: tls.security, adjust: { $0.allowsHTTP2 = false }) { _ in
            HTTPResponse(text: "old\n")
        } _: { port in
            try await RawHTTP2Client.with(port: port, tls, protocols: ["h2", "http/1.1"]) { client in
                try await client.send(Array("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".utf8))
                #expect(String(decoding: try await client.readToEnd(), as: UTF8.self).hasSuffix("old\n"))
            }
        }
    }

    private static let curl = ["/usr/bin/curl", "/bin/curl"].first { FileManager.default.isExecutableFile(atPath: $0) }

    @Test(.enabled(if: curl != nil)) func curlSpeaksHTTP2WithIt() async throws {
        let tls = try TestTLS()
        let big = String(repeating: "z", count: 3 << 20)
        try await withServer(security: tls.security) { request in
            let count = (try? await request.body.collect(upTo: 10 << 20).count) ?? -1
            return HTTPResponse(text: request.path == "/big" ? big : "\(request.method) \(count)")
        } _: { port in
            let process = Process()
            process.executableURL = URL(fileURLWithPath: try #require(Self.curl))
            process.arguments = [
                "-sSk", "--http2", "-w", "|%{http_version} %{size_download}|", "https://127.0.0.1:\(port)/", "-d",
                "hello", "--next", "-sSk", "--http2", "-o", "/dev/null", "-w", "%{http_version} %{size_download}",
                "https://127.0.0.1:\(port)/big",
            ]
            let pipe = Pipe()
            process.standardOutput = pipe
            try process.run()
            let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
            process.waitUntilExit()
            #expect(String(decoding: output, as: UTF8.self) == "POST 5|2 6|2 \(big.utf8.count)")
        }
    }

    // MARK: - How it ends

    @Test func anIdleConnectionIsEndedInWords() async throws {
        let tls = try TestTLS()
        try await withServer(security: tls.security, adjust: { $0.keepAliveTimeout = .seconds(2) }) { request in
            // A stream that is open for longer than that is not idle.
            if request.path == "/slow" { try? await Task.sleep(for: .milliseconds(2500)) }
            return HTTPResponse(text: "done")
        } _: { port in
            try await HTTP2Client.with(port: port, tls) { client in
                #expect(try await client.send("GET", "/slow").body == "done")
                #expect(try await client.send("GET", "/").body == "done")
                let goodbye = await client.goodbye()
                #expect(goodbye?.code == .noError && goodbye?.last == 3)
                try await client.channel.closeFuture.get()
            }
        }
    }

    @Test(arguments: [nil, [String](), ["h2"]]) func silentClientsAreSentAway(protocols: [String]?) async throws {
        let tls = try TestTLS()
        try await withServer(security: tls.security, adjust: { $0.firstRequestTimeout = .milliseconds(300) }) { _ in
            HTTPResponse()
        } _: { port in
            guard let protocols else {
                // Not even TLS.
                return try await RawClient.with(port: port) { client in _ = try? await client.readToEnd() }
            }
            // TLS, and nothing in it; on a busy machine not even its handshake is in time.
            try? await RawHTTP2Client.with(port: port, tls, protocols: protocols) { client in
                _ = try? await client.readToEnd()
            }
        }
    }

    @Test func stoppingTheServerEndsStreamsAndConnections() async throws {
        let tls = try TestTLS()
        let cancelled = Gate()
        let client = try await withServer(security: tls.security) { _ in
            HTTPResponse(
                body: .stream { writer in
                    try await writer.write("x")
                    await Gate().wait()
                    cancelled.open()
                })
        } _: { port in
            let begun = Gate()
            let task = Task {
                try await HTTP2Client.with(port: port, tls) { client in
                    try await client.open { inbound, outbound in
                        let fields = HTTP2Client.fields("GET", "/")
                        try await outbound.write(.headers(.init(headers: fields, endStream: true)))
                        for try await payload in inbound {
                            if case .data = payload { begun.open() }
                        }
                    }
                }
            }
            await begun.wait()
            return task
        }
        await cancelled.wait()
        _ = try? await client.value
    }

    // MARK: - What is too much

    /// A server, and a client that sends it what it likes after the beginning of a connection. The server must say goodbye.
    private static func withGoodbye(
        beginning: Bool = true, code: UInt8? = nil, adjust: (inout HTTPServerConfiguration) -> Void = { _ in },
        handler: @escaping @Sendable (HTTPRequest) async -> HTTPResponse = { _ in HTTPResponse() },
        _ body: @Sendable @escaping (RawHTTP2Client) async throws -> Void
    ) async throws {
        let tls = try TestTLS()
        try await withServer(security: tls.security, adjust: adjust, handler: handler) { port in
            try await RawHTTP2Client.with(port: port, tls) { client in
                if beginning { try await client.begin() }
                try await body(client)
                let goodbye = try #require(await client.next { $0.type == RawHTTP2Client.goAway })
                if let code { #expect(goodbye.payload.prefix(8).last == code) }
            }
        }
    }

    private static let enhanceYourCalm: UInt8 = 11

    @Test func rapidResetsEndTheConnection() async throws {
        let running = Mutex((now: 0, most: 0))
        let handler: @Sendable (HTTPRequest) async -> HTTPResponse = { _ in
            running.withLock {
                $0.now += 1
                $0.most = max($0.most, $0.now)
            }
            defer { running.withLock { $0.now -= 1 } }
            await Gate().wait()
            return HTTPResponse()
        }
        try await Self.withGoodbye(code: Self.enhanceYourCalm, handler: handler) { client in
            try? await client.resetRapidly(5000)
        }
        #expect(running.withLock { $0.most } <= 500)
    }

    @Test func handlersThatAreSlowToEndAreBoundedToo() async throws {
        let hold = Gate()
        let running = Mutex(0)
        try await Self.withGoodbye(code: Self.enhanceYourCalm, adjust: { $0.maximumStreams = 10 }) { _ in
            running.withLock { $0 += 1 }
            // Deaf to being cancelled.
            await Task { await hold.wait() }.value
            return HTTPResponse()
        } _: { client in
            try? await client.resetRapidly(100)
            hold.open()
        }
        #expect(running.withLock { $0 } <= 20)
    }

    @Test func continuationsWithoutEndEndTheConnection() async throws {
        try await Self.withGoodbye { client in
            try await client.send(RawHTTP2Client.frame(RawHTTP2Client.headers, flags: 0, stream: 1, []))
            for _ in 0..<200 {
                try? await client.send(RawHTTP2Client.frame(RawHTTP2Client.continuation, flags: 0, stream: 1, []))
            }
        }
    }

    @Test func pingsWithoutEndEndTheConnection() async throws {
        try await Self.withGoodbye(code: Self.enhanceYourCalm) { client in
            let nothing = [UInt8](repeating: 0, count: 8)
            let ping = RawHTTP2Client.frame(RawHTTP2Client.ping, flags: 0, stream: 0, nothing)
            for _ in 0..<20 { try? await client.send((0..<100).flatMap { _ in ping }) }
        }
    }

    @Test func whatIsNotHTTP2EndsTheConnection() async throws {
        try await Self.withGoodbye(beginning: false) { client in
            try await client.send(Array("GET / HTTP/1.1\r\nHost: kubernetes\r\n\r\n".utf8))
        }
    }
}
