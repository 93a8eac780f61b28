// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import KubeClient
import KubeObjects
import Values

/// Where a streamed answer is written.
protocol ByteSink: Sendable {
    /// Returns when the bytes are on their way; throws when nobody listens any more.
    func write(_ bytes: [UInt8]) async throws

    /// The way past the writing task to the client's connection; nil where there is none.
    var outlet: HTTPOutlet? { get }
}

extension ByteSink {
    var outlet: HTTPOutlet? { nil }
}

/// An answer, before it is known how it travels.
struct Reply: Sendable {
    enum Body: Sendable {
        case bytes([UInt8])
        case list(EncodedList)
        case stream(@Sendable (any ByteSink) async throws -> Void)
        case upgrade(@Sendable (UpgradedConnection) async throws -> Void)
        /// What is handed to components of the same process that take objects.
        case objects(ObjectList)
        case events(AsyncThrowingStream<[WatchEvent], any Error>)
    }

    var status: Int
    var headers: [(name: String, value: String)]
    var body: Body

    init(status: Int = 200, headers: [(name: String, value: String)] = [], body: Body) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    static func json(_ bytes: [UInt8], status: Int = 200) -> Reply {
        Reply(status: status, headers: [("Content-Type", "application/json")], body: .bytes(bytes))
    }

    static func json(_ value: JSON, status: Int = 200) -> Reply { json(value.serialized(), status: status) }

    static func text(_ text: String, status: Int = 200) -> Reply {
        Reply(
            status: status, headers: [("Content-Type", "text/plain; charset=utf-8")], body: .bytes(Array(text.utf8)))
    }

    static let pathNotFound = Reply.text("404 page not found\n", status: 404)

    /// A Status, in an encoding that the client accepts, or else in JSON.
    static func failure(_ error: StatusError, to request: IncomingRequest? = nil) -> Reply {
        let negotiated = request.flatMap { Negotiated($0, AcceptableForms(hasViews: false)) }
        var reply = Reply(error.json, negotiated?.encoding ?? .json, status: error.code)
        if let seconds = error.json["details"]["retryAfterSeconds"].int {
            reply.headers.append(("Retry-After", String(seconds)))
        }
        return reply
    }
}
