// SPDX-License-Identifier: Apache-2.0

import Coordination
public import HTTPServing
import KubeObjects
import Logging
public import Storage
import Synchronization
import Values

/// The Kubernetes API over a revisioned store.
///
/// Nothing in here knows more of a kind than its schema says, but for the few strategies and admission plugins that give
/// kinds like Pod and Service their behaviour.
///
/// The folders are rooms that use each other's types in one direction, which `scripts/check-rooms` holds: encodings; the
/// cache of what is stored; what comes in and goes out; requests; who asks; roles; nodes' rights; access; admission; verbs;
/// and above them, each for itself, what answers: subresources, proxies, reviews, discovery, custom resources, health, the
/// first start, the transports. This type puts them together; its extensions in the rooms are the answers to requests.
public final class APIServer: Sendable {
    public let configuration: APIServerConfiguration
    let storage: any Backend
    let mirror: Mirror
    let served: ServedResources
    let authorizer: RBACAuthorizer
    let tokens: ServiceAccountTokens
    let metrics = RequestMetrics()
    let admission: AdmissionChain
    let unjudged: UnjudgedWarnings
    /// How kubelets are spoken to: by the server's client certificate.
    let kubeletTLS: HTTPClientTLS
    /// For servers whose certificates nobody can check.
    let anyServer = HTTPClientTLS(caPEM: nil)
    /// What is known of the controllers and the scheduler; whoever runs them reports it.
    public let components = ComponentReports()
    let milestones = Milestones()
    let logger: Logger
    /// Kinds whose objects must not be written at the same time, because each is checked against all others.
    let writeLocks: [String: AsyncLock]
    private let definitions = Mutex<Task<Void, Never>?>(nil)

    public init(storage: any Backend, configuration: APIServerConfiguration) {
        self.storage = storage
        self.configuration = configuration
        logger = configuration.logger
        mirror = Mirror(storage: storage, logger: configuration.logger)
        tokens = ServiceAccountTokens(
            signer: configuration.tokenSigner, issuer: configuration.issuer, mirror: mirror)
        authorizer = RBACAuthorizer(mirror: mirror)
        served = ServedResources(
            mirror: mirror, serverAddress: "\(configuration.advertiseAddress):\(configuration.advertisePort)")
        admission = AdmissionChain(
            mirror: mirror, storage: storage, authorizer: authorizer, configuration: configuration)
        unjudged = UnjudgedWarnings(mirror: mirror)
        // Nodes are known by address, and their certificates may name only the node.
        kubeletTLS = HTTPClientTLS(
            caPEM: configuration.clientCAPEM, certificatePEM: configuration.kubeletClientCertificatePEM,
            privateKeyPEM: configuration.kubeletClientKeyPEM, verifiesHostname: false)
        let kinds: [GroupVersionResource] = [.ipPools, .services, .ipamBlocks, .customResourceDefinitions]
        var locks = Dictionary(uniqueKeysWithValues: kinds.map { (StorageKey($0).prefix, AsyncLock()) })
        // Services take addresses from the ranges of ServiceCIDRs.
        locks[StorageKey(.serviceCIDRs).prefix] = locks[StorageKey(.services).prefix]
        writeLocks = locks
    }

    deinit { stop() }

    /// The resources that are served now, and their schemas.
    var registry: ResourceRegistry { served.current.registry }

    /// Reads the store. Requests do it too, if it has not been done.
    public func start() async throws {
        try await mirror.start()
        definitions.withLock { follower in
            guard follower == nil else { return }
            follower = Task { [mirror, weak self] in
                let server = WeakServer(self)
                await Self.followDefinitions(mirror) { server.value }
            }
        }
    }

    /// Ends all watches and stops following the store.
    public func stop() {
        milestones.reach(.shutdown)
        definitions.withLock { $0?.cancel() }
        mirror.stop()
    }

