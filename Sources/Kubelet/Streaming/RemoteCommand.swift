// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import Synchronization
import Values

/// Which streams a client asks for.
package struct CommandStreams: Hashable, Sendable {
    package var stdin: Bool
    package var stdout: Bool
    package var stderr: Bool
    package var tty: Bool

    package init(stdin: Bool, stdout: Bool, stderr: Bool, tty: Bool) {
        self.stdin = stdin
        self.stdout = stdout
        // A terminal has one output.
        self.stderr = stderr && !tty
        self.tty = tty
    }
}

/// The streams of a remote command as the one who runs it sees them, whatever carries them.
package struct CommandChannels: Sendable {
    package let stdin: ByteQueue
    package let sizes: AsyncStream<TerminalSize>
    package let stdout: @Sendable ([UInt8]) async -> Void
    package let stderr: @Sendable ([UInt8]) async -> Void
}

/// Serves a remote command over a connection; `body` runs it and says how it ended.
package enum RemoteCommand {
    package typealias Body = @Sendable (CommandChannels) async -> CommandOutcome

    // MARK: WebSocket

    package static func webSocket(
        _ transport: ByteTransport, _ channels: ChannelProtocol, _ streams: CommandStreams, _ body: @escaping Body
    ) async {
        let outbound = ByteQueue()
        let stdin = ByteQueue()
        let (sizes, size) = AsyncStream.makeStream(of: TerminalSize.self, bufferingPolicy: .bufferingNewest(1))
        // An empty message on the first channel tells the client that the streams are open.
        let first =
            streams.stdout ? ChannelProtocol.stdout : streams.stderr ? ChannelProtocol.stderr : ChannelProtocol.error
        outbound.append(channels.frame(first, []))
        let said = Mutex(false)
        await runSession(transport, outbound: outbound) {
            let code = await receive(transport, channels, outbound, stdin, size)
            stdin.finish()
            size.finish()
            if !said.withLock({ $0 }), let code { outbound.append(WebSocketEncoder.close(code)) }
        } work: {
            let outcome = await body(
                CommandChannels(
                    stdin: stdin, sizes: sizes,
                    stdout: { if streams.stdout { await outbound.push(channels.frame(ChannelProtocol.stdout, $0)) } },
                    stderr: { if streams.stderr { await outbound.push(channels.frame(ChannelProtocol.stderr, $0)) } }))
            said.withLock { $0 = true }
            if channels.carriesStatus {
                outbound.append(channels.frame(ChannelProtocol.error, outcome.status.serialized()))
            } else if let text = outcome.text {
                outbound.append(channels.frame(ChannelProtocol.error, Array(text.utf8)))
            }
            outbound.append(WebSocketEncoder.close(1000))
        }
    }

    /// Returns the close code to answer with; nil when the connection is just gone.
    private static func receive(
        _ transport: ByteTransport, _ channels: ChannelProtocol, _ outbound: ByteQueue, _ stdin: ByteQueue,
        _ size: AsyncStream<TerminalSize>.Continuation
    ) async -> UInt16? {
        var decoder = WebSocketDecoder()
        while let bytes = await transport.read() {
            let events: [WebSocketEvent]
            do throws(WebSocketViolation) { events = try decoder.feed(bytes) } catch { return error.code }
            for event in events {
                switch event {
                case .ping(let payload): outbound.append(WebSocketEncoder.pong(payload))
                case .pong: break
                case .close(let code, _): return code ?? 1000
                case .text(let payload), .binary(let payload):
                    switch channels.message(payload) {
                    case .data(ChannelProtocol.stdin, let bytes): await stdin.push(bytes)
                    case .data(ChannelProtocol.resize, let bytes):
                        if let value = TerminalSize(json: bytes) { size.yield(value) }
                    case .close(ChannelProtocol.stdin): stdin.finish()
                    default: break
                    }
                }
            }
        }
        return nil
    }

    // MARK: SPDY

    /// The versions that are spoken over SPDY, by the header `X-Stream-Protocol-Version`.
    package static let versions: [String: Int] = [
        "v5.channel.k8s.io": 5, "v4.channel.k8s.io": 4, "v3.channel.k8s.io": 3, "v2.channel.k8s.io": 2,
        "channel.k8s.io": 1,
    ]

    /// The first offer that is known; nil when there is none. A client that offers nothing speaks version 1.
    package static func negotiate(_ offers: [String]) -> (name: String?, version: Int)? {
        guard !offers.isEmpty else { return (nil, 1) }
        for offer in offers { if let version = versions[offer] { return (offer, version) } }
        return nil
    }

    package static func spdy(
        _ transport: ByteTransport, version: Int, _ streams: CommandStreams, _ body: @escaping Body
    ) async {
        let connection = SPDYConnection()
        await runSession(transport, outbound: connection.outbound) {
            await feed(connection, from: transport)
        } work: {
            await serve(connection, version, streams, body)
        }
        connection.finish()
    }

    static func feed(_ connection: SPDYConnection, from transport: ByteTransport) async {
        while let bytes = await transport.read() {
            do { try await connection.feed(bytes) } catch { break }
        }
        connection.finish()
    }

    private static func serve(
        _ connection: SPDYConnection, _ version: Int, _ streams: CommandStreams, _ body: Body
    ) async {
        var wanted: Set<String> = ["error"]
        if streams.stdin { wanted.insert("stdin") }
        if streams.stdout { wanted.insert("stdout") }
        if streams.stderr { wanted.insert("stderr") }
        if streams.tty, version >= 3 { wanted.insert("resize") }
        var open: [String: SPDYStream] = [:]
        for await stream in connection.accepted {
            guard let type = stream.headers["streamtype"], wanted.contains(type), open[type] == nil else {
                stream.reset()
                continue
            }
            open[type] = stream
            if open.count == wanted.count { break }
        }
        guard open.count == wanted.count, let error = open["error"] else { return }
        let (sizes, size) = AsyncStream.makeStream(of: TerminalSize.self, bufferingPolicy: .bufferingNewest(1))
        let stdin = open["stdin"]?.inbound ?? ByteQueue()
        if open["stdin"] == nil { stdin.finish() }
        let stdout = open["stdout"]
        let stderr = open["stderr"]
        let resize = open["resize"]
        let outcome = await withTaskGroup(of: CommandOutcome?.self) { group in
            group.addTask {
                var pending: [UInt8] = []
                while let bytes = await resize?.inbound.next() {
                    for value in TerminalSize.read(bytes, pending: &pending) { size.yield(value) }
                }
                size.finish()
                return nil
            }
            let channels = CommandChannels(
                stdin: stdin, sizes: sizes, stdout: { await stdout?.write($0) }, stderr: { await stderr?.write($0) })
            let outcome = await body(channels)
            group.cancelAll()
            return outcome
        }
        if version >= 4 {
            await error.write(outcome.status.serialized())
        } else if let text = outcome.text {
            await error.write(Array(text.utf8))
        }
        for stream in [stdout, stderr, error, open["stdin"], resize] { await stream?.finish() }
        connection.goAway()
    }
}
