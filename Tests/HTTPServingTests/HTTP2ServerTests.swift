// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import NIOCore
import NIOHPACK
import NIOHTTP1
import NIOHTTP2
import PKI
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(1))) struct HTTP2ServerTests {
    @Sendable private static func echo(_ request: HTTPRequest) async -> HTTPResponse {
        do {
            let body = String(decoding: try await request.body.collect(upTo: 10 << 20), as: UTF8.self)
            let host = request.headers.first(name: "host") ?? "-"
            var response = HTTPResponse(
                text: "\(request.method) \(request.path) \(request.query["q"] ?? "-") \(host) "
                    + "\(request.remoteAddress) \(body)")
            // What only HTTP/1.1 has is left out.
            response.headers.add(name: "Keep-Alive", value: "timeout=5")
            return response
        } catch is HTTPBodyTooLarge {
            return HTTPResponse(status: 413, text: "too large\n")
        } catch {
            return HTTPResponse(status: 400, text: "\(error)\n")
        }
    }

    @Test func oneConnectionCarriesRequestsOfAllKinds() async throws {
        let tls = try TestTLS()
        try await withServer(security: tls.security, handler: Self.echo) { port in
            try await HTTP2Client.with(port: port, tls) { client in
                let get = try await client.send("GET", "/t%20wo?q=a%2Bb+c")
                #expect(get.status == "200" && get.body == "GET /t wo a+b c kubernetes 127.0.0.1 ")
                #expect(get.headers.first(name: "content-length") == String(get.body.utf8.count))
                #expect(!get.headers.contains(name: "connection") && !get.headers.contains(name: "keep-alive"))
                #expect(get.reset == nil)

                let post = try await client.send("POST", "/p", body: "hello")
                #expect(post.body == "POST /p - kubernetes 127.0.0.1 hello")

                let head = try await client.send("HEAD", "/h")
                #expect(head.status == "200" && head.body.isEmpty && head.reset == nil)
                #expect(head.headers.first(name: "content-length") == "31")

                let expecting = try await client.send(
                    "POST", "/e", [("expect", "100-continue"), ("content-length", "4")], body: "four")
                #expect(expecting.status == "100200" && expecting.body.hasSuffix("four"))
            }
        }
    }

    @Test func aHundredStreamsAreServedAtOnce() async throws {
        let tls = try TestTLS()
        let arrived = Mutex(0)
        let all = Gate()
        try await withServer(security: tls.security) { request in
            let count = arrived.withLock { count in
                count += 1
                return count
            }
            if count == 100 { all.open() }
            // Nobody is answered before everybody has come.
            await all.wait()
            return HTTPResponse(text: request.path)
        } _: { port in
            try await HTTP2Client.with(port: port, tls) { client in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for index in 0..<100 {
                        group.addTask {
                            let body = try await client.send("GET", "/\(index)").body
                            #expect(body == "/\(index)")
                        }
                    }
                    try await group.waitForAll()
                }
            }
        }
    }

    @Test func aSlowReaderOfOneStreamHoldsUpThatStreamAlone() async throws {
        let tls = try TestTLS()
        let piece = [UInt8](repeating: 0x78, count: 64 << 10)
        let total = 8 << 20
        let written = Mutex(0)
        try await withServer(security: tls.security) { request in
            if request.path == "/small" { return HTTPResponse(text: "small") }
            return HTTPResponse(
                body: .stream { writer in
                    for _ in 0..<(total / piece.count) {
                        try await writer.write(piece)
                        written.withLock { $0 += piece.count }
                    }
                })
        } _: { port in
            try await HTTP2Client.with(port: port, tls) { client in
                try await client.open { inbound, outbound in
                    let fields = HTTP2Client.fields("GET", "/large")
                    try await outbound.write(.headers(.init(headers: fields, endStream: true)))
                    var frames = inbound.makeAsyncIterator()
                    _ = try await frames.next()
                    // The client's window is 64 KiB, and it takes no more than a few frames of it.
                    try await Task.sleep(for: .milliseconds(300))
                    #expect(written.withLock { $0 } <= 1 << 20)
                    #expect(try await client.send("GET", "/small").body == "small")
                    var count = 0
                    while case .data(let frame)? = try await frames.next() { count += frame.data.readableBytes }
                    #expect(count == total)
                }
            }
        }
    }

    @Test func aStreamThatIsResetCancelsItsHandlerAndNoOther() async throws {
        let tls = try TestTLS()
        let cancelled = Gate()
        let others = Gate()
        try await withServer(security: tls.security) { request in
            HTTPResponse(
                body: .stream { writer in
                    try await writer.write("begun")
                    guard request.path == "/cancelled" else {
                        await others.wait()
                        #expect(!Task.isCancelled)
                        return try await writer.write(" and ended")
                    }
                    await Gate().wait()
                    #expect(Task.isCancelled)
                    cancelled.open()
                })
        } _: { port in
            try await HTTP2Client.with(port: port, tls) { client in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        let body = try await client.send("GET", "/").body
                        #expect(body == "begun and ended")
                    }
                    try await client.open { inbound, outbound in
                        let fields = HTTP2Client.fields("GET", "/cancelled")
                        try await outbound.write(.headers(.init(headers: fields, endStream: true)))
                        var frames = inbound.makeAsyncIterator()
                        _ = try await frames.next()
                        _ = try await frames.next()
                        // Leaving resets the stream.
                    }
                    await cancelled.wait()
                    others.open()
                    try await group.waitForAll()
                }
            }
        }
    }

    @Test func allStreamsOfAConnectionHaveItsCertificate() async throws {
        let tls = try TestTLS()
        let certificate = try tls.authority.issue(
            commonName: "system:node:lab", organizations: ["system:nodes"], usages: [.client])
        try await withServer(security: tls.security) { request in
            HTTPResponse(text: request.client.map { "\($0.commonName) \($0.organizations)" } ?? "nobody")
        } _: { port in
            try await HTTP2Client.with(port: port, tls, certificate: certificate) { client in
                for _ in 0..<2 {
                    let body = try await client.send("GET", "/").body
                    #expect(body == #"system:node:lab ["system:nodes"]"#)
                }
            }
            try await HTTP2Client.with(port: port, tls) { client in
                let body = try await client.send("GET", "/").body
                #expect(body == "nobody")
            }
        }
    }

    // MARK: - What goes wrong

    @Test func aStreamThatFailsIsReset() async throws {
        let tls = try TestTLS()
        try await withServer(security: tls.security) { request in
            guard request.path == "/fails" else { return HTTPResponse(text: "well") }
            return HTTPResponse(
                body: .stream { writer in
                    try await writer.write("part")
                    throw HTTPServingError("no more")
                })
        } _: { port in
            try await HTTP2Client.with(port: port, tls) { client in
                let answer = try await client.send("GET", "/fails")
                #expect(answer.body == "part" && answer.reset == .internalError)
                #expect(try await client.send("GET", "/").body == "well")
            }
        }
    }

    @Test func aClientThatTakesNothingOfOneStreamLosesThatStream() async throws {
        let tls = try TestTLS()
        let piece = [UInt8](repeating: 0x78, count: 1 << 20)
        let (ended, continuation) = AsyncStream<Void>.makeStream()
        try await withServer(
            security: tls.security, adjust: { $0.streamTimeout = .milliseconds(200) },
            handler: { request in
                if request.path == "/small" { return HTTPResponse(text: "small") }
                return HTTPResponse(
                    body: .stream { writer in
                        defer { continuation.finish() }
                        while true { try await writer.write(piece) }
                    })
            },
            { port in
                try await HTTP2Client.with(port: port, tls) { client in
                    try await client.open { inbound, outbound in
                        let fields = HTTP2Client.fields("GET", "/large")
                        try await outbound.write(.headers(.init(headers: fields, endStream: true)))
                        for await _ in ended {}
                        #expect(try await client.send("GET", "/small").body == "small")
                        var frames = inbound.makeAsyncIterator()
                        let answer = try await HTTP2Client.answer(&frames)
                        #expect(answer.status == "200" && answer.reset == .internalError)
                    }
                }
            })
    }

    @Test func anUpgradeIsRefusedInWords() async throws {
        let tls = try TestTLS()
        try await withServer(security: tls.security) { _ in
            HTTPResponse(status: 101, headers: ["Upgrade": "echo"], body: .upgrade { _ in })
        } _: { port in
            try await RawHTTP2Client.with(port: port, tls) { client in
                try await client.begin()
                var answer = try await client.status(
                    stream: 1, HTTP2Client.fields("GET", "/", [("connection", "Upgrade"), ("upgrade", "echo")]))
                #expect(answer.status == "400" && answer.body.contains("use HTTP/1.1"))
                answer = try await client.status(stream: 3, HTTP2Client.fields("POST", "/"))
                #expect(answer.status == "400" && answer.body.contains("use HTTP/1.1"))
            }
        }
    }

    @Test(arguments: [
        [("X-Upper", "1")], [("x", "a\r\nb: c")], [("te", "gzip")], [(":path", "/twice")], [(":unknown", "x")],
    ])
    func malformedHeadsAreReset(more: [(String, String)]) async throws {
        let tls = try TestTLS()
        try await withServer(security: tls.security, handler: Self.echo) { port in
            try await RawHTTP2Client.with(port: port, tls) { client in
                try await client.begin()
                try await client.sendHead(stream: 1, HTTP2Client.fields("GET", "/", more), endStream: true)
                let reset = try await client.next { $0.type == RawHTTP2Client.reset }
                #expect(reset?.stream == 1 && reset?.payload == [0, 0, 0, 1])
                // The connection is as good as before.
                try await client.sendHead(stream: 3, HTTP2Client.fields("GET", "/"), endStream: true)
                #expect(try await client.next { $0.type == RawHTTP2Client.data }?.stream == 3)
            }
        }
    }

    @Test func largeHeadsAreRefusedInWordsAndHugeOnesEndTheConnection() async throws {
        let tls = try TestTLS()
        try await withServer(security: tls.security, adjust: { $0.maximumHeaderSize = 4096 }, handler: Self.echo) {
            port in
            try await RawHTTP2Client.with(port: port, tls) { client in
                try await client.begin()
                func fields(_ size: Int) -> HPACKHeaders {
                    HTTP2Client.fields("GET", "/", [("x", String(repeating: "y", count: size))])
                }
                #expect(try await client.status(stream: 1, fields(3000)).status == "200")
                #expect(try await client.status(stream: 3, fields(5000)).status == "431")
                #expect(try await client.status(stream: 5, fields(3000)).status == "200")
                try await client.sendHead(stream: 7, fields(12_000), endStream: true)
                #expect(try await client.next { $0.type == RawHTTP2Client.goAway } != nil)
                _ = try await client.readToEnd()
            }
        }
    }

    // MARK: - Bodies

    @Test func tooLargeABodyIsRefusedAndNotReadOn() async throws {
        let tls = try TestTLS()
        try await withServer(security: tls.security, adjust: { $0.maximumBodySize = 1000 }, handler: Self.echo) {
            port in
            try await HTTP2Client.with(port: port, tls) { client in
                for fields in [[("content-length", "100000")], []] {
                    try await client.open { inbound, outbound in
                        try await outbound.write(.headers(.init(headers: HTTP2Client.fields("POST", "/", fields))))
                        let bytes = ByteBuffer(repeating: 0x78, count: 2000)
                        try await outbound.write(.data(.init(data: .byteBuffer(bytes))))
                        var frames = inbound.makeAsyncIterator()
                        var answer = try await HTTP2Client.answer(&frames)
                        #expect(answer.status == "413" && answer.body == "too large\n")
                        // The rest is not wanted, which is no error (RFC 9113, section 8.1).
                        answer = try await HTTP2Client.answer(&frames)
                        #expect(answer.reset == .noError)
                    }
                }
                #expect(try await client.send("POST", "/", body: "small").status == "200")
            }
        }
    }

    @Test func aBodyIsNotReadFasterThanItsReaderAsks() async throws {
        let tls = try TestTLS()
        let reading = Gate()
        try await withServer(security: tls.security) { request in
            await reading.wait()
            var count = 0
            do {
                for try await piece in request.body { count += piece.readableBytes }
            } catch {}
            return HTTPResponse(text: "\(count) bytes")
        } _: { port in
            try await RawHTTP2Client.with(port: port, tls) { client in
                try await client.begin()
                try await client.sendHead(stream: 1, HTTP2Client.fields("POST", "/large"), endStream: false)
                // The queue, and the window beyond it: the rest of 100 MB stays with the client.
                let first = try await client.fillWindow(stream: 1)
                #expect((256 << 10...1 << 20).contains(first))
                reading.open()
                let last = RawHTTP2Client.frame(RawHTTP2Client.data, flags: 1, stream: 1, [])
                try await client.send(last)
                let answer = try await client.next { $0.type == RawHTTP2Client.data && !$0.payload.isEmpty }
                #expect(answer.map { String(decoding: $0.payload, as: UTF8.self) } == "\(first) bytes")
            }
        }
    }

    @Test func aLargeBodyArrivesWhole() async throws {
        let tls = try TestTLS()
        let total = 8 << 20
        try await withServer(security: tls.security) { request in
            let count = (try? await request.body.reduce(0) { $0 + $1.readableBytes }) ?? 0
            return HTTPResponse(text: "\(count) bytes")
        } _: { port in
            try await HTTP2Client.with(port: port, tls) { client in
                let body = String(repeating: "x", count: total)
                let answer = try await client.send("POST", "/", body: body)
                #expect(answer.body == "\(total) bytes")
            }
        }
    }
}
