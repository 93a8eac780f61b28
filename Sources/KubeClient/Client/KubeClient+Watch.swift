// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
import Values

/// One change that a watch reports.
public struct WatchEvent: Sendable, Hashable {
    public enum Kind: String, Sendable {
        case added = "ADDED"
        case modified = "MODIFIED"
        case deleted = "DELETED"
        /// Nothing changed; the object carries only the resource version reached.
        case bookmark = "BOOKMARK"
    }

    public var type: Kind
    public var object: KubeObject

    public init(type: Kind, object: KubeObject) {
        self.type = type
        self.object = object
    }
}

extension KubeClient {
    /// Watches a collection. Events come in the batches in which the server's bytes arrive, pulled by the reader: a
    /// slow reader slows the server, and nothing piles up here. The stream ends when the server ends the watch, and
    /// throws ``APIError`` when the server reports one (410: list again). Dropping the stream or cancelling its
    /// reader closes the request.
    public func watch(
        _ resource: GroupVersionResource, in namespace: String? = nil, labelSelector: String? = nil,
        fieldSelector: String? = nil, resourceVersion: String? = nil, allowBookmarks: Bool = true,
        timeoutSeconds: Int? = nil
    ) async throws -> AsyncThrowingStream<[WatchEvent], any Error> {
        var query = [("watch", "true")] + Self.selectors(labelSelector, fieldSelector)
        if let resourceVersion { query.append(("resourceVersion", resourceVersion)) }
        if allowBookmarks { query.append(("allowWatchBookmarks", "true")) }
        if let timeoutSeconds { query.append(("timeoutSeconds", String(timeoutSeconds))) }
        let path = resource.path(namespace: namespace)
        if let local = transport as? any LocalTransport {
            return try await local.watch(request("GET", path, query: query, body: nil))
        }
        let response = try await send("GET", path, query: query, body: nil)
        guard response.status == 200 else {
            throw APIError(code: response.status, body: try await response.body.collect(upTo: 1 << 20))
        }
        let decoder = WatchReader(response.body, request: "GET \(path)?watch=true")
        return AsyncThrowingStream { try await decoder.next() }
    }
}

/// Pulls bytes and turns each full line into an event.
private actor WatchReader {
    private var pieces: AsyncThrowingStream<[UInt8], any Error>.Iterator
    private var lines = LineSplitter(limit: 64 << 20)
    private var failure: (any Error)?
    private let request: String

    init(_ body: APIBody, request: String) {
        self.request = request
        switch body {
        case .stream(let stream): pieces = stream.makeAsyncIterator()
        case .bytes(let bytes):
            pieces = AsyncThrowingStream { continuation in
                continuation.yield(bytes)
                continuation.finish()
            }.makeAsyncIterator()
        }
    }

    func next() async throws -> [WatchEvent]? {
        if let failure { throw failure }
        while true {
            var iterator = pieces
            let piece = try await iterator.next(isolation: self)
            pieces = iterator
            guard let piece else {
                let rest = lines.finish()
                return rest.isEmpty ? nil : [try event(rest)]
            }
            guard let complete = lines.append(piece) else {
                throw MalformedAnswer(request: request, reason: "an event is larger than \(lines.limit) bytes")
            }
            guard !complete.isEmpty else { continue }
            var events: [WatchEvent] = []
            events.reserveCapacity(complete.count)
            for line in complete {
                do {
                    events.append(try event(line))
                } catch  where !events.isEmpty {
                    // What came before the failure counts; the failure is reported at the next turn.
                    failure = error
                    break
                }
            }
            return events
        }
    }

    private func event(_ line: [UInt8]) throws -> WatchEvent {
        let value: JSON
        do { value = try JSON(parsing: line) } catch { throw MalformedAnswer(request: request, reason: "\(error)") }
        let type = value["type"].string ?? ""
        guard let object = value["object"] else {
            throw MalformedAnswer(request: request, reason: "an event without an object")
        }
        if type == "ERROR" { throw APIError(status: object) }
        guard let kind = WatchEvent.Kind(rawValue: type) else {
            throw MalformedAnswer(request: request, reason: "an event of unknown type '\(type)'")
        }
        return WatchEvent(type: kind, object: KubeObject(object))
    }
}

/// Cuts a stream of bytes into lines; empty lines are skipped.
struct LineSplitter {
    let limit: Int
    private var partial: [UInt8] = []

    init(limit: Int) { self.limit = limit }

    /// The lines that `piece` completes; nil when a line grows past the limit.
    mutating func append(_ piece: [UInt8]) -> [[UInt8]]? {
        var lines: [[UInt8]] = []
        var start = piece.startIndex
        while let end = piece[start...].firstIndex(of: UInt8(ascii: "\n")) {
            if partial.isEmpty {
                if end > start { lines.append(Array(piece[start..<end])) }
            } else {
                partial += piece[start..<end]
                lines.append(partial)
                partial = []
            }
            start = end + 1
        }
        guard piece.count - start <= limit - partial.count else { return nil }
        partial += piece[start...]
        return lines
    }

    /// What is left after the last line's end.
    mutating func finish() -> [UInt8] {
        defer { partial = [] }
        return partial.allSatisfy { $0 == 0x20 || $0 == 0x0D } ? [] : partial
    }
}
