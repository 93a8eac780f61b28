// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import Kubelet
import Testing
import Values

@Suite("WebSocket") struct WebSocketTests {
    /// The masked frame of a client.
    static func masked(_ opcode: UInt8, _ payload: [UInt8], final: Bool = true) -> [UInt8] {
        let mask: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]
        var bytes: [UInt8] = [(final ? 0x80 : 0) | opcode]
        if payload.count < 126 {
            bytes.append(0x80 | UInt8(payload.count))
        } else {
            bytes += [0x80 | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        }
        return bytes + mask + payload.enumerated().map { $1 ^ mask[$0 & 3] }
    }

    @Test("the accept header of RFC 6455 section 1.3")
    func acceptKey() {
        #expect(WebSocketHandshake.accept(key: "dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        let refused = WebSocketHandshake.answer(key: "short", version: "13", chosen: nil)
        #expect(throws: WebSocketHandshake.Refusal.self) { try refused.get() }
        #expect(WebSocketHandshake.offers(["v5.channel.k8s.io, v4.channel.k8s.io", "channel.k8s.io"]).count == 3)
    }

    @Test("frames of RFC 6455 section 5.7")
    func examples() throws {
        var decoder = WebSocketDecoder()
        let hello: [UInt8] = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]
        #expect(try decoder.feed(hello) == [.text(Array("Hello".utf8))])
        #expect(WebSocketEncoder.text(Array("Hello".utf8)) == [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f])
        #expect(WebSocketEncoder.binary([UInt8](repeating: 7, count: 256)).prefix(4) == [0x82, 0x7E, 0x01, 0x00])
        #expect(
            WebSocketEncoder.binary([UInt8](repeating: 7, count: 65536)).prefix(10)
                == [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0])
        #expect(WebSocketEncoder.close(1000, "bye") == [0x88, 0x05, 0x03, 0xE8, 0x62, 0x79, 0x65])
    }

    @Test("one byte at a time, fragments joined, control frames in between")
    func fragments() throws {
        let stream =
            Self.masked(2, [1, 2], final: false) + Self.masked(9, [9]) + Self.masked(0, [3], final: false)
            + Self.masked(0, [4]) + Self.masked(10, []) + Self.masked(8, [0x03, 0xE8, 0x6F, 0x6B])
        var decoder = WebSocketDecoder()
        var events: [WebSocketEvent] = []
        for byte in stream { events += try decoder.feed([byte]) }
        #expect(events == [.ping([9]), .binary([1, 2, 3, 4]), .pong([]), .close(code: 1000, reason: "ok")])
    }

    @Test(
        "what breaks the protocol fails the connection with the right code",
        arguments: [
            ([0x82, 0x01, 0x00], 1002),  // not masked
            ([0xC2, 0x80, 0, 0, 0, 0], 1002),  // reserved bit
            ([0x83, 0x80, 0, 0, 0, 0], 1002),  // unknown opcode
            ([0x80, 0x80, 0, 0, 0, 0], 1002),  // continues nothing
            ([0x09, 0x80, 0, 0, 0, 0], 1002),  // fragmented ping
            ([0x88, 0x81, 0, 0, 0, 0, 1], 1002),  // close code of one byte
            ([0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], 1009),
            ([0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], 1009),
        ] as [([UInt8], UInt16)])
    func violations(bytes: [UInt8], code: UInt16) {
        var decoder = WebSocketDecoder(maximumMessage: 1024)
        let error = #expect(throws: WebSocketViolation.self) { try decoder.feed(bytes) }
        #expect(error?.code == code)
    }

    @Test("fragments together may not pass the limit either")
    func limit() throws {
        var decoder = WebSocketDecoder(maximumMessage: 4)
        #expect(try decoder.feed(Self.masked(2, [1, 2, 3], final: false)) == [])
        #expect(throws: WebSocketViolation.self) { try decoder.feed(Self.masked(0, [4, 5])) }
    }

    @Test(
        "subprotocols",
        arguments: [
            ([], nil, 1, false), (["v5.channel.k8s.io", "v4.channel.k8s.io"], "v5.channel.k8s.io", 5, false),
            (["unheard", "v4.base64.channel.k8s.io"], "v4.base64.channel.k8s.io", 4, true),
            (["channel.k8s.io"], "channel.k8s.io", 1, false),
            (["base64.channel.k8s.io"], "base64.channel.k8s.io", 1, true),
        ] as [([String], String?, Int, Bool)])
    func negotiation(offers: [String], name: String?, version: Int, base64: Bool) throws {
        let chosen = try #require(ChannelProtocol.negotiate(offers))
        #expect(chosen.name == name)
        #expect(chosen.version == version)
        #expect(chosen.isBase64 == base64)
    }

    @Test("no common subprotocol, and one refused by the caller")
    func noCommon() {
        #expect(ChannelProtocol.negotiate(["graphql"]) == nil)
        let offered = ["v5.channel.k8s.io", "v4.channel.k8s.io"]
        #expect(ChannelProtocol.negotiate(offered) { $0.version == 4 }?.name == "v4.channel.k8s.io")
    }

    @Test("channel messages")
    func channels() throws {
        let v5 = try #require(ChannelProtocol.negotiate(["v5.channel.k8s.io"]))
        #expect(v5.message([0, 104, 105]) == .data(channel: 0, [104, 105]))
        #expect(v5.message([255, 0]) == .close(channel: 0))
        #expect(v5.message([]) == nil)
        #expect(v5.frame(1, [104]) == [0x82, 2, 1, 104])
        let base64 = try #require(ChannelProtocol.negotiate(["base64.channel.k8s.io"]))
        #expect(base64.message(Array("0aGk=".utf8)) == .data(channel: 0, [104, 105]))
        #expect(base64.message(Array("0a!".utf8)) == nil)
        #expect(base64.frame(2, Array("hi".utf8)) == [0x81, 5] + Array("2aGk=".utf8))
    }

    @Test("terminal sizes alone and in a stream")
    func sizes() {
        #expect(TerminalSize(json: Array(#"{"Width":80,"Height":24}"#.utf8)) == TerminalSize(width: 80, height: 24))
        #expect(TerminalSize(json: Array(#"{"Width":80}"#.utf8)) == nil)
        var pending: [UInt8] = []
        let text = Array("{\"Width\":80,\"Height\":24}\n{\"Width\":100,".utf8)
        #expect(TerminalSize.read(text, pending: &pending) == [TerminalSize(width: 80, height: 24)])
        #expect(
            TerminalSize.read(Array("\"Height\":30}\n".utf8), pending: &pending) == [
                TerminalSize(width: 100, height: 30)
            ])
        #expect(pending.isEmpty)
    }

    @Test("the Status on the error channel")
    func status() {
        #expect(CommandOutcome.exited(0).status.text() == #"{"metadata":{},"status":"Success"}"#)
        let failed = CommandOutcome.exited(3).status
        #expect(failed["reason"].string == "NonZeroExitCode")
        #expect(failed["details"]["causes"][0] == ["reason": "ExitCode", "message": "3"])
        #expect(CommandOutcome.failed("no").status["code"].int == 500)
        #expect(CommandOutcome.exited(3).ofAttachment == .exited(0))
        #expect(CommandOutcome.failed("no").ofAttachment == .failed("no"))
    }
}
