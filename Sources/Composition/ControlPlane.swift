// SPDX-License-Identifier: Apache-2.0

import APIServer
import Controllers
import Glibc
import KubeClient
import Linux
public import Logging
import Manifests
public import PKI
public import Storage
public import Values

/// API server, controllers, scheduler and the owner of the addons, in one process.
///
/// It knows no profile, fabric or supervisor: whoever runs it, on one machine or another, hands in keys, store and
/// addresses, and adds what is to live and die with it.
public struct ControlPlane: Sendable {
    /// Where a control plane is, and what it holds.
    public struct Description: Sendable {
        /// The node that carries it, which gets its role.
        public var nodeName: String
        /// Where clients reach it; agents do so before they have made Services work.
        public var address: IPAddress
        public var port: Int
        /// What the API server shows to clients, and what it shows to kubelets.
        public var serving: IssuedCertificate
        public var kubeletClient: IssuedCertificate
        /// Signs clients' certificates, and requests for them.
        public var authority: CertificateAuthority
        /// Signs service accounts' tokens.
        public var tokenSigner: TokenSigner
        /// The addresses that Services of type LoadBalancer get where no pool gives them.
        public var loadBalancerRange: CIDR?
        /// The folder of the logs that `kubectl logs` of the control plane's parts reads; nil has none.
        public var logDirectory: String?

        public init(
            nodeName: String, address: IPAddress, port: Int, serving: IssuedCertificate,
            kubeletClient: IssuedCertificate, authority: CertificateAuthority, tokenSigner: TokenSigner,
            loadBalancerRange: CIDR? = nil, logDirectory: String? = nil
        ) {
            self.nodeName = nodeName
            self.address = address
            self.port = port
            self.serving = serving
            self.kubeletClient = kubeletClient
            self.authority = authority
            self.tokenSigner = tokenSigner
            self.loadBalancerRange = loadBalancerRange
            self.logDirectory = logDirectory
        }
    }

    private let description: Description
    private let storage: any Backend
    private let log: Logger

    public init(_ description: Description, storage: any Backend, log: Logger) {
        self.description = description
        self.storage = storage
        self.log = log
    }

    /// Fits this process to be a control plane, before anything else of it is made, the store included.
    public static func prepareProcess() {
        OpenFiles.raiseLimit()
        Heap.shareArenas()
    }

    /// Serves until cancelled.
    ///
    /// - Parameters:
    ///   - ready: called when the API is bound and answers.
    ///   - companions: what runs beside it. One that throws ends the control plane; one that returns does not.
    public func run(
        ready: @escaping @Sendable () -> Void, companions: [@Sendable () async throws -> Void] = []
    ) async throws {
        let server = APIServer(storage: storage, configuration: configuration)
        try await server.bootstrap()
        let addons = Addons(apiHost: description.address.description, apiPort: description.port)
        let (description, log) = (description, log)
        // The program's name is that of the owner of the fields that it writes.
        let client = { @Sendable (user: String, program: String) in
            KubeClient(
                server.inProcessTransport(user: user, groups: ["system:masters", "system:authenticated"]),
                userAgent: program)
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await server.run(onBound: { _ in ready() })
                if !Task.isCancelled { throw EndedByItself(part: "the API server") }
            }
            // After a load is over its memory comes back.
            group.addTask { await Heap.trimRegularly() }
            group.addTask {
                await NodeRoles(client: client("system:catbird", "catbird"), controlPlane: description.nodeName).run()
            }
            group.addTask {
                await AgentKeeper(client: client("system:catbird", "catbird-keeper"), addons: addons, log: log).run()
            }
            group.addTask {
                try await AddonInstaller(client: client("system:catbird", "catbird"), addons: addons, log: log).run()
            }
            group.addTask {
                try await ControllerManager(
                    client: client("system:kube-controller-manager", "kube-controller-manager"),
                    configuration: ControllerConfiguration(
                        clusterCACertificatePEM: description.authority.certificatePEM,
                        certificateAuthority: description.authority, tokenSigner: description.tokenSigner,
                        loadBalancerCIDR: description.loadBalancerRange),
                    observer: { work in
                        switch work {
                        case .schedulerStarted: server.components.report(.scheduler, isRunning: true)
                        case .schedulerEnded: server.components.report(.scheduler, isRunning: false)
                        case .controllersStarted: server.components.report(.controllerManager, isRunning: true)
                        case .controllersEnded: server.components.report(.controllerManager, isRunning: false)
                        }
                    }
                ).run()
                if !Task.isCancelled { throw EndedByItself(part: "the controllers") }
            }
            for companion in companions { group.addTask { try await companion() } }
            // The first that fails ends the process, which is then started anew; only the addons' task and companions
            // end by themselves.
            do { while try await group.next() != nil {} } catch {
                if !Task.isCancelled { Self.endSoon(because: error, log) }
                throw error
            }
        }
    }

    /// What should serve until it is cancelled has returned.
    private struct EndedByItself: Error, CustomStringConvertible {
        let part: String
        var description: String { "\(part) ended, and nobody had told it to" }
    }

    /// The other parts are cancelled, and waited for. One that does not heed that must not keep a process that serves
    /// nobody any more, and that its supervisor takes for a good one: after five seconds it ends as it is.
    private static func endSoon(because error: any Error, _ log: Logger) {
        log.error("the control plane ends: \(error)")
        // Not structured: it outlives what it waits for.
        Task.detached {
            do { try await Task.sleep(for: .seconds(5)) } catch { return }
            log.critical("the control plane ends by force: a part of it did not end within 5 s")
            exit(1)
        }
    }

    private var configuration: APIServerConfiguration {
        var configuration = APIServerConfiguration(
            tokenSigner: description.tokenSigner, clientCAPEM: description.authority.certificatePEM,
            certificatePEM: description.serving.certificatePEM, privateKeyPEM: description.serving.privateKeyPEM,
            kubeletClientCertificatePEM: description.kubeletClient.certificatePEM,
            kubeletClientKeyPEM: description.kubeletClient.privateKeyPEM, advertiseAddress: description.address,
            advertisePort: description.port, bindPort: description.port, logger: log)
        configuration.logDirectory = description.logDirectory
        return configuration
    }
}
