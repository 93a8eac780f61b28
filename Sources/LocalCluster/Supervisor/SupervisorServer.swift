// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import Logging
import NIOCore
import NIOHTTP1
import Values

/// The supervisor's door: HTTP on a Unix socket that only its owner may open.
///
/// `GET /status`, `GET /events` (a JSON line each, until the reader goes), `POST /nodes`, `POST /nodes/NAME/start`,
/// `POST /nodes/NAME/stop`, `DELETE /nodes/NAME`, `POST /retry`, `POST /stop`.
struct SupervisorServer: Sendable {
    let supervisor: Supervisor
    let socket: String
    let log: Logger

    func run() async throws {
        let server = HTTPServer(
            HTTPServerConfiguration(.unix(path: socket)), logger: log,
            handler: { request in await self.respond(request) })
        try await server.run()
    }

    private func respond(_ request: HTTPRequest) async -> HTTPResponse {
        let parts = request.path.split(separator: "/").map(String.init)
        do {
            switch (request.method, parts.first, parts.count) {
            case ("GET", "status", 1): return answer(await supervisor.status())
            case ("GET", "events", 1): return stream()
            case ("POST", "nodes", 1):
                let body = try await request.body.collect(upTo: 4096)
                let rack = body.isEmpty ? nil : try JSON(parsing: body)["rack"].int
                let node = try await supervisor.addNode(rack: rack)
                return answer(["name": JSON(node.name), "address": JSON(node.address.description)])
            case ("POST", "nodes", 3) where parts[2] == "start":
                try await supervisor.startNode(parts[1])
                return answer([:])
            case ("POST", "nodes", 3) where parts[2] == "stop":
                try await supervisor.stopNode(parts[1])
                return answer([:])
            case ("DELETE", "nodes", 2):
                try await supervisor.stopNode(parts[1], forGood: true)
                return answer([:])
            case ("POST", "retry", 1):
                await supervisor.tryAgain()
                return answer([:])
            case ("POST", "stop", 1):
                try await supervisor.stopAll()
                return answer([:])
            default: return answer(["error": "unknown request \(request.method) \(request.path)"], status: 404)
            }
        } catch {
            return answer(["error": JSON("\(error)")], status: 500)
        }
    }

    private func answer(_ body: JSON, status: Int = 200) -> HTTPResponse {
        HTTPResponse(status: status, contentType: "application/json", bytes: body.serialized())
    }

    private func stream() -> HTTPResponse {
        let events = supervisor.progress.events()
        return HTTPResponse(
            status: 200, headers: ["content-type": "application/json"],
            body: .stream { writer in
                for await event in events {
                    try await writer.write(ByteBuffer(bytes: event.serialized() + [0x0A]))
                }
            })
    }
}