    /// Answers a request that came over the network.
    public func respond(to request: HTTPRequest) async -> HTTPResponse {
        let incoming = IncomingRequest(request)
        return await handle(incoming).packed(for: incoming).response
    }

    /// The way of every request: who, may they, what.
    func handle(_ request: IncomingRequest) async -> Reply {
        let info = RequestInfo(request)
        let flight = metrics.begin(info)
        let reply: Reply
        var status = 503
        defer { metrics.end(flight, info, registry, dryRun: request.query("dryRun"), code: status) }
        do {
            if !mirror.isLoaded, let health = await healthBeforeStart(request, info) {
                status = health.status
                return health
            }
            try await start()
            reply = try await answer(request, info)
        } catch let error as StatusError {
            reply = .failure(error, to: request)
        } catch is CancellationError {
            reply = .failure(.serviceUnavailable("the request was cancelled"), to: request)
        } catch {
            logger.error(
                "request failed", metadata: ["path": "\(request.path)", "verb": "\(info.verb)", "error": "\(error)"])
            reply = .failure(.internalError("\(error)"), to: request)
        }
        status = reply.status
        return reply.indented(for: request)
    }

    private func answer(_ request: IncomingRequest, _ info: RequestInfo) async throws -> Reply {
        // Whatever was acknowledged before is seen from here on: what a token is bound to may just have been made.
        // A health check tells whether that holds, and must answer also where it does not.
        if !Self.isHealthCheck(info) { try await mirror.caughtUp() }
        let caller = try await authenticate(request)
        let request = WebSocketToken.removed(from: request)
        let user = try impersonated(caller.user, request)
        try authorizer.require(user, AccessAttributes(info, request))
        guard info.isResourceRequest else { return try await answerPath(request, info, user) }
        guard let type = registry.resource(info.groupVersionResource) else { return .pathNotFound }
        let context = RequestContext(request: request, info: info, user: user, type: type)
        if let warning = caller.warning { context.warnings.add(warning) }
        if let warning = type.custom?.deprecationWarning { context.warnings.add(warning) }
        var reply = try await answer(context)
        reply.headers += context.warnings.headers
        return reply
    }

    private func answer(_ context: RequestContext) async throws -> Reply {
        // The query of a proxied request is the backend's.
        if context.info.subresource != "proxy" { try context.checkOptions() }
        if context.type.isNamespaced, context.namespace == nil, context.info.name != nil {
            return .pathNotFound
        }
        if !context.info.subresource.isEmpty { return try await answerSubresource(context) }
        if context.resource.resource == "componentstatuses", context.type.group.isEmpty {
            return try await componentStatuses(context)
        }
        guard context.type.isStored else { return try await answerReview(context) }
        guard context.type.verbs.contains(context.info.verb) else {
            throw StatusError.methodNotAllowed(context.resource, verb: context.info.verb)
        }
        // An object is made in its collection, and changed under its name.
        let wantsName: Bool? =
            switch context.info.verb {
            case "create": false
            case "update", "patch": true
            default: nil
            }
        if let wantsName, wantsName != (context.info.name != nil) {
            throw StatusError.methodNotAllowed(context.resource, verb: context.info.verb)
        }
        switch context.info.verb {
        case "get": return try await get(context)
        case "list": return try await list(context)
        case "watch": return try await watch(context)
        case "create": return try await create(context)
        case "update": return try await update(context)
        case "patch": return try await patch(context)
        case "delete": return try await delete(context)
        case "deletecollection": return try await deleteCollection(context)
        default: throw StatusError.methodNotAllowed(context.resource, verb: context.info.verb)
        }
    }
}

/// A server that a task of its own must not keep alive.
private struct WeakServer: Sendable {
    private let box: Box

    init(_ server: APIServer?) { box = Box(server) }

    var value: APIServer? { box.server.withLock { $0.value } }

    private final class Box: Sendable {
        struct Reference { weak var value: APIServer? }
        let server: Mutex<Reference>
        init(_ server: APIServer?) { self.server = Mutex(Reference(value: server)) }
    }
}
