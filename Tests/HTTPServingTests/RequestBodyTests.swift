// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(1))) struct RequestBodyTests {
    @Sendable private static func count(_ request: HTTPRequest) async -> HTTPResponse {
        do {
            return HTTPResponse(text: "\(try await request.body.collect(upTo: 10 << 20).count) bytes\n")
        } catch is HTTPBodyTooLarge {
            return HTTPResponse(status: 413, text: "too large\n")
        } catch {
            return HTTPResponse(status: 400, text: "\(error)\n")
        }
    }

    @Test func bodiesComeWithALengthOrInChunks() async throws {
        try await withServer(handler: Self.count) { port in
            try await RawClient.with(port: port) { client in
                let big = String(repeating: "x", count: 3 << 20)
                try await client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \(big.utf8.count)\r\n\r\n" + big)
                #expect(try await client.read(through: "bytes\n").hasSuffix("\r\n3145728 bytes\n"))
                try await client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
                try await client.send("2\r\nde\r\n0\r\n\r\n")
                #expect(try await client.read(through: "bytes\n").hasSuffix("\r\n5 bytes\n"))
            }
        }
    }

    @Test func aClientThatAsksIsToldToContinue() async throws {
        try await withServer(handler: Self.count) { port in
            try await RawClient.with(port: port) { client in
                try await client.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
                #expect(try await client.read(through: "\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n")
                try await client.send("four")
                #expect(try await client.read(through: "bytes\n").hasSuffix("\r\n4 bytes\n"))
            }
        }
    }

    @Test func aClientWhoseBodyIsNotWantedIsNotAskedForIt() async throws {
        try await withServer { _ in
            HTTPResponse(status: 403, text: "no\n")
        } _: { port in
            try await RawClient.with(port: port) { client in
                try await client.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
                let answer = try await client.readToEnd()
                #expect(answer.hasPrefix("HTTP/1.1 403 Forbidden\r\n") && answer.contains("Connection: close"))
            }
        }
    }

    @Test func aBodyThatWasNotReadDoesNotBecomeTheNextRequest() async throws {
        try await withServer { request in
            HTTPResponse(text: "\(request.method)\n")
        } _: { port in
            try await RawClient.with(port: port) { client in
                let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
                try await client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \(smuggled.utf8.count)\r\n\r\n")
                try await client.send(smuggled + "PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                let answers = try await client.readToEnd()
                #expect(!answers.contains("GET") && answers.contains("\r\n\r\nPOST\n") && answers.hasSuffix("PUT\n"))
            }
        }
    }

    @Test func tooLargeIsSaidAndReadByTheClient() async throws {
        try await withServer(adjust: { $0.maximumBodySize = 1000 }, handler: Self.count) { port in
            try await RawClient.with(port: port) { client in
                let big = String(repeating: "x", count: 100_000)
                try await client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + big)
                let answer = try await client.readToEnd()
                #expect(answer.hasPrefix("HTTP/1.1 413 "))
                // The words are the handler's: each kind of server has its own.
                #expect(answer.hasSuffix("too large\n"))
            }
            // Without a length it shows as the bytes come.
            try await RawClient.with(port: port) { client in
                try await client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
                try await client.send("7d0\r\n" + String(repeating: "x", count: 2000) + "\r\n0\r\n\r\n")
                #expect(try await client.readToEnd().hasPrefix("HTTP/1.1 413 "))
            }
        }
    }

    @Test(arguments: [
        ("nonsense\r\n\r\n", "400"),
        ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", "400"),
        ("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        ("GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nX: \(String(repeating: "y", count: 5000))\r\n\r\n", "431"),
    ])
    func badRequestsAreAnsweredAndTheConnectionClosed(request: String, status: String) async throws {
        try await withServer(adjust: { $0.maximumHeaderSize = 4096 }, handler: Self.count) { port in
            try await RawClient.with(port: port) { client in
                try await client.send(request)
                let answer = try await client.readToEnd()
                #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(answer)")
            }
        }
    }

    @Test func aBodyIsNotReadFasterThanItsReaderAsks() async throws {
        // The reader takes nothing until the writer has been made to wait: what the server and the kernel keep is far
        // less than what is sent.
        let total = 64 << 20
        let reading = Gate()
        try await withServer(adjust: { $0.maximumBodySize = total }) { request in
            await reading.wait()
            let count = (try? await request.body.reduce(0) { $0 + $1.readableBytes }) ?? 0
            return HTTPResponse(text: "\(count) bytes\n")
        } _: { port in
            try await RawClient.with(port: port) { client in
                try await client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \(total)\r\n\r\n")
                let piece = String(repeating: "x", count: 1 << 20)
                for index in 0..<64 {
                    if index == 1 { reading.open() }
                    try await client.send(piece)
                }
                #expect(try await client.read(through: "bytes\n").hasSuffix("\r\n\(total) bytes\n"))
            }
        }
    }

    @Test func aLengthThatIsTooMuchIsRefusedUnseen() async throws {
        try await withServer(adjust: { $0.maximumBodySize = 1000 }, handler: Self.count) { port in
            try await RawClient.with(port: port) { client in
                try await client.send(
                    "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n")
                // The client waits to be asked, and is not.
                #expect(try await client.read(through: "\r\n\r\n").hasPrefix("HTTP/1.1 413 "))
            }
        }
    }

    @Test func aClientThatTakesNothingIsSentAway() async throws {
        let piece = [UInt8](repeating: 0x78, count: 1 << 20)
        let (ended, continuation) = AsyncStream<Void>.makeStream()
        try await withServer(
            adjust: { $0.streamTimeout = .milliseconds(200) },
            handler: { request in
                if request.path == "/small" { return HTTPResponse(text: "small\n") }
                return HTTPResponse(
                    body: .stream { writer in
                        defer { continuation.finish() }
                        while true { try await writer.write(piece) }
                    })
            },
            { port in
                try await RawClient.with(port: port) { stuck in
                    try await stuck.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    // Others are served meanwhile.
                    try await RawClient.with(port: port) { client in
                        try await client.send("GET /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                        #expect(try await client.readToEnd().hasSuffix("small\n"))
                    }
                    for await _ in ended {}
                }
            })
    }
}
