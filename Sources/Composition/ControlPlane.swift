// SPDX-License-Identifier: Apache-2.0

import APIServer
import Controllers
import KubeClient
import KubeObjects
public import Logging
import Linux
import Manifests
import PKI
import Storage
import Values

/// The process that runs the API server, the controllers and the scheduler of a local cluster.
public struct ControlPlane: Sendable {
    private let profile: Profile
    private let paths: ProfilePaths
    private let log: Logger

    public init(profile name: ProfileName, log: Logger) throws {
        let store = ProfileStore()
        profile = try store.load(name)
        paths = store.paths(name)
        self.log = log
    }

    /// Serves until cancelled.
    public func run() async throws {
        guard let node = profile.controlPlaneNode else {
            throw LocalClusterError(.guestError, "Profile \"\(profile.name)\" has no node for its control plane.")
        }
        OpenFiles.raiseLimit()
        Heap.shareArenas()
        let pki = try ProfilePKI(paths: paths)
        let storage = try SQLiteBackend(path: paths.database)
        let server = APIServer(storage: storage, configuration: try configuration(node: node, pki: pki))
        try await server.bootstrap()
        let ready = paths.apiReadyFile
        let log = log
        let addons = Addons(apiHost: node.address.description, apiPort: Profile.apiPort)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                // The file tells `catbird start` that the API answers, without its asking again and again.
                try await server.run(onBound: { _ in try? Files.replace(ready, with: [], mode: 0o600) })
            }
            // After a load is over its memory comes back.
            group.addTask { await Heap.trimRegularly() }
            // The program's name is that of the owner of the fields that it writes.
            let client = { @Sendable (user: String, program: String) in
                KubeClient(
                    server.inProcessTransport(user: user, groups: ["system:masters", "system:authenticated"]),
                    userAgent: program)
            }
            group.addTask {
                await NodeRoles(client: client("system:catbird", "catbird"), controlPlane: node.name).run()
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
                        clusterCACertificatePEM: pki.authority.certificatePEM, certificateAuthority: pki.authority,
                        tokenSigner: pki.tokenSigner,
                        loadBalancerCIDR: profile.plan.loadBalancerRange),
                    observer: { work in
                        switch work {
                        case .schedulerStarted: server.components.report(.scheduler, isRunning: true)
                        case .schedulerEnded: server.components.report(.scheduler, isRunning: false)
                        case .controllersStarted: server.components.report(.controllerManager, isRunning: true)
                        case .controllersEnded: server.components.report(.controllerManager, isRunning: false)
                        }
                    }
                ).run()
            }
            group.addTask { await Self.backUp(storage, ProfileBackup(paths: paths), log) }
            if let network = SupervisedProcess.hostNetwork, let executable = HostEnvironment.executable {
                group.addTask {
                    do {
                        try await SupervisorGuard.stepIn(
                            profile: profile.name, executable: executable, network: network)
                    } catch is CancellationError {
                    } catch { log.error("the supervisor cannot be watched", metadata: ["error": "\(error)"]) }
                }
            }
            // The first that fails ends the process, which is then started anew; only the addons' task and the
            // watch over the supervisor end by themselves.
            while try await group.next() != nil {}
        }
    }
}

extension ControlPlane {
    /// A backup is a matter of time: no event asks for one.
    private static func backUp(_ storage: SQLiteBackend, _ backup: ProfileBackup, _ log: Logger) async {
        var pause: Duration = .seconds(600)
        while (try? await Task.sleep(for: pause)) != nil {
            pause = .seconds(3600)
            if backup.summary?.revision == storage.currentRevision { continue }
            do { try await backup.take { try await storage.backup(to: $0) } } catch {
                log.error("no backup was taken", metadata: ["error": "\(error)"])
            }
        }
    }

    private func configuration(node: Profile.Node, pki: ProfilePKI) throws -> APIServerConfiguration {
        let serving = try pki.apiServer(address: node.address, serviceAddress: IPAddress(10, 96, 0, 1))
        let kubelets = try pki.kubeletClient()
        var configuration = APIServerConfiguration(
            tokenSigner: pki.tokenSigner, clientCAPEM: pki.authority.certificatePEM,
            certificatePEM: serving.certificatePEM, privateKeyPEM: serving.privateKeyPEM,
            kubeletClientCertificatePEM: kubelets.certificatePEM, kubeletClientKeyPEM: kubelets.privateKeyPEM,
            advertiseAddress: node.address, advertisePort: Profile.apiPort, bindPort: Profile.apiPort, logger: log)
        configuration.logDirectory = paths.logs
        return configuration
    }
}
