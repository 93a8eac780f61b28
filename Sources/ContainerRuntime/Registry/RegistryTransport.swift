// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import Linux
import NIOCore
import NIOPosix
import NIOSSL
import Values

/// How requests to registries leave this process. One for the process: its connections are shared by all pulls.
actor RegistryTransport {
    static let shared = RegistryTransport()

    /// What requests have in common that may share connections.
    struct Way: Sendable, Hashable {
        var proxy: ProxySettings.Proxy?
        var verifiesCertificates: Bool
        /// The network namespace that connections are made in; nil: the process's own.
        var network: NamespaceRef?
    }

    private var clients: [Way: HTTPClient] = [:]
    private var groups: [NamespaceRef: Task<MultiThreadedEventLoopGroup, any Error>] = [:]

    /// Sends a request. Redirects are the caller's affair: another host may be another way.
    func execute(_ request: HTTPClientRequest, by way: Way) async throws -> HTTPClientResponse {
        try await client(way).execute(request, deadline: .distantFuture)
    }

    private func client(_ way: Way) async throws -> HTTPClient {
        let group: any EventLoopGroup =
            if let network = way.network { try await self.group(network) } else { HTTPClient.defaultEventLoopGroup }
        if let known = clients[way] { return known }
        var configuration = HTTPClient.Configuration()
        configuration.timeout = HTTPClient.Configuration.Timeout(connect: .seconds(10), read: .seconds(60))
        configuration.redirectConfiguration = .disallow
        configuration.decompression = .disabled
        // A refusal is an answer: whoever pulls decides when to try again.
        configuration.connectionPool.retryConnectionEstablishment = false
        if !way.verifiesCertificates {
            var tls = TLSConfiguration.makeClientConfiguration()
            tls.certificateVerification = .none
            configuration.tlsConfiguration = tls
        }
        if let proxy = way.proxy {
            configuration.proxy =
                switch proxy.kind {
                case .socks5: .socksServer(host: proxy.host, port: proxy.port)
                case .http, .unsupported:
                    .server(
                        host: proxy.host, port: proxy.port,
                        authorization: proxy.credentials.map { .basic(credentials: Base64.text(Array($0.utf8))) })
                }
        }
        let client = HTTPClient(eventLoopGroupProvider: .shared(group), configuration: configuration)
        clients[way] = client
        return client
    }

    /// A thread that lives in another network namespace: the sockets that it makes are connected there, whoever then
    /// reads and writes them.
    private func group(_ network: NamespaceRef) async throws -> MultiThreadedEventLoopGroup {
        if let known = groups[network] { return try await known.value }
        let task = Task {
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            do {
                try await group.next().submit { try Namespaces.moveThread(to: network) }.get()
                return group
            } catch {
                try? await group.shutdownGracefully()
                throw error
            }
        }
        groups[network] = task
        do { return try await task.value } catch {
            groups[network] = nil
            throw error
        }
    }
}

/// Runs `body` for no longer than `patience`; then it is cancelled and `late` is thrown.
func within<T: Sendable>(
    _ patience: Duration, _ body: @escaping @Sendable () async throws -> T, late: any Error
) async throws -> T {
    try await withThrowingTaskGroup(of: T?.self) { group in
        defer { group.cancelAll() }
        group.addTask { try await body() }
        group.addTask {
            // The one timer of a request: what comes from outside may come slowly, but not for ever.
            try await Task.sleep(for: patience)
            return nil
        }
        guard let first = try await group.next(), let result = first else { throw late }
        return result
    }
}

/// Whether what a registry sends comes fast enough to come to an end: 4 KiB a second on the whole, after two minutes.
struct DownloadPace: Sendable, Hashable {
    var grace: Duration = .seconds(120)
    var bytesPerSecond = 4096

    func isTooSlow(_ count: Int, after time: Duration) -> Bool {
        time > grace + .seconds(count / max(bytesPerSecond, 1))
    }
}
