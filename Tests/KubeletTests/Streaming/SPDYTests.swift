// SPDX-License-Identifier: Apache-2.0

import Kubelet
import Testing
import Values

@Suite("SPDY") struct SPDYTests {
    /// What a client sends: the preamble of zlib with the dictionary's checksum comes from zlib itself.
    @Test("the dictionary is SPDY/3's: a compressed block names its Adler-32")
    func dictionary() throws {
        #expect(SPDYDictionary.bytes.count == 1423)
        let block = try SPDYHeaderCompressor().compress(SPDYHeaderBlock.encode([]))
        // CMF 0x78, FLG with FDICT, DICTID e3c6a7c2 (draft 3, section 2.6.10.1).
        #expect(
            block.prefix(6) == [0x78, 0xF9, 0xE3, 0xC6, 0xA7, 0xC2]
                || block.prefix(6) == [0x78, 0xBB, 0xE3, 0xC6, 0xA7, 0xC2])
    }

    @Test("headers survive compression, several blocks on one state")
    func headers() throws {
        let compressor = SPDYHeaderCompressor()
        let decompressor = SPDYHeaderDecompressor()
        for round in 0..<3 {
            let sent = [("streamtype", "data"), ("port", "\(8000 + round)"), ("requestid", "\(round)")]
            let got = try SPDYHeaderBlock.decode(
                decompressor.decompress(compressor.compress(SPDYHeaderBlock.encode(sent))))
            #expect(got.map(\.0) == sent.map(\.0))
            #expect(got.map(\.1) == sent.map(\.1))
        }
        #expect(throws: SPDYError.self) { try SPDYHeaderDecompressor().decompress([1, 2, 3, 4]) }
        #expect(throws: SPDYError.self) { try SPDYHeaderBlock.decode([0, 0, 0, 1, 0, 0, 0, 9, 1]) }
    }

    @Test("a block that unpacks to more than the limit is refused")
    func bomb() throws {
        let large = try SPDYHeaderCompressor().compress([UInt8](repeating: 0x61, count: 1 << 20))
        #expect(throws: SPDYError.self) { try SPDYHeaderDecompressor().decompress(large) }
    }

    @Test("frames of a server, byte by byte")
    func frames() throws {
        var client = SPDYSession(role: .client)
        var server = SPDYSession(role: .server)
        let stream = try client.open([("streamType", "stdin")])
        #expect(stream == 1)
        let syn = client.takeOutput()
        // Control bit and version 3, SYN_STREAM, no flags; stream 1, no associated stream, no priority.
        #expect(syn.prefix(5) == [0x80, 3, 0, 1, 0])
        #expect(syn[8..<18] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
        var events: [SPDYEvent] = []
        for byte in syn { events += try server.receive([byte]) }
        #expect(events == [.opened(stream: 1, headers: ["streamtype": "stdin"])])
        try server.reply(1)
        #expect(try client.receive(server.takeOutput()) == [.replied(stream: 1, headers: [:])])

        server.send(1, Array("hi".utf8))
        #expect(server.takeOutput() == [0, 0, 0, 1, 0, 0, 0, 2, 104, 105])
        server.send(1, [], end: true)
        #expect(server.takeOutput() == [0, 0, 0, 1, 1, 0, 0, 0])
        // Ping 7 of the client goes back as it came; one with an even number answers ours.
        let ping: [UInt8] = [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 7]
        #expect(try server.receive(ping) == [])
        #expect(server.takeOutput() == ping)
        #expect(try server.receive([0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 2]) == [])
        #expect(server.takeOutput() == [])
        // The client ends its side too: the stream is gone.
        #expect(try server.receive([0, 0, 0, 1, 1, 0, 0, 1, 33]) == [.data(stream: 1, [33]), .finished(stream: 1)])
        let isOpen = server.isOpen(1)
        #expect(!isOpen)
        server.goAway()
        #expect(server.takeOutput() == [0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0])
    }

    @Test("data is handed out before its frame is complete")
    func partialData() throws {
        var client = SPDYSession(role: .client)
        var server = SPDYSession(role: .server)
        _ = try client.open([])
        _ = try server.receive(client.takeOutput())
        #expect(try server.receive([0, 0, 0, 1, 1, 0, 0, 3, 1]) == [.data(stream: 1, [1])])
        #expect(try server.receive([2, 3]) == [.data(stream: 1, [2, 3]), .finished(stream: 1)])
    }

    @Test("a peer without flow control is never held back; one with it is")
    func flowControl() throws {
        var client = SPDYSession(role: .client)
        var server = SPDYSession(role: .server)
        _ = try client.open([])
        _ = try server.receive(client.takeOutput())
        server.send(1, [UInt8](repeating: 1, count: 100_000))
        #expect(server.pending(on: 1) == 0)
        #expect(server.takeOutput().count == 100_000 + 2 * 8)

        var strict = SPDYSession(role: .server)
        var peer = SPDYSession(role: .client)
        _ = try peer.open([])
        _ = try strict.receive(peer.takeOutput())
        // SETTINGS with INITIAL_WINDOW_SIZE 10.
        let settings: [UInt8] = [0x80, 3, 0, 4, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 10]
        #expect(try strict.receive(settings) == [.writable(stream: 0)])
        strict.send(1, [UInt8](repeating: 1, count: 25), end: true)
        #expect(strict.takeOutput().count == 18)
        #expect(strict.pending(on: 1) == 15)
        // WINDOW_UPDATE of 20 on stream 1 lets the rest out, with the end.
        let update: [UInt8] = [0x80, 3, 0, 9, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 20]
        #expect(try strict.receive(update) == [.writable(stream: 1)])
        #expect(strict.takeOutput().prefix(8) == [0, 0, 0, 1, 1, 0, 0, 15])
    }

    @Test("what was read opens the window again in steps")
    func windowUpdates() throws {
        var client = SPDYSession(role: .client)
        var server = SPDYSession(role: .server)
        _ = try client.open([])
        _ = try server.receive(client.takeOutput())
        server.consumed(32767, on: 1)
        #expect(server.takeOutput() == [])
        server.consumed(1, on: 1)
        #expect(
            server.takeOutput() == [
                0x80, 3, 0, 9, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0x80, 0,  // session
                0x80, 3, 0, 9, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0x80, 0,  // stream
            ])
    }

    @Test("frames out of order end a stream or the session")
    func refusals() throws {
        var server = SPDYSession(role: .server)
        // Data for a stream that never was: RST_STREAM with INVALID_STREAM.
        #expect(try server.receive([0, 0, 0, 9, 0, 0, 0, 1, 0]) == [])
        #expect(server.takeOutput() == [0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 2])
        #expect(throws: SPDYError.self) { try server.receive([0x80, 2, 0, 1, 0, 0, 0, 0]) }
        var other = SPDYSession(role: .server)
        #expect(throws: SPDYError.self) { try other.receive([0x80, 3, 0, 1, 0, 0xFF, 0, 0]) }
        var short = SPDYSession(role: .server)
        #expect(throws: SPDYError.self) { try short.receive([0x80, 3, 0, 9, 0, 0, 0, 2, 0, 0]) }
    }

    @Test("two connections talk: streams, data both ways, ends")
    func connections() async throws {
        let server = SPDYConnection()
        var client = SPDYSession(role: .client)
        let id = try client.open([("streamType", "data"), ("port", "80")])
        client.send(id, Array("ping".utf8), end: true)
        try await server.feed(client.takeOutput())
        var accepted = server.accepted.makeAsyncIterator()
        let stream = try #require(await accepted.next())
        #expect(stream.headers["port"] == "80")
        #expect(await stream.inbound.next() == Array("ping".utf8))
        #expect(await stream.inbound.next() == nil)
        await stream.write(Array("pong".utf8))
        await stream.finish()
        server.finish()
        var events: [SPDYEvent] = []
        while let bytes = await server.outbound.next() { events += try client.receive(bytes) }
        #expect(events.contains(.data(stream: id, Array("pong".utf8))))
        #expect(events.last == .finished(stream: id))
    }
}
