// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import Kubelet
import Linux
import NIOCore
import NIOHTTP1
import Synchronization
import Testing
import Values

/// Both ends of a connection in memory.
struct Wire {
    let toServer = ByteQueue()
    let toClient = ByteQueue()

    var server: ByteTransport {
        ByteTransport(read: { await toServer.next() }, write: { await toClient.push($0) })
    }

    /// Serves, then gives all that the server wrote.
    func served(_ body: (ByteTransport) async -> Void) async -> [UInt8] {
        await body(server)
        toClient.finish()
        var bytes: [UInt8] = []
        while let more = await toClient.next() { bytes += more }
        return bytes
    }
}

/// The unmasked messages of a server.
func messages(_ bytes: [UInt8]) -> [[UInt8]] {
    var result: [[UInt8]] = []
    var rest = bytes[...]
    while rest.count >= 2 {
        let start = rest.startIndex
        var count = Int(rest[start + 1])
        var header = 2
        if count == 126 {
            count = Int(rest[start + 2]) << 8 | Int(rest[start + 3])
            header = 4
        }
        result.append([rest[start] & 15] + rest[(start + header)..<(start + header + count)])
        rest = rest[(start + header + count)...]
    }
    return result
}

/// Sees whether a queue is still there.
final class QueueWitness: Sendable {
    private struct Weak { weak var queue: ByteQueue? }
    private let state = Mutex(Weak())

    func watch(_ queue: ByteQueue) { state.withLock { $0.queue = queue } }

    /// What a task held goes a moment after the task has ended.
    func isGone() async -> Bool {
        for _ in 0..<10_000 where state.withLock({ $0.queue != nil }) { await Task.yield() }
        return state.withLock { $0.queue == nil }
    }
}

@Suite("Sessions") struct SessionTests {
    static let streams = CommandStreams(stdin: true, stdout: true, stderr: true, tty: false)

    @Test("a command over v5: echo until stdin is closed, then its code")
    func webSocketCommand() async throws {
        let wire = Wire()
        let channels = try #require(ChannelProtocol.negotiate(["v5.channel.k8s.io"]))
        wire.toServer.append(WebSocketTests.masked(2, [0] + Array("hi".utf8)))
        wire.toServer.append(WebSocketTests.masked(2, [255, 0]))
        let sent = messages(
            await wire.served { transport in
                await RemoteCommand.webSocket(transport, channels, Self.streams) { channels in
                    while let bytes = await channels.stdin.next() { await channels.stdout(bytes) }
                    await channels.stderr(Array("e".utf8))
                    return .exited(3)
                }
            })
        #expect(sent[0] == [2, 1])
        #expect(sent[1] == [2, 1] + Array("hi".utf8))
        #expect(sent[2] == [2, 2] + Array("e".utf8))
        #expect(sent[3].prefix(2) == [2, 3])
        #expect(try JSON(parsing: sent[3].dropFirst(2))["details"]["causes"][0]["message"].string == "3")
        #expect(sent[4] == [8, 0x03, 0xE8])
        #expect(sent.count == 5)
    }

    @Test("without a version no Status is sent for success")
    func plainCommand() async throws {
        let wire = Wire()
        let channels = try #require(ChannelProtocol.negotiate([]))
        let sent = messages(
            await wire.served { transport in
                await RemoteCommand.webSocket(
                    transport, channels, CommandStreams(stdin: false, stdout: true, stderr: true, tty: false)
                ) { channels in
                    await channels.stdout(Array("x".utf8))
                    return .exited(0)
                }
            })
        #expect(sent == [[2, 1], [2, 1, 0x78], [8, 0x03, 0xE8]])
    }

    @Test("a client that goes ends the command")
    func disconnect() async throws {
        let wire = Wire()
        let channels = try #require(ChannelProtocol.negotiate(["v4.channel.k8s.io"]))
        wire.toServer.append(WebSocketTests.masked(8, [0x03, 0xE8]))
        _ = await wire.served { transport in
            await RemoteCommand.webSocket(transport, channels, Self.streams) { channels in
                while await channels.stdin.next() != nil {}
                return .exited(0)
            }
        }
    }

