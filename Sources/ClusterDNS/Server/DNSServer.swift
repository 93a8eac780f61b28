// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Glibc
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

    /// What a client may have of connections, and all of them.
    static let connectionsOfAClient = 128
    static let connections = 1024

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
        let settings = try read()
        let resolver = Resolver(log: log, port: settings.port)
        let ending = Ending()
        let connections = ClientLimits(each: Self.connectionsOfAClient, all: Self.connections)
        resolver.configure(resolverSettings(settings, group, resolver))
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
            .childChannelOption(.writeBufferWaterMark, value: StreamHandler.waterMark)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    // A connection that nobody uses holds a descriptor: RFC 7766 section 6.2.3 lets it be closed.
                    try channel.pipeline.syncOperations.addHandler(IdleStateHandler(allTimeout: .seconds(30)))
                    try channel.pipeline.syncOperations.addHandler(
                        StreamHandler(resolver: resolver, connections: connections))
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
            if settings.reloads { tasks.addTask { try await self.followCorefile(resolver, group) } }
            for (number, path) in [
                (settings.healthPort, "/health"), (settings.readyPort, "/ready"), (settings.metricsPort, "/metrics"),
            ] {
                guard let number else { continue }
                tasks.addTask { try await self.serve(path, at: number, watched, resolver, ending) }
            }
            if port == nil, settings.lameduckSeconds > 0 {
                tasks.addTask { try await self.lingers(settings.lameduckSeconds, ending) }
            }
            tasks.addTask { try await self.refuseLoop(settings, group, resolver) }
            // Unlike waitForAll, this ends with the first failure: the server is then started anew.
            do { while try await tasks.next() != nil {} } catch is Ended {
                tasks.cancelAll()
            }
        }
    }

    /// That the server was told to end, for `health`.
    private final class Ending: Sendable {
        let hasBegun = Atomic(false)
    }

    private struct Ended: Error {}

    /// `health`'s `lameduck`: told to end, the server says that it is not well, and still answers for so long those who
    /// have not heard of it yet.
    private func lingers(_ seconds: Double, _ ending: Ending) async throws {
        let (signals, continuation) = AsyncStream.makeStream(of: Void.self)
        signal(SIGTERM, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: SIGTERM)
        source.setEventHandler { continuation.yield() }
        source.resume()
        defer { source.cancel() }
        for await _ in signals { break }
        ending.hasBegun.store(true, ordering: .relaxed)
        log.info("ending", metadata: ["seconds": "\(seconds)"])
        try await Task.sleep(for: .seconds(seconds))
        throw Ended()
    }

    private func read() throws -> Corefile {
        let parsed = try Corefile(parsing: try Files.text(corefile))
        if !parsed.ignored.isEmpty {
            log.warning("parts of the Corefile have no effect", metadata: ["plugins": "\(parsed.ignored)"])
        }
        return parsed
    }

    private func resolverSettings(_ file: Corefile, _ group: MultiThreadedEventLoopGroup, _ resolver: Resolver)
        -> Resolver.Settings
    {
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
                ? nil
                : Forwarder(
                    upstreams: addresses, group: group, limit: file.maximumConcurrent, metrics: resolver.metrics),
            cache: file.cacheSeconds == 0 ? nil : ResponseCache(maximumTTL: file.cacheSeconds),
            corefile: file)
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
                resolver.configure(resolverSettings(new, group, resolver))
                log.info("the Corefile was read again")
            } catch {
                resolver.metrics.reloadFailed()
                log.error("the changed Corefile is not used", metadata: ["error": "\(error)"])
            }
        }
    }

    /// One of CoreDNS' `health`, `ready` and `prometheus`.
    private func serve(_ path: String, at port: Int, _ watched: WatchedObjects, _ resolver: Resolver, _ ending: Ending)
        async throws
    {
        try await HTTPServer(
            HTTPServerConfiguration(.address(host: host, port: port)), logger: log,
            handler: { request in
                guard request.path == path else { return HTTPResponse(status: 404, text: "404 page not found") }
                switch path {
                case "/health":
                    let isEnding = ending.hasBegun.load(ordering: .relaxed)
                    return HTTPResponse(status: isEnding ? 503 : 200, text: isEnding ? "ending" : "OK")
                case "/ready":
                    let ready = watched.haveSynced
                    return HTTPResponse(status: ready ? 200 : 503, text: ready ? "OK" : "kubernetes")
                default:
                    return HTTPResponse(
                        contentType: "text/plain; version=0.0.4", bytes: Array(resolver.exposition.utf8))
                }
            }
        ).run()
    }

    /// `loop`: a server whose upstream is itself would ask itself for ever.
    private func refuseLoop(_ settings: Corefile, _ group: MultiThreadedEventLoopGroup, _ resolver: Resolver)
        async throws
    {
        guard settings.detectsLoops, let forwarder = resolverSettings(settings, group, resolver).forwarder,
            await resolver.leadsBack(forwarder)
        else { return }
        throw ForwardingLoop(upstreams: settings.upstreams)
    }
}

/// Why a server does not start: its questions come back to it.
public struct ForwardingLoop: Error, Sendable, CustomStringConvertible {
    let upstreams: [String]
    public var description: String {
        "the upstream of the Corefile (forward . \(upstreams.joined(separator: " "))) leads back to this server, which would ask itself for ever: name another server there, or in the resolv.conf of the node"
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
