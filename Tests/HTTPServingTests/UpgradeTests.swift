// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import NIOCore
import NIOHTTP1
import NIOPosix
import PKI
import Testing
import Values

@Suite(.timeLimit(.minutes(1))) struct UpgradeTests {
    /// Sends back what it gets, and says so when its client is done.
    @Sendable private static func echo(_ request: HTTPRequest) async -> HTTPResponse {
        HTTPResponse(
            status: 101, headers: ["Upgrade": "echo"],
            body: .upgrade { connection in
                for try await buffer in connection.inbound { try await connection.write(buffer) }
                try await connection.write(ByteBuffer(string: "<end>"))
                await connection.finish()
            })
    }

    @Test func bytesThatCameWithTheHeadAreNotLost() async throws {
        try await withServer(handler: Self.echo) { port in
            try await RawClient.with(port: port) { client in
                try await client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly,")
                let head = try await client.read(through: "\r\n\r\n")
                #expect(head.hasPrefix("HTTP/1.1 101 Switching Protocols\r\n") && head.contains("Upgrade: echo\r\n"))
                #expect(!head.lowercased().contains("transfer-encoding"))
                #expect(try await client.read(through: "early,") == "early,")
                try await client.send("GET / HTTP/1.1\r\n\r\n")
                #expect(try await client.read(through: "\r\n\r\n") == "GET / HTTP/1.1\r\n\r\n")
                client.finish()
                #expect(try await client.readToEnd() == "<end>")
            }
        }
    }

    @Test func clientAndServerTalkOverTLSAndEachEndsItsSide() async throws {
        let authority = try CertificateAuthority.create(commonName: "ca")
        let server = try authority.issue(commonName: "kubelet", ipAddresses: [IPAddress(127, 0, 0, 1)])
        let client = try authority.issue(commonName: "apiserver", organizations: ["system:masters"])
        let security = HTTPServerConfiguration.Security.tls(
            certificatePEM: server.certificatePEM, privateKeyPEM: server.privateKeyPEM,
            clientCAPEM: authority.certificatePEM)
        try await withServer(security: security, handler: Self.echo) { port in
            let result = try await HTTPUpgrade.connect(
                host: "127.0.0.1", port: port,
                tls: HTTPClientTLS(
                    caPEM: authority.certificatePEM, certificatePEM: client.certificatePEM,
                    privateKeyPEM: client.privateKeyPEM),
                method: "POST", target: "/exec", headers: ["Upgrade": "echo"])
            #expect(result.status == 101 && result.headers.first(name: "Upgrade") == "echo")
            let connection = try #require(result.connection)
            try await connection.write(ByteBuffer(string: "hello"))
            await connection.finish()
            var text = ""
            for try await buffer in connection.inbound { text += String(buffer: buffer) }
            #expect(text == "hello<end>")
            await connection.close()
        }
    }

    /// A server may have said everything, and closed, before anybody reads its head.
    @Test func whatAQuickServerSaidIsThere() async throws {
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
        // The last one parts the line break at the head's end, which is one Character.
        let cut = String(decoding: head.utf8.dropLast(), as: UTF8.self)
        for pieces in [[head + "bye"], [head, "bye"], [cut, "\nb", "ye"]] {
            let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(QuickAnswer(pieces))
                    }
                }.bind(host: "127.0.0.1", port: 0).get()
            for _ in 1...20 {
                let result = try await HTTPUpgrade.connect(
                    host: "127.0.0.1", port: listener.localAddress?.port ?? 0, tls: nil, method: "GET", target: "/",
                    headers: ["Upgrade": "echo"])
                let connection = try #require(result.connection)
                var text = ""
                for try await buffer in connection.inbound { text += String(buffer: buffer) }
                #expect(text == "bye")
                await connection.close()
            }
            try await listener.close()
        }
    }

    /// Passes a connection on to another server.
    @Sendable private static func splice(to port: Int) async -> HTTPResponse {
        let result = try? await HTTPUpgrade.connect(
            host: "127.0.0.1", port: port, tls: nil, method: "GET", target: "/", headers: ["Upgrade": "echo"])
        guard let result, let inner = result.connection else { return HTTPResponse(status: 502) }
        return HTTPResponse(
            status: result.status, headers: result.headers,
            body: .upgrade { outer in await UpgradedConnection.splice(outer, inner) })
    }

    /// Has much to say, and reads nothing.
    @Sendable private static func flood(_ request: HTTPRequest) async -> HTTPResponse {
        HTTPResponse(
            status: 101, headers: ["Upgrade": "echo"],
            body: .upgrade { connection in
                let piece = ByteBuffer(repeating: 0x61, count: 64 << 10)
                for _ in 1...128 { try await connection.write(piece) }
                await connection.closeInOrder()
            })
    }

    @Test("who reads slowly loses nothing, though nobody read what it sent", arguments: [false, true])
    func slowReader(isSpliced: Bool) async throws {
        try await withServer(handler: Self.flood) { backend in
            try await withServer { _ in
                await Self.splice(to: backend)
            } _: { proxy in
                let result = try await HTTPUpgrade.connect(
                    host: "127.0.0.1", port: isSpliced ? proxy : backend, tls: nil, method: "GET", target: "/",
                    headers: ["Upgrade": "echo"])
                let connection = try #require(result.connection)
                let sending = Task { try? await connection.write(ByteBuffer(repeating: 0x62, count: 16 << 20)) }
                var count = 0
                for try await buffer in connection.inbound {
                    count += buffer.readableBytes
                    // As slow as to have bytes on their way when the server is done.
                    try await Task.sleep(for: .milliseconds(2))
                }
                #expect(count == 8 << 20)
                await connection.close()
                await sending.value
            }
        }
    }

    @Test func aRefusalCarriesItsBody() async throws {
        try await withServer { _ in
            HTTPResponse(status: 403, text: "exec is forbidden\n")
        } _: { port in
            let result = try await HTTPUpgrade.connect(
                host: "127.0.0.1", port: port, tls: nil, method: "GET", target: "/", headers: ["Upgrade": "echo"])
            #expect(result.status == 403 && result.connection == nil)
            #expect(String(decoding: result.bodyIfRefused, as: UTF8.self) == "exec is forbidden\n")
        }
    }

    @Test func nobodyThereIsAnErrorThatNamesThePlace() async throws {
        let error = await #expect(throws: HTTPServingError.self) {
            try await HTTPUpgrade.connect(
                host: "127.0.0.1", port: 1, tls: nil, method: "GET", target: "/", headers: [:])
        }
        #expect(error?.message.hasPrefix("cannot connect to 127.0.0.1:1: ") == true)
    }

    @Test func splicedConnectionsCarryBytesAndEndsBothWays() async throws {
        try await withServer(handler: Self.echo) { backend in
            try await withServer { _ in
                await Self.splice(to: backend)
            } _: { port in
                try await RawClient.with(port: port) { client in
                    try await client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n1")
                    _ = try await client.read(through: "\r\n\r\n")
                    let big = String(repeating: "y", count: 512 << 10)
                    try await client.send(big + "2")
                    #expect(try await client.read(through: "2").utf8.count == big.utf8.count + 2)
                    client.finish()
                    #expect(try await client.readToEnd() == "<end>")
                }
            }
        }
    }
}

/// Answers the first bytes with the pieces, one write each, and closes.
private final class QuickAnswer: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let pieces: [String]

    init(_ pieces: [String]) { self.pieces = pieces }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        for piece in pieces { context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: piece)), promise: nil) }
        context.close(promise: nil)
    }
}
