// SPDX-License-Identifier: Apache-2.0

import HTTPServing
public import KubeClient
import KubeObjects
import Linux
public import Logging
public import NIOCore
import NIOPosix
import Synchronization
import Values

/// The cluster's name server: the zone from watches of the API, the rest from upstream, settings from a Corefile that
/// may change while it runs.
public struct DNSServer: Sendable {
    private let client: KubeClient
    private let corefile: String
    private let log: Logger
    private let host: String
    private let port: Int?

    /// `port` overrides the Corefile's: tests do not bind 53.
    public init(client: KubeClient, corefile: String, log: Logger, host: String = "0.0.0.0", port: Int? = nil) {
        self.client = client
        self.corefile = corefile
        self.log = log
        self.host = host
        self.port = port
    }

    /// Serves until cancelled.
    ///
    /// - Throws: when the Corefile cannot be read at the start, or the port cannot be bound. Later mistakes in the
    ///   Corefile are logged, and the settings before them stay.
    public func run(onBound: @escaping @Sendable (SocketAddress) -> Void = { _ in }) async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let resolver = Resolver(log: log)
        let settings = try read()
        resolver.configure(resolverSettings(settings, group))
        let watched = WatchedObjects(client: client)
        let udp = try await DatagramBootstrap(group: group)
            .channelOption(.socketOption(.so_reuseaddr), value: 1)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 16 * 4096))
            .channelOption(.datagramVectorReadMessageCount, value: 16)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(DatagramHandler(resolver: resolver))
                }
            }
            .bind(host: host, port: port ?? settings.port).get()
        let bound = udp.localAddress?.port ?? settings.port
        let tcp = try await ServerBootstrap(group: group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    // A connection that nobody uses holds a descriptor: RFC 7766 section 6.2.3 lets it be closed.
                    try channel.pipeline.syncOperations.addHandler(IdleStateHandler(allTimeout: .seconds(30)))
                    try channel.pipeline.syncOperations.addHandler(StreamHandler(resolver: resolver))
                }
            }
            .bind(host: host, port: bound).get()
        if let address = udp.localAddress { onBound(address) }
        log.info("serving", metadata: ["domain": "\(settings.domain)", "port": "\(bound)"])
        defer {
            udp.close(promise: nil)
            tcp.close(promise: nil)
        }
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { await watched.run(into: resolver) }
            tasks.addTask { try await self.followCorefile(resolver, group) }
            if port == nil { tasks.addTask { try await self.serveProbes(watched, resolver) } }
            // Unlike waitForAll, this ends with the first failure: the server is then started anew.
            while try await tasks.next() != nil {}
        }
    }

    private func read() throws -> Corefile {
        let parsed = try Corefile(parsing: try Files.text(corefile))
        if !parsed.ignored.isEmpty {
            log.warning("parts of the Corefile have no effect", metadata: ["plugins": "\(parsed.ignored)"])
        }
        return parsed
    }

    private func resolverSettings(_ file: Corefile, _ group: MultiThreadedEventLoopGroup) -> Resolver.Settings {
        let addresses = file.upstreams.flatMap { upstream -> [SocketAddress] in
            if upstream.hasPrefix("/") {
                let text = (try? Files.text(upstream)) ?? ""
                return ResolverFile.nameServers(text).compactMap { try? SocketAddress(ipAddress: "\($0)", port: 53) }
            }
            let parts = upstream.split(separator: ":")
            let port = parts.count == 2 ? Int(parts[1]) ?? 53 : 53
            return [try? SocketAddress(ipAddress: parts.count == 2 ? String(parts[0]) : upstream, port: port)]
                .compactMap { $0 }
        }
        return Resolver.Settings(
            zone: ClusterZone(
                domain: file.domain, ttl: file.ttl, pods: file.pods, reverseFallsThrough: file.reverseFallsThrough),
            forwarder: addresses.isEmpty
                ? nil : Forwarder(upstreams: addresses, group: group, limit: file.maximumConcurrent),
            cache: file.cacheSeconds == 0 ? nil : ResponseCache(maximumTTL: file.cacheSeconds),
            logsQueries: file.logsQueries)
    }

    /// A mounted ConfigMap changes by a link in its folder being swapped.
    private func followCorefile(_ resolver: Resolver, _ group: MultiThreadedEventLoopGroup) async throws {
        let inotify = try Inotify()
        try inotify.add(Files.directory(of: corefile))
        var current = try? read()
        for await _ in inotify.events {
            do {
                let new = try read()
                guard new != current else { continue }
                current = new
                resolver.configure(resolverSettings(new, group))
                log.info("the Corefile was read again")
            } catch {
                log.error("the changed Corefile is not used", metadata: ["error": "\(error)"])
            }
        }
    }

    /// CoreDNS' `health`, `ready` and `prometheus` ports.
    private func serveProbes(_ watched: WatchedObjects, _ resolver: Resolver) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for port in [8080, 8181, 9153] {
                group.addTask {
                    try await HTTPServer(
                        HTTPServerConfiguration(.address(host: host, port: port)), logger: log,
                        handler: { request in
                            switch request.path {
                            case "/health": return HTTPResponse(text: "OK")
                            case "/ready":
                                let ready = watched.haveSynced
                                return HTTPResponse(status: ready ? 200 : 503, text: ready ? "OK" : "kubernetes")
                            case "/metrics":
                                return HTTPResponse(
                                    contentType: "text/plain; version=0.0.4",
                                    bytes: Array(resolver.counters.exposition.utf8))
                            default: return HTTPResponse(status: 404, text: "404 page not found")
                            }
                        }
                    ).run()
                }
            }
            while try await group.next() != nil {}
        }
    }
}

/// The three kinds of objects that make names.
private struct WatchedObjects: Sendable {
    private let services: Informer
    private let slices: Informer
    private let namespaces: Informer

    init(client: KubeClient) {
        services = Informer(client, .services)
        slices = Informer(client, .endpointSlices)
        namespaces = Informer(client, .namespaces)
    }

    var haveSynced: Bool { services.hasSynced && slices.hasSynced && namespaces.hasSynced }

    func run(into resolver: Resolver) async {
        await withTaskGroup(of: Void.self) { group in
            for informer in [services, slices, namespaces] { group.addTask { await informer.run() } }
            group.addTask {
                for await batch in services.events() {
                    resolver.update { records in
                        for event in batch { records.setService(event.key, event.isDeletion ? nil : event.object) }
                    }
                }
            }
            group.addTask {
                for await batch in slices.events() {
                    resolver.update { records in
                        for event in batch { records.setSlice(event.key, event.isDeletion ? nil : event.object) }
                    }
                }
            }
            group.addTask {
                for await batch in namespaces.events() {
                    resolver.update { records in
                        for event in batch { records.setNamespace(event.key.name, exists: !event.isDeletion) }
                    }
                }
            }
        }
    }
}
