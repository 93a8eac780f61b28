// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import NIOCore
import NIOHTTP1
public import Values

/// Speaks to a profile's supervisor through its socket.
public struct SupervisorClient: Sendable {
    private let socket: String

    public init(paths: ProfilePaths) { socket = paths.supervisorSocket }

    private func request(_ method: String, _ path: String, body: JSON? = nil) -> HTTPClientRequest {
        var escaped = ""
        for byte in socket.utf8 {
            let isPlain =
                byte < 0x80 && (Character(Unicode.Scalar(byte)).isLetter || Character(Unicode.Scalar(byte)).isNumber)
            escaped += isPlain ? String(Character(Unicode.Scalar(byte))) : "%" + Hex.text([byte])
        }
        var request = HTTPClientRequest(url: "http+unix://\(escaped)\(path)")
        request.method = HTTPMethod(rawValue: method)
        // A socket has no host, and HTTP/1.1 asks for one all the same (RFC 9112, section 3.2).
        request.headers.add(name: "Host", value: "localhost")
        if let body { request.body = .bytes(ByteBuffer(bytes: body.serialized())) }
        return request
    }

    /// Sends one command and returns the answer.
    ///
    /// - Throws: `LocalClusterError` with the supervisor's own words, or when it cannot be reached.
    @discardableResult
    public func send(
        _ method: String, _ path: String, body: JSON? = nil, limit: Duration = .seconds(120)
    ) async throws -> JSON {
        let response: HTTPClientResponse
        do {
            response = try await HTTPClient.shared.execute(
                request(method, path, body: body), timeout: TimeAmount(limit))
        } catch {
            throw LocalClusterError(
                .guestNotRunning, "The cluster's supervisor does not answer at \(socket): \(error)",
                nextStep: "Stop what is left of the cluster, and start it again: catbird stop, catbird start")
        }
        let bytes = try await response.body.collect(upTo: 16 << 20)
        let json = (try? JSON(parsing: Array(buffer: bytes))) ?? .null
        guard response.status == .ok else {
            throw LocalClusterError(.guestError, json["error"].string ?? "the supervisor answered \(response.status)")
        }
        return json
    }

    /// The same over as many connections as it takes: a stream on which nothing comes for a while is closed. Each begins
    /// with the past. Ends when the supervisor cannot be reached any more.
    func eventsAsLongAsItRuns() -> AsyncThrowingStream<JSON, any Error> {
        AsyncThrowingStream { continuation in
            let task = Task {
                while !Task.isCancelled, let events = try? await events() {
                    do { for try await event in events { continuation.yield(event) } } catch { continue }
                    break
                }
                continuation.finish()
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    /// The supervisor's events from its start on.
    public func events() async throws -> AsyncThrowingStream<JSON, any Error> {
        let response = try await HTTPClient.shared.execute(request("GET", "/events"), timeout: .hours(24))
        return AsyncThrowingStream { continuation in
            let task = Task {
                do {
                    var pending: [UInt8] = []
                    for try await chunk in response.body {
                        pending += Array(buffer: chunk)
                        while let end = pending.firstIndex(of: 0x0A) {
                            if let event = try? JSON(parsing: pending[..<end]) { continuation.yield(event) }
                            pending.removeSubrange(...end)
                        }
                    }
                    continuation.finish()
                } catch { continuation.finish(throwing: error) }
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }
}
