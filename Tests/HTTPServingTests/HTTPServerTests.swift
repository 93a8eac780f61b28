// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import NIOCore
import NIOHTTP1
import Testing

@Suite(.timeLimit(.minutes(1))) struct HTTPServerTests {
    @Test func oneConnectionCarriesManyRequestsAlsoWhenSentAtOnce() async throws {
        try await withServer { request in
            HTTPResponse(
                text: "\(request.method) \(request.path) \(request.query["q"] ?? "-") \(request.remoteAddress)\n")
        } _: { port in
            try await RawClient.with(port: port) { client in
                try await client.send(
                    "GET /one HTTP/1.1\r\nHost: x\r\n\r\nGET /t%20wo?q=a%2Bb+c HTTP/1.1\r\nHost: x\r\n\r\n")
                #expect(try await client.read(through: "127.0.0.1\n").hasSuffix("\r\n\r\nGET /one - 127.0.0.1\n"))
                #expect(try await client.read(through: "127.0.0.1\n").hasSuffix("\r\n\r\nGET /t wo a+b c 127.0.0.1\n"))
                try await client.send("HEAD /three HTTP/1.1\r\nHost: x\r\n\r\n")
                let head = try await client.read(through: "\r\n\r\n")
                #expect(head.contains("Content-Length: 24\r\n"))
                try await client.send("GET /four HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                let last = try await client.readToEnd()
                #expect(last.hasPrefix("HTTP/1.1 200 OK\r\n") && last.hasSuffix("/four - 127.0.0.1\n"))
            }
        }
    }

    @Test func eachWriteOfAStreamLeavesAtOnce() async throws {
        let gate = Gate()
        try await withServer { _ in
            HTTPResponse(
                body: .stream { writer in
                    try await writer.write("first\n")
                    await gate.wait()
                    try await writer.write("second\n")
                })
        } _: { port in
            try await RawClient.with(port: port) { client in
                try await client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                let start = try await client.read(through: "6\r\nfirst\n\r\n")
                #expect(start.lowercased().contains("transfer-encoding: chunked\r\n"))
                gate.open()
                #expect(try await client.read(through: "0\r\n\r\n") == "7\r\nsecond\n\r\n0\r\n\r\n")
                // The connection is good for another request.
                try await client.send("GET / HTTP/1.0\r\n\r\n")
                #expect(try await client.readToEnd().hasSuffix("\r\n\r\nfirst\nsecond\n"))
            }
        }
    }

    @Test(arguments: [true, false]) func aStreamIsCancelledWhenItsClientLeaves(politely: Bool) async throws {
        let cancelled = Gate()
        try await withServer { _ in
            HTTPResponse(
                body: .stream { writer in
                    try await writer.write("x")
                    let never = Gate()
                    await never.wait()
                    #expect(Task.isCancelled)
                    cancelled.open()
                })
        } _: { port in
            try await RawClient.with(port: port) { client in
                try await client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                _ = try await client.read(through: "1\r\nx")
                if politely {
                    client.finish()
                    await cancelled.wait()
                }
            }
            await cancelled.wait()
        }
    }

    @Test func aHandlerIsCancelledWhenItsClientIsGone() async throws {
        let started = Gate()
        let cancelled = Gate()
        try await withServer { _ in
            started.open()
            await Gate().wait()
            cancelled.open()
            return HTTPResponse()
        } _: { port in
            try await RawClient.with(port: port, resets: true) { client in
                try await client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await started.wait()
            }
            await cancelled.wait()
        }
    }

    @Test func aClientMayEndItsSideAndStillBeAnswered() async throws {
        try await withServer { request in
            HTTPResponse(text: String(decoding: (try? await request.body.collect(upTo: 100)) ?? [], as: UTF8.self))
        } _: { port in
            try await RawClient.with(port: port) { client in
                try await client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
                client.finish()
                #expect(try await client.readToEnd().hasSuffix("\r\n\r\nhello"))
            }
        }
    }

    @Test func aStreamThatFailsIsCutShort() async throws {
        try await withServer { _ in
            HTTPResponse(
                body: .stream { writer in
                    try await writer.write("part")
                    throw HTTPServingError("no more")
                })
        } _: { port in
            try await RawClient.with(port: port) { client in
                try await client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                #expect(try await client.readToEnd().hasSuffix("4\r\npart\r\n"))
            }
        }
    }

    @Test func stoppingTheServerEndsStreamsAndConnections() async throws {
        try await withServer { _ in
            HTTPResponse(
                body: .stream { writer in
                    try await writer.write("x")
                    await Gate().wait()
                })
        } _: { port in
            // The server is cancelled when this returns, with the connection still in its stream.
            try await RawClient.with(port: port) { client in
                try await client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                _ = try await client.read(through: "1\r\nx")
            }
        }
    }

    @Test func aTakenPortIsNamed() async throws {
        try await withServer { _ in
            HTTPResponse()
        } _: { port in
            let second = HTTPServer(.init(.address(host: "127.0.0.1", port: port))) { _ in HTTPResponse() }
            let error = await #expect(throws: HTTPServingError.self) { try await second.run() }
            #expect(error?.message.hasPrefix("cannot listen on 127.0.0.1:\(port): ") == true)
        }
    }

    @Test func aUnixSocketServesAndReplacesWhatWasLeftOver() async throws {
        let path = "/tmp/catbird-http-\(UInt64.random(in: 0 ... .max)).sock"
        for round in 1...2 {
            try await withServer(adjust: { $0.binding = .unix(path: path) }) { _ in
                HTTPResponse(text: "round \(round)\n")
            } _: { _ in
                try await RawClient.connect(to: SocketAddress(unixDomainSocketPath: path)) { client in
                    try await client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    #expect(try await client.readToEnd().hasSuffix("round \(round)\n"))
                }
            }
        }
    }
}
