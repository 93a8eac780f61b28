// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import NIOCore
import NIOFoundationCompat
import NIOHTTP1
import NIOSSL
import Values

/// Speaks to an API server over HTTPS, as a client certificate or the bearer of a token.
public struct HTTPTransport: APITransport {
    private let base: String
    private let client: SharedHTTPClient
    private let token: TokenSource

    public init(_ configuration: ClientConfiguration) throws {
        let base = try ServerURL(configuration.server)
        var settings = HTTPClient.Configuration()
        // A watch has no end: only connecting is timed here, other requests by their deadline.
        settings.timeout = HTTPClient.Configuration.Timeout(connect: .seconds(5))
        settings.httpVersion = .http1Only
        settings.decompression = .disabled
        settings.redirectConfiguration = .disallow
        // Each watch holds a connection, so the limit of eight would let a few informers lock out every other request.
        settings.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 4096
        // Below the servers' own, so that no request goes into a connection that the server is closing.
        settings.connectionPool.idleTimeout = .seconds(60)
        // Whoever calls decides when to try again, and wants to hear now.
        settings.connectionPool.retryConnectionEstablishment = false
        if base.isTLS { settings.tlsConfiguration = try Self.tls(configuration) }
        if let name = configuration.tlsServerName, !name.isEmpty {
            settings.dnsOverride[name] = base.host
            self.base = base.text(host: name)
        } else {
            self.base = base.text(host: base.host)
        }
        client = SharedHTTPClient(HTTPClient(eventLoopGroupProvider: .singleton, configuration: settings))
        token = TokenSource(token: configuration.token, file: configuration.tokenFile)
    }

    private static func tls(_ configuration: ClientConfiguration) throws -> TLSConfiguration {
        do {
            var tls = TLSConfiguration.makeClientConfiguration()
            tls.minimumTLSVersion = .tlsv12
            if configuration.insecureSkipTLSVerify {
                tls.certificateVerification = .none
            } else if let ca = configuration.caPEM {
                tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(ca.utf8)))
            }
            if let certificate = configuration.certificatePEM, let key = configuration.privateKeyPEM {
                tls.certificateChain = try NIOSSLCertificate.fromPEMBytes(Array(certificate.utf8)).map {
                    .certificate($0)
                }
                tls.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: Array(key.utf8), format: .pem))
            }
            return tls
        } catch {
            throw ClientConfigurationError("the certificates for \(configuration.server) cannot be used: \(error)")
        }
    }

    public func send(_ request: APIRequest) async throws -> APIResponse {
        let response = try await attempt(request, with: try token.current())
        // A token in a file may have been renewed since it was read.
        guard response.status == 401, let renewed = try token.renewed() else { return response }
        return try await attempt(request, with: renewed)
    }

    private func attempt(_ request: APIRequest, with token: String?) async throws -> APIResponse {
        var message = HTTPClientRequest(url: base + Self.target(request))
        message.method = HTTPMethod(rawValue: request.method)
        for (name, value) in request.headers { message.headers.add(name: name, value: value) }
        if let token { message.headers.replaceOrAdd(name: "Authorization", value: "Bearer \(token)") }
        if !request.body.isEmpty { message.body = .bytes(ByteBuffer(bytes: request.body)) }
        let response = try await client.client.execute(message, deadline: Self.deadline(request))
        let reader = ResponseReader(response.body, keeping: client)
        return APIResponse(
            status: Int(response.status.code), headers: response.headers.map { ($0.name, $0.value) },
            body: .stream(AsyncThrowingStream { try await reader.next() }))
    }

    /// Streams may stay open; everything else is answered within a minute or not at all.
    private static func deadline(_ request: APIRequest) -> NIODeadline {
        let isStream = request.query.contains { ["watch", "follow"].contains($0.0) && ["true", "1"].contains($0.1) }
        return isStream ? .distantFuture : .now() + .seconds(60)
    }

    /// Path and query, percent-encoded.
    static func target(_ request: APIRequest) -> String {
        var target = PercentCoding.encoded(request.path, allowing: "/:@!$&'()*+,;=")
        for (index, (name, value)) in request.query.enumerated() {
            target += index == 0 ? "?" : "&"
            target += PercentCoding.encoded(name) + "=" + PercentCoding.encoded(value)
        }
        return target
    }

    /// Ends all connections. Optional: they end with the last copy of the transport as well.
    public func shutdown() async throws { try await client.client.shutdown().get() }
}

/// Ends the client when the last user of it is gone.
private final class SharedHTTPClient: Sendable {
    let client: HTTPClient
    init(_ client: HTTPClient) { self.client = client }
    deinit { client.shutdown { _ in } }
}

/// Pulls the body of an answer piece by piece.
private actor ResponseReader {
    private var iterator: HTTPClientResponse.Body.AsyncIterator
    /// Cancelling a client in the middle of an answer would end the answer.
    private let client: SharedHTTPClient

    init(_ body: HTTPClientResponse.Body, keeping client: SharedHTTPClient) {
        iterator = body.makeAsyncIterator()
        self.client = client
    }

    func next() async throws -> [UInt8]? {
        var iterator = iterator
        let buffer = try await iterator.next(isolation: self)
        self.iterator = iterator
        return buffer.map { Array($0.readableBytesView) }
    }
}
