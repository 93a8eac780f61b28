// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import Values

/// Serves port-forward over a connection; `connect` joins a port of the pod to two queues of bytes.
package enum PortForward {
    /// Moves bytes between a client and a port of the pod until both are done; throws when there is nobody at the port.
    package typealias Connect =
        @Sendable (
            _ port: Int, _ fromClient: ByteQueue, _ toClient: @escaping @Sendable ([UInt8]) async -> Void
        ) async throws -> Void

    package static let spdyProtocol = "portforward.k8s.io"
    package static let tunnelProtocol = "SPDY/3.1+portforward.k8s.io"

    // MARK: SPDY

    package static func spdy(_ transport: ByteTransport, pod: String, _ connect: @escaping Connect) async {
        let connection = SPDYConnection()
        await runSession(transport, outbound: connection.outbound) {
            await RemoteCommand.feed(connection, from: transport)
        } work: {
            await serve(connection, pod, connect)
        }
        connection.finish()
    }

    /// A SPDY session in the binary messages of a WebSocket.
    package static func tunnel(_ transport: ByteTransport, pod: String, _ connect: @escaping Connect) async {
        let connection = SPDYConnection()
        let frames = ByteQueue()
        await runSession(transport, outbound: frames) {
            await feedTunnel(connection, frames, from: transport)
            connection.finish()
        } work: {
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    while let bytes = await connection.outbound.next() {
                        await frames.push(WebSocketEncoder.binary(bytes))
                    }
                }
                await serve(connection, pod, connect)
                connection.outbound.finish()
                await group.waitForAll()
            }
            frames.append(WebSocketEncoder.close(1000))
        }
        connection.finish()
    }

    private static func feedTunnel(
        _ connection: SPDYConnection, _ frames: ByteQueue, from transport: ByteTransport
    ) async {
        var decoder = WebSocketDecoder()
        while let bytes = await transport.read() {
            let events: [WebSocketEvent]
            do throws(WebSocketViolation) { events = try decoder.feed(bytes) } catch {
                frames.append(WebSocketEncoder.close(error.code, error.reason))
                return
            }
            for event in events {
                switch event {
                case .binary(let payload), .text(let payload):
                    do { try await connection.feed(payload) } catch {
                        frames.append(WebSocketEncoder.close(1002, "\(error)"))
                        return
                    }
                case .ping(let payload): frames.append(WebSocketEncoder.pong(payload))
                case .pong: break
                case .close: return
                }
            }
        }
    }

    /// Joins the streams of each request: one for data, one for what went wrong.
    private static func serve(_ connection: SPDYConnection, _ pod: String, _ connect: @escaping Connect) async {
        await withDiscardingTaskGroup { group in
            var waiting: [String: SPDYStream] = [:]
            for await stream in connection.accepted {
                let isError = stream.headers["streamtype"] == "error"
                guard isError || stream.headers["streamtype"] == "data",
                    let port = stream.headers["port"].flatMap({ Int($0) }), (1...65535).contains(port)
                else {
                    stream.reset()
                    continue
                }
                // Clients without request ids open the stream for errors first, and that for data right after it.
                let request = stream.headers["requestid"] ?? "\(isError ? stream.id : stream.id &- 2)"
                guard let other = waiting.removeValue(forKey: request) else {
                    if waiting.count < 256 { waiting[request] = stream } else { stream.reset() }
                    continue
                }
                let (data, error) = isError ? (other, stream) : (stream, other)
                group.addTask { await forward(port, data, error, pod, connect) }
            }
            // The client opens no more streams; those that are open end by themselves, or with the connection.
        }
    }

    private static func forward(
        _ port: Int, _ data: SPDYStream, _ error: SPDYStream, _ pod: String, _ connect: Connect
    ) async {
        do {
            try await connect(port, data.inbound) { await data.write($0) }
        } catch let failure {
            await error.write(Array("error forwarding port \(port) to pod \(pod): \(failure)".utf8))
        }
        await data.finish()
        await error.finish()
        data.inbound.finish()
    }

    // MARK: Channels of a WebSocket

    /// The form of the Python client: two channels a port, for data and errors, each opened with the port's number.
    package static func channels(
        _ transport: ByteTransport, _ channels: ChannelProtocol, ports: [Int], pod: String, _ connect: @escaping Connect
    ) async {
        let outbound = ByteQueue()
        let inputs = ports.map { _ in ByteQueue() }
        for (index, port) in ports.enumerated() {
            let number = [UInt8(truncatingIfNeeded: port), UInt8(truncatingIfNeeded: port >> 8)]
            outbound.append(channels.frame(UInt8(index * 2), number))
            outbound.append(channels.frame(UInt8(index * 2 + 1), number))
        }
        await runSession(transport, outbound: outbound) {
            await receive(transport, channels, outbound, inputs)
            for input in inputs { input.finish() }
        } work: {
            await withDiscardingTaskGroup { group in
                for (index, port) in ports.enumerated() {
                    group.addTask {
                        do {
                            try await connect(port, inputs[index]) { bytes in
                                await outbound.push(channels.frame(UInt8(index * 2), bytes))
                            }
                        } catch {
                            let text = "error forwarding port \(port) to pod \(pod): \(error)"
                            outbound.append(channels.frame(UInt8(index * 2 + 1), Array(text.utf8)))
                        }
                    }
                }
            }
            outbound.append(WebSocketEncoder.close(1000))
        }
    }

    private static func receive(
        _ transport: ByteTransport, _ channels: ChannelProtocol, _ outbound: ByteQueue, _ inputs: [ByteQueue]
    ) async {
        var decoder = WebSocketDecoder()
        while let bytes = await transport.read() {
            // Who sends what is no frame is told nothing more: the connection ends.
            guard let events = try? decoder.feed(bytes) else { return }
            for event in events {
                switch event {
                case .ping(let payload): outbound.append(WebSocketEncoder.pong(payload))
                case .pong: break
                case .close: return
                case .text(let payload), .binary(let payload):
                    guard case .data(let channel, let bytes) = channels.message(payload), channel % 2 == 0,
                        Int(channel / 2) < inputs.count
                    else { continue }
                    await inputs[Int(channel / 2)].push(bytes)
                }
            }
        }
    }
}
