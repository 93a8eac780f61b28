// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import NIOHTTP1

extension IncomingRequest {
    /// A request that came over the network.
    init(_ request: HTTPRequest) {
        let body = request.body
        self.init(
            method: request.method, path: request.path,
            query: request.query.items.map { (name: $0.name, value: $0.value) },
            rawQuery: request.target.firstIndex(of: "?").map {
                String(request.target[request.target.index(after: $0)...])
            } ?? "",
            headers: request.headers.map { (name: $0.name, value: $0.value) },
            origin: .connection(request.client),
            loadBody: { limit in
                do {
                    return try await body.collect(upTo: limit)
                } catch is HTTPBodyTooLarge {
                    throw RequestBodyTooLarge()
                }
            }, body: body, remoteAddress: request.remoteAddress)
    }
}

extension Reply {
    /// The reply as it is sent over the network.
    var response: HTTPResponse {
        var fields = HTTPHeaders()
        for header in headers { fields.add(name: header.name, value: header.value) }
        switch body {
        case .bytes(let bytes):
            return HTTPResponse(status: status, headers: fields, body: bytes.isEmpty ? .empty : .bytes(bytes))
        case .list(let list):
            return HTTPResponse(
                status: status, headers: fields,
                body: .stream { writer in try await list.write(to: WriterSink(writer: writer)) })
        case .stream(let produce):
            return HTTPResponse(
                status: status, headers: fields,
                body: .stream { writer in try await produce(WriterSink(writer: writer)) })
        case .upgrade(let run):
            return HTTPResponse(status: status, headers: fields, body: .upgrade(run))
        case .objects, .events:
            // Only asked for within the process.
            return HTTPResponse(status: 406, text: "objects cannot be sent as they are\n")
        }
    }

    private struct WriterSink: ByteSink {
        let writer: HTTPBodyWriter

        func write(_ bytes: [UInt8]) async throws { try await writer.write(bytes) }
        var outlet: HTTPOutlet? { writer.outlet }
    }
}