    @Test("a command's last words arrive though it left its input unread", .timeLimit(.minutes(1)))
    func unreadInput() async throws {
        let count = 128
        let piece = [UInt8](repeating: 0x61, count: 64 << 10)
        let server = HTTPServer(HTTPServerConfiguration(.address(host: "127.0.0.1", port: 0))) { _ in
            HTTPResponse(
                status: 101, headers: ["Upgrade": "x"],
                body: .upgrade { connection in
                    await UpgradedSession.carry(connection) { transport in
                        for _ in 1...count { try? await transport.write(piece) }
                    }
                })
        }
        let (ports, port) = AsyncStream.makeStream(of: Int.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run { port.yield($0.port ?? 0) } }
            for await number in ports {
                let result = try await HTTPUpgrade.connect(
                    host: "127.0.0.1", port: number, tls: nil, method: "GET", target: "/", headers: ["Upgrade": "x"])
                let connection = try #require(result.connection)
                group.addTask { try? await connection.write(ByteBuffer(repeating: 0x62, count: 16 << 20)) }
                var received = 0
                for try await buffer in connection.inbound {
                    received += buffer.readableBytes
                    // As slow as to have bytes on their way when the command has ended.
                    try await Task.sleep(for: .milliseconds(2))
                }
                #expect(received == count * piece.count)
                await connection.close()
                break
            }
            group.cancelAll()
        }
    }

    @Test("a command over SPDY v4", arguments: [0, 7])
    func spdyCommand(code: Int) async throws {
        let wire = Wire()
        var client = SPDYSession(role: .client)
        let error = try client.open([("streamType", "error")])
        let stdin = try client.open([("streamType", "stdin")])
        let stdout = try client.open([("streamType", "stdout")])
        let stderr = try client.open([("streamType", "stderr")])
        client.send(stdin, Array("hi".utf8), end: true)
        wire.toServer.append(client.takeOutput())
        let bytes = await wire.served { transport in
            await RemoteCommand.spdy(transport, version: 4, Self.streams) { channels in
                while let bytes = await channels.stdin.next() { await channels.stdout(bytes) }
                return .exited(code)
            }
        }
        let events = try client.receive(bytes)
        #expect(events.contains(.data(stream: stdout, Array("hi".utf8))))
        #expect(events.contains(.data(stream: error, CommandOutcome.exited(code).status.serialized())))
        #expect(events.contains(.finished(stream: stderr)))
        #expect(events.last == .goAway)
    }

    @Test("a session leaves nothing behind, though its client closes no stream, as kubectl does", arguments: [4, 5])
    func spdyCommandIsFreed(version: Int) async throws {
        let wire = Wire()
        var client = SPDYSession(role: .client)
        for type in ["error", "stdin", "stdout", "stderr", "surplus"] {
            _ = try client.open([("streamType", type)])
        }
        wire.toServer.append(client.takeOutput())
        let witness = QueueWitness()
        _ = await wire.served { transport in
            await RemoteCommand.spdy(transport, version: version, Self.streams) { channels in
                witness.watch(channels.stdin)
                return .exited(0)
            }
        }
        #expect(await witness.isGone())
    }

    @Test("the same for port-forward", arguments: [false, true])
    func portForwardIsFreed(inWebSocket: Bool) async throws {
        let wire = Wire()
        var client = SPDYSession(role: .client)
        for type in ["error", "data"] {
            _ = try client.open([("streamType", type), ("port", "80"), ("requestID", "0")])
        }
        // One whose counterpart never comes.
        _ = try client.open([("streamType", "error"), ("port", "80"), ("requestID", "1")])
        client.goAway()
        let opening = client.takeOutput()
        wire.toServer.append(inWebSocket ? WebSocketTests.masked(2, opening) : opening)
        let witness = QueueWitness()
        _ = await wire.served { transport in
            let connect: PortForward.Connect = { _, fromClient, _ in witness.watch(fromClient) }
            if inWebSocket {
                await PortForward.tunnel(transport, pod: "p", connect)
            } else {
                await PortForward.spdy(transport, pod: "p", connect)
            }
        }
        #expect(await witness.isGone())
    }

    @Test(
        "stream versions",
        arguments: [
            (["v5.channel.k8s.io", "v4.channel.k8s.io"], 5), (["x", "v3.channel.k8s.io"], 3), ([], 1), (["x"], nil),
        ] as [([String], Int?)])
    func versions(offers: [String], version: Int?) {
        #expect(RemoteCommand.negotiate(offers)?.version == version)
    }

    static let echo: PortForward.Connect = { port, fromClient, toClient in
        guard port == 80 else { throw FileError(call: "connect", path: "127.0.0.1:\(port)", code: 111) }
        while let bytes = await fromClient.next() { await toClient(bytes) }
    }

    @Test("port-forward over SPDY in WebSocket messages; a refused port is told on its error stream")
    func tunnel() async throws {
        let wire = Wire()
        var client = SPDYSession(role: .client)
        var streams: [UInt32] = []
        for (port, request) in [("80", "0"), ("81", "1")] {
            for type in ["error", "data"] {
                streams.append(try client.open([("streamType", type), ("port", port), ("requestID", request)]))
            }
        }
        client.send(streams[1], Array("ping".utf8), end: true)
        client.goAway()
        let opening = client.takeOutput()
        // In two messages, cut where no frame ends.
        wire.toServer.append(WebSocketTests.masked(2, Array(opening[..<9])))
        wire.toServer.append(WebSocketTests.masked(2, Array(opening[9...])))
        // The server ends when the client has seen all: the test closes when both streams are done.
        let reader = Task { () -> [UInt8] in
            var all: [UInt8] = []
            while let more = await wire.toClient.next() {
                all += more
                let text = String(decoding: all, as: UTF8.self)
                if text.contains("ping"), text.contains("error forwarding port 81") { break }
            }
            return all
        }
        let server = Task { await PortForward.tunnel(wire.server, pod: "p, uid : u", Self.echo) }
        let bytes = await reader.value
        wire.toServer.finish()
        wire.toClient.finish()
        await server.value
        var payload: [UInt8] = []
        for message in messages(bytes) where message[0] == 2 { payload += message.dropFirst() }
        let events = try client.receive(payload)
        #expect(events.contains(.data(stream: streams[1], Array("ping".utf8))))
        let refusal = "error forwarding port 81 to pod p, uid : u: connect 127.0.0.1:81: Connection refused"
        #expect(events.contains(.data(stream: streams[2], Array(refusal.utf8))))
    }

    @Test("the Python client's ports: each channel begins with its port, little-endian")
    func pythonPorts() async throws {
        let wire = Wire()
        let channels = try #require(ChannelProtocol.negotiate(["v4.channel.k8s.io"]))
        wire.toServer.append(WebSocketTests.masked(2, [0] + Array("ping".utf8)))
        let served = Task {
            await wire.served { await PortForward.channels($0, channels, ports: [80, 8081], pod: "p", Self.echo) }
        }
        wire.toServer.append(WebSocketTests.masked(8, []))
        let sent = messages(await served.value)
        #expect(sent.prefix(4) == [[2, 0, 80, 0], [2, 1, 80, 0], [2, 2, 0x91, 0x1F], [2, 3, 0x91, 0x1F]])
    }
}
