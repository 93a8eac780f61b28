// SPDX-License-Identifier: Apache-2.0

import HTTPServing
import Logging
import NIOHTTP1
import Values

/// The HTTPS server of the kubelet: for the API server, which shows its certificate.
struct KubeletServer: Sendable {
    private let routes: ServerRoutes
    private let configuration: HTTPServerConfiguration
    private let log: Logger

    /// Nil when the configuration has no certificate.
    init?(context: KubeletContext, pods: PodManager) throws {
        let settings = context.configuration
        guard let certificate = settings.servingCertificatePEM, let key = settings.servingKeyPEM else { return nil }
        routes = ServerRoutes(context: context, pods: pods)
        log = context.log
        configuration = HTTPServerConfiguration(
            .address(host: settings.nodeIP.family == .v4 ? "0.0.0.0" : "::", port: settings.port),
            security: .tls(certificatePEM: certificate, privateKeyPEM: key, clientCAPEM: settings.clientCAPEM))
    }

    func run() async throws {
        let routes = self.routes
        let server = HTTPServer(configuration, logger: log) { await Self.respond(to: $0, routes) }
        try await server.run()
    }

    /// Whether a client may use the kubelet: the API server's certificate, or an administrator's.
    static func mayUse(_ client: ClientCertificate?) -> Bool {
        guard let client else { return false }
        return client.organizations.contains("system:masters") || client.commonName == "kube-apiserver-kubelet-client"
    }

    private static func respond(to request: HTTPRequest, _ routes: ServerRoutes) async -> HTTPResponse {
        guard let client = request.client else {
            return response(.failure(401, "Unauthorized", "the kubelet asks for a client certificate of the cluster"))
        }
        guard mayUse(client) else {
            return response(
                .failure(
                    403, "Forbidden",
                    "user \"\(client.commonName)\" may not use the kubelet: its certificate names no organization system:masters"
                ))
        }
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
