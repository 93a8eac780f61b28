// SPDX-License-Identifier: Apache-2.0

/// A request to a Kubernetes API server, before it is put on any wire.
public struct APIRequest: Sendable {
    public var method: String
    /// The path as people read it: a transport that needs percent-encoding adds it.
    public var path: String
    /// Names and values as people read them, in order.
    public var query: [(String, String)]
    public var headers: [(String, String)]
    public var body: [UInt8]

    public init(
        method: String, path: String, query: [(String, String)] = [], headers: [(String, String)] = [],
        body: [UInt8] = []
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
    }
}

/// What an API server answered.
public struct APIResponse: Sendable {
    public var status: Int
    public var headers: [(String, String)]
    public var body: APIBody

    public init(status: Int, headers: [(String, String)] = [], body: APIBody) {
        self.status = status
        self.headers = headers
        self.body = body
    }
}

/// The body of a response: there as a whole, or coming piece by piece until the server or the reader ends it.
public enum APIBody: Sendable {
    case bytes([UInt8])
    case stream(AsyncThrowingStream<[UInt8], any Error>)

    /// All the bytes; throws ``BodyTooLarge`` rather than keep more than `limit` of them.
    public func collect(upTo limit: Int = 512 << 20) async throws -> [UInt8] {
        switch self {
        case .bytes(let bytes):
            guard bytes.count <= limit else { throw BodyTooLarge(limit: limit) }
            return bytes
        case .stream(let stream):
            var all: [UInt8] = []
            for try await piece in stream {
                guard piece.count <= limit - all.count else { throw BodyTooLarge(limit: limit) }
                all += piece
            }
            return all
        }
    }
}

/// An answer held more bytes than its reader was ready to keep.
public struct BodyTooLarge: Error, Sendable, CustomStringConvertible {
    public let limit: Int
    public init(limit: Int) { self.limit = limit }
    public var description: String { "the answer is larger than \(limit) bytes" }
}

/// A way to an API server: over HTTPS, or straight into the one in this process.
public protocol APITransport: Sendable {
    /// Sends the request and returns once the head of the answer is there. An answer of any status is an answer;
    /// what is thrown means that there was none. Dropping the stream of the body, or cancelling its reader, ends it.
    func send(_ request: APIRequest) async throws -> APIResponse
}
