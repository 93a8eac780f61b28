// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import NIOCore
import Synchronization
import Testing

/// Answers that are added to past the task that writes them.
@Suite(.timeLimit(.minutes(1))) struct OutletTests {
    /// A server whose answers stay open until `end`; hands out their outlets.
    private static func serving(
        _ end: Gate, _ body: @Sendable @escaping (Int, AsyncStream<HTTPOutlet>) async throws -> Void
    ) async throws {
        let (outlets, continuation) = AsyncStream<HTTPOutlet>.makeStream()
        try await withServer { _ in
            HTTPResponse(
                body: .stream { writer in
                    try await writer.write("begin\n")
                    if let outlet = writer.outlet { continuation.yield(outlet) }
                    await end.wait()
                })
        } _: { port in
            try await body(port, outlets)
        }
    }

    /// One client, its answer's outlet, and the gate behind which the answer ends.
    private static func withAnswer(
        _ body: @Sendable @escaping (RawClient, HTTPOutlet, Gate) async throws -> Void
    ) async throws {
        let end = Gate()
        try await serving(end) { port, outlets in
            try await RawClient.with(port: port) { client in
                try await client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                var outlets = outlets.makeAsyncIterator()
                try await body(client, #require(await outlets.next()), end)
            }
        }
    }

    private static func send(_ bytes: [UInt8], _ outlets: [HTTPOutlet]) {
        var batch = HTTPOutlet.Batch()
        for outlet in outlets { batch.add(bytes, to: outlet) }
        batch.send()
    }

    /// Different bytes for the same clients leave in the order in which they were added.
    @Test func aBatchKeepsTheOrderOfEachClient() async throws {
        try await Self.withAnswer { client, outlet, end in
            var batch = HTTPOutlet.Batch()
            let again = Array("a\n".utf8)
            for bytes in [again, Array("b\n".utf8), again, again, Array("c\n".utf8)] {
                batch.add(bytes, to: outlet)
            }
            batch.send()
            end.open()
            let text = try await client.readToEndOfChunks()
            #expect(text == "begin\na\nb\na\na\nc\n")
        }
    }

    @Test func manyAreToldTheSameBehindWhatWasWritten() async throws {
        let end = Gate()
        try await Self.serving(end) { port, outlets in
            let late = Gate()
            try await withThrowingTaskGroup(of: String.self) { clients in
                let (ended, continuation) = AsyncStream<Void>.makeStream()
                for _ in 0..<2 {
                    clients.addTask {
                        let body = Mutex("")
                        try await RawClient.with(port: port) { client in
                            try await client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                            _ = try await client.read(through: "\r\n\r\n")
                            let text = try await client.read(through: "0\r\n\r\n")
                            body.withLock { $0 = text }
                            continuation.yield()
                            // What comes too late must not stand between two answers of the connection.
                            await late.wait()
                            try await client.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
                            #expect(try await client.read(through: "\r\n\r\n").hasPrefix("HTTP/1.1 200 OK\r\n"))
                        }
                        return body.withLock { $0 }
                    }
                }
                var open: [HTTPOutlet] = []
                for await outlet in outlets {
                    open.append(outlet)
                    if open.count == 2 { break }
                }
                let shared = Array("shared\n".utf8)
                Self.send(shared, open)
                Self.send([], open)
                Self.send(Array("own\n".utf8), [open[0]])
                end.open()
                var left = 2
                for await _ in ended {
                    left -= 1
                    if left == 0 { break }
                }
                Self.send(Array("late\n".utf8), open)
                late.open()
                var bodies: [String] = []
                for try await body in clients { bodies.append(body) }
                let both = "6\r\nbegin\n\r\n7\r\nshared\n\r\n"
                #expect(bodies.sorted() == ["\(both)0\r\n\r\n", "\(both)4\r\nown\n\r\n0\r\n\r\n"])
                #expect(open.map(\.backlog) == [0, 0])
            }
        }
    }

    @Test func theBacklogOfAClientThatTakesNothingIsSeen() async throws {
        try await Self.withAnswer { client, outlet, end in
            let large = [UInt8](repeating: UInt8(ascii: "x"), count: 16 << 20)
            Self.send(large, [outlet])
            #expect(outlet.backlog == large.count)
            end.open()
            let text = try await client.readToEndOfChunks()
            #expect(text == "begin\n" + String(repeating: "x", count: large.count))
            #expect(outlet.backlog == 0)
        }
    }
}

extension RawClient {
    /// The body of an answer in chunks, without its head.
    fileprivate func readToEndOfChunks() async throws -> String {
        _ = try await read(through: "\r\n\r\n")
        var text = ""
        while let count = Int(try await read(through: "\r\n").dropLast(), radix: 16), count > 0 {
            text += try await read(count: count)
            _ = try await read(through: "\r\n")
        }
        _ = try await read(through: "\r\n")
        return text
    }
}
