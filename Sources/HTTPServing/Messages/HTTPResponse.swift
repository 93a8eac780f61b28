// SPDX-License-Identifier: Apache-2.0

public import NIOCore
public import NIOHTTP1

/// What went wrong in serving or in connecting.
public struct HTTPServingError: Error, Sendable, CustomStringConvertible {
    public let message: String
    public init(_ message: String) { self.message = message }
    public var description: String { message }
}

/// A handler's answer.
public struct HTTPResponse: Sendable {
    public var status: Int
    public var headers: HTTPHeaders
    public var body: HTTPResponseBody

    public init(status: Int = 200, headers: HTTPHeaders = HTTPHeaders(), body: HTTPResponseBody = .empty) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    public init(status: Int = 200, contentType: String, bytes: [UInt8]) {
        self.init(status: status, headers: ["Content-Type": contentType], body: .bytes(bytes))
    }

    /// The same with one more header, for who has no use for HTTP's types else.
    public func adding(_ name: String, _ value: String) -> HTTPResponse {
        var copy = self
        copy.headers.add(name: name, value: value)
        return copy
    }

    public init(status: Int = 200, text: String) {
        self.init(status: status, contentType: "text/plain; charset=utf-8", bytes: Array(text.utf8))
    }
}

/// The body of an answer.
public enum HTTPResponseBody: Sendable {
    case empty
    case bytes([UInt8])
    /// The head is sent, then the closure writes; each write is flushed and returns once the bytes left the process.
    /// The closure is cancelled when the client goes away; when it throws, the connection is cut so that the client
    /// cannot take what came for the whole.
    case stream(@Sendable (HTTPBodyWriter) async throws -> Void)
    /// The head is sent (status 101 by rule), then the connection carries raw bytes until the closure ends.
    case upgrade(@Sendable (UpgradedConnection) async throws -> Void)
}

/// Where a streamed answer goes.
public struct HTTPBodyWriter: Sendable {
    private let body: @Sendable (ByteBuffer) async throws -> Void

    /// The same answer's way past the task that writes it; nil where the reader is in this process.
    public let outlet: HTTPOutlet?

    public init(outlet: HTTPOutlet? = nil, _ body: @escaping @Sendable (ByteBuffer) async throws -> Void) {
        self.outlet = outlet
        self.body = body
    }

    /// Sends the bytes; suspends while the client does not take them.
    public func write(_ buffer: ByteBuffer) async throws {
        guard buffer.readableBytes > 0 else { return }
        try await body(buffer)
    }

    public func write(_ bytes: [UInt8]) async throws { try await write(ByteBuffer(bytes: bytes)) }
    public func write(_ text: String) async throws { try await write(ByteBuffer(string: text)) }
}

extension HTTPResponseBody {
    /// The body as a stream that is pulled: for an answer that goes to a reader in this process. The writer waits for
    /// its reader; dropping the stream or cancelling the reader cancels the writer.
    public func pieces() -> AsyncThrowingStream<[UInt8], any Error> {
        let write: @Sendable (HTTPBodyWriter) async throws -> Void
        switch self {
        case .empty: write = { _ in }
        case .bytes(let bytes): write = { try await $0.write(bytes) }
        case .stream(let closure): write = closure
        case .upgrade:
            write = { _ in throw HTTPServingError("an upgraded connection needs a connection; there is none here") }
        }
        let pipe = BodyPipe()
        // Not structured: it ends with the reader, who owns the pipe's other end.
        let task = Task {
            do {
                try await write(HTTPBodyWriter { try await pipe.send(Array($0.readableBytesView)) })
                pipe.finish()
            } catch {
                pipe.finish(throwing: error)
            }
        }
        let reader = PipeReader(pipe: pipe, writer: task)
        return AsyncThrowingStream { try await reader.next() }
    }
}
