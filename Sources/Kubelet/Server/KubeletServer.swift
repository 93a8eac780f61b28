// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import Logging
import NIOHTTP1
import Values

/// The HTTPS server of the kubelet: for the API server, and for whoever may read of nodes.
struct KubeletServer: Sendable {
    private let routes: ServerRoutes
    private let access: KubeletAccess
    private let configuration: HTTPServerConfiguration
    private let log: Logger

    /// Nil when the configuration has no certificate.
    init?(context: KubeletContext, pods: PodManager) throws {
        let settings = context.configuration
        guard let certificate = settings.servingCertificatePEM, let key = settings.servingKeyPEM else { return nil }
        routes = ServerRoutes(context: context, pods: pods)
        access = KubeletAccess(client: context.client, node: settings.nodeName)
        log = context.log
        configuration = HTTPServerConfiguration(
            .address(host: settings.nodeIP.family == .v4 ? "0.0.0.0" : "::", port: settings.port),
            security: .tls(certificatePEM: certificate, privateKeyPEM: key, clientCAPEM: settings.clientCAPEM))
    }

    /// Serves until cancelled; `onBound` is called once clients can connect.
    func run(onBound: @escaping @Sendable () -> Void) async throws {
        let (routes, access) = (self.routes, self.access)
        let server = HTTPServer(configuration, logger: log) { await Self.respond(to: $0, routes, access) }
        try await server.run { _ in onBound() }
    }

    private static func respond(
        to request: HTTPRequest, _ routes: ServerRoutes, _ access: KubeletAccess
    ) async -> HTTPResponse {
        do throws(KubeletAccess.Refusal) { try await access.check(request) } catch { return response(error.answer) }
        let answer = await routes.respond(
            to: ServerRequest(
                method: request.method, path: request.path, query: request.query.items.map { ($0.name, $0.value) },
                headers: request.headers.map { ($0.name, $0.value) }))
        return response(answer)
    }

    private static func response(_ answer: ServerAnswer) -> HTTPResponse {
        switch answer {
        case .bytes(let status, let type, let bytes):
            return HTTPResponse(status: status, contentType: type, bytes: bytes)
        case .stream(let type, let body):
            return HTTPResponse(
                headers: ["Content-Type": type],
                body: .stream { writer in try await body { try await writer.write($0) } })
        case .redirect(let target): return HTTPResponse(status: 301, headers: ["Location": target])
        case .upgrade(let headers, let body):
            return HTTPResponse(
                status: 101, headers: HTTPHeaders(headers), body: .upgrade { await UpgradedSession.carry($0, body) })
        }
    }
}
