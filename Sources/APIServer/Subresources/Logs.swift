// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import KubeObjects
import NIOCore
import NIOHTTP1
import NIOSSL
import Synchronization
import Values

extension APIServer {
    /// GET of a pod's `log`: text that the node sends, passed on as it comes.
    func log(_ context: RequestContext) async throws -> Reply {
        if let tail = try context.request.number("tailLines"), tail < 0 {
            throw StatusError.invalid(
                ("", "PodLogOptions"), name: context.name,
                [.invalid("tailLines", JSON(tail), "must be greater than or equal to 0")])
        }
        // Over a WebSocket the log is upgraded like any stream.
        if context.request.header("upgrade")?.lowercased() == "websocket" { return try await stream(context) }
        let target = try kubeletTarget(context)
        let response = try await kubelets.get(target)
        guard response.status == .ok else {
            let body = (try? await response.body.collect(upTo: 64 << 10)).map { Array($0.readableBytesView) }
            throw Self.refusal(Int(response.status.code), body ?? [])
        }
        return Reply(
            headers: [("Content-Type", "text/plain"), ("Cache-Control", "no-cache, private")],
            body: .stream { sink in
                for try await piece in response.body { try await sink.write(Array(piece.readableBytesView)) }
            })
    }
}

/// Reads from kubelets over HTTPS, known by the server's client certificate. Made when first needed.
final class KubeletClient: Sendable {
    private let configuration: APIServerConfiguration
    private let client = Mutex<HTTPClient?>(nil)

    init(_ configuration: APIServerConfiguration) { self.configuration = configuration }

    deinit {
        // The group is the process's own: nothing is waited for.
        client.withLock { $0 }?.shutdown { _ in }
    }

    func get(_ target: KubeletTarget) async throws(StatusError) -> HTTPClientResponse {
        do {
            // A log that is followed may stay silent for hours: only the connection has a deadline.
            return try await current().execute(
                HTTPClientRequest(url: "https://\(target.authority)\(target.target)"), deadline: .distantFuture)
        } catch {
            throw StatusError(
                500, "InternalError", "Get \"https://\(target.authority)\(target.target)\": \(error)",
                details: .object([:]))
        }
    }

    private func current() throws -> HTTPClient {
        try client.withLock { client in
            if let client { return client }
            var tls = TLSConfiguration.makeClientConfiguration()
            tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(configuration.clientCAPEM.utf8)))
            // Nodes are known by address, and their certificates may name only the node.
            tls.certificateVerification = .noHostnameVerification
            tls.certificateChain = try NIOSSLCertificate.fromPEMBytes(
                Array(configuration.kubeletClientCertificatePEM.utf8)
            ).map { .certificate($0) }
            tls.privateKey = .privateKey(
                try NIOSSLPrivateKey(bytes: Array(configuration.kubeletClientKeyPEM.utf8), format: .pem))
            var options = HTTPClient.Configuration(tlsConfiguration: tls)
            options.timeout = .init(connect: .seconds(10))
            options.httpVersion = .http1Only
            let made = HTTPClient(eventLoopGroupProvider: .singleton, configuration: options)
            client = made
            return made
        }
    }
}

extension KubeletTarget {
    /// Host and port as a URL has them.
    var authority: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
