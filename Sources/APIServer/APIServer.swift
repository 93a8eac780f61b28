// SPDX-License-Identifier: Apache-2.0

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
public final class APIServer: Sendable {
    public let configuration: APIServerConfiguration
    let storage: any Backend
    let mirror: Mirror
    let served: ServedResources
    let authenticator: Authenticator
    let authorizer: RBACAuthorizer
    let tokens: ServiceAccountTokens
    let metrics = RequestMetrics()
    let admission: AdmissionChain
    let unjudged: UnjudgedWarnings
    let kubelets: KubeletClient
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
        authenticator = Authenticator(tokens: tokens, audiences: [configuration.issuer])
        authorizer = RBACAuthorizer(mirror: mirror)
        served = ServedResources(
            mirror: mirror, serverAddress: "\(configuration.advertiseAddress):\(configuration.advertisePort)")
        admission = AdmissionChain(mirror: mirror, storage: storage, authorizer: authorizer)
        unjudged = UnjudgedWarnings(mirror: mirror)
        kubelets = KubeletClient(configuration)
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
        let reply: Reply
        do {
            try await start()
            reply = try await answer(request, info)
        } catch let error as StatusError {
            reply = .failure(error)
        } catch is CancellationError {
            reply = .failure(.serviceUnavailable("the request was cancelled"))
        } catch {
            logger.error(
                "request failed", metadata: ["path": "\(request.path)", "verb": "\(info.verb)", "error": "\(error)"])
            reply = .failure(.internalError("\(error)"))
        }
        metrics.count(info, code: reply.status)
        return reply
    }

    private func answer(_ request: IncomingRequest, _ info: RequestInfo) async throws -> Reply {
        var user = try await authenticator.authenticate(request)
        await mirror.caughtUp()
        user = try impersonated(user, request)
        try authorizer.require(user, AccessAttributes(info, request))
        guard info.isResourceRequest else { return try await answerPath(request, info, user) }
        guard let type = registry.resource(info.groupVersionResource) else { return .pathNotFound }
        let context = RequestContext(request: request, info: info, user: user, type: type)
        if let warning = type.custom?.deprecationWarning { context.warnings.add(warning) }
        var reply = try await answer(context)
        reply.headers += context.warnings.headers
        return reply
    }

    private func answer(_ context: RequestContext) async throws -> Reply {
        try context.checkOptions()
        if context.type.isNamespaced, context.namespace == nil, context.info.name != nil {
            return .pathNotFound
        }
        if !context.info.subresource.isEmpty { return try await answerSubresource(context) }
        guard context.type.isStored else {
            guard Negotiated(context.request, hasViews: false) != nil else {
                throw StatusError.notAcceptable(
                    "only the following media types are accepted: application/json, application/yaml")
            }
            return try await answerReview(context)
        }
        guard context.type.verbs.contains(context.info.verb) else {
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

    /// `kubectl --as`: who may do it acts as somebody else.
    private func impersonated(_ user: UserInfo, _ request: IncomingRequest) throws(StatusError) -> UserInfo {
        guard let name = request.header("impersonate-user"), !name.isEmpty else { return user }
        try authorizer.require(user, AccessAttributes(verb: "impersonate", resource: "users", name: name))
        var groups = request.headerValues("impersonate-group")
        for group in groups {
            try authorizer.require(user, AccessAttributes(verb: "impersonate", resource: "groups", name: group))
        }
        let parts = name.split(separator: ":")
        if parts.count == 4, parts[0] == "system", parts[1] == "serviceaccount", groups.isEmpty {
            groups = [UserInfo.Group.serviceAccounts, "\(UserInfo.Group.serviceAccounts):\(parts[2])"]
        }
        if !groups.contains(UserInfo.Group.authenticated) { groups.append(UserInfo.Group.authenticated) }
        return UserInfo(name, groups: groups)
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
