// SPDX-License-Identifier: Apache-2.0

import HTTPServing
public import KubeClient
import KubeObjects
import Values

extension APIServer {
    /// A way to the server for components of the same process: the same handling of requests, without HTTP.
    public func inProcessTransport(user: String, groups: [String]) -> any APITransport {
        let others = groups.filter { $0 != UserInfo.Group.authenticated }
        return InProcessTransport(server: self, user: UserInfo(user, groups: others + [UserInfo.Group.authenticated]))
    }
}

struct InProcessTransport: LocalTransport {
    let server: APIServer
    let user: UserInfo

    func send(_ request: APIRequest) async throws -> APIResponse { response(await reply(request)) }

    func list(_ request: APIRequest) async throws -> ObjectList {
        let reply = await reply(request, takesObjects: true)
        guard case .objects(let list) = reply.body else { throw await failure(reply) }
        return list
    }

    func watch(_ request: APIRequest) async throws -> AsyncThrowingStream<[WatchEvent], any Error> {
        let reply = await reply(request, takesObjects: true)
        guard case .events(let events) = reply.body else { throw await failure(reply) }
        return events
    }

    private func failure(_ reply: Reply) async -> any Error {
        let bytes = (try? await response(reply).body.collect(upTo: 1 << 20)) ?? []
        return APIError(code: reply.status, body: bytes)
    }

    private func reply(_ request: APIRequest, takesObjects: Bool = false) async -> Reply {
        let body = request.body
        return await server.handle(
            IncomingRequest(
                method: request.method, path: request.path, query: request.query.map { (name: $0.0, value: $0.1) },
                rawQuery: request.query.map {
                    "\(PercentCoding.encoded($0.0))=\(PercentCoding.encoded($0.1))"
                }.joined(separator: "&"),
                headers: request.headers.map { (name: $0.0, value: $0.1) }, origin: .inProcess(user),
                loadBody: { limit in
                    guard body.count <= limit else { throw RequestBodyTooLarge() }
                    return body
                }, body: HTTPRequestBody(body), takesObjects: takesObjects))
    }

    private func response(_ reply: Reply) -> APIResponse {
        let headers = reply.headers.map { ($0.name, $0.value) }
        switch reply.body {
        case .bytes(let bytes): return APIResponse(status: reply.status, headers: headers, body: .bytes(bytes))
        case .list(let list): return APIResponse(status: reply.status, headers: headers, body: .bytes(list.bytes()))
        case .stream, .objects, .events:
            return APIResponse(status: reply.status, headers: headers, body: .stream(reply.response.body.pieces()))
        case .upgrade:
            let refusal = StatusError.badRequest("connections of the same process cannot be upgraded")
            return APIResponse(status: 400, headers: headers, body: .bytes(refusal.json.serialized()))
        }
    }
}
