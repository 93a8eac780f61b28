// SPDX-License-Identifier: Apache-2.0

public import NIOCore
import NIOHTTP1
import Synchronization

/// The body of a request, read as it arrives: nothing more is taken from the client than the reader asks for.
public struct HTTPRequestBody: AsyncSequence, Sendable {
    public typealias Element = ByteBuffer

    enum Source: Sendable {
        case bytes(ByteBuffer)
        case incoming(IncomingBody)
    }

    let source: Source

    /// A body that is there already: for requests that never saw a wire.
    public init(_ bytes: [UInt8]) { source = .bytes(ByteBuffer(bytes: bytes)) }

    init(_ incoming: IncomingBody) { source = .incoming(incoming) }

    public func makeAsyncIterator() -> Iterator { Iterator(source: source) }

    /// Says that the body is read on while the answer is sent, as who passes both on does. Otherwise the server reads
    /// what is left of it before it sends a streamed answer.
    public func keep() {
        if case .incoming(let body) = source { body.keep() }
    }

    public struct Iterator: AsyncIteratorProtocol {
        var source: Source

        public mutating func next() async throws -> ByteBuffer? {
            switch source {
            case .incoming(let body): return try await body.next()
            case .bytes(let buffer):
                source = .bytes(ByteBuffer())
                return buffer.readableBytes == 0 ? nil : buffer
            }
        }
    }

    /// The whole body; throws ``HTTPBodyTooLarge`` as soon as more than `limit` bytes have come.
    public func collect(upTo limit: Int) async throws -> [UInt8] {
        // A client that says beforehand that it will send too much is not asked to.
        if case .incoming(let body) = source, let announced = body.announced, announced > limit {
            throw HTTPBodyTooLarge(limit: limit)
        }
        var all: [UInt8] = []
        for try await piece in self {
            guard piece.readableBytes <= limit - all.count else { throw HTTPBodyTooLarge(limit: limit) }
            all.append(contentsOf: piece.readableBytesView)
        }
        return all
    }
}

/// A body longer than its reader or the server allows: status 413.
public struct HTTPBodyTooLarge: Error, Sendable, CustomStringConvertible {
    public let limit: Int
    public init(limit: Int) { self.limit = limit }
    public var description: String { "the request's body is larger than \(limit) bytes" }
}

/// The body of the request that a connection is at, until the request is answered.
final class IncomingBody: Sendable {
    private struct State {
        var isComplete = false
        var isOver = false
        var isKept = false
        var expectsContinue: Bool
        var received = 0
    }

    private let state: Mutex<State>
    private let connection: HTTPConnection
    private let limit: Int

    /// The length that the client has announced; nil for a body in chunks, or none.
    let announced: Int?

    init(_ connection: HTTPConnection, expectsContinue: Bool, announced: Int?, limit: Int) {
        self.connection = connection
        self.announced = announced
        self.limit = limit
        state = Mutex(State(expectsContinue: expectsContinue))
    }

    /// Whether all of it was read.
    var isComplete: Bool { state.withLock { $0.isComplete } }

    /// Whether the client still waits for leave to send it.
    var awaitsContinue: Bool { state.withLock { $0.expectsContinue } }

    /// Whether somebody else may be reading it while the answer is sent.
    var isKept: Bool { state.withLock { $0.isKept && !$0.isComplete } }

    func keep() { state.withLock { $0.isKept = true } }

    /// The request is answered: whoever kept the body gets no byte of the next one.
    func end() { state.withLock { $0.isOver = true } }

    func next() async throws -> ByteBuffer? {
        if let announced, announced > limit { throw HTTPBodyTooLarge(limit: limit) }
        let (isComplete, mustInvite) = try state.withLock { state in
            if state.isComplete { return (true, false) }
            guard !state.isOver else { throw HTTPServingError("the request was answered before its body was read") }
            // Once is for good: whether the connection is kept must not hang on how the bytes came in pieces.
            guard state.received <= limit else { throw HTTPBodyTooLarge(limit: limit) }
            defer { state.expectsContinue = false }
            return (false, state.expectsContinue)
        }
        if isComplete { return nil }
        if mustInvite { try await connection.sendContinue() }
        while let part = try await connection.nextPart(within: connection.configuration.bodyTimeout) {
            switch part {
            case .head: throw HTTPServingError("a request began within the body of another")
            case .body(let buffer):
                let received = state.withLock { state in
                    state.received += buffer.readableBytes
                    return state.received
                }
                guard received <= limit else { throw HTTPBodyTooLarge(limit: limit) }
                return buffer
            case .end:
                state.withLock { $0.isComplete = true }
                return nil
            }
        }
        throw HTTPServingError("the connection ended within the request's body")
    }
}
