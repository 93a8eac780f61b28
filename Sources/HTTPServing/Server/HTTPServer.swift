// SPDX-License-Identifier: Apache-2.0

import Glibc
public import Logging
public import NIOCore
public import NIOPosix
import NIOSSL

/// A server of HTTP/1.1 over TLS, TCP or a Unix socket, and of HTTP/2 over TLS for clients that choose it.
///
/// Each connection is a task of its own below ``run(onBound:)``, and each stream of HTTP/2 a task below that: one that
/// fails ends alone, and cancelling the run closes all of them.
public struct HTTPServer: Sendable {
    private let configuration: HTTPServerConfiguration
    private let group: MultiThreadedEventLoopGroup
    private let logger: Logger
    private let handler: @Sendable (HTTPRequest) async -> HTTPResponse

    public init(
        _ configuration: HTTPServerConfiguration, logger: Logger = Logger(label: "http"),
        eventLoopGroup: MultiThreadedEventLoopGroup = .singleton,
        handler: @escaping @Sendable (HTTPRequest) async -> HTTPResponse
    ) {
        self.configuration = configuration
        self.logger = logger
        group = eventLoopGroup
        self.handler = handler
    }

    /// Listens and serves until cancelled. `onBound` is called once clients can connect.
    public func run(onBound: @Sendable (SocketAddress) -> Void = { _ in }) async throws {
        let listener = try await bind()
        try await listener.executeThenClose { connections in
            if let address = listener.channel.localAddress { onBound(address) }
            try await withThrowingDiscardingTaskGroup { tasks in
                for try await connection in connections {
                    tasks.addTask { await connection.run(handler) }
                }
                // Cancelled, or the listening socket failed: what still runs is not waited for.
                tasks.cancelAll()
            }
        }
    }

    private func bind() async throws -> NIOAsyncChannel<ServerConnection, Never> {
        let context = try configuration.makeTLSContext()
        let configuration = configuration
        let logger = logger
        let overTCP = if case .unix = configuration.binding { false } else { true }
        var bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.maxMessagesPerRead, value: 4)
        if overTCP {
            bootstrap =
                bootstrap
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                // A watch may be silent for long: the kernel finds out that its client's machine is gone.
                .childChannelOption(.socketOption(.so_keepalive), value: 1)
                .childChannelOption(ChannelOptions.socket(SocketOptionLevel(IPPROTO_TCP), TCP_KEEPIDLE), value: 30)
                .childChannelOption(ChannelOptions.socket(SocketOptionLevel(IPPROTO_TCP), TCP_KEEPINTVL), value: 10)
                .childChannelOption(ChannelOptions.socket(SocketOptionLevel(IPPROTO_TCP), TCP_KEEPCNT), value: 3)
        }
        let initializer: @Sendable (any Channel) -> EventLoopFuture<ServerConnection> = { channel in
            channel.eventLoop.makeCompletedFuture { try ServerConnection(channel, context, configuration, logger) }
        }
        do {
            switch configuration.binding {
            case .address(let host, let port):
                return try await bootstrap.bind(host: host, port: port, childChannelInitializer: initializer)
            case .unix(let path):
                return try await bootstrap.bind(
                    unixDomainSocketPath: path, cleanupExistingSocketFile: true, childChannelInitializer: initializer)
            case .socket(let socket):
                return try await bootstrap.bind(socket, childChannelInitializer: initializer)
            }
        } catch {
            throw HTTPServingError("cannot listen on \(configuration.binding): \(error)")
        }
    }
}

extension HTTPServerConfiguration {
    func makeTLSContext() throws -> NIOSSLContext? {
        guard case .tls(let certificatePEM, let privateKeyPEM, let clientCAPEM) = security else { return nil }
        do {
            var tls = TLSConfiguration.makeServerConfiguration(
                certificateChain: try NIOSSLCertificate.fromPEMBytes(Array(certificatePEM.utf8)).map {
                    .certificate($0)
                },
                privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(privateKeyPEM.utf8), format: .pem)))
            tls.minimumTLSVersion = .tlsv12
            tls.applicationProtocols = (allowsHTTP2 ? [ProtocolNegotiation.http2] : []) + [ProtocolNegotiation.http1]
            if let clientCAPEM {
                tls.certificateVerification = .optionalVerification
                tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(clientCAPEM.utf8)))
                tls.sendCANameList = true
            }
            return try NIOSSLContext(configuration: tls)
        } catch {
            throw HTTPServingError("the server's certificate, key or client authority cannot be used: \(error)")
        }
    }
}

extension HTTPServerConfiguration.Binding: CustomStringConvertible {
    public var description: String {
        switch self {
        case .address(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .unix(let path): path
        case .socket(let socket): "socket \(socket)"
        }
    }
}
